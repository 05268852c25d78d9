import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hex } from '../../runtime/base/bytes.ts'
import { FEED_KIND_SERIES, OP_ADD, OP_PUT, OP_REMOVE, type Batch } from '../../runtime/model/batch.ts'
import { fieldsOf } from '../../runtime/model/fields.ts'
import { SELF_COLLECTION } from '../../runtime/model/names.ts'
import { hlcFromMs } from '../../runtime/model/stamp.ts'
import type { WriteOp } from '../../runtime/ports/writer.ts'
import { reissueRecord } from '../../runtime/sync/cutting.ts'
import { FORK_PREFIX } from '../../runtime/sync/forks.ts'
import { encodeBatch } from '../../runtime/wire/batch.ts'
import { feedOf } from '../../runtime/wire/descriptor.ts'
import { encodeProof } from '../../runtime/wire/proof.ts'
import type { DiskAppend } from '../simulation/disk.ts'
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
  const copy = new Author(played, 0)
  copy.batches.push(former.batches[0] as Batch)
  const theirs = copy.put('elsewhere', { n: 0 })
  const member = new Author(played, 1, SELF_COLLECTION)
  const proof = encodeProof(former.feed, former.batches[1] as Batch, theirs)
  member.put(FORK_PREFIX + hex(former.feed.id), { proof })
  member.push()
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
