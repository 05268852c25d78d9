import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import type { MemberView, StatusView } from '../../runtime/ports/operations.ts'
import { joinGateway } from '../../runtime/setup.ts'
import { decodeInvite, encodeInvite } from '../../runtime/wire/invite.ts'
import { found, freePort, GatewayProcess, joined, marram, temporaryFolder, until, untilEqual } from './harness.ts'

test('a joiner that reaches a gateway which may not admit anyone is sent to one that may', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = await joined(t, folder, 'b', a)
  const invite = decodeInvite((await a.json<{ token: string }>('invite')).token)
  assert.ok(invite.ok)
  const c = new GatewayProcess(join(folder, 'c'))
  t.after(() => c.stop('SIGKILL'))
  joinGateway({ dir: c.dir, token: encodeInvite({ ...invite.value, addresses: [b.address] }) })
  await c.start()
  await until('c is enrolled', async () => (await c.json<StatusView>('status')).enrolled)
})

test('a joiner that only such a gateway reaches is let in through it, also when nobody is there at once who may', async (t) => {
  const folder = temporaryFolder()
  const settings = { set: ['mesh.discovery=["bootstrap"]'] }
  const a = await found(t, folder, 'a', settings)
  const b = await joined(t, folder, 'b', a, settings)
  const { token } = await a.json<{ token: string }>('invite', '--until', '1h')
  await untilEqual(a, b)
  // Nobody is any more where the invite says.
  await a.stop()
  const c = new GatewayProcess(join(folder, 'c'))
  t.after(() => c.stop('SIGKILL'))
  await c.run('join', token)
  await c.start({ ...settings, bootstrap: [b.address] })
  await c.run('put', 'climate', 'hall', '{"v":1}')
  const passed = async (): Promise<boolean> => b.lines.some(({ event }) => event === 'join-passed-on')
  await until('b has passed it on', passed)
  assert.equal((await c.json<StatusView>('status')).enrolled, false)
  await b.stop('SIGKILL')
  await b.start(settings)
  await a.start({ ...settings, port: await freePort(), bootstrap: [b.address] })
  await until('c is enrolled', async () => (await c.json<StatusView>('status')).enrolled)
  await untilEqual(a, b, c)
  const member = (await a.run('members', '--json')).split('\n').map((line) => JSON.parse(line) as MemberView)
  const { peerId } = await c.json<StatusView>('status')
  assert.notEqual(member.find((one) => one.peerId === peerId)?.until, null, 'for as long as the invite says')
})

test('what a joiner has written where it is given no right stays at home until it has it, and it goes on as a member', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const { token } = await a.json<{ token: string }>('invite', '--role', 'viewer')
  await a.stop()
  const b = new GatewayProcess(join(folder, 'b'))
  t.after(() => b.stop('SIGKILL'))
  await b.run('join', token)
  await b.start()
  await b.run('put', 'climate', 'hall', '{"v":1}')
  await a.start()
  await until('b is enrolled', async () => (await b.json<StatusView>('status')).enrolled)
  await a.run('put', 'climate', 'porch', '{"v":2}')
  await until('b has what a wrote', async () => (await b.run('list', 'climate')).includes('porch'))
  const { peerId } = await b.json<StatusView>('status')
  await a.run('grant', peerId, '--allow', 'climate=write')
  await until(
    'b may write there',
    async () => (await marram('put', 'climate', 'yard', '{"v":3}', '--dir', b.dir)).code === 0,
  )
  assert.equal(await b.stop(), 0)
  await b.start()
  await untilEqual(a, b)
  assert.ok((await a.run('list', 'climate')).includes('hall'))
})
