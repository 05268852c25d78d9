import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hex } from '../../runtime/base/bytes.ts'
import { FEED_KIND_SERIES, OP_ADD, OP_PUT, OP_REMOVE, type Batch, type Feed } from '../../runtime/model/batch.ts'
import { fieldsOf } from '../../runtime/model/fields.ts'
import { SELF_COLLECTION } from '../../runtime/model/names.ts'
import { hlcFromMs } from '../../runtime/model/stamp.ts'
import type { WriteOp } from '../../runtime/ports/writer.ts'
import { reissueRecord } from '../../runtime/sync/cutting.ts'
import type { Value } from '../../runtime/model/value.ts'
import { FORK_PREFIX } from '../../runtime/sync/forks.ts'
import { HELD_PREFIX } from '../../runtime/sync/statements.ts'
import { encodeBatch } from '../../runtime/wire/batch.ts'
import { feedOf } from '../../runtime/wire/descriptor.ts'
import { encodeProof } from '../../runtime/wire/proof.ts'
import type { DiskAppend, DiskFeed } from '../simulation/disk.ts'
import { fakeSignature, type SimulatedGateway } from '../simulation/gateway.ts'
import { Mesh } from '../simulation/mesh.ts'
import { Author } from './author.ts'
import { Played, START_MS } from './played.ts'

const YEAR_MS = 31_536_000_000
const PLACE = { collection: 'climate', partition: '' }

function shown({ gateway }: Played, key: string): unknown {
  const document = gateway.disk.document(PLACE, key)
  return document && fieldsOf(document)
}

/** A former incarnation of the gateway has written this, and a copy of it something else from the second batch on. */
function fork(played: Played, former: Author): void {
  tellFork(played, new Author(played, 1, SELF_COLLECTION), former.feed, former.batches[1] as Batch)
}

/** A member proves that a batch of the gateway's key has a rival. */
function tellFork({ meshId, keys }: Played, member: Author, feed: Feed, ours: Batch): void {
  const theirs = encodeBatch({
    meshId,
    feed,
    seq: ours.header.seq,
    prev: ours.header.prev,
    hlc: ours.header.hlc,
    ops: { docs: ['elsewhere'], shapes: [{ kind: OP_PUT, paths: ['n'] }], values: [0], opDocs: [0], opShapes: [0] },
    clockClass: 2,
    sign: (message) => fakeSignature(keys[0] as Uint8Array, message),
  })
  assert.ok(theirs.ok)
  member.put(FORK_PREFIX + hex(feed.id), { proof: encodeProof(feed, ours, theirs.value) })
  member.push()
}

/** A member says that it holds a branch up to `seq`. */
function hold(member: Author, { feed, batches }: Author, seq: number): void {
  const held = batches.slice(0, seq).map(({ header, hash }): Value => [header.seq, hash.slice(0, 8), header.hlc])
  const name = hex((batches[seq - 1] as Batch).hash.subarray(0, 8))
  member.put(HELD_PREFIX + hex(feed.id), { [name]: held })
}

/** From now on the disk refuses what `isRefused` says. */
function refuse(
  { gateway: { disk } }: { readonly gateway: SimulatedGateway },
  isRefused: (append: DiskAppend) => boolean,
): void {
  const append = disk.append.bind(disk)
  disk.append = (each) => !isRefused(each) && append(each)
}

/** A batch that the gateway writes itself in the place. */
function isOwn({ gateway }: { readonly gateway: SimulatedGateway }, { batches }: DiskAppend): boolean {
  const [first] = batches
  const descriptor = first?.feed.descriptor
  return descriptor?.collection === PLACE.collection && hex(descriptor.incarnation) === hex(gateway.incarnation)
}

test('what was added and removed again on a branch that is void does not come back', () => {
  const played = new Played()
  const former = new Author(played, 0)
  former.put('hall', { n: 1 })
  const { header } = former.write({
    docs: ['hall'],
    shapes: [{ kind: OP_ADD, paths: ['tags'] }],
    values: [['brief', 'kept']],
  })
  const seen = ['e"brief"', header.hlc, 0, former.feed.origin]
  former.write({ docs: ['hall'], shapes: [{ kind: OP_REMOVE, paths: ['tags'] }], values: [[seen]] })
  former.push()
  assert.deepEqual(shown(played, 'hall'), { n: 1, tags: ['kept'] })
  fork(played, former)
  played.pass(60_000)
  assert.equal(played.gateway.disk.head(former.feed.key)?.seq, 1)
  assert.deepEqual(shown(played, 'hall'), { n: 1, tags: ['kept'] })
})

test('what users write while the disk refuses the rest of what is written again is not overwritten by that', () => {
  const played = new Played()
  const former = new Author(played, 0)
  former.put('hall', { n: 1 })
  former.put('hall', { n: 2 })
  former.put('attic', { n: 3 })
  former.put('attic', { n: 4 })
  former.push()
  let own = 0
  refuse(played, (append) => isOwn(played, append) && ++own > 1 && own < 4)
  fork(played, former)
  while (own < 3) played.pass(10)
  played.pass(100)
  assert.deepEqual(shown(played, 'hall'), { n: 2 })
  assert.equal(shown(played, 'attic'), undefined)
  played.gateway.write('climate', { kind: 'put', key: 'attic', fields: { n: 5 } })
  played.pass(60_000)
  assert.deepEqual(shown(played, 'attic'), { n: 5 })
  assert.deepEqual(played.gateway.disk.scanRecords('sync/reissue/'), [])
})

test('what may not be written now is written again when it may be', () => {
  const played = new Played()
  const { authority } = played.gateway
  const former = new Author(played, 0)
  former.put('hall', { n: 1 })
  former.put('hall', { n: 2 })
  former.push()
  const permits = authority.permits.bind(authority)
  let mayWrite = false
  authority.permits = (feed) =>
    (mayWrite || hex(feed.descriptor.incarnation) !== hex(played.gateway.incarnation)) && permits(feed)
  fork(played, former)
  played.pass(60_000)
  assert.deepEqual(shown(played, 'hall'), { n: 1 })
  mayWrite = true
  played.gateway.learnKeys()
  played.pass(1_000)
  assert.deepEqual(shown(played, 'hall'), { n: 2 })
})

test('what is written again under a right that begins later waits for no more than its time', () => {
  const played = new Played()
  const { authority } = played.gateway
  const former = new Author(played, 0)
  former.put('hall', { n: 1 })
  former.put('hall', { n: 2 })
  former.push()
  const from = hlcFromMs(START_MS + played.schedule.now + 30_000)
  authority.permits = ({ descriptor }, hlc = 0) =>
    hlc > from || hex(descriptor.incarnation) !== hex(played.gateway.incarnation)
  fork(played, former)
  played.pass(20_000)
  assert.deepEqual(shown(played, 'hall'), { n: 1 })
  played.pass(120_000)
  assert.deepEqual(shown(played, 'hall'), { n: 2 })
})

test('what took an own write away is not given up before what it took away is done with, for the disk may refuse that', () => {
  const mesh = new Mesh({ gateways: 2, edges: [[0, 1]] })
  const gateway = mesh.at(0)
  gateway.write('climate', { kind: 'put', key: 'hall', fields: { n: 1 } })
  mesh.pass(5_000)
  gateway.clockBaseMs += YEAR_MS
  const ops: WriteOp[] = [
    { kind: 'put', key: 'hall', fields: { n: 2 } },
    { kind: 'add', key: 'hall', path: 'tags', elements: ['brief', 'kept'] },
    { kind: 'remove', key: 'hall', path: 'tags', subs: ['e"brief"'] },
  ]
  for (const op of ops) {
    gateway.write('climate', op)
    mesh.pass(100)
  }
  const before = hex(gateway.incarnation)
  let refused = 0
  refuse({ gateway }, (append) => {
    return isOwn({ gateway }, append) && hex(gateway.incarnation) !== before && refused++ < 2
  })
  gateway.clockBaseMs = gateway.rightClockMs
  mesh.pass(120_000)
  assert.ok(refused > 2)
  for (const { disk } of mesh.gateways) {
    const document = disk.document(PLACE, 'hall')
    assert.deepEqual(document && fieldsOf(document), { n: 2, tags: ['kept'] })
  }
})

test('rows that were cut under a clock that is set back before they are written again are not given up', () => {
  const played = new Played()
  const { gateway } = played
  const aheadMs = 7_200_000
  const publicKey = played.keys[0] as Uint8Array
  const incarnation = new Uint8Array(8).fill(9)
  const feed = feedOf(played.meshId, { publicKey, incarnation, ...PLACE, kind: FEED_KIND_SERIES, encrypted: false })
  const hlc = hlcFromMs(START_MS + aheadMs)
  const batch = encodeBatch({
    meshId: played.meshId,
    feed,
    seq: 1,
    prev: new Uint8Array(32),
    hlc,
    ops: { docs: ['hall'], shapes: [{ kind: OP_PUT, paths: ['n'] }], values: [1], opDocs: [0], opShapes: [0] },
    clockClass: 2,
    sign: (message) => fakeSignature(publicKey, message),
  })
  assert.ok(batch.ok)
  const record = { key: `sync/reissue/${hex(feed.id)}/1`, value: reissueRecord(feed, batch.value.bytes, hlc + 1) }
  gateway.crash()
  gateway.disk.append({ batches: [], records: [record] })
  gateway.disk.flushOne()
  gateway.start()
  played.pass(5_000)
  const own = gateway.disk.heads().filter(({ feed: { descriptor } }) => descriptor.kind === FEED_KIND_SERIES)
  assert.equal(own.length, 1)
  assert.deepEqual(gateway.disk.scanRecords('sync/reissue/'), [])
})

test('what others had overtaken and an own later write overtakes in turn does not come back over that', () => {
  const played = new Played()
  const former = new Author(played, 0)
  const other = new Author(played, 1)
  former.put('attic', { n: 1 })
  former.put('attic', { n: 2 })
  former.put('hall', { n: 1 })
  former.push()
  other.put('hall', { n: 5 })
  other.push()
  former.put('hall', { n: 2 })
  former.push()
  assert.deepEqual(shown(played, 'hall'), { n: 2 })
  fork(played, former)
  played.pass(60_000)
  assert.equal(played.gateway.disk.head(former.feed.key)?.seq, 1)
  assert.deepEqual(shown(played, 'hall'), { n: 2 })
  assert.deepEqual(played.gateway.disk.scanRecords('sync/reissu'), [])
})

for (const isVoid of [false, true]) {
  const what = isVoid ? 'becomes void itself' : 'stands'
  test(`what is made again and ${what} when the incarnation is lost before the rest is made stays what was written before`, () => {
    const played = new Played()
    const { gateway } = played
    const former = new Author(played, 0)
    const member = new Author(played, 1, SELF_COLLECTION)
    former.put('attic', { n: 1 })
    former.put('hall', { n: 2 })
    former.put('hall', { n: 3 })
    former.push()
    let own = 0
    const first = hex(gateway.incarnation)
    refuse(played, (append) => isOwn(played, append) && hex(gateway.incarnation) === first && own++ > 0)
    tellFork(played, member, former.feed, former.batches[1] as Batch)
    while (own < 2) played.pass(10)
    assert.deepEqual(shown(played, 'hall'), { n: 2 })
    if (isVoid) {
      const { feed, batches } = gateway.disk.feeds.get(played.ownFeed('climate').key) as DiskFeed
      tellFork(played, member, feed, (batches.get(1) as { batch: Batch }).batch)
    } else gateway.renew()
    played.pass(60_000)
    assert.notEqual(hex(gateway.incarnation), first)
    assert.deepEqual(shown(played, 'hall'), { n: 3 })
    assert.deepEqual(gateway.disk.scanRecords('sync/reissu'), [])
  })
}

test('of three branches of a former incarnation what was written on each is there in the end, though none may be made again before all are cut', () => {
  const played = new Played()
  const { authority } = played.gateway
  const branches = ['attic', 'cellar', 'roof'].map((key) => ({ key, author: new Author(played, 0) }))
  const [ours, second, third] = branches.map(({ author }) => author) as [Author, Author, Author]
  const first = ours.put('hall', { n: 1 })
  for (const author of [second, third]) author.batches.push(first)
  for (const { key, author } of branches) for (let n = 2; n <= 4; n++) author.put(key, { n })
  ours.push()
  const permits = authority.permits.bind(authority)
  let mayWrite = false
  authority.permits = (feed) =>
    (mayWrite || hex(feed.descriptor.incarnation) !== hex(played.gateway.incarnation)) && permits(feed)
  const member = new Author(played, 1, SELF_COLLECTION)
  hold(member, second, 3)
  tellFork(played, member, ours.feed, ours.batches[1] as Batch)
  played.pass(60_000)
  second.push(3)
  played.pass(1_000)
  assert.deepEqual(shown(played, 'cellar'), { n: 3 })
  // Its store was put back, and it has come to hold more of the third.
  hold(member, third, 4)
  member.push()
  played.pass(60_000)
  third.push()
  played.pass(1_000)
  assert.deepEqual(shown(played, 'roof'), { n: 4 })
  assert.equal(shown(played, 'cellar'), undefined)
  mayWrite = true
  played.gateway.learnKeys()
  played.pass(1_000)
  assert.deepEqual(
    branches.map(({ key }) => shown(played, key)),
    [{ n: 4 }, { n: 3 }, { n: 4 }],
  )
})

test('when the cut falls while some is not made again yet, what comes before it is not written over what was made again', () => {
  const played = new Played()
  const { gateway } = played
  const former = new Author(played, 0)
  const member = new Author(played, 1, SELF_COLLECTION)
  former.put('cellar', { n: 1 })
  former.put('hall', { n: 2 })
  former.put('hall', { n: 3 })
  former.put('attic', { n: 4 })
  former.push()
  let own = 0
  refuse(played, (append) => isOwn(played, append) && own++ > 0 && own < 8)
  tellFork(played, member, former.feed, former.batches[2] as Batch)
  while (own < 2) played.pass(10)
  assert.deepEqual(shown(played, 'hall'), { n: 3 })
  tellFork(played, member, former.feed, former.batches[1] as Batch)
  played.pass(60_000)
  assert.equal(gateway.disk.head(former.feed.key)?.seq, 1)
  assert.deepEqual(shown(played, 'hall'), { n: 3 })
  assert.deepEqual(shown(played, 'attic'), { n: 4 })
  assert.deepEqual(gateway.disk.scanRecords('sync/reissu'), [])
})

test('what users write while the cut is on its way to the disk is not overwritten by what is made again', () => {
  const played = new Played()
  const { gateway } = played
  const former = new Author(played, 0)
  former.put('hall', { n: 1 })
  former.put('hall', { n: 2 })
  former.push()
  let isWritten = false
  refuse(played, ({ drops = [] }) => {
    if (drops.length > 0 && !isWritten) {
      isWritten = true
      played.schedule.after(0, () => gateway.write('climate', { kind: 'put', key: 'hall', fields: { n: 3 } }))
    }
    return false
  })
  fork(played, former)
  played.pass(60_000)
  assert.ok(isWritten)
  assert.deepEqual(shown(played, 'hall'), { n: 3 })
  assert.deepEqual(gateway.disk.scanRecords('sync/reissu'), [])
})
