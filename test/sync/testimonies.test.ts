import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hex } from '../../runtime/base/bytes.ts'
import { SELF_COLLECTION } from '../../runtime/model/names.ts'
import { hlcFromMs } from '../../runtime/model/stamp.ts'
import type { Value } from '../../runtime/model/value.ts'
import { BEACON_KEY, decodeBeacon } from '../../runtime/sync/beacons.ts'
import { FORK_PREFIX } from '../../runtime/sync/forks.ts'
import { Testimonies, TOLD_PREFIX } from '../../runtime/sync/testimonies.ts'
import { encodeProof } from '../../runtime/wire/proof.ts'
import { encodeTestimony } from '../../runtime/wire/testimony.ts'
import { Author } from './author.ts'
import { Played, START_MS } from './played.ts'

const MINUTE_MS = 60_000
/** From here on the feed is sealed, which has six batches. */
const SEAL = 4

interface Scene {
  readonly played: Played
  /** Of a feed with a checkpoint, which this gateway has confirmed. */
  readonly author: Author
  /** It has confirmed the same with its second batch; its store was put back and wrote another. */
  readonly member: Author
  readonly restored: Author
  /** Somebody else, who tells of them. */
  readonly witness: Author
}

function scene(): Scene {
  const played = new Played(3)
  const [author, witness] = [new Author(played, 1), new Author(played, 3, SELF_COLLECTION)]
  const [member, restored] = [new Author(played, 2, SELF_COLLECTION), new Author(played, 2, SELF_COLLECTION)]
  for (let n = 0; n < 5; n++) author.put(`hall-${n}`, { n })
  author.checkpoint([1, 2, 3, 4, 5])
  author.push()
  restored.batches.push(member.beacon([]))
  member.beacon([author.held()])
  played.pass(MINUTE_MS)
  restored.beacon([])
  return { played, author, member, restored, witness }
}

function revoke({ played, author: { feed } }: Scene): void {
  const seals = new Map([[feed.key, SEAL]])
  played.gateway.learnRemoval({ origin: feed.origin, reason: 'revoke', seals, bound: new Set() })
  played.pass(MINUTE_MS)
}

function headOf({ played }: Scene, { feed }: Author): number | undefined {
  return played.gateway.disk.head(feed.key)?.seq
}

function ownFields({ gateway }: Played, key: string): readonly string[] {
  const place = { collection: SELF_COLLECTION, partition: gateway.peerId }
  return gateway.disk.document(place, key)?.paths ?? []
}

test('what a member has confirmed counts and is told on when its store was put back and the batch that says so is void', () => {
  const played = scene()
  const { member, restored, witness } = played
  member.push()
  const [said, other] = [member.batches[1], restored.batches[1]]
  assert.ok(said && other)
  witness.put(FORK_PREFIX + hex(member.feed.id), { proof: encodeProof(member.feed, said, other) })
  witness.push()
  played.played.pass(MINUTE_MS)
  assert.equal(headOf(played, member), 1)
  revoke(played)
  assert.equal(headOf(played, played.author), 6)
  const told = ownFields(played.played, TOLD_PREFIX + hex(member.feed.id))
  assert.deepEqual(told, [`${hex(said.hash.subarray(0, 8))}/0`])
})

test('what others tell of what a member has confirmed counts as if it still said so', () => {
  const played = scene()
  const { member, witness } = played
  member.push(1)
  revoke(played)
  assert.equal(headOf(played, played.author), SEAL - 1)
  const said = member.batches[1]
  assert.ok(said)
  const name = hex(said.hash.subarray(0, 8))
  const testimony = encodeTestimony(member.feed, said)
  witness.put(TOLD_PREFIX + hex(member.feed.id), {
    [`${name}/0`]: testimony.slice(0, 99),
    [`${name}/1`]: testimony.slice(99),
  })
  witness.push()
  played.played.pass(MINUTE_MS)
  assert.equal(headOf(played, played.author), 6)
})

test('nobody can tell of a member what it has not signed', () => {
  const played = scene()
  const { member, witness } = played
  member.push(1)
  revoke(played)
  const said = member.batches[1]
  assert.ok(said)
  const testimony = encodeTestimony(member.feed, said)
  // The signature stands before the body.
  testimony[testimony.length - said.body.length - 4] = (testimony.at(-said.body.length - 4) as number) ^ 1
  witness.put(TOLD_PREFIX + hex(member.feed.id), { [`${hex(said.hash.subarray(0, 8))}/0`]: testimony })
  witness.push()
  played.played.pass(MINUTE_MS)
  assert.equal(headOf(played, played.author), SEAL - 1)
})

test('proofs of forks that stood among void words are told on', () => {
  const played = scene()
  const { author, member, restored, witness } = played
  const proof = encodeProof(member.feed, member.batches[1] as never, restored.batches[1] as never)
  const key = FORK_PREFIX + hex(author.feed.id)

  member.put(key, { proof })
  member.push()
  witness.put(FORK_PREFIX + hex(member.feed.id), { proof })
  witness.push()
  played.played.pass(MINUTE_MS)
  const name = hex((member.batches[2] as { readonly hash: Uint8Array }).hash.subarray(0, 8))
  assert.deepEqual(ownFields(played.played, `${key}/${name}`), ['proof'])
})

test('what an incarnation of ours had confirmed is confirmed still, though a later one began with less', () => {
  const played = new Played(3)
  const [author, before] = [new Author(played, 1), new Author(played, 0, SELF_COLLECTION)]
  for (let n = 0; n < 3; n++) author.put(`hall-${n}`, { n })
  author.checkpoint([1, 2, 3])
  author.put('hall', { n: 3 })
  before.beacon([author.held(5)])
  author.push(4)
  played.pass(MINUTE_MS)
  // The neighbour brings it late, with its early stamp.
  before.push()
  played.pass(MINUTE_MS)
  const place = { collection: SELF_COLLECTION, partition: played.gateway.peerId }
  const document = played.gateway.disk.document(place, BEACON_KEY)
  const acks = document && decodeBeacon(document)?.acks.get(author.feed.key)
  assert.deepEqual(
    acks?.map(({ seq }) => seq),
    [5, 4],
  )
})

test('what copies of a card say again of what each other had confirmed takes the place of nothing', () => {
  const played = new Played(3)
  const [author, copy] = [new Author(played, 1), new Author(played, 0, SELF_COLLECTION)]
  for (let n = 0; n < 3; n++) author.put(`hall-${n}`, { n })
  author.checkpoint([1, 2, 3])
  for (let n = 3; n < 7; n++) author.put('hall', { n })
  const entries = (...seqs: readonly number[]): Value =>
    seqs.map((seq): Value => [author.feed.id, seq, author.held(seq).hash8])
  const again = Array.from({ length: 16 }, (_, i) => 6 + (i % 2))
  copy.put(BEACON_KEY, { at: hlcFromMs(START_MS), 'heads/0': [], 'acks/0': entries(8), 'acks/1': entries(...again) })
  author.push(5)
  played.pass(MINUTE_MS)
  copy.push()
  played.pass(MINUTE_MS)
  const place = { collection: SELF_COLLECTION, partition: played.gateway.peerId }
  const document = played.gateway.disk.document(place, BEACON_KEY)
  const acks = document && decodeBeacon(document)?.acks.get(author.feed.key)
  assert.deepEqual(
    acks?.map(({ seq }) => seq),
    [8, 6, 7, 5],
  )
})

test('what somebody tells of a member’s words and takes back again is told by who has taken them out', () => {
  const played = scene()
  const { member, restored, witness } = played
  member.push()
  const [said, other] = [member.batches[1], restored.batches[1]]
  assert.ok(said && other)
  const [key, field] = [TOLD_PREFIX + hex(member.feed.id), `${hex(said.hash.subarray(0, 8))}/0`]
  witness.put(key, { [field]: encodeTestimony(member.feed, said) })
  witness.put(FORK_PREFIX + hex(member.feed.id), { proof: encodeProof(member.feed, said, other) })
  witness.push()
  played.played.pass(MINUTE_MS)
  assert.deepEqual(ownFields(played.played, key), [], 'it is told already')
  witness.put(key, { [field]: null })
  witness.push()
  played.played.pass(MINUTE_MS)
  assert.deepEqual(ownFields(played.played, key), [field])
})

test('of one that tells ever more of what a member has said, or of what nobody has said, no more is heard than fits', () => {
  const played = new Played(3)
  const member = new Author(played, 2, SELF_COLLECTION)
  const testimonies = new Testimonies()
  let checks = 0
  const tell = (teller: string, value: Uint8Array, name: string, hlc: number): boolean => {
    const write = { hlc, index: 0, origin: teller, feed: member.feed, seq: 1 }
    const document = { deleted: null, paths: [`${name}/0`], values: [value], writes: [write], lsn: 0 }
    return testimonies.learn(played.meshId, teller, TOLD_PREFIX, document, (_, { signature }) => {
      checks += 1
      return signature.some((byte) => byte !== 0)
    })
  }
  const heldBy = { feedId: new Uint8Array(16), hash8: new Uint8Array(8) }
  const testimonyOf = (seq: number): readonly [Uint8Array, string] => {
    const batch = member.beacon([{ ...heldBy, seq }])
    return [encodeTestimony(member.feed, batch), hex(batch.hash.subarray(0, 8))]
  }
  const count = 5_000
  for (let i = 1; i <= count; i++) tell('liar', ...testimonyOf(i), i)
  const heard = testimonies.of(member.feed.origin).length
  assert.ok(heard > 100 && heard < count, `${heard} were heard`)
  const [bytes, name] = testimonyOf(count + 1)
  assert.equal(tell('somebody', bytes, name, 1), true, 'others are heard still')
  const unsigned = bytes.slice()
  unsigned.fill(0, unsigned.length - (member.batches.at(-1)?.body.length ?? 0) - 66, unsigned.length - 60)
  checks = 0
  for (let i = 1; i <= 9; i++) tell('other', unsigned, name, 1)
  assert.ok(checks <= 1, 'what has not changed is not checked again')
})

test('a proof of a fork that its finder takes back is told on, and counts the same after a restart', () => {
  const { played, author, witness } = scene()
  const copy = new Author(played, 1)
  copy.batches.push(...author.batches.slice(0, SEAL - 1))
  const other = copy.put('hall', { n: -1 })
  const key = FORK_PREFIX + hex(author.feed.id)
  const proof = encodeProof(author.feed, author.batches[SEAL - 1] as never, other)
  witness.put(key, { proof })
  witness.push()
  played.pass(MINUTE_MS)
  assert.equal(played.gateway.authority.sealOf(author.feed), SEAL)
  assert.deepEqual(ownFields(played, key), [], 'it is told already')
  witness.delete(key)
  witness.push()
  played.pass(MINUTE_MS)
  assert.deepEqual(ownFields(played, key), ['proof'])
  played.gateway.crash()
  played.gateway.start()
  assert.equal(played.gateway.authority.sealOf(author.feed), SEAL)
})

test('what this gateway has said on a branch that is cut without a seal, for its store was put back, is told on', () => {
  const played = new Played(3)
  const author = new Author(played, 1)
  author.put('hall', { n: 1 })
  const [before, after] = [new Author(played, 0, SELF_COLLECTION), new Author(played, 0, SELF_COLLECTION)]
  for (let n = 1; n <= 2; n++) after.batches.push(before.beacon([]))
  for (let n = 3; n <= 5; n++) before.beacon([])
  before.checkpoint([5])
  played.pass(1_000)
  const said = after.beacon([author.held()])
  after.push()
  assert.equal(played.gateway.disk.head(before.feed.key)?.seq, 3)
  before.offer(6)
  assert.equal(played.gateway.disk.head(before.feed.key)?.seq, 2)
  played.pass(MINUTE_MS)
  const told = ownFields(played, TOLD_PREFIX + hex(before.feed.id))
  assert.deepEqual(told, [`${hex(said.hash.subarray(0, 8))}/0`])
})
