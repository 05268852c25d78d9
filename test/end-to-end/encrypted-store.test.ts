import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { found, marram, temporaryFolder, type GatewayProcess } from './harness.ts'

const SAID = 'the-alarm-code-is-4711'

function isOnDisk(gateway: GatewayProcess): boolean {
  const data = join(gateway.dir, 'data')
  return readdirSync(data).some((name) => readFileSync(join(data, name)).includes(SAID))
}

test('what a gateway has stored is encrypted at its next start, and then opens with its key alone', async (t) => {
  const folder = temporaryFolder()
  const gateway = await found(t, folder, 'a')
  await gateway.run('put', 'secrets', 'door', JSON.stringify({ code: SAID }))
  const profile = (await gateway.json<{ [key: string]: unknown }>('profile', 'show')) ?? {}
  const keyFile = join(folder, 'store.key')
  const file = join(folder, 'profile.json')
  const storage = { encryption: 'values', key: `file:${keyFile}` }
  writeFileSync(file, JSON.stringify({ ...profile, storage }))
  assert.match(await gateway.run('profile', 'set', file), /restart/)
  await gateway.stop()
  assert.ok(isOnDisk(gateway))

  const withoutKey = await marram('run', '--dir', gateway.dir)
  assert.equal(withoutKey.code, 1)
  assert.match(withoutKey.stderr, /store\.key.*openssl rand -hex 32/)
  writeFileSync(keyFile, 'ab'.repeat(32))
  await gateway.start()
  assert.ok(!isOnDisk(gateway))
  await gateway.run('put', 'secrets', 'gate', JSON.stringify({ code: SAID }))
  await gateway.stop('SIGKILL')
  assert.ok(!isOnDisk(gateway))
  assert.match(await gateway.run('get', 'secrets', 'door'), /4711/)
  const backup = join(folder, 'backup')
  await gateway.run('backup', backup)
  assert.ok(!readFileSync(backup).includes(SAID))
  assert.equal((await marram('verify', '--dir', gateway.dir)).code, 0)

  writeFileSync(keyFile, 'cd'.repeat(32))
  for (const command of [['run'], ['get', 'secrets', 'door'], ['verify']]) {
    const refused = await marram(...command, '--dir', gateway.dir)
    assert.equal(refused.code, 1, command[0])
    assert.match(refused.stderr, /not the one that it is encrypted with/)
  }
  writeFileSync(keyFile, 'ab'.repeat(32))
  await gateway.run('restore', backup, '--force')
  await gateway.start()
  for (const key of ['door', 'gate']) assert.match(await gateway.run('get', 'secrets', key), /4711/)
})
