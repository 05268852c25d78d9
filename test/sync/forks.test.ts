import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hex } from '../../runtime/base/bytes.ts'
import type { Batch } from '../../runtime/model/batch.ts'
import { SELF_COLLECTION } from '../../runtime/model/names.ts'
import { SequenceSet } from '../../runtime/model/sequences.ts'
import type { Value } from '../../runtime/model/value.ts'
import { FORK_PREFIX } from '../../runtime/sync/forks.ts'
import { HELD_PREFIX } from '../../runtime/sync/statements.ts'
import type { Message } from '../../runtime/wire/message.ts'
import { encodeProof } from '../../runtime/wire/proof.ts'
import { Author } from './author.ts'
import { Played } from './played.ts'

const FIRST_LINK = 100

test('where what lies beside the chain, for a fill, is of another branch than the rest, the fork is found there and proven', () => {
  const played = new Played(3)
  const [author, copy] = [new Author(played, 1), new Author(played, 1)]
  for (let n = 0; n < 5; n++) copy.batches.push(author.put('hall', { n }))
  const other = copy.put('hall', { n: -1 })
  for (let n = 5; n < 7; n++) author.put('hall', { n })
  const checkpoint = author.checkpoint([6, 7])
  author.push(2)
  author.tell(8)
  played.say({ type: 'data', batches: [checkpoint.bytes] })
  played.pass(20)
  // The neighbour has the sixth of the one branch, and somebody had that of the other.
  played.say({ type: 'data', batches: [other.bytes, (author.batches[6] as typeof other).bytes] })
  for (let round = 0; round < 3; round++) {
    const wants = played.pass(200).flatMap((message) => (message.type === 'want' ? message.entries : []))
    const asked = new SequenceSet(wants.flatMap(([, , , runs]) => runs ?? []).slice(-2))
    const batches = author.batches.filter(({ header }) => asked.has(header.seq))
    played.say({ type: 'data', batches: batches.map(({ bytes }) => bytes) })
  }
  played.pass(200)
  assert.equal(played.gateway.authority.sealOf(author.feed), 6)
})

test('a fork that was proven late is looked for farther back when what its author calls live still differs', () => {
  const played = new Played(2)
  const [author, copy] = [new Author(played, 0), new Author(played, 0)]
  const member = new Author(played, 1, SELF_COLLECTION)
  copy.batches.push(author.put('hall', { n: 1 }))
  for (let n = 2; n <= 5; n++) author.put('hall', { n })
  author.push()
  for (let n = 2; n <= 7; n++) copy.put('hall', { n: -n })
  copy.checkpoint([3, 7])
  const [ours, theirs] = [author.batches[4], copy.batches[4]]
  assert.ok(ours && theirs)
  member.beacon([copy.held(8)])
  member.put(FORK_PREFIX + hex(author.feed.id), { proof: encodeProof(author.feed, ours, theirs) })
  member.push()
  played.pass(60_000)
  const say = (batches: readonly Batch[]): void => {
    if (batches.length > 0) played.say({ type: 'data', batches: batches.map(({ bytes }) => bytes) })
  }
  assert.equal(played.gateway.authority.sealOf(author.feed), 5)
  copy.tell(8)
  say(copy.batches.slice(7))
  for (let round = 0; round < 5; round++) {
    const wants = played.pass(200).flatMap((message) => (message.type === 'want' ? message.entries : []))
    const asked = wants.flatMap(([, , , runs]) => [...new SequenceSet(runs ?? []).values()])
    say(copy.batches.filter(({ header }) => asked.includes(header.seq)))
  }
  played.pass(200)
  assert.equal(played.gateway.authority.sealOf(author.feed), 2)
})

test('a neighbour that is asked for evidence is not asked for what comes next too, which would take its place', () => {
  const played = new Played()
  const author = new Author(played, 1)
  author.put('hall', { n: 1 })
  author.push()
  played.again()
  const copy = new Author(played, 1)
  const other = copy.put('hall', { n: -1 })
  const wants = copy.tell(1).flatMap((message) => (message.type === 'want' ? message.entries : []))
  // What a neighbour was asked last of a feed it sends.
  const [, , , runs = []] = wants.at(-1) ?? []
  if (new SequenceSet(runs).has(1)) played.say({ type: 'data', batches: [other.bytes] })
  played.pass(200)
  assert.equal(played.gateway.authority.sealOf(author.feed), 1)
})

test('a fork is looked for farther back too where what the other branch calls live had gone as dead in ours', () => {
  const played = new Played(2)
  const [author, copy] = [new Author(played, 0), new Author(played, 0)]
  const member = new Author(played, 1, SELF_COLLECTION)
  copy.batches.push(author.put('hall', { n: 1 }), author.put('attic', { n: 1 }))
  for (const key of ['attic', 'hall']) author.put(key, { n: 2 })
  author.checkpoint([3, 4])
  author.offer(5)
  const ours = author.put('hall', { n: 3 })
  played.say({ type: 'data', batches: [ours.bytes] })
  for (let n = 3; n <= 8; n++) copy.put('hall', { n: -n })
  copy.checkpoint([2, 4, 8])
  const theirs = copy.batches[5] as Batch
  member.beacon([copy.held(9)])
  member.put(FORK_PREFIX + hex(author.feed.id), { proof: encodeProof(author.feed, ours, theirs) })
  member.push()
  played.pass(60_000)
  assert.equal(played.gateway.authority.sealOf(author.feed), 6)
  copy.tell(9)
  played.say({ type: 'data', batches: [(copy.batches[8] as Batch).bytes] })
  for (let round = 0; round < 4; round++) {
    const wants = played.pass(200).flatMap((message) => (message.type === 'want' ? message.entries : []))
    const asked = wants.flatMap(([, , , runs]) => [...new SequenceSet(runs ?? []).values()])
    const batches = copy.batches.filter(({ header }) => asked.includes(header.seq))
    if (batches.length > 0) played.say({ type: 'data', batches: batches.map(({ bytes }) => bytes) })
  }
  played.pass(200)
  assert.equal(played.gateway.authority.sealOf(author.feed), 3)
})

for (const [live, what, sealed] of [
  [[4, 9], 'does not jump by a checkpoint', 4],
  [[3, 9], 'jumps in the end, where nothing is left to prove a fork by, to a checkpoint', Number.POSITIVE_INFINITY],
] as const) {
  test(`a feed ${what} that calls live what was dead before`, () => {
    const played = new Played(2)
    const [author, copy] = [new Author(played, 1), new Author(played, 1)]
    copy.batches.push(author.put('hall', { n: 1 }), author.put('attic', { n: 1 }))
    for (let n = 3; n <= 5; n++) author.put('hall', { n })
    author.checkpoint([1, 5])
    author.offer(6)
    for (let n = 3; n <= 9; n++) copy.put(n === live[0] ? 'attic' : 'hall', { n: -n })
    const checkpoint = copy.checkpoint(live)
    copy.offer(10, [])
    for (let round = 0; round < 100; round++) {
      const wants = played.pass(200).flatMap((message) => (message.type === 'want' ? message.entries : []))
      const asked = new SequenceSet(wants.flatMap(([, , , runs]) => runs ?? []))
      const held = copy.batches.filter(
        ({ header: { seq } }) => asked.has(seq) && (live as readonly number[]).includes(seq),
      )
      // What has gone there is answered with the checkpoint.
      const batches = held.length > 0 ? held : [checkpoint]
      if (wants.length > 0) played.say({ type: 'data', batches: batches.map(({ bytes }) => bytes) })
    }
    assert.equal(played.gateway.authority.sealOf(author.feed), sealed)
    const { seq = 0 } = played.gateway.disk.head(author.feed.key) ?? {}
    assert.equal(seq >= 9, sealed === Number.POSITIVE_INFINITY)
  })
}

test('where much of the other branch has gone as dead its past is looked through at once, and from where that was when the neighbour comes back', () => {
  const played = new Played()
  const [author, copy] = [new Author(played, 1), new Author(played, 1)]
  copy.batches.push(author.put('hall', { n: 1 }))
  for (let n = 2; n <= 32; n++) author.put('hall', { n })
  author.push()
  played.pass(1_000)
  for (let n = 2; n <= 32; n++) copy.put(n === 23 ? 'attic' : 'hall', { n: -n })
  const checkpoint = copy.checkpoint([23, 25, 32])
  const held = new SequenceSet([23, 23, 25, 25, 30, 33])
  const asked: number[] = []
  const answer = (messages: readonly Message[]): void => {
    const wants = messages.flatMap((message) => (message.type === 'want' ? message.entries : []))
    for (const [, , , runs = []] of wants) {
      const seq = runs[0]
      if (seq === undefined) continue
      asked.push(seq)
      const batch = held.has(seq) ? (copy.batches[seq - 1] as Batch) : checkpoint
      played.say({ type: 'data', batches: [batch.bytes] })
    }
  }
  copy.tell(33)
  played.say({ type: 'data', batches: [checkpoint.bytes] })
  for (let round = 0; round < 4; round++) answer(played.pass(50))
  const before = asked.length
  played.gateway.linkDown(FIRST_LINK)
  played.pass(15_000)
  played.again()
  author.introduce()
  for (let round = 0; round < 200; round++) answer(played.pass(100))
  assert.equal(played.gateway.authority.sealOf(author.feed), 30)
  assert.equal(new Set(asked.slice(before)).has(33), false)
})

test('what another neighbour has in common with ours says nothing of where the branch of the one before parts, only that it does is proven by what is here', () => {
  const played = new Played()
  const [author, copy] = [new Author(played, 1), new Author(played, 1)]
  for (let n = 1; n <= 3; n++) copy.batches.push(author.put('hall', { n }))
  for (let n = 4; n <= 40; n++) author.put('hall', { n })
  for (let n = 4; n <= 41; n++) copy.put('hall', { n: -n })
  author.push(39)
  const answer = (of: Author, messages: readonly Message[]): void => {
    for (const [, , , runs] of messages.flatMap((message) => (message.type === 'want' ? message.entries : []))) {
      const batch = runs === undefined ? undefined : of.batches[(runs[0] as number) - 1]
      if (batch !== undefined) played.say({ type: 'data', batches: [batch.bytes] })
    }
  }
  const sealed = (): number => played.gateway.authority.sealOf(author.feed)
  copy.tell(41)
  played.say({ type: 'data', batches: [(copy.batches[39] as Batch).bytes] })
  for (let round = 0; round < 2; round++) answer(copy, played.pass(20))
  played.gateway.linkDown(FIRST_LINK)
  played.pass(1_000)
  // The original, which is linked under the same name.
  played.again()
  author.introduce()
  author.tell(40)
  for (let round = 0; round < 200; round++) answer(author, played.pass(100))
  // Who has the other branch may be lost.
  assert.equal(sealed(), 39)
  played.again()
  copy.introduce()
  answer(copy, copy.tell(39))
  for (let round = 0; round < 200; round++) answer(copy, played.pass(100))
  assert.equal(sealed(), 4)
})

test('where branches parted farther back than can be proven the one that all have confirmed is fetched from the beginning', () => {
  const played = new Played(2)
  const [author, copy] = [new Author(played, 0), new Author(played, 0)]
  const member = new Author(played, 1, SELF_COLLECTION)
  copy.batches.push(author.put('hall', { n: 1 }))
  for (let n = 2; n <= 5; n++) author.put('hall', { n })
  author.push()
  for (let n = 2; n <= 7; n++) copy.put('hall', { n: -n })
  const checkpoint = copy.checkpoint([5, 7])
  const [ours, theirs] = [author.batches[4], copy.batches[4]]
  assert.ok(ours && theirs)
  const said = copy.batches.slice(3).map(({ header, hash }): Value => [header.seq, hash.slice(0, 8), header.hlc])
  member.put(HELD_PREFIX + hex(author.feed.id), { [hex(checkpoint.hash.subarray(0, 8))]: said })
  member.put(FORK_PREFIX + hex(author.feed.id), { proof: encodeProof(author.feed, ours, theirs) })
  member.push()
  const asked = played.pass(60_000).filter(({ type }) => type === 'dig')
  assert.equal(asked.length, 1, 'what the neighbour had told of it counts no more: it is asked for its heads')
  assert.equal(played.gateway.authority.sealOf(author.feed), 5)
  copy.offer(8)
  const { seq, retained } = played.gateway.disk.head(author.feed.key) ?? {}
  assert.equal(seq, 8)
  assert.deepEqual(retained?.within(4, 8).runs, [5, 5, 7, 8])
})

test('what is dead of a branch that nothing tells from the other leaves when a neighbour goes on showing something else', () => {
  // The third never confirms anything.
  const played = new Played(3)
  played.version = 'simulated'
  played.again()
  const [author, copy] = [new Author(played, 1), new Author(played, 1)]
  for (let n = 1; n <= 3; n++) copy.put('attic', { n })
  copy.push()
  for (let n = 1; n <= 6; n++) author.put('hall', { n })
  author.checkpoint([6])
  author.offer(7)
  const { disk } = played.gateway
  const retained = (): readonly number[] => disk.head(author.feed.key)?.retained.runs ?? []
  assert.deepEqual(retained(), [1, 3, 6, 7])
  for (let round = 0; round < 6; round++) {
    for (const message of played.pass(20_000)) {
      if (message.type !== 'cells') continue
      const entries = message.entries.map(([collection, partition, heads, live]) => {
        return [collection, partition, heads, live, new Uint8Array(8)] as const
      })
      played.say({ type: 'cells', entries: entries.filter(([collection]) => collection === 'climate') })
    }
  }
  assert.deepEqual(retained(), [6, 7])
  assert.equal(disk.document({ collection: 'climate', partition: '' }, 'attic'), undefined)
})

test('who knows a proof that nobody tells any more, and may not tell it, does not look at its seals all the time', () => {
  const played = new Played(2)
  const { gateway } = played
  const [author, copy] = [new Author(played, 1), new Author(played, 1)]
  const member = new Author(played, 1, SELF_COLLECTION)
  const [ours, theirs] = [author.put('hall', { n: 1 }), copy.put('hall', { n: -1 })]
  author.push()
  gateway.authority.isMember = () => false
  const key = FORK_PREFIX + hex(author.feed.id)
  member.put(key, { proof: encodeProof(author.feed, ours, theirs) })
  member.put(key, { proof: null })
  member.push()
  played.pass(1_000)
  assert.ok(gateway.authority.proofs.untold(author.feed.key) !== null)
  let looks = 0
  const sealOf = gateway.authority.sealOf.bind(gateway.authority)
  gateway.authority.sealOf = (feed) => {
    looks += 1
    return sealOf(feed)
  }
  played.pass(5_000)
  assert.ok(looks < 1_000, `it looked ${looks} times`)
})
