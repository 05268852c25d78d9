import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Feed } from '../../runtime/model/batch.ts'
import { SELF_COLLECTION } from '../../runtime/model/names.ts'
import { SequenceSet } from '../../runtime/model/sequences.ts'
import type { DiskAppend } from '../simulation/disk.ts'
import { Author } from './author.ts'
import { Played } from './played.ts'

const MINUTE_MS = 60_000

function retained({ gateway }: Played, { feed }: Author): readonly number[] {
  return [...(gateway.disk.head(feed.key)?.retained.values() ?? [])]
}

test('dead batches stay until everyone asked has confirmed the checkpoint that says so', () => {
  const played = new Played(3)
  const [author, other] = [new Author(played, 1), new Author(played, 2, SELF_COLLECTION)]
  for (let n = 0; n < 4; n++) author.put('hall', { n })
  author.checkpoint([4])
  author.push()
  other.beacon([author.held(4)])
  other.push()
  played.pass(2 * MINUTE_MS)
  assert.deepEqual(retained(played, author), [1, 2, 3, 4, 5])
  other.beacon([author.held()])
  other.push()
  played.pass(2 * MINUTE_MS)
  assert.deepEqual(retained(played, author), [4, 5])
})

test('what was found damaged is not taken for what a member has confirmed under its number, which may be of another branch', () => {
  const played = new Played(3)
  const [author, copy] = [new Author(played, 1), new Author(played, 1)]
  const other = new Author(played, 2, SELF_COLLECTION)
  for (let n = 0; n < 4; n++) copy.batches.push(author.put('hall', { n }))
  author.checkpoint([4])
  const [lost] = [author.put('attic', { n: 4 }), author.put('attic', { n: 5 })]
  for (let n = 4; n < 6; n++) copy.put('hall', { n: -n })
  author.push()
  const { disk } = played.gateway
  disk.append({ batches: [], drops: [{ feed: author.feed, seqs: SequenceSet.of([6]), isDamaged: true }], records: [] })
  while (disk.cached > 0) disk.flushOne()
  played.gateway.crash()
  played.gateway.start()
  played.again()
  other.introduce()
  other.beacon([copy.held()])
  other.push()
  played.pass(2 * MINUTE_MS)
  assert.deepEqual(retained(played, author), [1, 2, 3, 4, 5, 7])
  // When it is back it is seen to be another, and that its own was confirmed as soon as somebody says so.
  author.introduce()
  author.tell(7)
  played.pass(10_000)
  played.say({ type: 'data', batches: [lost.bytes] })
  played.pass(MINUTE_MS)
  assert.deepEqual(retained(played, author), [1, 2, 3, 4, 5, 6, 7])
  other.beacon([author.held(6)])
  other.push()
  played.pass(MINUTE_MS)
  assert.deepEqual(retained(played, author), [4, 5, 6, 7])
})

test('of what died together a delete leaves after what it keeps dead, in whatever feeds they are', () => {
  const played = new Played(3)
  const [deleter, writer, third] = [new Author(played, 1), new Author(played, 2), new Author(played, 3)]
  writer.put('hall', { n: 1 })
  played.pass(10)
  deleter.delete('hall')
  third.put('other', { n: 1 })
  writer.checkpoint([], [deleter.held(), third.held()])
  deleter.checkpoint([], [writer.held(), third.held()], true)
  for (const author of [deleter, writer]) author.push()
  const says = [new Author(played, 1, SELF_COLLECTION), new Author(played, 2, SELF_COLLECTION)] as const
  says[0].beacon([writer.held()])
  says[1].beacon([deleter.held()])
  for (const author of says) author.push()
  played.pass(MINUTE_MS)
  assert.deepEqual(
    [retained(played, deleter), retained(played, writer)],
    [
      [1, 2],
      [1, 2],
    ],
  )
  // Now everything is confirmed, and all of it is found dead at one look.
  third.push()
  played.pass(MINUTE_MS)
  assert.deepEqual([retained(played, deleter), retained(played, writer)], [[2], [2]])
  for (const { after } of played.drops) assert.deepEqual([...after], [])
})

test('what is on its way out of the log when the checkpoint that lets it go is voided is back from what was kept aside', () => {
  const played = new Played(3)
  const { gateway } = played
  const [author, other] = [new Author(played, 1), new Author(played, 2, SELF_COLLECTION)]
  author.put('hall', { n: 0 })
  author.delete('hall')
  author.put('hall', { n: 1 })
  author.checkpoint([])
  author.push()
  other.beacon([author.held()])
  other.push()
  // The disk takes its time with what leaves.
  const append = gateway.disk.append.bind(gateway.disk)
  let leaving = 0
  Object.assign(gateway.disk, {
    append: (all: DiskAppend) => {
      leaving += all.drops?.length ?? 0
      return append(all)
    },
  })
  gateway.flushMsMax = 5_000
  while (leaving === 0) played.pass(1)
  // Its author says that its clock was ahead.
  Object.assign(gateway.authority, {
    aheadOf: () => 4,
    sealOf: ({ key }: Feed) => (key === author.feed.key ? 4 : Infinity),
  })
  gateway.learnRemoval({
    origin: 'nobody',
    reason: 'retire',
    seals: new Map<string, number>(),
    bound: new Set<string>(),
  })
  const said = played.pass(MINUTE_MS)
  const runs = said.flatMap((message) => (message.type === 'want' ? message.entries : []))
  assert.deepEqual([gateway.disk.head(author.feed.key)?.seq, retained(played, author), runs], [3, [1, 2, 3], []])
})

test('what was dead before a feed jumped, and lives by what it jumped by, does not leave while that waits to be applied', () => {
  const played = new Played(3)
  const [author, copy] = [new Author(played, 1), new Author(played, 1)]
  const [other, unknown] = [new Author(played, 2, SELF_COLLECTION), new Author(new Played(3), 2)]
  unknown.put('hall', { n: 0 })
  copy.batches.push(author.put('attic', { n: 1 }), author.put('hall', { n: 2 }))
  for (let n = 3; n <= 4; n++) author.put('hall', { n })
  author.checkpoint([4])
  author.push()
  for (let n = 3; n <= 9; n++) copy.put('hall', { n: -n })
  const checkpoint = copy.checkpoint([1, 9], [unknown.held()])
  copy.offer(10, [])
  // Nothing is left that shows where the branches part.
  for (let round = 0; round < 100; round++) {
    const wants = played.pass(200).flatMap((message) => (message.type === 'want' ? message.entries : []))
    const asked = new SequenceSet(wants.flatMap(([, , , runs]) => runs ?? []))
    const held = copy.batches.filter(({ header: { seq } }) => asked.has(seq) && (seq === 1 || seq === 9))
    const batches = held.length > 0 ? held : [checkpoint]
    if (wants.length > 0) played.say({ type: 'data', batches: batches.map(({ bytes }) => bytes) })
  }
  assert.equal(played.gateway.disk.head(author.feed.key)?.seq, 10, 'it did not jump')
  other.beacon([author.held()])
  other.push()
  played.pass(2 * MINUTE_MS)
  assert.deepEqual(
    retained(played, author).filter((seq) => seq !== 5),
    [1, 4, 9, 10],
  )
  assert.ok(played.gateway.disk.document({ collection: 'climate', partition: '' }, 'attic'))
})
