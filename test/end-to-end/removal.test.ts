import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DocumentView, MemberView, StatusView } from '../../runtime/ports/operations.ts'
import { found, GatewayProcess, joined, marram, temporaryFolder, until, untilEqual } from './harness.ts'

async function idOf(gateway: GatewayProcess): Promise<string> {
  return (await gateway.json<StatusView>('status')).peerId
}

async function valueOf(gateway: GatewayProcess, key: string): Promise<unknown> {
  const { code, stdout } = await marram('get', 'climate', key, '--json', '--dir', gateway.dir)
  return code === 0 ? (JSON.parse(stdout) as DocumentView).value : null
}

async function stateOf(gateway: GatewayProcess, peer: string): Promise<string | undefined> {
  const lines = (await gateway.run('members', '--json')).split('\n')
  return lines.map((line) => JSON.parse(line) as MemberView).find(({ peerId }) => peerId === peer)?.state
}

const isRemoved = async (gateway: GatewayProcess): Promise<boolean> =>
  (await gateway.json<StatusView>('status')).warnings.some((warning) => warning.startsWith('removed:'))

test('a stolen gateway is closed out at once, learns it from signed proof, and serves its devices alone', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = await joined(t, folder, 'b', a)
  const c = await joined(t, folder, 'c', a, { bootstrap: [a.address, b.address] })
  const thief = await idOf(c)
  await c.run('put', 'climate', 'kitchen', '{"v":1}')
  await untilEqual(a, b, c)
  assert.equal((await marram('revoke', thief, '--dir', b.dir)).code, 77, 'only administrators remove')
  assert.equal((await marram('revoke', 'nobody', '--dir', a.dir)).code, 1)
  assert.equal((await marram('revoke', await idOf(a), '--dir', a.dir)).code, 1, 'not oneself')
  await a.run('revoke', thief)
  assert.equal(await stateOf(a, thief), 'revoked')
  await until('the other members know', async () => (await stateOf(b, thief)) === 'revoked')
  await until('it knows itself', () => isRemoved(c))
  await c.run('put', 'climate', 'kitchen', '{"v":2}')
  await a.run('put', 'climate', 'cellar', '{"v":3}')
  await untilEqual(a, b)
  assert.deepEqual(await valueOf(b, 'kitchen'), { v: 1 }, 'what all had stays, what came later does not arrive')
  assert.deepEqual(await valueOf(c, 'kitchen'), { v: 2 }, 'it goes on for its own devices')
  assert.equal(await valueOf(c, 'cellar'), null)
  await c.stop()
  await c.start({ bootstrap: [a.address, b.address] })
  assert.equal(await isRemoved(c), true, 'also after a restart')
  assert.equal((await c.json<StatusView>('status')).enrolled, false)
})

test('what a stolen gateway wrote later is void though an honest one brings it; what was there before stays', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = await joined(t, folder, 'b', a)
  const c = await joined(t, folder, 'c', a, { bootstrap: [b.address] })
  await c.run('put', 'climate', 'kitchen', '{"v":"honest"}')
  await untilEqual(a, b, c)
  const since = new Date(Date.now() + 1).toISOString()
  await new Promise((resolve) => setTimeout(resolve, 5))
  const thief = await idOf(c)
  await a.stop()
  await c.run('put', 'climate', 'kitchen', '{"v":"forged"}')
  await c.run('put', 'climate', 'cellar', '{"v":"forged"}')
  await untilEqual(b, c)
  await Promise.all([b.stop(), c.stop('SIGKILL')])
  await a.start()
  await a.run('revoke', thief, '--since', since, '--now')
  await b.start({ bootstrap: [a.address] })
  await until('the other one has cut it', async () => (await valueOf(b, 'cellar')) === null)
  await untilEqual(a, b)
  assert.deepEqual(await valueOf(b, 'kitchen'), { v: 'honest' })
  assert.equal(await valueOf(a, 'cellar'), null)
})

test('of a lost gateway nothing is lost that any other holds', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = await joined(t, folder, 'b', a)
  const c = await joined(t, folder, 'c', a, { bootstrap: [b.address] })
  const lost = await idOf(c)
  await untilEqual(a, b, c)
  await a.stop()
  await c.run('put', 'climate', 'kitchen', '{"v":"last words"}')
  await untilEqual(b, c)
  await Promise.all([b.stop(), c.stop('SIGKILL')])
  await a.start()
  await a.run('retire', lost, '--detach')
  assert.equal(await stateOf(a, lost), 'closing', 'the one that is silent is waited for')
  await b.start({ bootstrap: [a.address] })
  await until('it is done', async () => (await stateOf(a, lost)) === 'retired')
  await untilEqual(a, b)
  assert.deepEqual(await valueOf(a, 'kitchen'), { v: 'last words' })
  await c.start({ bootstrap: [a.address, b.address] })
  await until('the lost one, found again, knows', () => isRemoved(c))
})
