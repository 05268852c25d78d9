import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SELF_COLLECTION } from '../../runtime/model/names.ts'
import { SequenceSet } from '../../runtime/model/sequences.ts'
import { hex } from '../../runtime/base/bytes.ts'
import type { Batch, Feed } from '../../runtime/model/batch.ts'
import { BEACON_KEY, decodeBeacon } from '../../runtime/sync/beacons.ts'
import { AHEAD_PREFIX } from '../../runtime/sync/overrun.ts'
import { HELD_PREFIX } from '../../runtime/sync/statements.ts'
import { encodeAheadSeal } from '../../runtime/wire/ahead-seal.ts'
import { cellsOf } from '../simulation/disk.ts'
import { Author } from './author.ts'
import { Played } from './played.ts'

const MINUTE_MS = 60_000
/** From here on the feed is sealed, which has six batches. */
const SEAL = 4

/** A feed with a checkpoint, of which everyone says what it holds; another member has confirmed it up to `seq`. */
function confirmed(seq: number): { readonly played: Played; readonly author: Author } {
  const played = new Played(3)
  const [author, other] = [new Author(played, 1), new Author(played, 2, SELF_COLLECTION)]
  for (let n = 0; n < 5; n++) author.put(`hall-${n}`, { n })
  author.checkpoint([1, 2, 3, 4, 5])
  author.push()
  other.beacon(seq > 0 ? [author.held(seq)] : [])
  other.push()
  played.pass(MINUTE_MS)
  assert.deepEqual(acksOf(played, author), [6])
  const removal = { origin: author.feed.origin, reason: 'revoke', bound: new Set<string>() } as const
  played.gateway.learnRemoval({ ...removal, seals: new Map([[author.feed.key, SEAL]]) })
  played.pass(MINUTE_MS)
  return { played, author }
}

/** Up to where the gateway says itself to hold it, on whatever branch. */
function acksOf(played: Played, { feed }: Author): number[] {
  const place = { collection: SELF_COLLECTION, partition: played.gateway.peerId }
  const document = played.gateway.disk.document(place, BEACON_KEY)
  return (
    (document &&
      decodeBeacon(document)
        ?.acks.get(feed.key)
        ?.map(({ seq }) => seq)) ??
    []
  )
}

/** The branches that the gateway says to hold, by name. */
function saidOf({ gateway }: Played, { feed }: Author): Map<string, [seq: number, hash8: Uint8Array][]> {
  const place = { collection: SELF_COLLECTION, partition: gateway.peerId }
  const { paths = [], values = [] } = gateway.disk.document(place, HELD_PREFIX + hex(feed.id)) ?? {}
  const branches = paths.map((path, i) => [path, values[i]] as const).filter(([path]) => path !== 'since')
  return new Map(branches as [string, [number, Uint8Array][]][])
}

/** The sequences of each. */
function branchesOf(played: Played, author: Author): number[][] {
  return [...saidOf(played, author).values()].map((chain) => chain.map(([seq]) => seq))
}

test('a seal undoes what not everyone had confirmed', () => {
  const { played, author } = confirmed(0)
  assert.equal(played.gateway.disk.head(author.feed.key)?.seq, SEAL - 1)
})

test('a seal undoes nothing that everyone had confirmed', () => {
  const { played, author } = confirmed(6)
  assert.equal(played.gateway.disk.head(author.feed.key)?.seq, 6)
  const half = confirmed(5)
  assert.equal(half.played.gateway.disk.head(half.author.feed.key)?.seq, 5)
})

test('what was confirmed once of a sealed feed stays confirmed beside what is said later', () => {
  const { played, author } = confirmed(0)
  assert.deepEqual(acksOf(played, author), [6, SEAL - 1])
})

test('what was confirmed once stays confirmed when the document that says so was damaged, and has been derived anew', () => {
  const { played, author } = confirmed(0)
  const { disk, engine } = played.gateway
  const document = disk.document.bind(disk)
  // What has changed on the card is not shown.
  disk.document = (place, key) => (key === BEACON_KEY ? undefined : document(place, key))
  engine?.handle(played.gateway.now(), { type: 'authority-changed' })
  disk.document = document
  const place = { collection: SELF_COLLECTION, partition: played.gateway.peerId }
  engine?.handle(played.gateway.now(), { type: 'examined', ...place, documents: 1, damaged: [] })
  played.pass(MINUTE_MS)
  assert.deepEqual(acksOf(played, author), [6, SEAL - 1])
})

test('what was confirmed once stays confirmed while the only checkpoint of the feed is damaged', () => {
  const played = new Played(3)
  const [author, unknown] = [new Author(played, 1), new Author(played, 2)]
  author.put('hall', { n: 1 })
  unknown.put('hall', { n: 2 })
  author.checkpoint([1], [unknown.held()])
  author.push()
  played.pass(MINUTE_MS)
  assert.deepEqual(acksOf(played, author), [2])
  takeOut(played, author, 2)
  played.pass(MINUTE_MS)
  assert.deepEqual(acksOf(played, author), [2])
})

test('a feed whose author turns out to be a member that was removed is asked for at once', () => {
  const played = new Played(3)
  const author = new Author(played, 1)
  played.gateway.authority.strangers.add(author.feed.origin)
  for (let n = 0; n < 3; n++) author.put(`hall-${n}`, { n })
  author.tell(3)
  const wants = (ms: number): number => played.pass(ms).filter(({ type }) => type === 'want').length
  assert.equal(wants(1_000), 0, 'nobody is known by that name')
  played.gateway.authority.strangers.clear()
  const removal = { origin: author.feed.origin, reason: 'retire', bound: new Set<string>() } as const
  played.gateway.learnRemoval({ ...removal, seals: new Map([[author.feed.key, SEAL]]) })
  assert.equal(wants(1_000), 1)
})

test('nothing leaves by a checkpoint of a sealed feed while somebody has confirmed another branch: a later proof may say that they part before it', () => {
  const played = new Played(3)
  const [author, copy] = [new Author(played, 1), new Author(played, 1)]
  const other = new Author(played, 2, SELF_COLLECTION)
  for (let n = 0; n < 2; n++) copy.batches.push(author.put('hall', { n }))
  author.put('hall', { n: 2 })
  author.checkpoint([3])
  author.push()
  for (let n = 2; n < 6; n++) copy.put('hall', { n: -n })
  other.beacon([copy.held()])
  other.push()
  const removal = { origin: author.feed.origin, reason: 'revoke', bound: new Set<string>() } as const
  const leftBelow = (seal: number): readonly number[] => {
    played.gateway.learnRemoval({ ...removal, seals: new Map([[author.feed.key, seal]]) })
    played.pass(MINUTE_MS)
    return [...(played.gateway.disk.head(author.feed.key)?.retained.values() ?? [])]
  }
  assert.deepEqual(leftBelow(5), [1, 2, 3, 4])
  assert.deepEqual(leftBelow(3), [1, 2])
})

test('of what was written before its admission no member is asked below a seal either', () => {
  const played = new Played(2)
  const author = new Author(played, 1)
  for (let n = 0; n < 3; n++) author.put('hall', { n })
  const { header } = author.checkpoint([3])
  const late = { origin: played.peerIdOf(2), since: header.hlc }
  const members = [...played.members(), late]
  Object.assign(played, { members: () => members })
  const removal = { origin: author.feed.origin, reason: 'retire', bound: new Set<string>() } as const
  played.gateway.learnRemoval({ ...removal, seals: new Map([[author.feed.key, header.seq + 1]]) })
  author.push()
  played.pass(2 * MINUTE_MS)
  assert.deepEqual([...(played.gateway.disk.head(author.feed.key)?.retained.values() ?? [])], [3, 4])
})

test('what is void is not asked for, though a neighbour that has not heard of the seal goes on telling of it', () => {
  const { played, author } = confirmed(0)
  const said = [...author.tell(6), ...played.pass(5 * MINUTE_MS)]
  const wants = said.flatMap((message) => (message.type === 'want' ? message.entries : []))
  assert.deepEqual(wants, [])
})

/**
 * Once back on all, also where deletes of it had been collected: what a member had not confirmed that then kept the feed no more (seed
 * 7016138).
 */
test('who keeps a sealed feed no more is asked by what it said while it did', () => {
  const heads = [{ since: 0 }, { since: Number.MAX_SAFE_INTEGER }, null].map((said) => {
    const played = new Played(3)
    const [author, other] = [new Author(played, 1), new Author(played, 2, SELF_COLLECTION)]
    for (let n = 0; n < 6; n++) author.put(`hall-${n}`, { n })
    author.push()
    other.beacon([])
    if (said !== null) {
      const held = author.batches.slice(0, 2).map(({ header, hash }) => [header.seq, hash.slice(0, 8), header.hlc])
      other.put(HELD_PREFIX + hex(author.feed.id), { some: held, ...said })
    }
    other.push()
    const removal = { origin: author.feed.origin, reason: 'revoke', bound: new Set<string>() } as const
    played.gateway.learnRemoval({ ...removal, seals: new Map([[author.feed.key, 2]]) })
    played.pass(MINUTE_MS)
    const before = played.gateway.disk.head(author.feed.key)?.seq
    other.put('interest', { kept: [['elsewhere', 0]] })
    other.push()
    played.pass(MINUTE_MS)
    return [before, played.gateway.disk.head(author.feed.key)?.seq]
  })
  // The second had begun to keep it after all that; the third has said nothing, so that nobody went by it.
  assert.deepEqual(heads, [
    [2, 2],
    [2, 6],
    [1, 6],
  ])
})

test('it says since when it keeps a sealed feed of which it says what it holds', () => {
  const { played, author } = confirmed(0)
  const place = { collection: SELF_COLLECTION, partition: played.gateway.peerId }
  const said = played.gateway.disk.document(place, HELD_PREFIX + hex(author.feed.id))
  assert.equal(said?.values[said.paths.indexOf('since')], 0)
})

test('what is void is not taken again', () => {
  const { played, author } = confirmed(0)
  played.say({ type: 'data', batches: author.batches.slice(SEAL - 1).map(({ bytes }) => bytes) })
  // Long enough for the disk, too short for the next look at what is sealed.
  played.pass(60)
  assert.equal(played.gateway.disk.head(author.feed.key)?.seq, SEAL - 1)
})

test('what has come beside the chain, for a fill that is not whole, may be of another branch: it is not said to be held with ours', () => {
  const played = new Played(3)
  const [author, copy] = [new Author(played, 1), new Author(played, 1)]
  for (let n = 0; n < 2; n++) copy.batches.push(author.put('hall', { n }))
  for (let n = 2; n < 4; n++) author.put('hall', { n })
  author.push()
  for (let n = 2; n < 7; n++) copy.put('hall', { n: -n })
  copy.checkpoint([6, 7])
  copy.offer(8, [6])
  assert.deepEqual([...(played.gateway.disk.head(author.feed.key)?.retained.values() ?? [])], [1, 2, 3, 4, 6])
  const removal = { origin: author.feed.origin, reason: 'revoke', bound: new Set<string>() } as const
  // What was taken out for the first is kept aside, and told of with the second.
  for (const seal of [3, 2]) {
    played.gateway.learnRemoval({ ...removal, seals: new Map([[author.feed.key, seal]]) })
    played.pass(MINUTE_MS)
  }
  assert.deepEqual(branchesOf(played, author), [
    [1, 2, 3, 4],
    [1, 2],
  ])
})

test('what was here before a feed jumped may be of another branch, but for what it calls live: the two are not said to be one', () => {
  const played = new Played(3)
  const [author, copy] = [new Author(played, 1), new Author(played, 1)]
  for (let n = 0; n < 2; n++) copy.batches.push(author.put('hall', { n }))
  for (let n = 2; n < 5; n++) author.put('hall', { n })
  author.push()
  for (let n = 2; n < 8; n++) copy.put('hall', { n: -n })
  copy.checkpoint([2, 8])
  copy.offer(9)
  const head = played.gateway.disk.head(author.feed.key)
  assert.deepEqual([head?.seq, ...(head?.retained.runs ?? [])], [9, 1, 5, 8, 9])
  const removal = { origin: author.feed.origin, reason: 'revoke', bound: new Set<string>() } as const
  const said = (seal: number): string[] => {
    played.gateway.learnRemoval({ ...removal, seals: new Map([[author.feed.key, seal]]) })
    played.pass(MINUTE_MS)
    return branchesOf(played, author)
      .map((seqs) => seqs.join(' '))
      .sort()
  }
  // What was taken out for the first is kept aside, and told of with the second.
  assert.deepEqual(said(3), ['2 3 4 5', '7 8 9'])
  assert.deepEqual(said(2), ['1 2', '1 2 3 4 5', '7 8 9'])
})

test('of a feed that forked what its author has voided is named too: others may have confirmed the branch by that alone', () => {
  const played = new Played(3)
  const [author, self] = [new Author(played, 1), new Author(played, 1, SELF_COLLECTION)]
  for (let n = 0; n < 4; n++) author.put('hall', { n })
  const first = author.put('hall', { n: 4 }, MINUTE_MS)
  author.put('hall', { n: 5 }, MINUTE_MS)
  author.push()
  self.put(AHEAD_PREFIX + hex(author.feed.id), { sealed: encodeAheadSeal(author.feed, first, 5) })
  self.push()
  played.pass(MINUTE_MS)
  assert.equal(played.gateway.disk.head(author.feed.key)?.seq, 4)
  const removal = { origin: author.feed.origin, reason: 'revoke', bound: new Set<string>() } as const
  played.gateway.learnRemoval({ ...removal, seals: new Map([[author.feed.key, 3]]) })
  played.pass(MINUTE_MS)
  assert.deepEqual(branchesOf(played, author).at(-1), [2, 3, 4, 5, 6])
})

/** A feed has jumped by its eighth batch, of which the second, the fifth and the seventh live; then it is sealed there. */
function jumpedAndSealed(): { readonly played: Played; readonly author: Author; readonly other: Author } {
  const played = new Played(3)
  const [author, other] = [new Author(played, 1), new Author(played, 2, SELF_COLLECTION)]
  for (let n = 1; n <= 7; n++) author.put(`hall-${n}`, { n })
  author.checkpoint([2, 5, 7])
  author.push(2)
  author.offer(8)
  const removal = { origin: author.feed.origin, reason: 'revoke', bound: new Set<string>() } as const
  played.gateway.learnRemoval({ ...removal, seals: new Map([[author.feed.key, 8]]) })
  played.pass(1_000)
  return { played, author, other }
}

test('what came with a checkpoint that a seal makes void leaves with it, for others may not have it', () => {
  const { played, author } = jumpedAndSealed()
  const { disk } = played.gateway
  assert.deepEqual(disk.head(author.feed.key)?.retained.runs, [1, 2])
  assert.equal(disk.document({ collection: 'climate', partition: '' }, 'hall-5'), undefined)
})

test('what left with the checkpoint that it came with is back when all have confirmed that', () => {
  const { played, author, other } = jumpedAndSealed()
  other.beacon([author.held()])
  other.push()
  played.pass(MINUTE_MS)
  const head = played.gateway.disk.head(author.feed.key)
  assert.deepEqual([head?.seq, head?.retained.within(2, 8).runs], [8, [2, 2, 5, 5, 7, 8]])
})

test('parts of a fill of a sealed feed that nobody goes on with leave the log too', () => {
  const played = new Played(3)
  const author = new Author(played, 1)
  for (let n = 1; n <= 7; n++) author.put(`hall-${n}`, { n })
  author.checkpoint([2, 5, 7])
  author.push(2)
  author.offer(8, [5])
  const removal = { origin: author.feed.origin, reason: 'revoke', bound: new Set<string>() } as const
  played.gateway.learnRemoval({ ...removal, seals: new Map([[author.feed.key, 8]]) })
  played.again()
  author.introduce()
  author.tell(2)
  played.pass(2 * MINUTE_MS)
  assert.deepEqual(played.gateway.disk.head(author.feed.key)?.retained.runs, [1, 2])
})

test('what is said to be held of a sealed feed is what was taken, though the header of the last batch has turned on the card', () => {
  for (const isVoid of [false, true]) {
    const played = new Played(3)
    const author = new Author(played, 1)
    for (let n = 0; n < 3; n++) author.put('hall', { n })
    author.push()
    played.gateway.disk.turn(author.feed.key, 3)
    const removal = { origin: author.feed.origin, reason: 'revoke', bound: new Set<string>() } as const
    for (const seal of isVoid ? [3, 2] : [4]) {
      played.gateway.learnRemoval({ ...removal, seals: new Map([[author.feed.key, seal]]) })
      played.pass(MINUTE_MS)
    }
    const known = new Set(author.batches.map(({ hash }) => hex(hash.subarray(0, 8))))
    const said = saidOf(played, author)
    assert.ok(said.size > 0)
    for (const name of said.keys()) assert.ok(known.has(name), `it says to hold ${name}`)
  }
})

test('a cut goes back to the batch that others have, though the header of the one before it has turned on the card', () => {
  const played = new Played(3)
  const author = new Author(played, 1)
  for (let n = 0; n < 4; n++) author.put('hall', { n })
  author.push()
  const { disk } = played.gateway
  disk.turn(author.feed.key, 2)
  const removal = { origin: author.feed.origin, reason: 'revoke', bound: new Set<string>() } as const
  played.gateway.learnRemoval({ ...removal, seals: new Map([[author.feed.key, 3]]) })
  played.pass(MINUTE_MS)
  assert.equal(disk.head(author.feed.key)?.seq, 2)
  assert.deepEqual(disk.head(author.feed.key)?.hash, author.batches[1]?.hash)
})

/** Once for ever at odds: a head of which nothing was left but its sequence (seed 10003027). */
for (const isTakenOut of [true, false])
  test(`what was before a cut is fetched where that and what continues it was ${isTakenOut ? 'taken out' : 'turned on the card'}`, () => {
    const played = new Played(3)
    const author = new Author(played, 1)
    for (let n = 0; n < 6; n++) author.put('hall', { n })
    author.push(5)
    const { gateway } = played
    const { feed } = author
    const seqs = SequenceSet.of([4, 5])
    if (isTakenOut) {
      gateway.disk.append({ batches: [], drops: [{ feed, seqs, isDamaged: true }], records: [] })
      gateway.disk.flushOne()
      gateway.crash()
      gateway.start()
      played.again()
      author.introduce()
    } else for (const seq of seqs.values()) gateway.disk.turn(feed.key, seq)
    const removal = { origin: feed.origin, reason: 'revoke', bound: new Set<string>() } as const
    gateway.learnRemoval({ ...removal, seals: new Map([[feed.key, 5]]) })
    played.pass(MINUTE_MS)
    assert.equal(gateway.disk.head(feed.key)?.seq, 3)
    const late = new Author(played, 1)
    late.batches.push(...author.batches)
    late.push()
    played.pass(MINUTE_MS)
    const head = gateway.disk.head(feed.key)
    assert.equal(head?.seq, 4)
    assert.deepEqual(head?.hash, author.batches[3]?.hash)
    assert.deepEqual([...(head?.retained.values() ?? [])], [1, 2, 3, 4])
  })

test('what has turned on the card is not kept aside with what is void', () => {
  const played = new Played(3)
  const author = new Author(played, 1)
  for (let n = 0; n < 4; n++) author.put('hall', { n })
  author.push()
  const { disk } = played.gateway
  disk.turn(author.feed.key, 2)
  const removal = { origin: author.feed.origin, reason: 'revoke', bound: new Set<string>() } as const
  played.gateway.learnRemoval({ ...removal, seals: new Map([[author.feed.key, 2]]) })
  played.pass(MINUTE_MS)
  const kept = disk.scanRecords('sync/void/').map(({ key }) => key.split('/').at(-1))
  assert.deepEqual(kept, ['3', '4'])
})

test('what was void and has turned on the card before it was taken out does not come back, but is fetched', () => {
  const played = new Played(3)
  const [author, other] = [new Author(played, 1), new Author(played, 2, SELF_COLLECTION)]
  for (let n = 0; n < 5; n++) author.put(`hall-${n}`, { n })
  author.push()
  other.beacon([])
  other.push()
  const { disk } = played.gateway
  disk.turn(author.feed.key, 4, 'signature')
  const removal = { origin: author.feed.origin, reason: 'revoke', bound: new Set<string>() } as const
  played.gateway.learnRemoval({ ...removal, seals: new Map([[author.feed.key, 2]]) })
  played.pass(1_000)
  assert.equal(disk.head(author.feed.key)?.seq, 1)
  other.beacon([author.held()])
  other.push()
  author.tell(5)
  const said = played.pass(MINUTE_MS)
  assert.equal(disk.head(author.feed.key)?.seq, 3)
  assert.ok(said.some((message) => message.type === 'want' && message.entries.some(([, from]) => from === 4)))
  played.say({ type: 'data', batches: author.batches.slice(3).map(({ bytes }) => bytes) })
  played.pass(MINUTE_MS)
  assert.equal(disk.head(author.feed.key)?.seq, 5)
  for (const { header, bytes } of author.batches) assert.deepEqual(disk.bytesOf(author.feed.key, header.seq), bytes)
})

test('what is said to be held of a sealed feed is what was taken, though headers of batches side by side have turned on the card', () => {
  const played = new Played(3)
  const author = new Author(played, 1)
  for (let n = 0; n < 6; n++) author.put('hall', { n })
  author.push()
  for (const seq of [3, 4]) played.gateway.disk.turn(author.feed.key, seq)
  const removal = { origin: author.feed.origin, reason: 'revoke', bound: new Set<string>() } as const
  played.gateway.learnRemoval({ ...removal, seals: new Map([[author.feed.key, 2]]) })
  played.pass(MINUTE_MS)
  const names = [...saidOf(played, author).values()].flat().map(([seq, hash8]) => `${seq} ${hex(hash8)}`)
  const made = author.batches.map(({ header, hash }) => `${header.seq} ${hex(hash.subarray(0, 8))}`)
  // What comes before two of them nobody here can name.
  assert.deepEqual(names, [made[0], made[1], made[3], made[4], made[5]])
})

test('a header that has turned on the card is no other branch than that which all have confirmed: it is mended, and what follows it stays', () => {
  const played = new Played(3)
  const [author, other] = [new Author(played, 1), new Author(played, 2, SELF_COLLECTION)]
  for (let n = 0; n < 5; n++) author.put(`hall-${n}`, { n })
  author.push()
  other.beacon([author.held()])
  const held = author.batches.map(({ header, hash }) => [header.seq, hash.slice(0, 8), header.hlc])
  other.put(HELD_PREFIX + hex(author.feed.id), { all: held })
  other.push()
  const { disk } = played.gateway
  disk.turn(author.feed.key, 3)
  const removal = { origin: author.feed.origin, reason: 'revoke', bound: new Set<string>() } as const
  played.gateway.learnRemoval({ ...removal, seals: new Map([[author.feed.key, 2]]) })
  const said = played.pass(MINUTE_MS)
  assert.deepEqual([...(disk.head(author.feed.key)?.retained.values() ?? [])], [1, 2, 4, 5])
  assert.ok(said.some((message) => message.type === 'want' && message.entries.some(([, , , runs]) => runs?.[0] === 3)))
})

test('where batches side by side are lacking of the branch that all have confirmed, none of another is taken in their place', () => {
  const played = new Played(3)
  const [author, copy] = [new Author(played, 1), new Author(played, 1)]
  const other = new Author(played, 2, SELF_COLLECTION)
  for (let n = 0; n < 2; n++) copy.batches.push(author.put(`hall-${n}`, { n }))
  for (let n = 2; n < 5; n++) author.put(`hall-${n}`, { n })
  for (let n = 2; n < 5; n++) copy.put(`hall-${n}`, { n: -n })
  author.push()
  other.beacon([author.held()])
  const held = author.batches.map(({ header, hash }) => [header.seq, hash.slice(0, 8), header.hlc])
  other.put(HELD_PREFIX + hex(author.feed.id), { all: held })
  other.push()
  const { disk } = played.gateway
  const { key } = author.feed
  for (const seq of [3, 4]) disk.turn(key, seq)
  const removal = { origin: author.feed.origin, reason: 'revoke', bound: new Set<string>() } as const
  played.gateway.learnRemoval({ ...removal, seals: new Map([[key, 2]]) })
  played.pass(MINUTE_MS)
  for (const { batches, retained } of [
    { batches: copy.batches, retained: [1, 2, 5] },
    { batches: author.batches, retained: [1, 2, 3, 4, 5] },
  ]) {
    const lacking = batches.filter(({ header }) => header.seq === 3 || header.seq === 4)
    played.say({ type: 'data', batches: lacking.map(({ bytes }) => bytes) })
    played.pass(MINUTE_MS)
    assert.deepEqual([...(disk.head(key)?.retained.values() ?? [])], retained)
  }
  for (const { header, bytes } of author.batches) assert.deepEqual(disk.bytesOf(key, header.seq), bytes)
})

test('what is found damaged in a cut, and was dead just by the checkpoint that the cut makes void, is fetched', () => {
  const played = new Played(3)
  const author = new Author(played, 1)
  for (let n = 0; n < 6; n++) author.put('hall', { n })
  author.checkpoint([6])
  author.push()
  const { disk } = played.gateway
  const { key } = author.feed
  disk.turn(key, 3, 'body')
  const removal = { origin: author.feed.origin, reason: 'revoke', bound: new Set<string>() } as const
  played.gateway.learnRemoval({ ...removal, seals: new Map([[key, 7]]) })
  played.pass(1_000)
  assert.deepEqual([...(disk.head(key)?.retained.values() ?? [])], [1, 2, 4, 5, 6])
  author.tell(6)
  const said = played.pass(MINUTE_MS)
  assert.ok(said.some((message) => message.type === 'want' && message.entries.some(([, , , runs]) => runs?.[0] === 3)))
  played.say({ type: 'data', batches: author.batches.slice(2, 3).map(({ bytes }) => bytes) })
  played.pass(MINUTE_MS)
  assert.deepEqual([...(disk.head(key)?.retained.values() ?? [])], [1, 2, 3, 4, 5, 6])
  assert.ok(disk.isSound(key, 3))
})

/** A repair finds these batches damaged and takes them out while the gateway is down. */
function takeOut({ gateway }: Played, { feed }: Author, ...seqs: readonly number[]): void {
  const drops = [{ feed, seqs: SequenceSet.of(seqs), isDamaged: true }]
  gateway.disk.append({ batches: [], drops, records: [] })
  while (gateway.disk.cached > 0) gateway.disk.flushOne()
  gateway.crash()
  gateway.start()
}

/** The documents of the author's that are shown, though the feed is sealed from these sequences on, one after the other. */
function shownBelow(played: Played, { feed }: Author, ...seals: readonly number[]): string[] {
  const removal = { origin: feed.origin, reason: 'revoke', bound: new Set<string>() } as const
  for (const seal of seals) {
    played.gateway.learnRemoval({ ...removal, seals: new Map([[feed.key, seal]]) })
    played.pass(MINUTE_MS)
  }
  const names = [...cellsOf(played.gateway.disk, 'climate//').keys()]
  return names.map((name) => name.slice('climate//'.length, name.indexOf(' ')))
}

test('what batches had changed that are void, and were found damaged before, is taken back with them', () => {
  const played = new Played(3)
  const author = new Author(played, 1)
  for (let n = 1; n <= 4; n++) author.put(`hall-${n}`, { n })
  author.push()
  takeOut(played, author, 2, 4)
  // What is lacking below the seal comes again.
  assert.deepEqual(shownBelow(played, author, 3), ['hall-1', 'hall-2'])
})

test('what batches had changed that were found damaged is taken back where a feed goes back behind them', () => {
  const played = new Played(3)
  const author = new Author(played, 1)
  for (let n = 1; n <= 6; n++) author.put(`hall-${n}`, { n })
  author.checkpoint([1, 5])
  author.offer(7)
  assert.equal(played.gateway.disk.head(author.feed.key)?.seq, 7)
  takeOut(played, author, 5)
  // By then there is nothing left in the log that the second seal would make void.
  assert.deepEqual(shownBelow(played, author, 7, 3), ['hall-1'])
})

test('of a feed that is heard of first when it is sealed already nothing void is asked for, taken, or said to be held', () => {
  const played = new Played(3)
  const author = new Author(new Played(3), 1)
  for (let n = 0; n < 6; n++) author.put(`hall-${n}`, { n })
  const removal = { origin: author.feed.origin, reason: 'revoke', bound: new Set<string>() } as const
  played.gateway.learnRemoval({ ...removal, seals: new Map([[author.feed.key, SEAL]]) })
  played.pass(MINUTE_MS)
  const late = new Author(played, 1)
  late.batches.push(...author.batches)
  late.push()
  assert.equal(played.gateway.disk.head(author.feed.key)?.seq, SEAL - 1)
  played.pass(MINUTE_MS)
  assert.deepEqual([...saidOf(played, author).keys()], ['none'])
})

test('what came while a seal counted no more is said to be held when the feed is sealed at the same place again', () => {
  const played = new Played(3)
  const author = new Author(played, 1)
  for (let n = 0; n < 6; n++) author.put(`hall-${n}`, { n })
  author.push(SEAL)
  const { gateway } = played
  const sealAt = (seal: number): void => {
    Object.assign(gateway.authority, {
      sealOf: ({ key }: Feed) => (key === author.feed.key ? seal : Number.POSITIVE_INFINITY),
    })
    gateway.engine?.handle(gateway.now(), { type: 'authority-changed' })
    played.pass(MINUTE_MS)
  }
  sealAt(SEAL)
  sealAt(Number.POSITIVE_INFINITY)
  author.push(6)
  assert.equal(gateway.disk.head(author.feed.key)?.seq, 6)
  sealAt(SEAL)
  assert.equal(gateway.disk.head(author.feed.key)?.seq, SEAL - 1)
  assert.deepEqual(branchesOf(played, author).at(-1), [3, 4, 5, 6])
})

test('a feed does not jump by a checkpoint that a seal makes void while it is fetched, or while its signature is checked', () => {
  for (const isChecked of [true, false]) {
    const played = new Played(3)
    const author = new Author(played, 1)
    for (let n = 1; n <= 6; n++) author.put('hall', { n })
    const checkpoint = author.checkpoint([5, 6])
    const removal = { origin: author.feed.origin, reason: 'revoke', bound: new Set<string>() } as const
    const seal = (): void => played.gateway.learnRemoval({ ...removal, seals: new Map([[author.feed.key, 7]]) })
    author.tell(7)
    const { engine } = played.gateway
    assert.ok(engine)
    const handle = engine.handle.bind(engine)
    engine.handle = (now, input) => {
      engine.handle = handle
      handle(now, input)
      if (!isChecked) seal()
    }
    played.say({ type: 'data', batches: [checkpoint.bytes] })
    played.pass(20)
    if (isChecked) seal()
    played.say({ type: 'data', batches: author.batches.slice(4, 6).map(({ bytes }) => bytes) })
    // Long enough for the disk, too short for the next look at what is sealed.
    played.pass(60)
    assert.equal(played.gateway.disk.head(author.feed.key)?.seq ?? 0, 0)
  }
})

/** A feed that its author seals and then doesn't, for its clock was right: it has jumped by the last of seven batches, or has them all. */
class Lifted {
  readonly played: Played = new Played(3)
  readonly author: Author = new Author(this.played, 1)
  readonly #self: Author = new Author(this.played, 1, SELF_COLLECTION)

  constructor(isJumped: boolean) {
    for (let n = 0; n < 6; n++) this.author.put(`hall-${n}`, { n }, MINUTE_MS)
    this.author.checkpoint([4, 6])
    if (isJumped) this.author.offer(7)
    else this.author.push()
    this.#say(encodeAheadSeal(this.author.feed, this.author.batches[4] as Batch, 5))
    // Whoever is linked from now on has nothing of it.
    this.played.again()
    this.#self.introduce()
  }

  lift(): void {
    this.#say(null)
  }

  get head(): number {
    return this.played.gateway.disk.head(this.author.feed.key)?.seq ?? 0
  }

  #say(sealed: Uint8Array | null): void {
    this.#self.put(AHEAD_PREFIX + hex(this.author.feed.id), { sealed })
    this.#self.push()
  }
}

test('what was taken out of a feed that had jumped comes back when the seal counts no more, though nobody else has it', () => {
  const lifted = new Lifted(true)
  assert.equal(lifted.head, 0)
  lifted.lift()
  lifted.played.pass(MINUTE_MS)
  assert.equal(lifted.head, 7)
  assert.deepEqual(lifted.played.gateway.disk.head(lifted.author.feed.key)?.retained.runs, [4, 4, 6, 7])
})

test('what has come back is not kept aside any longer: an author may seal and unseal its feed for ever', () => {
  const lifted = new Lifted(false)
  const kept = (): number => lifted.played.gateway.disk.scanRecords('sync/void/').length
  assert.equal(kept(), 3)
  lifted.lift()
  lifted.played.pass(MINUTE_MS)
  assert.deepEqual([lifted.head, kept()], [7, 0])
})

test('what was taken out comes back though the disk has no room for it when the seal counts no more', () => {
  const lifted = new Lifted(false)
  const { gateway } = lifted.played
  assert.equal(lifted.head, 4)
  const append = gateway.disk.append.bind(gateway.disk)
  gateway.disk.append = (one) => one.batches.every(({ feed }) => feed.key !== lifted.author.feed.key) && append(one)
  lifted.lift()
  lifted.played.pass(1_000)
  assert.equal(lifted.head, 4)
  gateway.disk.append = append
  lifted.played.pass(MINUTE_MS)
  assert.equal(lifted.head, 7)
})

test('what was taken out comes back though the power is cut just when the seal counts no more', () => {
  const lifted = new Lifted(false)
  const { gateway } = lifted.played
  const append = gateway.disk.append.bind(gateway.disk)
  gateway.disk.append = (one) => one.batches.some(({ feed }) => feed.key === lifted.author.feed.key) || append(one)
  lifted.lift()
  gateway.crash()
  gateway.disk.append = append
  gateway.start()
  assert.equal(lifted.head, 4)
  lifted.played.pass(MINUTE_MS)
  assert.equal(lifted.head, 7)
})

test('a feed is cut as soon as the disk has answered, when its seal is learned while batches of it are on their way there', () => {
  const played = new Played(3)
  const { gateway } = played
  Object.assign(played, { history: { beaconMs: 60 * MINUTE_MS } })
  gateway.crash()
  gateway.start()
  played.again()
  gateway.flushMsMax = 2_000
  const author = new Author(played, 1)
  for (let n = 0; n < 3; n++) author.put('hall', { n })
  played.pass(10_000)
  author.tell(3)
  played.say({ type: 'data', batches: author.batches.map(({ bytes }) => bytes) })
  assert.equal(gateway.disk.head(author.feed.key), undefined)
  const seals = new Map([[author.feed.key, 2]])
  gateway.learnRemoval({ origin: author.feed.origin, reason: 'revoke', seals, bound: new Set() })
  played.pass(20_000)
  assert.equal(gateway.disk.head(author.feed.key)?.seq, 1)
})

test('what was taken out of a feed piece by piece comes back whole when its seal counts no more, though nobody else has it', () => {
  const played = new Played(3)
  const [author, self] = [new Author(played, 1), new Author(played, 1, SELF_COLLECTION)]
  for (let n = 0; n < 6; n++) author.put(`hall-${n}`, { n }, MINUTE_MS)
  author.checkpoint([2, 6])
  author.offer(7)
  for (let n = 7; n < 9; n++) author.put(`hall-${n}`, { n }, MINUTE_MS)
  author.checkpoint([2, 9])
  author.offer(10)
  const { disk } = played.gateway
  const retained = (): readonly number[] => disk.head(author.feed.key)?.retained.runs ?? []
  assert.deepEqual(retained(), [2, 2, 6, 7, 9, 10])
  const say = (seq: number | null): void => {
    const sealed = seq === null ? null : encodeAheadSeal(author.feed, author.batches[seq - 1] as Batch, seq)
    self.put(AHEAD_PREFIX + hex(author.feed.id), { sealed })
    self.push()
    played.pass(10_000)
  }
  say(10)
  assert.deepEqual(retained(), [2, 2, 6, 7])
  say(5)
  assert.deepEqual(retained(), [])
  played.again()
  self.introduce()
  say(null)
  assert.equal(disk.head(author.feed.key)?.seq, 10)
  assert.deepEqual(retained(), [2, 2, 6, 7, 9, 10])
})

test('what was here before each of two jumps may be of a branch of its own: they are not said to be one', () => {
  for (const isApplied of [true, false]) {
    const played = new Played(3)
    const [author, copy, unknown] = [new Author(played, 1), new Author(played, 1), new Author(new Played(3), 2)]
    unknown.put('hall', { n: 0 })
    for (let n = 0; n < 2; n++) copy.batches.push(author.put('hall', { n }))
    for (let n = 2; n < 5; n++) author.put('hall', { n })
    author.push()
    for (let n = 2; n < 8; n++) copy.put('hall', { n: -n })
    copy.checkpoint([2, 8], isApplied ? [] : [unknown.held()])
    copy.offer(9)
    for (let n = 9; n < 12; n++) copy.put('hall', { n: -n })
    copy.checkpoint([2, 12])
    copy.offer(13)
    const head = played.gateway.disk.head(author.feed.key)
    assert.deepEqual([head?.seq, ...(head?.retained.runs ?? [])], [13, 1, 5, 8, 9, 12, 13])
    const removal = { origin: author.feed.origin, reason: 'revoke', bound: new Set<string>() } as const
    played.gateway.learnRemoval({ ...removal, seals: new Map([[author.feed.key, 3]]) })
    played.pass(MINUTE_MS)
    const said = branchesOf(played, author)
      .map((seqs) => seqs.join(' '))
      .sort()
    assert.deepEqual(said, ['11 12 13', '2 3 4 5', '7 8 9'], `applied: ${isApplied}`)
  }
})

test('gateways that nobody asks keep the same branch as all others where the one that all have confirmed is known by its end alone', () => {
  const heads = [false, true].map((isCopy) => {
    const played = new Played(4)
    const [author, copy] = [new Author(played, 1), new Author(played, 1)]
    const [other, reader] = [new Author(played, 2, SELF_COLLECTION), new Author(played, 3, SELF_COLLECTION)]
    // This one and the last may just read.
    const members = played.members().slice(1, 3)
    Object.assign(played, { members: () => members })
    for (let n = 0; n < 2; n++) copy.batches.push(author.put('hall', { n }))
    for (let n = 2; n < 7; n++) author.put('hall', { n })
    for (let n = 2; n < 7; n++) copy.put('hall', { n: -n })
    const [here, there] = isCopy ? [copy, author] : [author, copy]
    here.push()
    const said = there.batches.slice(1).map(({ header, hash }) => [header.seq, hash.slice(0, 8), header.hlc])
    for (let n = 7; n < 9; n++) author.put('hall', { n })
    other.beacon([author.held()])
    other.push()
    reader.put(HELD_PREFIX + hex(author.feed.id), { all: said })
    reader.push()
    const removal = { origin: author.feed.origin, reason: 'revoke', bound: new Set<string>() } as const
    played.gateway.learnRemoval({ ...removal, seals: new Map([[author.feed.key, 3]]) })
    played.pass(2 * MINUTE_MS)
    return played.gateway.disk.head(author.feed.key)?.seq
  })
  assert.deepEqual(new Set(heads), new Set([2, 7]))
})

test('what a member says to hold between two sequences is nothing said, in its beacon or of a branch', () => {
  for (const isBeacon of [true, false]) {
    const played = new Played(3)
    const [author, copy] = [new Author(played, 1), new Author(played, 1)]
    const other = new Author(played, 2, SELF_COLLECTION)
    const members = played.members().slice(1)
    Object.assign(played, { members: () => members })
    for (let n = 0; n < 2; n++) copy.batches.push(author.put('hall', { n }))
    for (let n = 2; n < 7; n++) author.put('hall', { n })
    for (let n = 2; n < 7; n++) copy.put('hall', { n: -n })
    copy.push()
    const said = author.batches.map(({ header, hash }) => [header.seq, hash.slice(0, 8), header.hlc])
    const between = [2.5, new Uint8Array(8), said[1]?.[2] ?? 0]
    if (isBeacon) other.beacon([{ ...copy.held(), seq: 3.5 }])
    else other.put(HELD_PREFIX + hex(author.feed.id), { all: [said[1] ?? [], between, ...said.slice(3)] })
    other.push()
    const removal = { origin: author.feed.origin, reason: 'revoke', bound: new Set<string>() } as const
    played.gateway.learnRemoval({ ...removal, seals: new Map([[author.feed.key, 3]]) })
    played.pass(MINUTE_MS)
    assert.equal(played.gateway.disk.head(author.feed.key)?.seq, 2)
  }
})
