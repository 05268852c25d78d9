import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { BROKER_LIMITS } from '../../runtime/base/limits.ts'
import type { BrokerClient, RoutedPacket } from '../../runtime/broker/clients.ts'
import { judgeDelivery } from '../../runtime/broker/delivery.ts'
import { Queue } from '../../runtime/broker/queue.ts'
import { encodePacket, retainedKey } from '../../runtime/broker/records.ts'
import { createMemoryStore } from '../../runtime/store/memory.ts'
import { connect, Inbox, openBroker, until } from './fixture.ts'
import { RawClient } from './raw-client.ts'

/** A store whose flushes take turns of the event loop, as a disk's do. */
function slowStore(): ReturnType<typeof createMemoryStore> {
  return createMemoryStore({ onFlush: (_bytes, done) => void setTimeout(done, 1) })
}

for (const clean of [true, false]) {
  test(`messages of mixed QoS all arrive, in order per QoS, at a ${clean ? 'clean' : 'lasting'} session`, async (t) => {
    const { broker, port } = await openBroker({ store: slowStore() })
    t.after(() => broker.close())
    const subscriber = await connect(port, { clientId: 'panel', clean })
    const publishers = await Promise.all([0, 1, 2].map(() => connect(port)))
    t.after(() => [subscriber, ...publishers].map((client) => client.end(true)))
    const inbox = new Inbox(subscriber)
    await subscriber.subscribeAsync('t/#', { qos: 2 })
    const each = 300
    await Promise.all(
      publishers.map(async (client, qos) => {
        const sent = Array.from({ length: each }, (_, i) =>
          client.publishAsync(`t/${qos}`, String(i), { qos: qos as 0 | 1 | 2, retain: i % 10 === 0 }),
        )
        await Promise.all(sent)
      }),
    )
    await inbox.until(3 * each)
    for (const qos of [0, 1, 2]) {
      const numbers = inbox.messages.filter(({ topic }) => topic === `t/${qos}`).map(({ payload }) => Number(payload))
      assert.deepEqual(
        numbers,
        Array.from({ length: each }, (_, i) => i),
        `QoS ${qos}`,
      )
    }
    await until(() => broker.status().queuedMessages === 0)
  })
}

test('a subscriber that takes nothing holds up nobody, and loses what it does not take', async (t) => {
  const { broker, port } = await openBroker()
  t.after(() => broker.close())
  const frozen = await RawClient.dial(port)
  frozen.connect('frozen', { clean: true })
  await frozen.until('connack')
  frozen.subscribe('t/#', 0)
  await frozen.until('suback')
  frozen.socket.pause()
  const [publisher, reader] = [await connect(port), await connect(port)]
  t.after(() => [publisher.end(true), reader.end(true), frozen.end()])
  const inbox = new Inbox(reader)
  await reader.subscribeAsync('t/#', { qos: 1 })
  // Several times what fits into the kernel's buffers and ours, in messages small enough for hundreds to wait at once.
  const [count, payload] = [8_000, 'x'.repeat(4_000)]
  for (let sent = 0; sent < count; sent += 100) {
    await Promise.all(Array.from({ length: 100 }, () => publisher.publishAsync('t/a', payload, { qos: 1 })))
  }
  await inbox.until(count)
  frozen.socket.resume()
  let taken = 0
  while (frozen.socket.readableLength > 0 || taken === 0) {
    while (frozen.take('publish')) taken += 1
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await publisher.publishAsync('t/end', 'end', { qos: 1 })
  // Undefined when it took nothing for so long, on a slow machine, that it was disconnected.
  for (
    let packet = await frozen.until('publish');
    packet && !packet.body.includes('t/end');
    packet = await frozen.until('publish')
  )
    taken += 1
  assert.ok(taken > 0 && taken < count, `${taken} were taken`)
})

test('a subscriber with a full queue is spared what has no room in it, not disconnected', async (t) => {
  const { broker, port } = await openBroker({ sessions: { maxQueued: 5, maxQueuedBytes: 1_000, expiryMs: 1_000_000 } })
  t.after(() => broker.close())
  const lazy = await RawClient.open(port, 'lazy')
  lazy.subscribe('t/#', 1)
  await lazy.until('suback')
  const publisher = await connect(port)
  t.after(() => [publisher.end(true), lazy.end()])
  for (let i = 0; i < 8; i++) await publisher.publishAsync('t/a', String(i), { qos: 1 })
  await publisher.publishAsync('t/end', 'end', { qos: 0 })
  const payloads: (string | undefined)[] = []
  while (payloads.length < 6)
    payloads.push((await lazy.until('publish'))?.body.toString('latin1').replace(/^.*t\/(a..|end)/s, ''))
  assert.deepEqual(payloads, ['0', '1', '2', '3', '4', 'end'])
})

test('a message whose subscription was given up while it waited is still acknowledged, and gone then', async (t) => {
  const { broker, port } = await openBroker()
  t.after(() => broker.close())
  const first = await RawClient.open(port, 'panel')
  first.subscribe('t/#', 1)
  await first.until('suback')
  const publisher = await connect(port)
  t.after(() => publisher.end(true))
  await publisher.publishAsync('t/a', 'x', { qos: 1 })
  await first.until('publish')
  first.unsubscribe('t/#')
  await first.until('unsuback')
  first.end()
  const again = await connect(port, { clientId: 'panel', clean: false })
  t.after(() => again.end(true))
  await until(() => broker.status().queuedMessages === 0)
})

test("what is said on gateways' own topics reaches no ordinary client", async (t) => {
  const { broker, port } = await openBroker()
  t.after(() => broker.close())
  const client = await connect(port)
  t.after(() => client.end(true))
  const inbox = new Inbox(client)
  await client.subscribeAsync(['#', 'marram/+/#'])
  await broker.publish({ topic: 'marram/sync/0123abcd/a/b', payload: 'frame', qos: 0, retain: false })
  await broker.publish({ topic: 'marram/event', payload: '{}', qos: 0, retain: false })
  await inbox.until(1)
  assert.ok(inbox.messages.every(({ topic }) => topic === 'marram/event'))
})

test('a subscriber that takes no QoS 1 messages is disconnected, and gets them when it comes back', async (t) => {
  const { broker, port } = await openBroker({
    sessions: { maxQueued: 10_000, maxQueuedBytes: 1 << 28, expiryMs: 1_000_000 },
  })
  t.after(() => broker.close())
  const frozen = await RawClient.open(port, 'panel')
  frozen.subscribe('t/#', 1)
  await frozen.until('suback')
  frozen.socket.pause()
  const publisher = await connect(port)
  t.after(() => publisher.end(true))
  const payload = 'x'.repeat(100_000)
  let count = 0
  for (; broker.status().clients === 2; count++) {
    assert.ok(count * payload.length < 4 * BROKER_LIMITS.bufferedBytesEnd, 'it is never disconnected')
    await publisher.publishAsync('t/a', payload, { qos: 1 })
  }
  frozen.end()
  const returned = await connect(port, { clientId: 'panel', clean: false })
  t.after(() => returned.end(true))
  await until(() => broker.status().queuedMessages === 0)
})

test('a message arrives with no more than the QoS that was granted', async (t) => {
  const { broker, port } = await openBroker()
  t.after(() => broker.close())
  const client = await connect(port)
  t.after(() => client.end(true))
  await client.publishAsync('t/retained', 'r', { qos: 2, retain: true })
  const inbox = new Inbox(client)
  await client.subscribeAsync('t/+', { qos: 1 })
  await client.publishAsync('t/live', 'l', { qos: 2 })
  await inbox.until(2)
  assert.deepEqual(
    inbox.messages.map(({ payload, qos, retain }) => [payload, qos, retain]),
    [
      ['r', 1, true],
      ['l', 1, false],
    ],
  )
})

test('a lasting session takes a retained QoS 2 message without being disconnected', async (t) => {
  const { broker, port } = await openBroker()
  t.after(() => broker.close())
  const client = await connect(port, { clientId: 'panel', clean: false })
  t.after(() => client.end(true))
  await client.publishAsync('t/a', 'r', { qos: 2, retain: true })
  const inbox = new Inbox(client)
  await client.subscribeAsync('t/#', { qos: 2 })
  await inbox.until(1)
  await client.publishAsync('t/a', 'l', { qos: 2 })
  await inbox.until(2)
  assert.deepEqual(inbox.payloads(), ['r', 'l'])
})

test('a retained message takes no identifier under which the client has one of its queue', () => {
  const packet = { cmd: 'publish', topic: 't/a', payload: 'x', qos: 1, dup: false, brokerId: 'b' } as const
  const queue = new Queue()
  for (const brokerCounter of [1, 2]) {
    const queued = { ...packet, retain: false, brokerCounter }
    queue.add({ number: brokerCounter, packet: queued, bytes: 1, sessions: 1 })
    queue.assign(queued, 65_535)
  }
  const client = {
    login: { kind: 'device', user: null, publish: null, subscribe: null },
    subscriptions: { 't/+': { qos: 1 } },
    connected: true,
    conn: { writableLength: 0 },
    _nextId: 65_535,
  } as unknown as BrokerClient
  const given = [3, 4].map((brokerCounter) => {
    const retained: RoutedPacket = { ...packet, retain: true, brokerCounter }
    assert.equal(judgeDelivery(client, retained, queue), 'deliver')
    return retained.messageId
  })
  assert.deepEqual(given, [2, 3])
})

test('an empty retained message removes the one before', async (t) => {
  const { broker, port, store } = await openBroker()
  t.after(() => broker.close())
  const client = await connect(port)
  t.after(() => client.end(true))
  await client.publishAsync('t/a', 'r', { qos: 1, retain: true })
  await client.publishAsync('t/a', '', { qos: 1, retain: true })
  assert.equal(broker.status().retained, 0)
  assert.deepEqual(store.scanRecords('broker/retained/'), [])
})

test('a message too large to keep is handed on, not retained, and said', async (t) => {
  const { broker, port } = await openBroker({ maxPacket: 1_048_576 })
  t.after(() => broker.close())
  const client = await connect(port)
  t.after(() => client.end(true))
  const inbox = new Inbox(client)
  await client.subscribeAsync('t/a')
  await client.publishAsync('t/a', 'x'.repeat(BROKER_LIMITS.keptMessageBytesMax + 1), { qos: 1, retain: true })
  await inbox.until(1)
  assert.equal(broker.status().retained, 0)
})

test('what is on its way to the disk counts among the retained', async (t) => {
  const { broker } = await openBroker({ store: slowStore() })
  t.after(() => broker.close())
  const payload = 'x'.repeat(500_000)
  const publish = (i: number): Promise<void> => broker.publish({ topic: `t/${i}`, payload, qos: 0, retain: true })
  await Promise.all(Array.from({ length: 100 }, (_, i) => publish(i)))
  assert.equal(broker.status().retained, Math.floor(BROKER_LIMITS.retainedBytesMax / 500_004))
})

test('of more retained messages than there may be each can be removed', async (t) => {
  const store = createMemoryStore()
  const payload = 'x'.repeat(500_000)
  for (let i = 0; i < 80; i++) {
    const topic = `t/${i}`
    const value = encodePacket({ topic, qos: 0, retain: true, payload })
    await store.append({ batches: [], records: [{ key: retainedKey(topic), value }] })
  }
  const { broker } = await openBroker({ store })
  t.after(() => broker.close())
  await broker.publish({ topic: 't/1', payload: '', qos: 0, retain: true })
  assert.equal(broker.status().retained, 79)
})

test('what the gateway publishes reaches those who subscribe, and is kept when it is to be retained', async (t) => {
  const { broker, port } = await openBroker()
  t.after(() => broker.close())
  await broker.publish({ topic: 'marram/state', payload: '{"state":"online"}', qos: 1, retain: true })
  const client = await connect(port)
  t.after(() => client.end(true))
  const inbox = new Inbox(client)
  await client.subscribeAsync('marram/#', { qos: 1 })
  await broker.publish({ topic: 'marram/event', payload: new Uint8Array([123, 125]), qos: 0, retain: false })
  await inbox.until(2)
  assert.deepEqual(
    inbox.messages.map(({ topic, payload, retain }) => [topic, payload, retain]),
    [
      ['marram/state', '{"state":"online"}', true],
      ['marram/event', '{}', false],
    ],
  )
})
