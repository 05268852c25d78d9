import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import type { MemberView, PeerView, StatusView } from '../../runtime/ports/operations.ts'
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

test('a membership that is for a time ends by itself, and goes on when more is granted', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = new GatewayProcess(join(folder, 'b'))
  t.after(() => b.stop('SIGKILL'))
  assert.equal((await marram('invite', '--until', '2020-01-01', '--dir', a.dir)).code, 1)
  const { token } = await a.json<{ token: string }>('invite', '--until', '15s')
  await b.run('join', token)
  await b.start({ set: ['node.name=b'] })
  await until('b is enrolled', async () => (await b.json<StatusView>('status')).enrolled)
  const { peerId } = await b.json<StatusView>('status')
  await b.run('put', 'climate', 'hall', '{"v":1}')
  await untilEqual(a, b)
  await until('it has ended', async () => (await member(a, peerId))?.state === 'ended')
  await until('it is told as well', () => b.lines.some(({ event }) => event === 'membership-ended'))
  await until('there is no link', async () => (await a.json<StatusView>('status')).links.up === 0)
  await a.run('put', 'climate', 'later', '{"v":2}')
  const { code, stderr } = await marram('put', 'climate', 'hall', '{"v":3}', '--dir', b.dir)
  assert.deepEqual([code, /marram grant/.test(stderr)], [77, true])
  assert.ok((await b.json<StatusView>('status')).warnings.some((warning) => warning.startsWith('membership-ended')))
  assert.equal((await marram('get', 'climate', 'later', '--dir', b.dir)).code, 1, 'it gets nothing any more')
  await a.run('grant', peerId, '--role', 'gateway')
  await untilEqual(a, b)
  await b.run('put', 'climate', 'hall', '{"v":4}')
  await untilEqual(a, b)
})

test('what may be read for a time is served until then and no longer', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = new GatewayProcess(join(folder, 'b'))
  t.after(() => b.stop('SIGKILL'))
  const { token } = await a.json<{ token: string }>('invite', '--role', 'sensor')
  await b.run('join', token)
  await b.start({ set: ['node.name=b'] })
  await until('b is enrolled', async () => (await b.json<StatusView>('status')).enrolled)
  const { peerId } = await b.json<StatusView>('status')
  const reads = async (key: string): Promise<boolean> =>
    (await marram('get', 'climate', key, '--dir', b.dir)).code === 0
  await a.run('grant', peerId, '--allow', 'climate=read', '--until', '20s')
  await a.run('put', 'climate', 'early', '{"v":1}')
  await until('b reads it', () => reads('early'))
  // A link is made anew whenever the rights of its other end change.
  const changes = (): number => a.lines.filter(({ reason }) => reason === 'its rights have changed').length
  const before = changes()
  await until('that has ended', () => changes() > before)
  await a.run('put', 'climate', 'late', '{"v":1}')
  await a.run('put', 'plugs', 'late', '{"v":1}')
  await until('b has heard of what comes after', async () => {
    const { peers } = {
      peers: (await a.run('peers', '--json')).split('\n').map((line) => JSON.parse(line) as PeerView),
    }
    return peers.some(({ state, lag }) => state === 'up' && lag?.batches === 0)
  })
  assert.equal(await reads('late'), false)
})

test('an administrator for a time writes nothing as one when that has ended, which nobody would take, and again when it is given more', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = new GatewayProcess(join(folder, 'b'))
  t.after(() => b.stop('SIGKILL'))
  const { token } = await a.json<{ token: string }>('invite', '--role', 'admin', '--until', '15s')
  await b.run('join', token)
  await b.start({ set: ['node.name=b'] })
  await until('b is enrolled', async () => (await b.json<StatusView>('status')).enrolled)
  const { peerId } = await b.json<StatusView>('status')
  assert.equal((await marram('invite', '--dir', b.dir)).code, 0)
  await until('it has ended', async () => (await member(b, peerId))?.state === 'ended')
  const { peerId: other } = await a.json<StatusView>('status')
  for (const command of [['invite'], ['grant', other, '--role', 'viewer'], ['retire', other, '--detach']])
    assert.equal((await marram(...command, '--dir', b.dir)).code, 77, command.join(' '))
  await a.run('grant', peerId, '--role', 'admin')
  await until('b may invite again', async () => (await marram('invite', '--dir', b.dir)).code === 0)
  await untilEqual(a, b)
})

test('devices that write until the end of a membership, and beyond, do not shut their gateway out when it is given more', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = new GatewayProcess(join(folder, 'b'))
  t.after(() => b.stop('SIGKILL'))
  const { token } = await a.json<{ token: string }>('invite', '--until', '12s')
  await b.run('join', token)
  await b.start({ set: ['node.name=b', 'sync.batch.maxDelay="500ms"'] })
  await until('b is enrolled', async () => (await b.json<StatusView>('status')).enrolled)
  const { peerId } = await b.json<StatusView>('status')
  let isOver = false
  for (let i = 0; !isOver; i++)
    isOver = (await marram('put', 'climate', 'hall', `{"v":${i}}`, '--dir', b.dir)).code === 77
  await until('there is no link', async () => (await a.json<StatusView>('status')).links.up === 0)
  await a.run('put', 'climate', 'later', '{"v":2}')
  await a.run('grant', peerId, '--role', 'gateway')
  await b.run('put', 'climate', 'attic', '{"v":4}').catch(() => {})
  await until(
    'b may write',
    async () => (await marram('put', 'climate', 'attic', '{"v":5}', '--dir', b.dir)).code === 0,
  )
  await untilEqual(a, b)
})
