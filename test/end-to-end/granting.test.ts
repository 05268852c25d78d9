import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import type { MemberView, StatusView } from '../../runtime/ports/operations.ts'
import { found, GatewayProcess, joined, marram, temporaryFolder, until, untilEqual } from './harness.ts'

async function member(of: GatewayProcess, peerId: string): Promise<MemberView | undefined> {
  const lines = (await of.run('members', '--json')).split('\n')
  return lines.map((line) => JSON.parse(line) as MemberView).find((one) => one.peerId === peerId)
}

test('a viewer writes nothing until it is granted a collection, and then only there, on every gateway', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = new GatewayProcess(join(folder, 'b'))
  t.after(() => b.stop('SIGKILL'))
  const { token } = await a.json<{ token: string }>('invite', '--role', 'viewer')
  await b.run('join', token)
  await b.start({ set: ['node.name=b'] })
  await until('b is enrolled', async () => (await b.json<StatusView>('status')).enrolled)
  const { peerId } = await b.json<StatusView>('status')
  const put = async (collection: string): Promise<number> =>
    (await marram('put', collection, 'k', '{"v":1}', '--dir', b.dir)).code
  assert.equal(await put('climate'), 77, 'it may only read')
  await a.run('grant', peerId, '--allow', 'climate=write,delete', '--allow', 'plugs/x=write', '--label', 'north')
  await until('b has heard of it', async () => ((await member(b, peerId))?.grants.length ?? 0) > 1)
  assert.deepEqual((await member(b, peerId))?.roles, ['north', 'viewer'])
  assert.equal(await put('climate'), 0)
  assert.equal(await put('plugs'), 77, 'that was granted for another partition')
  const c = await joined(t, folder, 'c', a, { bootstrap: [a.address] })
  await untilEqual(a, b, c)
  assert.equal((await c.json<{ count: number }>('count', 'climate')).count, 1)
  await b.stop()
  await b.start({ set: ['node.name=b'] })
  assert.equal(await put('climate'), 0, 'also after a restart')
})

test('what was granted for a time ends with it, and only administrators grant', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = await joined(t, folder, 'b', a, { set: ['node.name=b'] })
  const { peerId } = await b.json<StatusView>('status')
  const grant = async (on: GatewayProcess, ...args: string[]): Promise<number> =>
    (await marram('grant', peerId, ...args, '--dir', on.dir)).code
  assert.equal(await grant(b, '--role', 'gateway'), 77)
  assert.equal(await grant(a), 1, 'nothing was named')
  for (const wrong of ['$mesh=write', 'climate', 'climate=fly', 'Climate=read'])
    assert.equal(await grant(a, '--allow', wrong), 1, wrong)
  assert.equal(await grant(a, '--role', 'emperor'), 1)
  assert.equal(await grant(a, '--label', 'admin'), 1, 'a role is no label')
  assert.equal(await grant(a, '--role', 'gateway', '--until', '2020-01-01'), 1)
  assert.equal((await marram('grant', 'nobody', '--role', 'gateway', '--dir', a.dir)).code, 1)
  assert.equal(await grant(a, '--allow', 'climate=write', '--from', '1h', '--until', '2h'), 0)
  const [, later] = (await member(a, peerId))?.grants ?? []
  assert.ok(later && later.until !== null)
  assert.equal(Date.parse(later.until) - Date.parse(later.since), 3_600_000)
  assert.equal(await grant(a, '--role', 'admin'), 0, 'a holds the root key')
  await until('b may invite', async () => (await marram('invite', '--dir', b.dir)).code === 0)
})
