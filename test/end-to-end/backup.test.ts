import assert from 'node:assert/strict'
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { found, joined, marram, temporaryFolder, until, untilEqual } from './harness.ts'

test('a gateway whose disk was lost is restored, gets its later writes back and goes on', async (t) => {
  const folder = temporaryFolder()
  const host = await found(t, folder, 'host')
  const gateway = await joined(t, folder, 'gateway', host)
  const file = `${folder}/gateway.backup`
  await gateway.run('put', 'climate', 'old', '{"value":1}')
  await untilEqual(host, gateway)
  await gateway.stop()
  await gateway.run('backup', file, '--with-identity')
  assert.equal(statSync(file).mode & 0o777, 0o600, 'only its owner may read the keys')
  await gateway.start()
  await gateway.run('put', 'climate', 'later', '{"value":2}')
  await untilEqual(host, gateway)
  await gateway.stop()

  rmSync(gateway.dir, { recursive: true })
  await gateway.run('restore', file)
  await gateway.start()
  await until('the later write is back', async () =>
    (await gateway.run('list', 'climate', '--json')).includes('"later"'),
  )
  await gateway.run('put', 'climate', 'after', '{"value":3}')
  await until('the host has the write after', async () =>
    (await host.run('list', 'climate', '--json')).includes('"after"'),
  )
  await untilEqual(host, gateway)
  assert.doesNotMatch(await gateway.run('status', '--json'), /clone-or-fork/)
})

test('a damaged or unwanted backup changes nothing', async (t) => {
  const folder = temporaryFolder()
  const host = await found(t, folder, 'host')
  await host.run('put', 'climate', 'kept', '{"value":1}')
  await host.stop()
  const file = `${folder}/host.backup`
  await host.run('backup', file)
  assert.equal((await marram('backup', file, '--dir', host.dir)).code, 73, 'a file is not overwritten')
  assert.equal((await marram('restore', file, '--dir', host.dir)).code, 73, 'data is not overwritten')
  const nowhere = await marram('restore', file, '--dir', `${folder}/nowhere`)
  assert.match(nowhere.stderr, /neither it nor the backup holds an identity/)
  assert.equal(existsSync(`${folder}/nowhere/data`), false)

  const whole = readFileSync(file)
  for (const [what, bytes] of [
    ['cut short', whole.subarray(0, whole.length - 1)],
    ['empty', Buffer.alloc(0)],
    ['a bit turned', whole.map((byte, at) => (at === whole.length >> 1 ? byte ^ 1 : byte))],
  ] as const) {
    writeFileSync(file, bytes)
    const refused = await marram('restore', file, '--force', '--dir', host.dir)
    assert.equal(refused.code, 74, what)
    assert.match(refused.stderr, /no whole backup/, what)
  }
  assert.match(await host.run('get', 'climate', 'kept'), /1/)
})
