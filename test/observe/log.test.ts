import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'

const MODULE = new URL('../../runtime/observe/log.js', import.meta.url).href

/** What a process that logs and then exits at once leaves on its standard output. */
function logged(options: object, statements: string): string[] {
  const source = `import { createLog } from ${JSON.stringify(MODULE)}
    const log = createLog(${JSON.stringify({ level: 'info', fd: 1, isHuman: false, ...options })})
    ${statements}
    process.exit(0)`
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', source], { encoding: 'utf8' })
  assert.equal(stderr, '')
  return stdout.split('\n').filter((line) => line !== '')
}

test('a line is JSON with level, time, event and fields, and the last before an exit is not lost', () => {
  const [line] = logged({}, "log.warn('link-down', { peerId: 'p1', reason: 'timeout' })")
  const { time, ...rest } = JSON.parse(line as string) as { time: string }
  assert.deepEqual(rest, { level: 'warn', event: 'link-down', peerId: 'p1', reason: 'timeout' })
  assert.ok(Math.abs(Date.parse(time) - Date.now()) < 60_000)
})

test('what is below the level is not written, until the level changes', () => {
  const lines = logged(
    {},
    "log.debug('a'); log.setLevel('debug'); log.debug('b'); log.setLevel('error'); log.warn('c')",
  )
  assert.deepEqual(
    lines.map((line) => (JSON.parse(line) as { event: string }).event),
    ['b'],
  )
})

test('people get one line each, and what devices say does not steer their terminal', () => {
  const lines = logged({ isHuman: true }, "log.info('refused', { topic: 'a\\u001b[2J\\nready', count: 2 })")
  assert.equal(lines.length, 1)
  assert.match(lines[0] as string, /^\d\d:\d\d:\d\d info {2}refused topic=a\\u001b\[2J ready count=2$/)
})
