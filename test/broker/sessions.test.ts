import { strict as assert } from 'node:assert'
import type { MqttClient } from 'mqtt'
import { CLIENT_LIMITS } from '../../runtime/base/limits.ts'
import { test } from 'node:test'
import type { KeyValue } from '../../runtime/ports/store.ts'
import { createMemoryStore } from '../../runtime/store/memory.ts'
import { MarramError } from '../../runtime/base/errors.ts'
import { connect, Inbox, openBroker, RecordingHandler, recordingLog, until } from './fixture.ts'
import {
  decodeSession,
  encodePacket,
  encodeSession,
  queueKey,
  retainedKey,
  sessionKey,
} from '../../runtime/broker/records.ts'
import { RawClient } from './raw-client.ts'

const LASTING = { clientId: 'panel', clean: false }

/** What the disk has: records whose append has resolved, for another broker to start from after a power cut. */
function contentOf(store: { scanRecords(prefix: string): KeyValue[] }): string[] {
  return store.scanRecords('broker/').map(({ key }) => key)
}

test('a session, its queue and retained messages survive a power cut', async (t) => {
  const store = createMemoryStore()
  const before = await openBroker({ store })
  const panel = await connect(before.port, LASTING)
  await panel.subscribeAsync('a/+', { qos: 1 })
  panel.end(true)
  await until(() => before.broker.status().clients === 0)
  const device = await connect(before.port)
  for (const payload of ['1', '2', '3']) await device.publishAsync('a/b', payload, { qos: 1, retain: payload === '3' })
  device.end(true)
  // What was acknowledged is on the disk now: the next broker gets no more than that, and no goodbye.
  const crashed = createMemoryStore()
  await crashed.append({ batches: [], records: store.scanRecords('broker/') })
  const after = await openBroker({ store: crashed })
  t.after(() => Promise.all([before.broker.close(), after.broker.close()]))
  assert.deepEqual(after.broker.status(), { clients: 0, sessions: 1, retained: 1, queuedMessages: 3, queuedBytes: 12 })
  const returned = await RawClient.open(after.port, 'panel')
  t.after(() => returned.end())
  const published = [await returned.until('publish'), await returned.until('publish'), await returned.until('publish')]
  assert.deepEqual(
    published.map((packet) => packet?.body.subarray(7).toString()),
    ['1', '2', '3'],
  )
  const client = await connect(after.port)
  t.after(() => client.end(true))
  const inbox = new Inbox(client)
  await client.subscribeAsync('a/#', { qos: 1 })
  await inbox.until(1)
  assert.deepEqual(inbox.messages[0], { topic: 'a/b', payload: '3', qos: 1, retain: true, dup: false })
})

test('what a client has acknowledged is gone from the disk, and nothing else', async (t) => {
  const { broker, port, store } = await openBroker()
  t.after(() => broker.close())
  const device = await connect(port)
  t.after(() => device.end(true))
  for (const clientId of ['one', 'two']) {
    const client = await connect(port, { clientId, clean: false })
    await client.subscribeAsync('a/#', { qos: 1 })
    client.end(true)
  }
  await until(() => broker.status().clients === 1)
  await device.publishAsync('a/b', 'x', { qos: 1 })
  const kept = contentOf(store)
  assert.equal(kept.filter((key) => key.startsWith('broker/message/')).length, 1)
  assert.equal(kept.filter((key) => key.startsWith('broker/queue/')).length, 2)
  const one = await connect(port, { clientId: 'one', clean: false })
  t.after(() => one.end(true))
  await until(() => contentOf(store).filter((key) => key.startsWith('broker/queue/')).length === 1)
  assert.equal(contentOf(store).filter((key) => key.startsWith('broker/message/')).length, 1)
  const two = await connect(port, { clientId: 'two', clean: false })
  t.after(() => two.end(true))
  await until(() => contentOf(store).every((key) => key.startsWith('broker/session/')))
  assert.equal(broker.status().queuedBytes, 0)
})

test('a client that asks for a clean session leaves nothing of its old one', async (t) => {
  const { broker, port, store } = await openBroker()
  t.after(() => broker.close())
  const first = await connect(port, LASTING)
  await first.subscribeAsync(['a/#', 'marram/data/climate/+'], { qos: 1 })
  first.end(true)
  await until(() => broker.status().clients === 0)
  assert.equal(broker.isWatched('climate'), true)
  const device = await connect(port)
  await device.publishAsync('a/b', 'x', { qos: 1 })
  assert.ok(contentOf(store).length >= 3)
  const clean = await connect(port, { clientId: 'panel', clean: true })
  t.after(() => [device.end(true), clean.end(true)])
  assert.deepEqual(contentOf(store), [])
  assert.equal(broker.isWatched('climate'), false)
  assert.equal(broker.status().sessions, 0)
})

test('a full queue refuses the newest messages, counts bytes as well, and says so', async (t) => {
  const { log, lines } = recordingLog()
  const { broker, port } = await openBroker({
    log,
    sessions: { maxQueued: 5, maxQueuedBytes: 40, expiryMs: 1_000_000 },
  })
  t.after(() => broker.close())
  const panel = await connect(port, LASTING)
  await panel.subscribeAsync('a/b', { qos: 1 })
  panel.end(true)
  await until(() => broker.status().clients === 0)
  const device = await connect(port)
  t.after(() => device.end(true))
  await Promise.all(
    ['1', '2', '3', '4', '5', '6', '7'].map((payload) => device.publishAsync('a/b', payload, { qos: 1 })),
  )
  assert.equal(broker.status().queuedMessages, 5)
  await device.publishAsync('a/b', 'x'.repeat(40), { qos: 1 })
  assert.equal(broker.status().queuedMessages, 5)
  assert.ok(
    lines.some(
      ({ event, fields }) => event === 'mqtt-message-dropped' && (fields as { reason: string }).reason === 'queue-full',
    ),
  )
  const returned = await connect(port, { ...LASTING, manualConnect: false })
  const inbox = new Inbox(returned)
  t.after(() => returned.end(true))
  await until(() => broker.status().queuedMessages === 0)
  assert.ok(inbox.payloads().every((payload) => Number(payload) <= 5))
  // Room again.
  await device.publishAsync('a/b', '8', { qos: 1 })
  await until(() => inbox.payloads().includes('8'))
})

test('what is said while a client is given what it missed comes to it afterwards, in order', async (t) => {
  const { broker, port } = await openBroker()
  t.after(() => broker.close())
  const panel = await RawClient.open(port, 'panel')
  panel.subscribe('a/b', 1)
  await panel.until('suback')
  panel.end()
  const say = (number: number): Promise<void> =>
    broker.publish({ topic: 'a/b', payload: String(number), qos: 1, retain: false })
  for (let i = 0; i < 500; i++) await say(i)
  const returned = await RawClient.dial(port)
  t.after(() => returned.end())
  returned.connect('panel', { clean: false })
  await returned.until('publish')
  for (let i = 500; i < 700; i++) {
    await say(i)
    await new Promise(setImmediate)
  }
  const heard: number[] = []
  while (heard.length < 699) heard.push(Number((await returned.until('publish'))?.body.subarray(7).toString()))
  assert.deepEqual(
    heard,
    Array.from({ length: 699 }, (_, i) => i + 1),
  )
})

test('a message that is sent again says so, under the identifier it had', async (t) => {
  const { broker, port } = await openBroker()
  t.after(() => broker.close())
  const panel = await RawClient.open(port, 'panel')
  panel.subscribe('a/b', 1)
  await panel.until('suback')
  const device = await connect(port)
  t.after(() => device.end(true))
  await device.publishAsync('a/b', 'x', { qos: 1 })
  const first = await panel.until('publish')
  panel.end()
  const returned = await RawClient.open(port, 'panel')
  t.after(() => returned.end())
  const again = await returned.until('publish')
  assert.deepEqual(again?.body, first?.body)
  assert.equal(first?.firstByte, 0x32)
  assert.equal(again?.firstByte, 0x3a)
})

test('what a card has damaged of sessions, messages and wills is left out and said once, and all else is there', async (t) => {
  const store = createMemoryStore()
  const before = await openBroker({ store })
  for (const clientId of ['panel', 'wall']) {
    const client = await connect(before.port, { clientId, clean: false })
    await client.subscribeAsync('a/+', { qos: 1 })
    client.end(true)
  }
  await until(() => before.broker.status().clients === 0)
  const device = await connect(before.port)
  for (const topic of ['a/b', 'a/c', 'a/d']) await device.publishAsync(topic, topic, { qos: 1, retain: true })
  device.end(true)
  const lost = { topic: 'lost', payload: Buffer.from('x'), qos: 0 as const, retain: false }
  await connect(before.port, { clientId: 'plug', will: lost })
  const kept = store.scanRecords('broker/')
  t.after(() => before.broker.close())

  const changes: ((value: Uint8Array) => Uint8Array)[] = [
    () => new Uint8Array(0),
    (value) => value.subarray(0, value.length >> 1),
    (value) => value.map((byte) => byte ^ 0x10),
    (value) => new Uint8Array(value.length),
    (value) =>
      Buffer.from(
        Buffer.from(value).toString('latin1').replace('"topic"', '"tonic"').replace('"id"', '"ix"'),
        'latin1',
      ),
    (value) => Buffer.from('null'.padStart(value.length)),
  ]
  for (const change of changes) {
    const damaged = createMemoryStore()
    const firsts = ['session', 'message', 'retained', 'will'].map(
      (what) => kept.find(({ key }) => key.startsWith(`broker/${what}/`))?.key,
    )
    const records = kept.map(({ key, value }) => ({
      key,
      value: value && firsts.includes(key) ? change(value) : value,
    }))
    await damaged.append({ batches: [], records })
    const { log, lines } = recordingLog()
    const after = await openBroker({ store: damaged, log })
    const { sessions, retained, queuedMessages } = after.broker.status()
    assert.deepEqual({ sessions, retained, queuedMessages }, { sessions: 1, retained: 2, queuedMessages: 2 })
    const said = lines.filter(({ event }) => event === 'broker-record-damaged')
    assert.deepEqual(
      said.map(({ fields }) => fields),
      [{ records: 4, first: firsts[0] }],
    )
    await after.broker.close()
    const again = recordingLog()
    const next = await openBroker({ store: damaged, log: again.log })
    assert.deepEqual(
      again.lines.filter(({ event }) => event === 'broker-record-damaged'),
      [],
    )
    await next.broker.close()
  }
})

test('a retained message that stands in the place of another is left out', async (t) => {
  const store = createMemoryStore()
  const [a, b] = ['a', 'b'].map((topic) => ({ topic, qos: 0 as const, retain: true, payload: Buffer.from(topic) }))
  assert.ok(a && b)
  const records = [
    { key: retainedKey('a'), value: encodePacket(b) },
    { key: retainedKey('b'), value: encodePacket(b) },
  ]
  await store.append({ batches: [], records })
  const { broker } = await openBroker({ store })
  t.after(() => broker.close())
  assert.equal(broker.status().retained, 1)
  assert.deepEqual(contentOf(store), [retainedKey('b')])
})

test('a session whose client stays away is forgotten, whatever the clock says, and one that is there is not', async (t) => {
  const { broker, port } = await openBroker({ sessions: { maxQueued: 10, maxQueuedBytes: 1_000, expiryMs: 2_000 } })
  t.after(() => broker.close())
  const there = await connect(port, { clientId: 'there', clean: false })
  const away = await connect(port, { clientId: 'away', clean: false })
  await there.subscribeAsync('a', { qos: 1 })
  await away.subscribeAsync('a', { qos: 1 })
  away.end(true)
  await until(() => broker.status().sessions === 1)
  assert.equal(broker.status().clients, 1)
  there.end(true)
})

test('what a power cut left of a session that was ending stops no start on a full disk, and is nobody else’s', async (t) => {
  const memory = createMemoryStore()
  await memory.append({ batches: [], records: [{ key: queueKey(7, 8), value: new Uint8Array([1]) }] })
  let isFull = true
  const store = {
    scanRecords: (prefix: string) => memory.scanRecords(prefix),
    append: async (append: Parameters<typeof memory.append>[0]) => {
      if (isFull) throw new MarramError('storage-full', 'the disk is full')
      await memory.append(append)
    },
  }
  const { broker, port } = await openBroker({ store })
  t.after(() => broker.close())
  isFull = false
  const panel = await RawClient.open(port, 'panel')
  t.after(() => panel.end())
  panel.subscribe('a/b', 1)
  await panel.until('suback')
  assert.deepEqual(
    store.scanRecords('broker/session/').map(({ key }) => key),
    [sessionKey(9)],
  )
})

test('an absence that has ended is over after a power cut as well', async (t) => {
  const store = createMemoryStore()
  const session = { id: 'panel', owner: null, filters: [['a/b', 1]] as const, absentMs: 80_000_000 }
  await store.append({ batches: [], records: [{ key: sessionKey(1), value: encodeSession(session) }] })
  const { broker, port } = await openBroker({ store })
  t.after(() => broker.close())
  const panel = await connect(port, { clientId: 'panel', clean: false })
  t.after(() => panel.end(true))
  const absentMs = (): number | undefined =>
    store.scanRecords('broker/session/').map(({ value }) => value && decodeSession(value).absentMs)[0] ?? undefined
  await until(() => absentMs() === 0)
})

test('a stored will is said at the next start, once, through the handler', async (t) => {
  const store = createMemoryStore()
  const before = await openBroker({ store })
  const device = await connect(before.port, {
    clientId: 'plug',
    will: { topic: 'tele/plug/LWT', payload: Buffer.from('Offline'), qos: 1, retain: true },
  })
  const crashed = createMemoryStore()
  await crashed.append({ batches: [], records: store.scanRecords('broker/') })
  const handler = new RecordingHandler()
  const after = await openBroker({ store: crashed, handler })
  t.after(() => Promise.all([before.broker.close(), after.broker.close()]))
  t.after(() => device.end(true))
  assert.deepEqual(
    handler.messages.map(({ topic, payload, clientId }) => [topic, Buffer.from(payload).toString(), clientId]),
    [['tele/plug/LWT', 'Offline', 'plug']],
  )
  assert.equal(after.broker.status().retained, 1)
  assert.deepEqual(
    contentOf(crashed).filter((key) => key.startsWith('broker/will/')),
    [],
  )
})

test('the will of a client that is lost goes through the handler; of one that says goodbye nothing is said or left', async (t) => {
  const handler = new RecordingHandler()
  const { broker, port, store } = await openBroker({ handler })
  t.after(() => broker.close())
  const will = { topic: 'tele/plug/LWT', payload: Buffer.from('Offline'), qos: 1 as const, retain: false }
  const polite = await connect(port, { clientId: 'polite', will })
  await polite.endAsync()
  await until(() => contentOf(store).length === 0)
  const lost = await connect(port, { clientId: 'lost', will })
  lost.stream.destroy()
  await until(() => contentOf(store).length === 0 && handler.messages.length > 0)
  assert.deepEqual(
    handler.messages.map(({ clientId }) => clientId),
    ['lost'],
  )
})

test('a connection that replaces another keeps its own will', async (t) => {
  const { broker, port, store } = await openBroker()
  t.after(() => broker.close())
  const will = (payload: string): object => ({
    clientId: 'plug',
    will: { topic: 'lost', payload: Buffer.from(payload), qos: 0, retain: false },
  })
  const first = await connect(port, will('first'))
  const replaced = new Promise<void>((resolve) => first.once('close', () => resolve()))
  const second = await connect(port, will('second'))
  await replaced
  // A round trip, so that what the end of the first brought on is through.
  await second.publishAsync('a', 'b', { qos: 1 })
  assert.equal(contentOf(store).filter((key) => key.startsWith('broker/will/')).length, 1)
  second.end(true)
})

test('a client that goes before it is answered is not counted, and leaves no two of one name', async (t) => {
  const memory = createMemoryStore()
  const store = {
    scanRecords: (prefix: string) => memory.scanRecords(prefix),
    append: async (append: Parameters<typeof memory.append>[0]) => {
      await new Promise((resolve) => setTimeout(resolve, 20))
      await memory.append(append)
    },
  }
  const { broker, port } = await openBroker({ store })
  t.after(() => broker.close())
  const first = await RawClient.dial(port)
  first.connectWithWill('pump', 'pump/state', 'gone')
  await first.until('connack')
  for (const name of ['pump', 'valve', 'fan']) {
    const hasty = await RawClient.dial(port)
    hasty.connectWithWill(name, 'hasty', 'gone')
    await new Promise((resolve) => setTimeout(resolve, 5))
    hasty.end()
  }
  await new Promise((resolve) => setTimeout(resolve, 100))
  // [MQTT-3.1.4-2]
  await first.closed()
  assert.equal(broker.status().clients, 0)
  const second = await connect(port, { clientId: 'pump' })
  t.after(() => second.end(true))
  assert.equal(broker.status().clients, 1)
})

test('nothing is acknowledged that the disk refused, and nothing of it is left in memory', async (t) => {
  const store = createMemoryStore()
  const { broker, port } = await openBroker({
    store: {
      scanRecords: (prefix: string) => store.scanRecords(prefix),
      append: (append) =>
        append.records.some(({ key }) => key.startsWith('broker/message/') || key.startsWith('broker/retained/'))
          ? Promise.reject(new MarramError('storage-full', 'full'))
          : store.append(append),
    },
  })
  t.after(() => broker.close())
  const panel = await connect(port, LASTING)
  await panel.subscribeAsync('a/b', { qos: 1 })
  panel.end(true)
  const device = await RawClient.open(port, 'plug')
  device.publish(1, 'a/b', 'x', { qos: 1 })
  assert.equal(await device.until('puback'), undefined)
  const { queuedMessages, queuedBytes, retained } = broker.status()
  assert.deepEqual({ queuedMessages, queuedBytes, retained }, { queuedMessages: 0, queuedBytes: 0, retained: 0 })
})

test('so many sessions outlive their connection: one more is refused, and a client that has one comes back', async () => {
  const clients = { ...CLIENT_LIMITS, sessionsMax: 2 }
  const { broker, port } = await openBroker({ clients })
  const kept = (clientId: string): Promise<MqttClient> => connect(port, { clientId, clean: false })
  const [first, second] = [await kept('one'), await kept('two')]
  for (const client of [first, second]) {
    await client.subscribeAsync('t/#', { qos: 1 })
    await client.endAsync()
  }
  await assert.rejects(kept('three'))
  await (await kept('one')).endAsync()
  await (await connect(port, { clientId: 'three' })).endAsync()
  await broker.close()
})
