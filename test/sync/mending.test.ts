import assert from 'node:assert/strict'
import { test } from 'node:test'
import { equal } from '../../runtime/base/bytes.ts'
import type { Batch } from '../../runtime/model/batch.ts'
import { fieldsOf } from '../../runtime/model/fields.ts'
import { SequenceSet } from '../../runtime/model/sequences.ts'
import { seqOfBatch } from '../../runtime/wire/batch.ts'
import { encodeDescriptor } from '../../runtime/wire/descriptor.ts'
import { appliedCheckpoint } from '../simulation/checks.ts'
import { SimulatedDisk, type DiskFeed } from '../simulation/disk.ts'
import { incomplete } from '../simulation/histories.ts'
import { Author } from './author.ts'
import { Played } from './played.ts'

const COUNTED = 5
const ALIAS = 9
/** The one after the restart. */
const LINK = 2

function count(played: Played): void {
  played.gateway.write('climate', { kind: 'count', key: 'door', path: 'opened', by: 1 })
  played.pass(100)
}

function total(played: Played): unknown {
  const document = played.gateway.disk.document({ collection: 'climate', partition: '' }, 'door')
  return document && fieldsOf(document)['opened']
}

/** The gateway goes on with a log that lacks its last batch, and documents that know nothing of it. */
function loseLast({ gateway }: Played, { feed, batches, head }: DiskFeed): void {
  gateway.crash()
  gateway.disk = new SimulatedDisk(gateway.watch)
  const left = [...batches.values()].slice(0, -1).map((held) => ({ feed, ...held }))
  gateway.disk.append({ batches: left, drops: [{ feed, seqs: new SequenceSet(), head }], records: [] })
  gateway.disk.flushOne()
  gateway.start()
}

test('what is counted while the last counts are lacking is counted beside them, so that all is there when they are back', () => {
  const played = new Played()
  for (let i = 0; i < COUNTED; i++) count(played)
  const { key, descriptor } = played.ownFeed('climate')
  const whole = played.gateway.disk.feeds.get(key) as DiskFeed
  const last = whole.batches.get(COUNTED)?.batch
  assert.ok(last !== undefined)
  loseLast(played, whole)
  assert.equal(total(played), COUNTED - 1)
  count(played)
  played.link(LINK, 1)
  played.sayOn(LINK, { type: 'feed', alias: ALIAS, descriptor: encodeDescriptor(descriptor), chain: [] })
  played.sayOn(LINK, { type: 'have', entries: [[ALIAS, COUNTED, last.hash.slice(0, 8)]], marker: null })
  const wants = played.pass(10_000).flatMap((message) => (message.type === 'want' ? message.entries : []))
  assert.deepEqual(wants.at(-1), [ALIAS, COUNTED, 0, [COUNTED, COUNTED]])
  played.sayOn(LINK, { type: 'data', batches: [last.bytes] })
  played.pass(1_000)
  assert.equal(total(played), COUNTED + 1)
})

test('a feed whose checkpoint is damaged goes by it all the same, and asks for nothing that it had declared dead', () => {
  const played = new Played()
  const { gateway } = played
  const author = new Author(played, 1)
  for (let i = 1; i <= 6; i++) author.put('hall', { temperature: i })
  const checkpoint = author.checkpoint([1, 6])
  const { seq } = checkpoint.header
  author.put('hall', { temperature: 7 })
  author.push()
  const dead = SequenceSet.range(2, 5)
  const { feed } = author
  gateway.disk.append({ batches: [], drops: [{ feed, seqs: dead }], records: [] })
  gateway.disk.append({ batches: [], drops: [{ feed, seqs: SequenceSet.of([seq]), isDamaged: true }], records: [] })
  while (gateway.disk.cached > 0) gateway.disk.flushOne()
  gateway.crash()
  gateway.start()
  played.link(LINK, 1)
  played.sayOn(LINK, { type: 'feed', alias: ALIAS, descriptor: encodeDescriptor(feed.descriptor), chain: [] })
  const { hash8 } = author.held()
  played.sayOn(LINK, { type: 'have', entries: [[ALIAS, author.batches.length, hash8]], marker: null })
  const wants = played.pass(30_000).flatMap((message) => (message.type === 'want' ? message.entries : []))
  const numbers = wants.map(([, , , runs]) => runs).filter((runs) => runs !== undefined)
  assert.ok(numbers.length > 0)
  for (const runs of numbers) assert.deepEqual(runs, [seq, seq])
  played.sayOn(LINK, { type: 'data', batches: [checkpoint.bytes] })
  played.pass(10_000)
  assert.equal(appliedCheckpoint(gateway, feed)?.seq, seq)
  assert.deepEqual(incomplete(gateway), [])
})

test('who has come as far and asks by number gets what is here, though some of it has left as dead', () => {
  const played = new Played()
  const author = new Author(played, 2)
  for (let i = 1; i <= 6; i++) author.put('hall', { temperature: i })
  const checkpoint = author.checkpoint([2, 4, 6])
  author.offer(checkpoint.header.seq)
  played.pass(1_000)
  const asker = 3
  played.link(LINK, asker)
  const descriptor = encodeDescriptor(author.feed.descriptor)
  const feed = played.pass(1_000).find((one) => one.type === 'feed' && equal(one.descriptor, descriptor))
  assert.ok(feed?.type === 'feed')
  played.sayOn(LINK, { type: 'feed', alias: ALIAS, descriptor, chain: [] })
  played.sayOn(LINK, { type: 'have', entries: [[ALIAS, checkpoint.header.seq, author.held().hash8]], marker: null })
  played.sayOn(LINK, { type: 'want', entries: [[feed.alias, 3, 0, [3, 5]]] })
  const sent = played.pass(1_000).flatMap((message) => (message.type === 'data' ? message.batches : []))
  assert.deepEqual(
    sent.map((bytes) => seqOfBatch(bytes)),
    [4, checkpoint.header.seq],
  )
})

test('who asks for what is lacking says again how much it may be sent, for that may be lost and then nothing comes', () => {
  const played = new Played()
  const author = new Author(played, 1)
  for (const temperature of [1, 2]) author.put('hall', { temperature })
  author.push()
  const { feed } = author
  played.gateway.disk.append({
    batches: [],
    drops: [{ feed, seqs: SequenceSet.of([1]), isDamaged: true }],
    records: [],
  })
  while (played.gateway.disk.cached > 0) played.gateway.disk.flushOne()
  played.gateway.crash()
  played.gateway.start()
  played.link(LINK, 1)
  played.sayOn(LINK, { type: 'feed', alias: ALIAS, descriptor: encodeDescriptor(feed.descriptor), chain: [] })
  played.sayOn(LINK, { type: 'have', entries: [[ALIAS, 2, author.held().hash8]], marker: null })
  played.pass(1_000)
  const said = played.pass(10_000).filter(({ type }) => type === 'want' || type === 'ack')
  assert.deepEqual(
    said.map(({ type }) => type),
    ['want', 'ack', 'want', 'ack'],
  )
})

test('what has been damaged here and is nowhere else holds up no word that all else was told', () => {
  const played = new Played()
  const author = new Author(played, 1)
  for (let n = 1; n <= 3; n++) author.put('hall', { n })
  author.push()
  const asker = 3
  played.link(LINK, asker)
  const descriptor = encodeDescriptor(author.feed.descriptor)
  const feed = played.pass(1_000).find((one) => one.type === 'feed' && equal(one.descriptor, descriptor))
  assert.ok(feed?.type === 'feed')
  played.gateway.disk.append({
    batches: [],
    drops: [{ feed: author.feed, seqs: SequenceSet.of([2]), isDamaged: true }],
    records: [],
  })
  while (played.gateway.disk.cached > 0) played.gateway.disk.flushOne()
  played.sayOn(LINK, { type: 'want', entries: [[feed.alias, 1, 1]] })
  played.pass(60_000)
  played.gateway.write('plugs', { kind: 'put', key: 'lamp', fields: { isOn: true } })
  const markers = played.pass(10_000).flatMap((one) => (one.type === 'have' && one.marker !== null ? [one.marker] : []))
  assert.equal(markers.at(-1)?.lsn, played.gateway.engine?.view.lsn)
  assert.equal(markers.length, 2, 'one on each link')
})

/** Our copy of a feed of so many batches has lost some; a neighbour speaks of it, and so far says nothing of what it has. */
function withHoles(count: number, lost: readonly number[]): { readonly played: Played; readonly author: Author } {
  const played = new Played()
  const author = new Author(played, 1)
  for (let n = 1; n <= count; n++) author.put('hall', { n })
  for (let to = 100; to < count + 100; to += 100) author.push(Math.min(to, count))
  const { feed } = author
  played.gateway.disk.append({
    batches: [],
    drops: [{ feed, seqs: SequenceSet.of(lost), isDamaged: true }],
    records: [],
  })
  while (played.gateway.disk.cached > 0) played.gateway.disk.flushOne()
  played.gateway.crash()
  played.gateway.start()
  played.link(LINK, 1)
  played.sayOn(LINK, { type: 'feed', alias: ALIAS, descriptor: encodeDescriptor(feed.descriptor), chain: [] })
  return { played, author }
}

test('a neighbour whose word of a holed feed was lost is asked for its heads', () => {
  const { played } = withHoles(2, [1])
  assert.ok(played.pass(10_000).some(({ type }) => type === 'dig'))
})

test('of very many holes each is asked for, though nobody has the first', () => {
  const lost = Array.from({ length: 300 }, (_, i) => 2 * i + 1)
  const { played, author } = withHoles(601, lost)
  played.sayOn(LINK, { type: 'have', entries: [[ALIAS, 601, author.held().hash8]], marker: null })
  const asked = new SequenceSet()
  for (const message of played.pass(15_000)) {
    if (message.type === 'want') for (const [, , , runs = []] of message.entries) asked.addAll(new SequenceSet(runs))
  }
  assert.equal(asked.size, lost.length)
})

test('what a neighbour has filled of a gap from another branch leaves, and what it had changed, when the end of the gap shows that', () => {
  const { played, author } = withHoles(6, [2, 3, 4])
  const { disk } = played.gateway
  const copy = new Author(played, 1)
  copy.batches.push(author.batches[0] as Batch)
  for (let n = 2; n <= 6; n++) copy.put('hall', { [`other-${n}`]: n })
  const answerFrom = ({ batches }: Author): void => {
    const wants = played.pass(6_000).flatMap((message) => (message.type === 'want' ? message.entries : []))
    const asked = new SequenceSet(wants.at(-1)?.[3] ?? [])
    const sent = batches.filter(({ header }) => asked.has(header.seq))
    if (sent.length > 0) played.sayOn(LINK, { type: 'data', batches: sent.map(({ bytes }) => bytes) })
    played.pass(500)
  }
  played.sayOn(LINK, { type: 'have', entries: [[ALIAS, 6, author.held().hash8]], marker: null })
  answerFrom(copy)
  for (let round = 0; round < 4; round++) answerFrom(author)
  const held = author.batches.map(({ header }) => disk.batch(author.feed.key, header.seq)?.hash)
  assert.deepEqual(
    held,
    author.batches.map(({ hash }) => hash),
  )
  const hall = disk.document({ collection: 'climate', partition: '' }, 'hall')
  assert.deepEqual(fieldsOf(hall ?? assert.fail('nothing is here')), { n: 6 })
})
