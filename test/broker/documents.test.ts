import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { connect, Inbox, openBroker, RecordingHandler, until } from './fixture.ts'
import { RawClient } from './raw-client.ts'

/** Makes documents one by one, and counts them. */
class ManyDocuments extends RecordingHandler {
  made = 0
  readonly #count: number
  readonly #payload: string

  constructor(count: number, payload: string) {
    super()
    this.#count = count
    this.#payload = payload
  }

  override *retained(_filter: string): Generator<{ topic: string; payload: string }> {
    for (let i = 0; i < this.#count; i++) {
      this.made += 1
      yield { topic: `marram/data/climate/${i}`, payload: this.#payload }
    }
  }
}

test('a subscription to documents is answered with them as retained messages, those that match', async (t) => {
  const handler = new RecordingHandler()
  handler.documents = [
    { topic: 'marram/data/climate/kitchen', payload: '{"t":1}' },
    { topic: 'marram/data/plugs/lamp', payload: '{"on":true}' },
  ]
  const { broker, port } = await openBroker({ handler })
  t.after(() => broker.close())
  const client = await connect(port)
  t.after(() => client.end(true))
  const inbox = new Inbox(client)
  await client.subscribeAsync('marram/data/climate/+', { qos: 1 })
  await broker.publish({ topic: 'marram/data/climate/kitchen', payload: '{"t":2}', qos: 1, retain: false })
  await inbox.until(2)
  assert.deepEqual(
    inbox.messages.map(({ topic, payload, retain }) => [topic, payload, retain]),
    [
      ['marram/data/climate/kitchen', '{"t":1}', true],
      ['marram/data/climate/kitchen', '{"t":2}', false],
    ],
  )
  assert.equal(broker.status().retained, 0)
})

test('a document is never kept as a retained message', async (t) => {
  const { broker } = await openBroker()
  t.after(() => broker.close())
  await broker.publish({ topic: 'marram/data/climate/kitchen', payload: '{}', qos: 1, retain: true })
  assert.equal(broker.status().retained, 0)
})

test('all documents arrive, more than any buffer holds', async (t) => {
  const handler = new ManyDocuments(3_000, 'x'.repeat(2_000))
  const { broker, port } = await openBroker({ handler })
  t.after(() => broker.close())
  const client = await connect(port)
  t.after(() => client.end(true))
  const inbox = new Inbox(client)
  await client.subscribeAsync('marram/data/#')
  await inbox.until(3_000)
  assert.deepEqual(
    inbox.messages.map(({ topic }) => topic),
    Array.from({ length: 3_000 }, (_, i) => `marram/data/climate/${i}`),
  )
})

test('documents wait for a client that is behind with other messages, and none is dropped', async (t) => {
  const handler = new ManyDocuments(100, 'x'.repeat(100))
  const { broker, port } = await openBroker({ handler })
  t.after(() => broker.close())
  const behind = await RawClient.dial(port)
  behind.connect('behind', { clean: true })
  await behind.until('connack')
  behind.subscribe('t/#', 0)
  await behind.until('suback')
  behind.socket.pause()
  const publisher = await connect(port)
  t.after(() => [publisher.end(true), behind.end()])
  for (let i = 0; i < 200; i++) await publisher.publishAsync('t/a', 'x'.repeat(100_000), { qos: 1 })
  behind.subscribe('marram/data/#', 0)
  await until(() => broker.isWatched('climate'))
  behind.socket.resume()
  for (let documents = 0; documents < 100;) {
    const packet = await behind.until('publish')
    assert.ok(packet)
    if (packet.body.includes('marram/data/')) documents += 1
  }
})

test('documents are made as the client takes them, and no more once it is gone', async (t) => {
  const handler = new ManyDocuments(1_000_000, 'x'.repeat(10_000))
  const { broker, port } = await openBroker({ handler })
  t.after(() => broker.close())
  const frozen = await RawClient.dial(port)
  frozen.connect('frozen', { clean: true })
  await frozen.until('connack')
  frozen.socket.pause()
  frozen.subscribe('marram/data/#', 0)
  let made = -1
  while (handler.made !== made || made === 0) {
    made = handler.made
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  assert.ok(made < 5_000, `${made} were made`)
  frozen.end()
  await until(() => broker.status().clients === 0)
  const atEnd = handler.made
  await new Promise((resolve) => setTimeout(resolve, 20))
  assert.ok(handler.made <= atEnd + 1)
})

test('a collection is watched while somebody may hear of it, in a session that is away as well', async (t) => {
  const { broker, port, store } = await openBroker()
  t.after(() => broker.close())
  assert.equal(broker.isWatched('climate'), false)
  const client = await connect(port)
  // One of them is refused, which the client reports as an error of all.
  await assert.rejects(client.subscribeAsync(['marram/data/climate/+', 'marram/sync/#', 'other/#']))
  assert.equal(broker.isWatched('climate'), true)
  assert.equal(broker.isWatched('plugs'), false)
  await client.unsubscribeAsync('marram/data/climate/+')
  assert.equal(broker.isWatched('climate'), false)
  await client.subscribeAsync('#')
  assert.equal(broker.isWatched('plugs'), true)
  client.end(true)
  await until(() => broker.status().clients === 0)
  assert.equal(broker.isWatched('plugs'), false)
  const lasting = await connect(port, { clientId: 'panel', clean: false })
  await lasting.subscribeAsync('marram/+/plugs/lamp', { qos: 1 })
  lasting.end(true)
  await until(() => broker.status().clients === 0)
  assert.equal(broker.isWatched('plugs'), true)
  await broker.close()
  const next = await openBroker({ store })
  t.after(() => next.broker.close())
  assert.equal(next.broker.isWatched('plugs'), true)
  assert.equal(next.broker.isWatched('climate'), false)
})
