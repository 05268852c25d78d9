import assert from 'node:assert/strict'
import { test } from 'node:test'
import { latin1 } from '../../runtime/base/bytes.ts'
import type { Batch } from '../../runtime/model/batch.ts'
import { fieldsOf } from '../../runtime/model/fields.ts'
import { placeOf, SELF_COLLECTION } from '../../runtime/model/names.ts'
import { hlcFromMs } from '../../runtime/model/stamp.ts'
import { BEACON_KEY, decodeBeacon } from '../../runtime/sync/beacons.ts'
import { decodeBatch } from '../../runtime/wire/batch.ts'
import { encodeDescriptor } from '../../runtime/wire/descriptor.ts'
import { forgedBatch } from '../fuzz/forge.ts'
import { appliedCheckpoint } from '../simulation/checks.ts'
import { fakeSignature } from '../simulation/gateway.ts'
import { incomplete } from '../simulation/histories.ts'
import { Author } from './author.ts'
import { Played, START_MS } from './played.ts'

const MINUTE_MS = 60_000
/** Less dead than that isn't worth a checkpoint. */
const NOT_WORTH_BYTES = 1_200
const ALIAS = 9

function writeAndDelete(played: Played): void {
  for (let i = 0; i < 12; i++) {
    played.gateway.write('climate', { kind: 'put', key: `hall-${i}`, fields: { temperature: i } })
    played.pass(100)
    played.gateway.write('climate', { kind: 'delete', key: `hall-${i}` })
    played.pass(100)
  }
}

function bytesLeft(played: Played): number {
  return played.gateway.disk.head(played.ownFeed('climate').key)?.bytes ?? 0
}

test('SPEC I30: deletes that are written after all earlier ones went go too', () => {
  const played = new Played(1)
  for (let round = 0; round < 3; round++) {
    writeAndDelete(played)
    assert.ok(bytesLeft(played) > NOT_WORTH_BYTES)
    played.pass(5 * MINUTE_MS)
    assert.ok(bytesLeft(played) <= NOT_WORTH_BYTES, `in round ${round} ${bytesLeft(played)} bytes are left of nothing`)
  }
})

test('SPEC I30: deletes that were too young when the feed was compacted for its size go later', () => {
  const played = new Played(1)
  writeAndDelete(played)
  for (let i = 0; i < 30; i++) {
    played.gateway.write('climate', { kind: 'put', key: 'hall', fields: { temperature: i } })
    played.pass(1_000)
  }
  writeAndDelete(played)
  played.pass(6 * MINUTE_MS)
  assert.ok(bytesLeft(played) <= NOT_WORTH_BYTES, `${bytesLeft(played)} bytes are left of nothing`)
})

/** What the gateway's own last checkpoint in its feed calls live; null when it has signed none. */
function liveOf(played: Played): readonly number[] | null {
  const applied = appliedCheckpoint(played.gateway, played.ownFeed('climate'))
  return applied && [...applied.checkpoint.live.values()]
}

/** Writes over one value until a checkpoint is worth while. */
function writeOver(played: Played): void {
  for (let i = 0; i < 30; i++) {
    played.gateway.write('climate', { kind: 'put', key: 'often', fields: { temperature: i } })
    played.pass(100)
  }
}

test('deletes stay while a member has not said that nothing older can come', () => {
  const played = new Played(2)
  const says = new Author(played, 1, SELF_COLLECTION)
  for (let i = 0; i < 12; i++) {
    played.gateway.write('climate', { kind: 'delete', key: `hall-${i}` })
    played.pass(100)
  }
  const deletes = [...(played.gateway.disk.head(played.ownFeed('climate').key)?.retained.values() ?? [])]
  played.pass(3 * MINUTE_MS)
  writeOver(played)
  played.pass(3 * MINUTE_MS)
  assert.deepEqual(liveOf(played)?.slice(0, deletes.length), deletes)
  says.beacon([])
  says.push()
  played.pass(3 * MINUTE_MS)
  assert.deepEqual(liveOf(played), [deletes.length + 30])
})

test('what is overtaken just by parts of a fill that is not whole counts still: whoever goes by the checkpoint need not have them', () => {
  const played = new Played(2)
  played.gateway.write('climate', { kind: 'put', key: 'hall', fields: { temperature: 1 } })
  played.pass(1_000)
  const author = new Author(played, 1)
  for (let n = 2; n < 5; n++) author.put(n < 4 ? 'hall' : 'shop', { temperature: n })
  author.checkpoint([2, 3])
  author.offer(4, [2])
  const document = played.gateway.disk.document({ collection: 'climate', partition: '' }, 'hall')
  assert.deepEqual(document && fieldsOf(document), { temperature: 3 })
  doubleTwice(played)
  assert.equal(liveOf(played)?.[0], 1)
})

test('a delete stays for what it keeps dead, whoever has deleted the same since', () => {
  const played = new Played(3)
  const [writer, deleter] = [new Author(played, 1), new Author(played, 2)]
  writer.put('hall', { temperature: 1 })
  writer.push()
  played.pass(1_000)
  played.gateway.write('climate', { kind: 'delete', key: 'hall' })
  played.pass(1_000)
  deleter.delete('hall')
  deleter.push()
  writeOver(played)
  played.pass(2 * MINUTE_MS)
  assert.equal(liveOf(played)?.[0], 1)
})

test('a delete stays while somebody may still show what it killed, though that had to leave here for want of room', () => {
  const played = new Played(2)
  const { gateway } = played
  Object.assign(played, { history: { trashBytesMax: 1 } })
  gateway.crash()
  gateway.start()
  played.again()
  const says = new Author(played, 1, SELF_COLLECTION)
  gateway.write('climate', { kind: 'put', key: 'hall', fields: { temperature: 1 } })
  played.pass(1_000)
  gateway.write('climate', { kind: 'delete', key: 'hall' })
  played.pass(1_000)
  writeOver(played)
  played.pass(2 * MINUTE_MS)
  const { key, id } = played.ownFeed('climate')
  assert.deepEqual([liveOf(played)?.[0], gateway.disk.head(key)?.retained.next(1)], [2, 2])
  // It says that it writes nothing older, and not that it has heard of the delete.
  says.beacon([])
  says.push()
  doubleTwice(played)
  assert.equal(liveOf(played)?.[0], 2)
  const { seq = 0, hash = id } = gateway.disk.head(key) ?? {}
  says.beacon([{ feedId: id, seq, hash8: hash.slice(0, 8) }])
  says.push()
  doubleTwice(played)
  assert.equal(liveOf(played)?.includes(2), false)
})

test('what a checkpoint declared dead stays dead, also when what had overtaken it becomes void', () => {
  const played = new Played(3)
  const other = new Author(played, 1)
  played.gateway.write('climate', { kind: 'put', key: 'hall', fields: { temperature: 1 } })
  played.pass(1_000)
  other.put('hall', { temperature: 2 })
  other.push()
  doubleTwice(played)
  assert.equal(liveOf(played)?.includes(1), false)
  const declared = appliedCheckpoint(played.gateway, played.ownFeed('climate'))?.seq ?? 0
  const seals = new Map([[other.feed.key, 1]])
  played.gateway.learnRemoval({ origin: other.feed.origin, reason: 'revoke', seals, bound: new Set() })
  played.pass(1_000)
  doubleTwice(played)
  assert.ok((appliedCheckpoint(played.gateway, played.ownFeed('climate'))?.seq ?? 0) > declared, 'no later checkpoint')
  assert.equal(liveOf(played)?.includes(1), false)
})

/** A bit of a stored batch turns, in what it says of the one before it: what it says of its body is still true. */
function turn(played: Played, seq: number): Batch {
  const batches = played.gateway.disk.feeds.get(played.ownFeed('climate').key)?.batches
  const held = batches?.get(seq)
  assert.ok(batches && held)
  const spoiled = held.batch.bytes.slice()
  const at = Buffer.from(spoiled).indexOf(held.batch.header.prev)
  spoiled[at] = (spoiled[at] as number) ^ 1
  batches.set(seq, { ...held, spoiled })
  return held.batch
}

for (const [what, isContinued] of [
  ['another batch continues it', true],
  ['all around it is gone', false],
] as const) {
  test(`no checkpoint is signed over a batch of which the header has turned, where ${what}`, () => {
    const played = new Played(1)
    played.gateway.write('climate', { kind: 'put', key: 'hall', fields: { temperature: 1 } })
    played.pass(100)
    if (!isContinued) doubleTwice(played)
    const { key, descriptor } = played.ownFeed('climate')
    const retained = played.gateway.disk.feeds.get(key)?.retained
    const whole = turn(played, 1)
    writeOver(played)
    assert.equal(retained?.has(2), isContinued)
    doubleTwice(played)
    assert.equal(retained?.has(1), false)
    played.say({ type: 'feed', alias: ALIAS, descriptor: encodeDescriptor(descriptor), chain: [] })
    played.say({ type: 'have', entries: [[ALIAS, 1, whole.hash.slice(0, 8)]], marker: null })
    played.pass(10_000)
    played.say({ type: 'data', batches: [whole.bytes] })
    doubleTwice(played)
    assert.equal(liveOf(played)?.includes(1), true)
    assert.deepEqual(incomplete(played.gateway), [])
  })
}

test('what just void writes have overtaken is not declared dead by a compaction that began before they were cut', () => {
  const played = new Played(3)
  const { gateway } = played
  const other = new Author(played, 1)
  gateway.write('climate', { kind: 'put', key: 'hall', fields: { temperature: 1 } })
  played.pass(1_000)
  other.put('hall', { temperature: 2 })
  other.push()
  const document = gateway.disk.document.bind(gateway.disk)
  let isUnderWay = false
  gateway.disk.document = (place, key) => {
    isUnderWay ||= key === 'hall'
    return document(place, key)
  }
  for (let ms = 0; !isUnderWay && ms < MINUTE_MS; ms++) {
    if (ms % 100 === 0) gateway.write('climate', { kind: 'put', key: 'often', fields: { temperature: ms } })
    played.pass(1)
  }
  assert.deepEqual([isUnderWay, played.compacted], [true, 0])
  const seals = new Map([[other.feed.key, 1]])
  gateway.learnRemoval({ origin: other.feed.origin, reason: 'revoke', seals, bound: new Set() })
  played.pass(MINUTE_MS)
  doubleTwice(played)
  assert.ok(played.compacted > 0)
  const hall = document({ collection: 'climate', partition: '' }, 'hall')
  assert.deepEqual([hall && fieldsOf(hall), liveOf(played)?.[0]], [{ temperature: 1 }, 1])
})

/** What is written before a compaction has become old enough for the next. */
function doubleTwice(played: Played): void {
  for (let i = 0; i < 4; i++) {
    writeOver(played)
    if (i % 2 === 0) played.pass(MINUTE_MS)
  }
  played.pass(MINUTE_MS)
}

test('what a card has changed behind the gateway’s back is no ground for declaring anything dead: it is derived anew first', () => {
  const played = new Played(1)
  played.gateway.write('climate', { kind: 'put', key: 'hall', fields: { temperature: 1 } })
  played.pass(100)
  const { documents } = played.gateway.disk
  const older = structuredClone(documents.get('climate//hall'))
  played.gateway.write('climate', { kind: 'put', key: 'hall', fields: { temperature: 2 } })
  played.pass(100)
  writeOver(played)
  assert.ok(older)
  documents.set('climate//hall', {
    ...older,
    writes: older.writes.map((write) => ({ ...write, feed: played.ownFeed('climate') })),
  })
  played.pass(2 * MINUTE_MS)
  writeOver(played)
  writeOver(played)
  played.pass(2 * MINUTE_MS)
  assert.equal(documents.get('climate//hall')?.values[0], 2)
  const live = liveOf(played)
  assert.ok(live?.includes(2), `what lives is ${String(live)}`)
})

/** Its disk is slow, and something is on its way there all the time. */
function writeAllTheTime(played: Played, ms: number): void {
  played.gateway.flushMsMax = 2_000
  for (let passed = 0; passed < ms; passed += 100) {
    played.gateway.write('climate', { kind: 'put', key: 'hall', fields: { temperature: passed } })
    played.pass(100)
  }
}

test('a feed in which something is always on its way to the disk is compacted all the same', () => {
  const played = new Played(1)
  writeAllTheTime(played, 2 * MINUTE_MS)
  assert.ok(played.compacted > 0)
})

test('who writes all the time says of itself too how far its batches go, and nothing that is not on the disk', () => {
  const played = new Played(2)
  writeAllTheTime(played, MINUTE_MS)
  const { disk } = played.gateway
  const document = disk.document({ collection: SELF_COLLECTION, partition: played.peerIdOf(0) }, BEACON_KEY)
  const beacon = document === undefined ? null : decodeBeacon(document)
  assert.ok(beacon !== null, 'it says nothing')
  const seq = beacon.heads[0]?.seq ?? 0
  const next = disk.batch(played.ownFeed('climate').key, seq + 1)
  assert.ok(next && next.header.hlc > beacon.at, 'what follows its heads is stamped earlier than it says')
})

test('who goes on under a new incarnation says too how far what it wrote before goes', () => {
  const played = new Played(2)
  const former = new Author(played, 0)
  for (let n = 0; n < 3; n++) former.put('hall', { n })
  former.push()
  played.pass(MINUTE_MS)
  const document = played.gateway.disk.document(
    { collection: SELF_COLLECTION, partition: played.peerIdOf(0) },
    BEACON_KEY,
  )
  const heads = document && decodeBeacon(document)?.heads
  const incarnation = latin1(former.feed.descriptor.incarnation)
  assert.deepEqual(heads, [{ place: placeOf(former.feed.descriptor), incarnation, seq: 3 }])
})

test('who holds more feeds than one batch can name says of all of them what it holds', () => {
  const played = new Played(4)
  const authors = Array.from({ length: 2_400 }, (_, i) => new Author(played, 1 + (i % 3), `collection-${i}`, 1_000 + i))
  for (const author of authors) {
    author.put('hall', { temperature: 1 })
    author.put('hall', { temperature: 2 })
    author.checkpoint([2])
  }
  for (const author of authors) author.push()
  played.pass(2 * MINUTE_MS)
  const place = { collection: SELF_COLLECTION, partition: played.peerIdOf(0) }
  const document = played.gateway.disk.document(place, BEACON_KEY)
  const acks = document && decodeBeacon(document)?.acks
  const named = authors.filter(({ feed }) => acks?.get(feed.key)?.some(({ seq }) => seq === 3))
  assert.equal(named.length, authors.length)
})

test('a beacon that the disk refused is written again', () => {
  const played = new Played(2)
  played.gateway.write('climate', { kind: 'put', key: 'hall', fields: { temperature: 1 } })
  played.pass(5_000)
  const place = { collection: SELF_COLLECTION, partition: played.peerIdOf(0) }
  played.gateway.isDiskFull = true
  played.pass(15_000)
  played.gateway.isDiskFull = false
  assert.equal(played.gateway.disk.document(place, BEACON_KEY), undefined)
  played.pass(15_000)
  assert.notEqual(played.gateway.disk.document(place, BEACON_KEY), undefined)
})

test('SPEC I30: deletes go too when the disk refused the checkpoint by which they were to go', () => {
  const played = new Played(1)
  for (let i = 0; i < 12; i++) {
    played.gateway.write('climate', { kind: 'delete', key: `hall-${i}` })
    played.pass(100)
  }
  const { gateway } = played
  let refused = 0
  for (let passed = 0; passed < 3 * MINUTE_MS; passed += 1_000) {
    gateway.isDiskFull = refused < 1 && passed > MINUTE_MS / 2
    played.pass(1_000)
    refused += Number(played.compacted > refused)
  }
  assert.ok(refused > 0)
  played.pass(5 * MINUTE_MS)
  assert.ok(bytesLeft(played) <= NOT_WORTH_BYTES, `${bytesLeft(played)} bytes are left of nothing`)
})

test('a delete stays while a batch that only a later version can read may hold what it keeps dead', () => {
  const played = new Played(1)
  const { feed } = new Author(played, 1)
  const header = { feedId: feed.id, seq: 1, prev: new Uint8Array(32), hlc: hlcFromMs(START_MS), flags: 0, minReader: 2 }
  const sign = (message: Uint8Array): Uint8Array => fakeSignature(feed.descriptor.publicKey, message)
  const bytes = forgedBatch(played.meshId, header, new Uint8Array([1, 2, 3]), sign)
  const batch = decodeBatch(played.meshId, bytes)
  assert.ok(batch.ok)
  played.say({ type: 'have', entries: [[201, 1, batch.value.hash.slice(0, 8)]], marker: null })
  played.pass(20)
  played.say({ type: 'data', batches: [bytes] })
  played.pass(1_000)
  assert.equal(played.gateway.disk.head(feed.key)?.seq, 1)
  played.gateway.write('climate', { kind: 'delete', key: 'hall' })
  played.pass(3 * MINUTE_MS)
  for (let round = 0; round < 2; round++) {
    writeOver(played)
    played.pass(3 * MINUTE_MS)
  }
  assert.equal(liveOf(played)?.[0], 1)
})
