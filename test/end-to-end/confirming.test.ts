import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connectAsync } from 'mqtt'
import type { DocumentView, PeerView, Receipt, StatusView } from '../../runtime/ports/operations.ts'
import { found, joined, marram, temporaryFolder, until, untilEqual, type GatewayProcess } from './harness.ts'

async function peersOf(gateway: GatewayProcess): Promise<PeerView[]> {
  const text = await gateway.run('peers', '--json')
  return text.split('\n').map((line) => JSON.parse(line) as PeerView)
}

async function peerOf(gateway: GatewayProcess, peer: string): Promise<PeerView> {
  return (await peersOf(gateway)).find(({ peerId }) => peerId === peer) ?? assert.fail('it is not known')
}

async function idOf(gateway: GatewayProcess): Promise<string> {
  return (await gateway.json<StatusView>('status')).peerId
}

test('SPEC I31: what --wait N has confirmed survives kill -9 of those that confirmed it, right after the answer', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const others = [await joined(t, folder, 'b', a), await joined(t, folder, 'c', a)]
  for (let i = 0; i < 3; i++) {
    const { held } = await a.json<Receipt>('put', 'climate', 'kitchen', `{"n":${i}}`, '--wait', '2', '--timeout', '30s')
    assert.equal(held, 2)
    await Promise.all(others.map((each) => each.stop('SIGKILL')))
    for (const each of others) {
      // Nobody runs there: this is read from its disk.
      assert.deepEqual((await each.json<DocumentView>('get', 'climate', 'kitchen')).value, { n: i })
      await each.start()
    }
    await until('both are linked again', async () => (await a.json<StatusView>('status')).links.up === 2)
  }
  const devices = await connectAsync(a.address, { protocolVersion: 4 })
  t.after(() => devices.end(true))
  const answer = new Promise<string>((resolve) => devices.once('message', (_, payload) => resolve(payload.toString())))
  await devices.subscribeAsync('marram/response/put', { qos: 1 })
  const request = { transaction: 't', collection: 'climate', key: 'kitchen', value: { n: 9 }, wait: 2, timeout: '30s' }
  await devices.publishAsync('marram/request/put', JSON.stringify(request), { qos: 1 })
  assert.match(await answer, /"transaction":"t","status":"ok".*"held":2/)
})

test('a write that too few confirm in time stands, and says how many have it; more gateways than there are is refused', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = await joined(t, folder, 'b', a)
  const c = await joined(t, folder, 'c', a)
  await a.run('put', 'climate', 'kitchen', '{"n":1}', '--wait', '2')
  await c.stop()
  const few = await marram('put', 'climate', 'kitchen', '{"n":2}', '--wait', '2', '--timeout', '1s', '--dir', a.dir)
  assert.equal(few.code, 124)
  assert.match(few.stderr, /1 of 2 other gateways/)
  for (const each of [a, b])
    assert.deepEqual((await each.json<DocumentView>('get', 'climate', 'kitchen')).value, { n: 2 })
  const many = await marram('put', 'climate', 'kitchen', '{"n":3}', '--wait', '3', '--dir', a.dir)
  assert.equal(many.code, 1)
  assert.match(many.stderr, /the mesh has 2, nothing was written/)
  assert.deepEqual((await a.json<DocumentView>('get', 'climate', 'kitchen')).value, { n: 2 })
})

test('peers says what each has on its disk: of one that is fresh, away, behind, and over a restart of ours', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  await a.run('put', 'climate', 'kitchen', '{"n":1}')
  const alone = await a.json<StatusView>('status')
  assert.ok(alone.queue.unconfirmed.batches > 0 && alone.queue.unconfirmed.bytes > 0, 'nobody else has it')
  const b = await joined(t, folder, 'b', a)
  const peer = await idOf(b)
  await untilEqual(a, b)
  await until('a fresh one has all', async () => (await peerOf(a, peer)).lag?.batches === 0)
  assert.equal((await a.json<StatusView>('status')).queue.unconfirmed.batches, 0)
  await b.stop()
  await until('the link is down', async () => (await a.json<StatusView>('status')).links.up === 0)
  for (let i = 0; i < 5; i++) await a.run('put', 'climate', 'kitchen', `{"n":${i}}`)
  const away = await peerOf(a, peer)
  assert.deepEqual([away.state, away.lag?.batches, away.link], ['known', 5, null])
  assert.ok(away.lag !== null)
  assert.ok(away.lag.bytes > 5 * 150 && away.lag.bytes < 5 * 500, `${away.lag.bytes} bytes`)
  assert.ok(away.lag.seconds > 0 && away.lag.seconds < 120, `${away.lag.seconds} s`)
  assert.ok(Date.parse(away.lastContact ?? '') > Date.parse('2026-01-01'))
  assert.equal(away.version, alone.version)
  const { unconfirmed } = (await a.json<StatusView>('status')).queue
  assert.deepEqual([unconfirmed.batches, unconfirmed.bytes], [5, away.lag.bytes])

  await a.stop('SIGKILL')
  await a.start()
  const after = await peerOf(a, peer)
  assert.deepEqual([after.state, after.lag?.batches, after.lag?.bytes], ['known', 5, away.lag.bytes])
  assert.equal(after.lastContact, away.lastContact)

  await b.start()
  await untilEqual(a, b)
  await until('it has caught up', async () => (await peerOf(a, peer)).lag?.batches === 0)
})

test('a gateway that is restored from an old backup has what it has, not what it had', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = await joined(t, folder, 'b', a)
  const peer = await idOf(b)
  await a.run('put', 'climate', 'old', '{"n":1}', '--wait', '1')
  await b.stop()
  const copy = `${folder}/b.backup`
  await b.run('backup', copy)
  await b.start()
  for (let i = 0; i < 20; i++) await a.run('put', 'climate', `new-${i}`, '{"n":1}')
  await until('it has all', async () => (await peerOf(a, peer)).lag?.batches === 0)
  await b.stop()
  await b.run('restore', copy, '--force')
  await b.start()
  await untilEqual(a, b)
  await until('it has all again', async () => (await peerOf(a, peer)).lag?.batches === 0)
  const { held } = await a.json<Receipt>('put', 'climate', 'last', '{"n":1}', '--wait', '1')
  assert.equal(held, 1)
})
