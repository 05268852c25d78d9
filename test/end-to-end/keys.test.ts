import assert from 'node:assert/strict'
import { existsSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { found, joined, marram, temporaryFolder, until } from './harness.ts'

test('the root key leaves the gateway, which goes on inviting, and appoints administrators only with the key back', async (t) => {
  const folder = temporaryFolder()
  const file = join(folder, 'root-key.json')
  const a = await found(t, folder, 'a')
  const code = async (...args: string[]): Promise<number> => (await marram(...args, '--dir', a.dir)).code
  assert.equal((await a.json<{ holdsRootKey: boolean }>('keys', 'show')).holdsRootKey, true)
  await a.run('keys', 'export', file, '--remove')
  assert.equal(statSync(file).mode & 0o777, 0o600)
  assert.equal(existsSync(join(a.dir, 'identity/root.json')), false)
  assert.equal((await a.json<{ holdsRootKey: boolean }>('keys', 'show')).holdsRootKey, false)
  assert.equal(await code('keys', 'export', join(folder, 'again.json')), 1, 'it does not hold it any more')
  assert.equal(await code('invite', '--role', 'admin'), 77)
  const b = await joined(t, folder, 'b', a)
  const { peerId } = await b.json<{ peerId: string }>('status')
  assert.equal(await code('grant', peerId, '--role', 'admin'), 77)
  await a.run('keys', 'import', file)
  assert.equal(await code('keys', 'export', file), 73, 'an existing file is not written over')
  await a.run('grant', peerId, '--role', 'admin')
  await until('b may invite', async () => (await marram('invite', '--dir', b.dir)).code === 0)
})

test('the root key of another mesh, and what is no key, are refused and change nothing', async (t) => {
  const folder = temporaryFolder()
  const [dir, other] = [join(folder, 'a'), join(folder, 'other')]
  for (const each of [dir, other]) assert.equal((await marram('init', '--mesh', 'm', '--dir', each)).code, 0)
  const [theirs, broken] = [join(folder, 'theirs.json'), join(folder, 'broken.json')]
  assert.equal((await marram('keys', 'export', theirs, '--dir', other)).code, 0)
  writeFileSync(broken, '{"kind":"marram-root-key","secretKey":"AAAA"}')
  for (const file of [theirs, broken, join(folder, 'none.json')])
    assert.equal((await marram('keys', 'import', file, '--dir', dir)).code, 1, file)
  const mine = join(folder, 'mine.json')
  assert.equal((await marram('keys', 'export', mine, '--dir', dir)).code, 0)
  assert.equal((await marram('keys', 'import', mine, '--dir', dir)).code, 0)
  t.diagnostic('its own key is taken')
})
