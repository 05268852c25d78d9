import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { BROKER_LIMITS } from '../../runtime/base/limits.ts'
import type { ClientMessage } from '../../runtime/ports/broker.ts'
import { createMemoryStore } from '../../runtime/store/memory.ts'
import { connect, Inbox, openBroker, RecordingHandler, recordingLog, until } from './fixture.ts'
import { RawClient } from './raw-client.ts'

/** Answers each message when it is told to. */
class HeldHandler extends RecordingHandler {
  readonly answers: ((answer: 'forward' | 'consume') => void)[] = []
  readonly failures: ((error: Error) => void)[] = []

  override async publish(message: ClientMessage): Promise<'forward' | 'consume'> {
    await super.publish(message)
    return new Promise((resolve, reject) => {
      this.answers.push(resolve)
      this.failures.push(reject)
    })
  }
}

test('a publish is acknowledged after the handler has dealt with it, never before', async (t) => {
  const handler = new HeldHandler()
  const { broker, port } = await openBroker({ handler })
  const client = await connect(port)
  t.after(() => broker.close())
  t.after(() => client.end(true))
  for (const qos of [1, 2] as const) {
    let isAcknowledged = false
    const published = client.publishAsync('a/b', 'x', { qos }).then(() => (isAcknowledged = true))
    await until(() => handler.answers.length === 1)
    // A round trip after the message was taken: an early acknowledgement would have come by now.
    await client.subscribeAsync('elsewhere').catch(() => {})
    assert.equal(isAcknowledged, false)
    handler.answers.pop()?.('consume')
    await published
  }
})

test("one client's messages are handled together and reach subscribers in their order", async (t) => {
  const handler = new HeldHandler()
  const { broker, port } = await openBroker({ handler })
  const [publisher, subscriber] = [await connect(port), await connect(port)]
  t.after(() => broker.close())
  t.after(() => [publisher.end(true), subscriber.end(true)])
  const inbox = new Inbox(subscriber)
  await subscriber.subscribeAsync('a/#', { qos: 1 })
  const payloads = Array.from({ length: 20 }, (_, i) => `m${i}`)
  const published = payloads.map((payload) => publisher.publishAsync('a/b', payload, { qos: 1 }))
  await until(() => handler.answers.length > 1)
  // The last is dealt with first.
  for (let answered = 0; answered < payloads.length;) {
    await until(() => handler.answers.length > 0)
    for (const answer of handler.answers.splice(0).toReversed()) {
      answer('forward')
      answered += 1
    }
  }
  await Promise.all(published)
  await inbox.until(payloads.length)
  assert.deepEqual(inbox.payloads(), payloads)
})

test('of two retained messages the later one stays, whichever was dealt with first', async (t) => {
  const handler = new HeldHandler()
  const { broker, port, store } = await openBroker({ handler })
  t.after(() => broker.close())
  const client = await connect(port)
  t.after(() => client.end(true))
  const published = ['earlier', 'later'].map((payload) => client.publishAsync('a/b', payload, { qos: 1, retain: true }))
  await until(() => handler.answers.length === 2)
  handler.answers[1]?.('forward')
  await new Promise((resolve) => setImmediate(resolve))
  handler.answers[0]?.('forward')
  await Promise.all(published)
  const inbox = new Inbox(client)
  await client.subscribeAsync('a/b')
  await inbox.until(1)
  assert.deepEqual(inbox.payloads(), ['later'])
  assert.ok(Buffer.from(store.scanRecords('broker/retained/')[0]?.value ?? []).includes('later'))
})

test('what the handler consumes reaches no subscriber and is not retained', async (t) => {
  const handler = new RecordingHandler()
  handler.publish = async (message) => (message.topic === 'a/consumed' ? 'consume' : 'forward')
  const { broker, port } = await openBroker({ handler })
  const client = await connect(port)
  t.after(() => broker.close())
  t.after(() => client.end(true))
  const inbox = new Inbox(client)
  await client.subscribeAsync('#', { qos: 1 })
  await client.publishAsync('a/consumed', 'no', { qos: 1, retain: true })
  await client.publishAsync('a/forwarded', 'yes', { qos: 1, retain: true })
  await inbox.until(1)
  assert.deepEqual(inbox.payloads(), ['yes'])
  assert.equal(broker.status().retained, 1)
})

test('what could not be stored, and what came after it, is not acknowledged, and the connection ends', async (t) => {
  const handler = new HeldHandler()
  const { log, lines } = recordingLog()
  const { broker, port } = await openBroker({ handler, log })
  t.after(() => broker.close())
  const device = await RawClient.open(port, 'plug')
  device.publish(1, 'a/b', 'stored', { qos: 1 })
  device.publish(2, 'a/b', 'refused', { qos: 1 })
  device.publish(3, 'a/b', 'after it', { qos: 1 })
  await until(() => handler.failures.length === 3)
  handler.answers[0]?.('consume')
  handler.answers[2]?.('consume')
  handler.failures[1]?.(new Error('the disk is full'))
  assert.deepEqual((await device.until('puback'))?.body, Buffer.from([0, 1]))
  assert.equal(await device.until('puback'), undefined)
  assert.equal(lines.filter(({ event }) => event === 'mqtt-publish-failed').length, 1)
})

test('a device whose messages wait for the disk is not read on without end', async (t) => {
  const handler = new HeldHandler()
  const { broker, port } = await openBroker({ handler })
  t.after(() => broker.close())
  const device = await RawClient.open(port, 'plug')
  t.after(() => device.end())
  const max = BROKER_LIMITS.publishesAtOnce
  // Each comes by itself: on such a socket aedes reads on although it is through with none.
  for (let i = 1; i <= max; i++) {
    device.publish(i, 'a/b', 'x', { qos: 1 })
    await until(() => handler.answers.length === i)
  }
  for (let i = max + 1; i <= max + 50; i++) {
    device.publish(i, 'a/b', 'x', { qos: 1 })
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  assert.equal(handler.answers.length, max)
  for (let answered = 0; answered < max + 50;) {
    await until(() => handler.answers.length > 0)
    for (const answer of handler.answers.splice(0)) {
      answer('consume')
      answered += 1
    }
  }
  for (let i = 0; i < max + 50; i++) assert.ok(await device.until('puback'))
})

test('the will of a client whose message could not be stored is said, and none is left for the next start', async (t) => {
  const handler = new HeldHandler()
  const store = createMemoryStore()
  const { broker, port } = await openBroker({ handler, store })
  t.after(() => broker.close())
  const panel = await connect(port)
  t.after(() => panel.end(true))
  const inbox = new Inbox(panel)
  await panel.subscribeAsync('pump/state')
  const pump = await RawClient.dial(port)
  pump.connectWithWill('pump', 'pump/state', 'gone')
  await pump.until('connack')
  pump.publish(1, 'a/b', 'x', { qos: 1 })
  await until(() => handler.failures.length === 1)
  handler.failures[0]?.(new Error('the disk is full'))
  await pump.closed()
  await until(() => handler.answers.length === 2)
  handler.answers[1]?.('forward')
  await inbox.until(1)
  assert.deepEqual(inbox.payloads(), ['gone'])
  await until(() => store.scanRecords('broker/will/').length === 0)
})

test('what is no topic reaches nobody, as a will neither', async (t) => {
  const { broker, port } = await openBroker()
  t.after(() => broker.close())
  const panel = await RawClient.open(port, 'panel')
  t.after(() => panel.end())
  panel.subscribe('#', 0)
  await panel.until('suback')
  const device = await RawClient.open(port, 'plug')
  for (const [i, topic] of ['a\0b', 'a\u0007b'].entries()) {
    device.publish(i + 1, topic, 'x', { qos: 1 })
    await device.until('puback')
  }
  device.end()
  for (const topic of ['a/#', '', `a${'/a'.repeat(100)}`]) {
    const lost = await RawClient.dial(port)
    lost.connectWithWill('lost', topic, 'gone')
    await lost.until('connack')
    lost.end()
    await until(() => broker.status().clients === 1)
  }
  await broker.publish({ topic: 'last', payload: 'x', qos: 0, retain: false })
  const heard: string[] = []
  while (heard.at(-1) !== 'last') {
    const { body } = (await panel.until('publish')) ?? assert.fail('the panel was disconnected')
    heard.push(body.subarray(2, 2 + body.readUInt16BE()).toString())
  }
  assert.deepEqual(
    heard.filter((topic) => topic !== 'marram/error'),
    ['last'],
  )
})

test('a publish that is not allowed is acknowledged in its turn', async (t) => {
  const handler = new HeldHandler()
  const { broker, port } = await openBroker({ handler })
  t.after(() => broker.close())
  const device = await RawClient.open(port, 'plug')
  t.after(() => device.end())
  device.publish(1, 'a/b', 'x', { qos: 1 })
  device.publish(2, '$SYS/x', 'x', { qos: 1 })
  await until(() => handler.answers.length === 1)
  await new Promise((resolve) => setTimeout(resolve, 20))
  handler.answers[0]?.('consume')
  assert.deepEqual((await device.until('puback'))?.body, Buffer.from([0, 1]))
  assert.deepEqual((await device.until('puback'))?.body, Buffer.from([0, 2]))
})

test('a publish that is not allowed is dropped, told on marram/error, and disconnects nobody', async (t) => {
  const handler = new RecordingHandler()
  const { log, lines } = recordingLog()
  const { broker, port } = await openBroker({ handler, log })
  const client = await connect(port)
  t.after(() => broker.close())
  t.after(() => client.end(true))
  const inbox = new Inbox(client)
  await client.subscribeAsync('#')
  for (const topic of [
    '$SYS/x/new/clients',
    'marram/sync/0123abcd/a/b',
    'marram/data/climate/kitchen',
    'marram/state',
  ]) {
    await client.publishAsync(topic, 'forged', { qos: 1 })
  }
  await client.publishAsync('a/b', 'good', { qos: 1 })
  await inbox.until(5)
  const errors = inbox.messages
    .filter(({ topic }) => topic === 'marram/error')
    .map(({ payload }) => JSON.parse(payload) as { topic: string; code: string })
  assert.deepEqual(
    errors.map(({ topic }) => topic),
    ['$SYS/x/new/clients', 'marram/sync/0123abcd/a/b', 'marram/data/climate/kitchen', 'marram/state'],
  )
  assert.ok(errors.every(({ code }) => code === 'not-permitted'))
  assert.deepEqual(
    inbox.messages.filter(({ topic }) => topic !== 'marram/error').map(({ payload }) => payload),
    ['good'],
  )
  assert.deepEqual(
    handler.messages.map(({ topic }) => topic),
    ['a/b'],
  )
  assert.equal(lines.filter(({ event }) => event === 'mqtt-publish-refused').length, 4)
})

test('a device that is refused again and again fills no log', async (t) => {
  const { log, lines } = recordingLog()
  const { broker, port } = await openBroker({ log })
  const client = await connect(port)
  t.after(() => broker.close())
  t.after(() => client.end(true))
  await Promise.all(Array.from({ length: 500 }, () => client.publishAsync('marram/state', 'x', { qos: 1 })))
  const refused = lines.filter(({ event }) => event === 'mqtt-publish-refused').length
  assert.ok(refused >= 20 && refused < 200, `${refused} lines`)
})

test('thousands of QoS 2 messages that are sent at once are handled once each', async (t) => {
  const handler = new RecordingHandler()
  const { broker, port } = await openBroker({ handler })
  t.after(() => broker.close())
  const device = await connect(port)
  t.after(() => device.end(true))
  await Promise.all(Array.from({ length: 3_000 }, (_, i) => device.publishAsync('a/b', String(i), { qos: 2 })))
  assert.equal(handler.messages.length, 3_000)
})

test('a QoS 2 message that is sent again, because its PUBREC was lost, is handled once', async (t) => {
  const handler = new RecordingHandler()
  const { broker, port } = await openBroker({ handler })
  t.after(() => broker.close())
  const first = await RawClient.open(port, 'plug')
  first.publish(7, 'a/b', 'once', { qos: 2 })
  await first.until('pubrec')
  first.end()
  const second = await RawClient.open(port, 'plug')
  t.after(() => second.end())
  second.publish(7, 'a/b', 'once', { qos: 2, dup: true })
  await second.until('pubrec')
  second.release(7)
  await second.until('pubcomp')
  assert.equal(handler.messages.length, 1)
  // The identifier is free again.
  second.publish(7, 'a/b', 'twice', { qos: 2 })
  await second.until('pubrec')
  assert.equal(handler.messages.length, 2)
})
