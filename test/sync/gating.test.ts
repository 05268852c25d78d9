import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hex } from '../../runtime/base/bytes.ts'
import type { Batch } from '../../runtime/model/batch.ts'
import { SELF_COLLECTION } from '../../runtime/model/names.ts'
import { SequenceSet } from '../../runtime/model/sequences.ts'
import type { Held } from '../../runtime/model/checkpoint.ts'
import { FeedHistory, historyKey } from '../../runtime/sync/history.ts'
import { HELD_PREFIX } from '../../runtime/sync/statements.ts'
import { appliedCheckpoint } from '../simulation/checks.ts'
import { waitsForLost } from '../simulation/histories.ts'
import { Author } from './author.ts'
import { Played } from './played.ts'

function appliedSeq(played: Played, { feed }: Author): number {
  return appliedCheckpoint(played.gateway, feed)?.seq ?? 0
}

/** Three authors of one place, each with a batch; the gateway has none yet. */
function authors(): { readonly played: Played; readonly a: Author; readonly b: Author; readonly c: Author } {
  const played = new Played(4)
  const [a, b, c] = [1, 2, 3].map((index) => new Author(played, index)) as [Author, Author, Author]
  for (const author of [a, b, c]) author.put(`of ${author.feed.origin}`, { n: 1 })
  return { played, a, b, c }
}

test('G1: a checkpoint is applied once its author’s knowledge is here', () => {
  const { played, a, b } = authors()
  a.checkpoint([], [b.held()])
  a.push()
  assert.equal(appliedSeq(played, a), 0)
  b.push()
  assert.equal(appliedSeq(played, a), 2)
})

/** The first of three feeds is sealed beyond what is here of it, on which a checkpoint of the second relies. */
function sealedBehind(): { readonly played: Played; readonly a: Author; readonly b: Author } {
  const { played, a, b } = authors()
  for (let n = 2; n < 4; n++) a.put('later', { n })
  a.push(1)
  const seals = new Map([[a.feed.key, 2]])
  played.gateway.learnRemoval({ origin: a.feed.origin, reason: 'revoke', seals, bound: new Set() })
  b.checkpoint([], [a.held()])
  b.push()
  assert.equal(appliedSeq(played, b), 0, 'all may have confirmed what is void as far as is known')
  return { played, a, b }
}

test('of a sealed feed a checkpoint waits for what is void until everyone asked has said what it holds', () => {
  const { played, a, b } = sealedBehind()
  for (const index of [2, 3]) {
    assert.equal(appliedSeq(played, b), 0)
    const self = new Author(played, index, SELF_COLLECTION)
    self.put(HELD_PREFIX + hex(a.feed.id), { none: [] })
    self.push()
    played.pass(1_000)
  }
  assert.equal(appliedSeq(played, b), 2, 'nothing else need happen')
})

test('of a sealed feed a checkpoint does not wait for ever for what is void: some that are asked may be lost', () => {
  const { played, b } = sealedBehind()
  played.pass(30_000)
  assert.equal(appliedSeq(played, b), 2)
})

test('a checkpoint that waits for a feed of which nothing ever came is applied as soon as that is known to be void from its beginning', () => {
  const played = new Played(3)
  Object.assign(played, { history: { beaconMs: 3_600_000 } })
  played.gateway.crash()
  played.gateway.start()
  played.again()
  const [author, unknown] = [new Author(played, 1), new Author(new Played(3), 2)]
  author.put('hall', { n: 1 })
  unknown.put('hall', { n: 1 })
  author.checkpoint([1], [unknown.held()])
  author.push()
  played.pass(1_000)
  assert.equal(appliedSeq(played, author), 0)
  const seals = new Map([[unknown.feed.key, 1]])
  played.gateway.learnRemoval({ origin: unknown.feed.origin, reason: 'revoke', seals, bound: new Set() })
  played.pass(1_000)
  assert.equal(appliedSeq(played, author), 2, 'nothing else need happen')
})

test('G2: a feed that jumped counts as far as before, until what it jumped by is applied too', () => {
  const { played, a, b, c } = authors()
  b.put('twice', { n: 1 })
  const known = b.held()
  b.checkpoint([2], [c.held()])
  b.offer(3)
  assert.equal(played.gateway.disk.head(b.feed.key)?.seq, 3, 'it did not jump')
  a.checkpoint([], [known])
  a.push()
  assert.equal(appliedSeq(played, a), 0)
  c.push()
  b.push()
  assert.deepEqual([appliedSeq(played, a), appliedSeq(played, b)], [2, 3])
})

/** Once blamed: who came to two lost members' feeds by jumps, of which one relied on what only these had, and the other on that feed. */
test('a jump by what only a lost member knew holds up what relies on its feed, until that member is retired', () => {
  const { played, a, b, c } = authors()
  c.push()
  c.put('lost', { n: 2 })
  b.put('twice', { n: 1 })
  a.checkpoint([], [b.held()])
  b.checkpoint([2], [c.held()])
  b.offer(3)
  a.push()
  played.pass(60_000)
  const place = b.feed.descriptor
  assert.equal(played.gateway.disk.head(b.feed.key)?.seq, 3, 'it did not jump')
  assert.deepEqual([appliedSeq(played, a), appliedSeq(played, b)], [0, 0])
  assert.ok(waitsForLost([played.gateway], place), 'the simulator blames somebody')
  const seals = new Map([[c.feed.key, 2]])
  played.gateway.learnRemoval({ origin: c.feed.origin, reason: 'retire', seals, bound: new Set() })
  played.pass(60_000)
  assert.deepEqual([appliedSeq(played, a), appliedSeq(played, b)], [2, 3])
  assert.ok(!waitsForLost([played.gateway], place), 'the simulator blames nobody for ever')
})

test('G3: no checkpoint is applied that is older than the one by which its feed jumped', () => {
  const { played, b, c } = authors()
  b.put('kept', { n: 1 })
  b.checkpoint([2], [c.held()])
  b.offer(3)
  const later: Held[] = [(c.put('later', { n: 2 }), c.held())]
  for (let n = 0; n < 20; n++) b.put('often', { n })
  b.checkpoint([2, 23], later)
  b.offer(24)
  assert.equal(played.gateway.disk.head(b.feed.key)?.seq, 24, 'it did not jump twice')
  c.push(1)
  assert.equal(appliedSeq(played, b), 0)
  c.push()
  b.push()
  assert.equal(appliedSeq(played, b), 24)
})

test('what is being cut applies no checkpoint: its record would name one that has left', () => {
  const { played, a, b } = authors()
  a.put('later', { n: 2 })
  a.push(1)
  b.checkpoint([], [a.held()])
  b.push()
  const { gateway } = played
  for (const { feed } of [a, b])
    gateway.learnRemoval({ origin: feed.origin, reason: 'revoke', seals: new Map([[feed.key, 1]]), bound: new Set() })
  // The first cut lets the checkpoint of the second feed be applied, which is cut itself.
  while (gateway.disk.head(a.feed.key)?.seq !== 0) played.pass(1)
  assert.equal(gateway.disk.head(b.feed.key)?.seq, 2, 'both are cut at once')
  gateway.disk.powerCut(gateway.disk.cached)
  assert.equal(gateway.disk.head(b.feed.key)?.seq, 0)
  const history = new FeedHistory()
  history.decode(gateway.disk.getRecord(historyKey(b.feed)) as Uint8Array, () => null)
  assert.deepEqual([history.appliedSeq, history.baseSeq], [0, 0])
})

test('a delete does not leave while a checkpoint is damaged by which what it keeps dead is dead', () => {
  const played = new Played(1)
  const [writer, deleter] = [new Author(played, 1), new Author(played, 2)]
  writer.put('hall', { temperature: 1 })
  deleter.delete('hall')
  const { seq } = writer.checkpoint([]).header
  for (const author of [writer, deleter]) author.push()
  const { gateway } = played
  const drops = [{ feed: writer.feed, seqs: SequenceSet.of([seq]), isDamaged: true }]
  gateway.disk.append({ batches: [], drops, records: [] })
  while (gateway.disk.cached > 0) gateway.disk.flushOne()
  gateway.crash()
  gateway.start()
  played.again()
  for (const author of [writer, deleter]) author.introduce()
  deleter.checkpoint([], [writer.held()], true)
  deleter.push()
  const shown = (): unknown =>
    gateway.disk.document({ collection: 'climate', partition: '' }, 'hall')?.paths.length ?? 0
  played.pass(60_000)
  assert.deepEqual([shown(), gateway.disk.head(deleter.feed.key)?.retained.next(1)], [0, 1])
  played.say({ type: 'data', batches: [(writer.batches.at(-1) as Batch).bytes] })
  played.pass(60_000)
  assert.deepEqual([shown(), gateway.disk.head(deleter.feed.key)?.retained.next(1)], [0, 2])
})
