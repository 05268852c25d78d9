import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { connectAsync } from 'mqtt'
import { found, temporaryFolder, until } from '../end-to-end/harness.ts'

interface Call {
  /** Seconds; start, and start plus duration. */
  readonly startedAt: number
  readonly endedAt: number
  readonly name: string
  readonly path: string
  readonly text: string
}

test('no reply and no PUBACK leaves before the flush of what it answers has returned', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const trace = join(folder, 'trace')
  // -ttt with -T gives when a call began and how long it took; -y the file behind each descriptor; -s enough to see keys.
  const strace = spawn(
    'strace',
    [
      '-ff',
      '-ttt',
      '-T',
      '-y',
      '-s',
      '4096',
      '-e',
      'trace=pwrite64,pwritev,write,writev,sendto,sendmsg',
      '-o',
      trace,
      '-p',
      String(a.pid),
    ],
    { stdio: 'ignore' },
  )
  await until('every thread is traced', () => isTraced(a.pid))
  const mqtt = await connectAsync(a.address, { protocolVersion: 4 })
  for (let i = 0; i < 20; i++)
    await mqtt.publishAsync(`zigbee2mqtt/traced-${i}`, JSON.stringify({ mark: `value-${i}` }), { qos: 1 })
  for (let i = 0; i < 5; i++) await a.run('put', 'climate', `commanded-${i}`, `{"mark":"command-${i}"}`)
  mqtt.end(true)
  strace.kill('SIGINT')
  await once(strace, 'exit')

  // A file for each thread, so that no call is cut in two by another thread's; put together in order of time.
  const files = readdirSync(folder).filter((name) => name.startsWith('trace.'))
  const lines = files.flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n'))
  const calls = lines.flatMap(callOf).sort((x, y) => x.startedAt - y.startedAt)
  const log = calls.filter(({ name, path }) => name.startsWith('pwrite') && path.includes('/data/'))
  assert.ok(log.length > 0, 'the log was written')
  assert.ok(isSynchronous(a.pid, log[0] as Call), 'the log is written through to the disk')
  // 40 02 and the packet identifier, in one piece or in several.
  const pubacks = calls.filter(({ path, text }) => /^(TCP|socket)/.test(path) && /^"@(\\2|",[^"]*"\\2")/.test(text))
  let checked = 0
  for (let i = 0; i < 20; i++) {
    const flushed = log.find(({ text }) => text.includes(`traced-${i}`) && text.includes(`value-${i}`))
    assert.ok(flushed, `traced-${i} is in the log`)
    // The publishes were one after the other.
    const acknowledged = pubacks[i]
    assert.ok(acknowledged, `traced-${i} was acknowledged`)
    assert.ok(
      acknowledged.startedAt >= flushed.endedAt,
      `PUBACK ${i} left ${acknowledged.startedAt}, the flush ended ${flushed.endedAt}`,
    )
    checked += 1
  }
  for (let i = 0; i < 5; i++) {
    const flushed = log.find(({ text }) => text.includes(`commanded-${i}`))
    const replied = calls.find(
      ({ name, path, text }) =>
        !name.startsWith('pwrite') && !path.includes('/data/') && text.includes(`\\"key\\":\\"commanded-${i}\\"`),
    )
    assert.ok(flushed && replied, `commanded-${i} was flushed and answered`)
    assert.ok(replied.startedAt >= flushed.endedAt)
    checked += 1
  }
  t.diagnostic(`${checked} answers, none before its flush`)
})

/** `TIME name(FD<path>, "text"…) = n <duration>`. */
function callOf(line: string): Call[] {
  const match = /^(\d+\.\d+) (\w+)\(\d+<([^>]*)>(?:, |\()(.*)<(\d+\.\d+)>$/.exec(line)
  if (!match) return []
  const [, at, name, path, text, took] = match
  const startedAt = Number(at)
  return [
    {
      startedAt,
      endedAt: startedAt + Number(took),
      name: name as string,
      path: path as string,
      text: (text as string).replace(/^\[\{iov_base=/, ''),
    },
  ]
}

function isTraced(pid: number): boolean {
  const threads = readdirSync(`/proc/${pid}/task`)
  return threads.every(
    (thread) => !/^TracerPid:\s+0$/m.test(readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8')),
  )
}

/** O_DSYNC of the descriptor, from the kernel. */
function isSynchronous(pid: number, call: Call): boolean {
  const O_DSYNC = 0o10000
  const descriptors = execFileSync(
    'sh',
    [
      '-c',
      `for f in /proc/${pid}/fd/*; do [ "$(readlink $f)" = "${call.path}" ] && cat /proc/${pid}/fdinfo/$(basename $f); done; true`,
    ],
    { encoding: 'utf8' },
  )
  return [...descriptors.matchAll(/^flags:\s+(\d+)$/gm)].some(
    ([, flags]) => (parseInt(flags as string, 8) & O_DSYNC) !== 0,
  )
}
