import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hex, utf8 } from '../../runtime/base/bytes.ts'
import { GATEWAY_LIMITS } from '../../runtime/base/limits.ts'
import type { FeedHead } from '../../runtime/model/batch.ts'
import { Quarantine, type Refusal } from '../../runtime/operations/quarantine.ts'
import { createMemoryStore, type MemoryStore } from '../../runtime/store/memory.ts'
import type { EngineEvent } from '../../runtime/sync/types.ts'
import { gateway, link, until } from './gateways.ts'

const MESSAGE: Refusal = {
  kind: 'message',
  why: 'bad-request',
  message: 'no JSON',
  topic: 'tele/a/SENSOR',
  source: 's',
}

function quarantine(store: MemoryStore, wallMs: () => number = Date.now): Quarantine {
  return new Quarantine({ store, wallMs, holdings: () => [], onError: (error) => assert.fail(String(error)) })
}

test('what is refused again and again is one entry that counts; the oldest give way; a restart forgets nothing', async () => {
  const store = createMemoryStore()
  let now = 0
  const before = quarantine(store, () => (now += 1_000))
  before.add(MESSAGE)
  for (let i = 0; i < GATEWAY_LIMITS.quarantineEntriesMax; i++) before.add({ ...MESSAGE, topic: `t/${i}` })
  before.add({ ...MESSAGE, topic: 't/0' })
  const [latest, ...others] = before.list()
  assert.deepEqual([latest?.topic, latest?.times, latest?.first], ['t/0', 2, new Date(2_000).toISOString()])
  assert.equal(others.length, GATEWAY_LIMITS.quarantineEntriesMax - 1)
  assert.ok(!others.some(({ topic }) => topic === MESSAGE.topic), 'the oldest is gone')
  await before.close()
  assert.deepEqual(quarantine(store.crash(true)).list(), before.list())
})

test('an entry that a card has changed is left out, and keeps no gateway from its start', async () => {
  const store = createMemoryStore()
  const before = quarantine(store)
  before.add(MESSAGE)
  await before.close()
  const texts = ['{"kind":"mess', 'null', '7', '{"kind":"message"}']
  const records = texts.map((text, i) => ({ key: `quarantine/${String(i + 2).padStart(12, '0')}`, value: utf8(text) }))
  await store.append({ batches: [], records })
  const after = quarantine(store)
  assert.deepEqual(after.list(), before.list())
  after.add({ ...MESSAGE, topic: 'another' })
  await after.close()
  assert.equal(quarantine(store).list().length, 2)
})

test('a batch is listed until it has come all the same', async () => {
  const a = gateway(1, { isSeries: false })
  await a.documents.put('climate', 'kitchen', { value: 1 })
  const [{ feed }] = [...a.store.heads()] as [FeedHead]
  const kept = quarantine(a.store)
  const fields = { feed: hex(feed.id), origin: feed.origin, collection: 'climate', peerId: 'p', why: 'shape' }
  kept.addBatch({ ...fields, seq: 1 })
  kept.addBatch({ ...fields, seq: 2 })
  kept.addBatch({ ...fields, seq: 2, why: 'future' })
  assert.deepEqual(
    kept.list().map(({ sequence, why, times }) => [sequence, why, times]),
    [[2, 'shape', 1]],
  )
  await a.driver.close()
})

test('a batch that the card of its only known holder damaged stops its own feed alone, and is mended from elsewhere', async () => {
  const events: [EngineEvent, { readonly [name: string]: unknown }][] = []
  const [a, b] = [
    gateway(1, { isSeries: false }),
    gateway(2, { isSeries: false, onEvent: (...each) => events.push(each) }),
  ]
  const c = gateway(3, { isSeries: false, onEvent: (...each) => events.push(each) })
  for (let i = 0; i < 4; i++) await a.documents.put('climate', `k${i}`, { value: i })
  await a.documents.put('plugs', 'p', { on: true })
  link(a, b, 1)
  await until('b has it', () => b.documents.count('climate') === 4 && b.documents.count('plugs') === 1)
  const feed = [...b.store.heads()].find((head) => head.feed.descriptor.collection === 'climate')?.feed
  assert.ok(feed)
  damage(b.store, feed.key, 2)
  link(b, c, 2)
  await until('the other feed is there', () => c.documents.count('plugs') === 1)
  await until('all is there', () => c.documents.count('climate') === 4)
  await until('b has its batch again', () => b.store.head(feed.key)?.retained.has(2) === true)
  const names = events.map(([name]) => name)
  for (const name of ['batch-refused', 'batch-damaged', 'mended'] as const) assert.ok(names.includes(name), name)
  const refused = events.find(([name, fields]) => name === 'batch-refused' && fields['peerId'] === b.peer.peerId)?.[1]
  assert.deepEqual([refused?.['seq'], refused?.['why'], refused?.['origin']], [2, 'shape', a.peer.peerId])
  for (const { driver } of [a, b, c]) await driver.close()
})

/** Until the batch is taken out, a byte of its body is read as another. */
function damage(store: MemoryStore, feedKey: string, seq: number): void {
  const read = store.batches.bind(store)
  let isDamaged = true
  store.batches = (key, from, bytesMax) => {
    const batches = read(key, from, bytesMax)
    isDamaged &&= store.head(feedKey)?.retained.has(seq) === true
    const at = key === feedKey && isDamaged && from <= seq ? seq - from : -1
    return batches.map((batch, i) => (i === at ? batch.with(-1, (batch.at(-1) as number) ^ 1) : batch))
  }
}
