import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { MemberView, PeerView, StatusView } from '../../runtime/ports/operations.ts'
import { found, GatewayProcess, joined, marram, temporaryFolder, until, untilEqual } from './harness.ts'

async function stateOf(gateway: GatewayProcess, peerId: string): Promise<MemberView | undefined> {
  const lines = (await gateway.run('members', '--json')).split('\n')
  return lines.map((line) => JSON.parse(line) as MemberView).find((member) => member.peerId === peerId)
}

const peerIdOf = async (gateway: GatewayProcess): Promise<string> => (await gateway.json<StatusView>('status')).peerId

test('a gateway whose keys are replaced keeps its rights and all that it wrote, and its old keys are worth nothing', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = await joined(t, folder, 'b', a)
  const old = await peerIdOf(b)
  await b.run('put', 'climate', 'kitchen', '{"temperature":21}')
  await b.run('put', 'climate', 'door', '{"opened":{"$add":2}}')
  await untilEqual(a, b)
  const before = readFileSync(join(b.dir, 'identity', 'device.json'), 'utf8')

  const rotated = await b.json<{ peerId: string }>('rotate')
  assert.notEqual(rotated.peerId, old)
  assert.equal(await peerIdOf(b), rotated.peerId)
  assert.notEqual(readFileSync(join(b.dir, 'identity', 'device.json'), 'utf8'), before)
  assert.ok(!existsSync(join(b.dir, 'identity', 'next.json')))
  await b.run('put', 'climate', 'door', '{"opened":{"$add":3}}')
  await b.run('put', 'climate', 'hall', '{"temperature":19}')
  await until('the old keys are retired', async () => (await stateOf(a, old))?.state === 'retired')
  const member = await stateOf(a, rotated.peerId)
  assert.deepEqual([member?.state, member?.roles, member?.succeeds], ['member', ['gateway'], old])
  await untilEqual(a, b)
  assert.match(await a.run('get', 'climate', 'door'), /5/)
  assert.match(await a.run('get', 'climate', 'kitchen'), /21/)
  assert.match(await a.run('get', 'climate', 'hall'), /19/)

  await b.stop('SIGKILL')
  await b.start()
  assert.equal(await peerIdOf(b), rotated.peerId)
  await b.run('put', 'climate', 'hall', '{"temperature":18}')
  await untilEqual(a, b)

  // Who revokes keys that a thief had is told whom they let in.
  const { stderr } = await marram('revoke', old, '--detach', '--dir', a.dir)
  assert.match(stderr, new RegExp(`^heir-of-revoked: .*"marram revoke ${rotated.peerId}"`, 'm'))
  assert.deepEqual((await stateOf(a, old))?.heirs, [rotated.peerId])
  const { warnings } = await a.json<StatusView>('status')
  assert.equal(warnings.filter((warning) => warning.startsWith('heir-of-revoked: ')).length, 1)
})

test("an administrator's keys are replaced where the mesh's root key is, and wait for it elsewhere", async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = await joined(t, folder, 'b', a)
  const old = await peerIdOf(a)
  const rootKey = join(folder, 'root-key.json')
  await a.run('keys', 'export', rootKey, '--remove')
  const { peerId } = await a.json<{ peerId: string }>('rotate', '--detach')
  await until('it says what it waits for', async () =>
    (await a.json<StatusView>('status')).warnings.some((warning) => /^rotating: .*root key/.test(warning)),
  )
  await a.stop('SIGKILL')
  await a.start()
  assert.equal(await peerIdOf(a), old)
  await a.run('keys', 'import', rootKey)
  await until('it has its new keys', async () => {
    const status = await marram('status', '--json', '--dir', a.dir)
    return status.code === 0 && (JSON.parse(status.stdout) as StatusView).peerId === peerId
  })
  await until('the old keys are retired', async () => (await stateOf(b, old))?.state === 'retired')
  assert.deepEqual((await stateOf(b, peerId))?.roles, ['admin'])
  const c = await joined(t, folder, 'c', a)
  await c.run('put', 'climate', 'attic', '{"temperature":25}')
  await untilEqual(a, b, c)
})

test("a member that became an administrator later lets others in, and its keys are replaced like any other administrator's", async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = await joined(t, folder, 'b', a)
  const old = await peerIdOf(b)
  await a.run('grant', old, '--role', 'admin')
  await until('b may invite', async () => (await marram('invite', '--dir', b.dir)).code === 0)
  const c = await joined(t, folder, 'c', b)
  await c.run('put', 'climate', 'attic', '{"temperature":25}')
  await untilEqual(a, b, c)
  // From now on it keeps its port over restarts, for c knows no other way to it.
  await b.stop()
  await b.start()

  const { peerId } = await b.json<{ peerId: string }>('rotate')
  await until('the old keys are retired', async () => (await stateOf(a, old))?.state === 'retired')
  assert.deepEqual((await stateOf(a, peerId))?.roles, ['admin', 'gateway'])
  await b.stop('SIGKILL')
  await b.start()
  assert.equal(await peerIdOf(b), peerId)
  const d = await joined(t, folder, 'd', b)
  await d.run('put', 'climate', 'cellar', '{"temperature":12}')
  await untilEqual(a, b, c, d)
  const peers = (await a.run('peers', '--json')).split('\n').map((line) => (JSON.parse(line) as PeerView).peerId)
  const expected = await Promise.all([b, c, d].map(peerIdOf))
  assert.deepEqual(peers.sort(), expected.sort(), 'each member once, whatever was given it, and no former one')
})

test('a gateway that may only write hands over what it wrote before its keys are replaced', async (t) => {
  const folder = temporaryFolder()
  const series = 'collections.samples={"kind":"series"}'
  const a = await found(t, folder, 'a', { set: [series] })
  const b = new GatewayProcess(join(folder, 'b'))
  t.after(() => b.stop('SIGKILL'))
  const { token } = await a.json<{ token: string }>('invite', '--role', 'sensor')
  await b.run('join', token)
  await b.start({ set: [series, 'sync.budget.bytesPerSecond="2KiB"'] })
  await until('b is enrolled', async () => (await b.json<StatusView>('status')).enrolled)
  // More than the budget lets through at once, however well it is compressed.
  for (let row = 0; row < 9; row++)
    await b.run('put', 'samples', `s${row}`, JSON.stringify({ noise: randomBytes(10_500).toString('base64') }))
  const old = await peerIdOf(b)
  const { peerId } = await b.json<{ peerId: string }>('rotate', '--detach')
  await until(
    'it has its new keys',
    async () => {
      const status = await marram('status', '--json', '--dir', b.dir)
      return status.code === 0 && (JSON.parse(status.stdout) as StatusView).peerId === peerId
    },
    90_000,
  )
  await until('all of it is there', async () => (await a.json<{ count: number }>('count', 'samples')).count === 9)
  await until('the old keys are retired', async () => (await stateOf(a, old))?.state === 'retired')
  await b.run('put', 'samples', 'last', '{"v":1}')
  await until(
    'what it writes now arrives',
    async () => (await a.json<{ count: number }>('count', 'samples')).count === 10,
  )
})

test('who does not belong to the mesh has no keys to replace', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const { token } = await a.json<{ token: string }>('invite')
  await a.stop()
  const dir = join(folder, 'b')
  assert.equal((await marram('join', token, '--dir', dir)).code, 0)
  const refused = await marram('rotate', '--dir', dir)
  assert.equal(refused.code, 69)
})

test('new keys that are revoked before they are taken are given up, whoever waits is told, and others take their place', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = await joined(t, folder, 'b', a)
  const old = await peerIdOf(b)
  await a.stop()
  const { peerId: revoked } = await b.json<{ peerId: string }>('rotate', '--detach')
  await b.stop()
  await a.start()
  // After a start it takes keys that waited already not before a while.
  await b.start({ bootstrap: [a.address] })
  const waiting = marram('rotate', '--dir', b.dir)
  await until('they are admitted', async () => (await stateOf(a, revoked))?.state === 'member')
  await a.run('revoke', revoked, '--detach')
  const { code, stderr } = await waiting
  assert.deepEqual([code, /were removed from the mesh/.test(stderr)], [77, true])
  assert.equal(await peerIdOf(b), old)
  const { peerId } = await b.json<{ peerId: string }>('rotate')
  assert.equal(await peerIdOf(b), peerId)
  await until('the old keys are retired', async () => (await stateOf(a, old))?.state === 'retired')
  await untilEqual(a, b)
})
