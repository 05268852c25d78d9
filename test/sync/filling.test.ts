import assert from 'node:assert/strict'
import { test } from 'node:test'
import { equal } from '../../runtime/base/bytes.ts'
import { OP_PUT, type Batch, type Feed } from '../../runtime/model/batch.ts'
import { FLAG_CHECKPOINT } from '../../runtime/model/checkpoint.ts'
import { fieldsOf } from '../../runtime/model/fields.ts'
import { SequenceSet } from '../../runtime/model/sequences.ts'
import { hlcFromMs } from '../../runtime/model/stamp.ts'
import { decodeBatch, seqOfBatch } from '../../runtime/wire/batch.ts'
import { FeedHistory, historyKey } from '../../runtime/sync/history.ts'
import { encodeBody } from '../../runtime/wire/body.ts'
import { encodeCheckpoint, rootOf } from '../../runtime/wire/checkpoint.ts'
import { encodeDescriptor, feedOf } from '../../runtime/wire/descriptor.ts'
import { decodeMessages, type Message } from '../../runtime/wire/message.ts'
import { forgedBatch } from '../fuzz/forge.ts'
import { fakeSignature } from '../simulation/gateway.ts'
import { Author } from './author.ts'
import { Played, START_MS } from './played.ts'

const ALIAS = 7
const START_HLC = hlcFromMs(START_MS)

/** A feed of the neighbour's own whose past is pruned: of the batches before 41 two are live. */
class Pruned {
  readonly played: Played = new Played()
  readonly feed: Feed
  readonly parts: readonly Batch[]
  readonly checkpoint: Batch

  constructor() {
    this.feed = feedOf(this.played.meshId, {
      publicKey: this.played.keys[1] as Uint8Array,
      incarnation: new Uint8Array(8).fill(1),
      collection: 'climate',
      partition: '',
      kind: 0,
      encrypted: false,
    })
    this.parts = [38, 40].map((seq) => this.#value(seq))
    const last = this.parts[1] as Batch
    const checkpoint = encodeCheckpoint({
      floor: 41,
      live: SequenceSet.of([38, 40]),
      root: rootOf(this.parts.map(({ hash }) => hash)),
      before: { seq: 40, hash: last.hash, hlc: last.header.hlc },
      deps: [],
      dropsTombstones: false,
    })
    this.checkpoint = this.#batch(41, last.hash, checkpoint, FLAG_CHECKPOINT)
  }

  offer(): readonly Message[] {
    this.played.say({ type: 'feed', alias: ALIAS, descriptor: encodeDescriptor(this.feed.descriptor), chain: [] })
    const hash8 = this.checkpoint.hash.slice(0, 8)
    this.played.say({ type: 'have', entries: [[ALIAS, 41, hash8]], marker: null })
    this.played.pass(100)
    this.played.say({ type: 'data', batches: [this.checkpoint.bytes] })
    return this.played.pass(100)
  }

  send(batch: Batch): void {
    this.played.say({ type: 'data', batches: [batch.bytes] })
  }

  #value(seq: number): Batch {
    const ops = {
      docs: [`hall-${seq}`],
      shapes: [{ kind: OP_PUT, paths: ['temperature'] }],
      opDocs: [0],
      opShapes: [0],
      values: [seq],
    }
    const { body, flags } = encodeBody(ops, START_HLC + seq)
    return this.#batch(seq, new Uint8Array(32).fill(seq), body, flags)
  }

  #batch(seq: number, prev: Uint8Array, body: Uint8Array, flags: number): Batch {
    const header = { feedId: this.feed.id, seq, prev, hlc: START_HLC + seq, flags, minReader: 1 }
    const sign = (message: Uint8Array): Uint8Array => fakeSignature(this.feed.descriptor.publicKey, message)
    const batch = decodeBatch(this.played.meshId, forgedBatch(this.played.meshId, header, body, sign))
    assert.ok(batch.ok)
    return batch.value
  }
}

test('a feed does not jump before what it rests on is on the disk, for the disk may refuse some of it', () => {
  const pruned = new Pruned()
  const { played, feed, parts } = pruned
  const wanted = pruned.offer().flatMap((message) => (message.type === 'want' ? message.entries : []))
  assert.deepEqual(wanted.at(-1), [ALIAS, 38, 0, [38, 38, 40, 40]])
  const { gateway } = played
  gateway.isDiskFull = true
  pruned.send(parts[0] as Batch)
  gateway.isDiskFull = false
  pruned.send(parts[1] as Batch)
  played.pass(500)
  const head = gateway.disk.head(feed.key)
  assert.equal(head?.seq, 0, 'it jumped')
  assert.deepEqual(head?.retained.runs, [40, 40])
})

test('a feed jumps when all that its checkpoint calls live is on the disk', () => {
  const pruned = new Pruned()
  pruned.offer()
  for (const part of pruned.parts) pruned.send(part)
  pruned.played.pass(500)
  const head = pruned.played.gateway.disk.head(pruned.feed.key)
  assert.equal(head?.seq, 41)
  assert.deepEqual(head?.retained.runs, [38, 38, 40, 41])
})

/** Of three batches the last lives, and a fourth tells again what had lived of the others. */
function toldAgain(played: Played): Author {
  const author = new Author(played, 1)
  for (let n = 1; n <= 4; n++) author.put('hall', { n })
  author.checkpoint([3], [], false, 4)
  return author
}

test('a feed jumps when what its author has told again above the floor is here too', () => {
  const played = new Played()
  const author = toldAgain(played)
  author.offer(5, [3])
  const { disk } = played.gateway
  assert.equal(disk.head(author.feed.key)?.seq, 0, 'it jumped')
  assert.deepEqual(disk.head(author.feed.key)?.retained.runs, [3, 3])
  author.offer(5)
  assert.equal(disk.head(author.feed.key)?.seq, 5)
  assert.deepEqual(disk.head(author.feed.key)?.retained.runs, [3, 5])
})

test('a feed stays where it is when its author, put back to an old store, has lost what it had told again', () => {
  const played = new Played()
  const author = toldAgain(played)
  author.offer(5, [3])
  played.again()
  author.introduce()
  author.push(1)
  played.pass(40_000)
  const head = played.gateway.disk.head(author.feed.key)
  assert.deepEqual([head?.seq, head?.retained.runs], [1, [1, 1]])
  assert.deepEqual(played.gateway.disk.document({ collection: 'climate', partition: '' }, 'hall')?.values, [1])
})

test('who lacks some of what it is asked for by number sends the rest, and does not offer again what says nothing more', () => {
  const played = new Played()
  const author = toldAgain(played)
  author.offer(5)
  const { disk } = played.gateway
  disk.append({ batches: [], drops: [{ feed: author.feed, seqs: SequenceSet.of([3]), isDamaged: true }], records: [] })
  disk.flushOne()
  played.gateway.crash()
  played.gateway.start()
  played.again()
  const said = played.pass(1_000)
  const descriptor = encodeDescriptor(author.feed.descriptor)
  const feed = said.find((message) => message.type === 'feed' && equal(message.descriptor, descriptor))
  assert.ok(feed?.type === 'feed')
  played.say({ type: 'want', entries: [[feed.alias, 3, 0, [3, 4]]] })
  const sent = played.pass(1_000).flatMap((message) => (message.type === 'data' ? message.batches.map(seqOfBatch) : []))
  assert.deepEqual(sent, [4])
})

/** What a gateway sends to a neighbour that asks from `from` on for a feed of which all but the twelfth batch is dead. */
function offered(from: number): { readonly sent: (ms: number) => number[]; readonly confirm: (seq: number) => void } {
  // The third never confirms anything: what is dead stays.
  const played = new Played(3)
  const author = new Author(played, 2)
  for (let n = 1; n <= 12; n++) author.put('hall', { n })
  author.checkpoint([12])
  author.push()
  played.again()
  const descriptor = encodeDescriptor(author.feed.descriptor)
  const said = played.pass(1_000).find((message) => message.type === 'feed' && equal(message.descriptor, descriptor))
  assert.ok(said?.type === 'feed')
  const { alias } = said
  played.say({ type: 'want', entries: [[alias, from, 1]] })
  const sent = (ms: number): number[] => {
    const batches = played.pass(ms).flatMap((message) => (message.type === 'data' ? message.batches : []))
    return batches.map((bytes) => seqOfBatch(bytes))
  }
  const confirm = (seq: number): void =>
    played.say({ type: 'ack', lsn: 0, credit: played.credit, entries: [[alias, seq]] })
  return { sent, confirm }
}

test('ahead of a checkpoint goes what was asked for, by which another branch is seen, and nothing follows before that has come', () => {
  const { sent, confirm } = offered(2)
  assert.deepEqual(sent(5_000), [2])
  confirm(2)
  assert.deepEqual(sent(1_000), [13])
  assert.deepEqual(offered(1).sent(1_000), [13], 'who has nothing of it stands on no branch')
})

test('who offers a checkpoint and brings nothing of what is asked for then is not the only one that is asked', () => {
  const played = new Played(3)
  const author = toldAgain(played)
  const [first, second] = [100, 500]
  played.link(second, 2)
  const asked = new Set<number>()
  const offer: Message = { type: 'data', batches: [(author.batches[4] as Batch).bytes] }
  const answer = (from: number, link: number, bytes: Uint8Array): void => {
    const messages = decodeMessages(bytes)
    const isAsked = messages.ok && messages.value.some(({ type }) => type === 'want')
    if (isAsked) played.schedule.after(10, () => played.sayOn(link, offer))
    if (isAsked) asked.add(link)
    Played.prototype.send.call(played, from, link, bytes)
  }
  Object.assign(played, { send: answer })
  const { hash8 } = author.held(5)
  for (const link of [first, second]) {
    const descriptor = encodeDescriptor(author.feed.descriptor)
    played.sayOn(link, { type: 'feed', alias: ALIAS, descriptor, chain: [] })
    played.sayOn(link, { type: 'have', entries: [[ALIAS, 5, hash8]], marker: null })
  }
  played.pass(20_000)
  assert.deepEqual([...asked], [first, second])
})

test('a feed does not jump where what was told again is of another branch than the checkpoint', () => {
  const played = new Played()
  const author = toldAgain(played)
  const copy = new Author(played, 1)
  for (let n = 1; n <= 4; n++) copy.put('attic', { n })
  author.offer(5, [3])
  played.say({ type: 'data', batches: [(copy.batches[3] as Batch).bytes] })
  const said = played.pass(200)
  assert.equal(played.gateway.disk.head(author.feed.key)?.seq, 0, 'it jumped')
  assert.ok(
    said.some((message) => message.type === 'nack' && message.code === 'fork'),
    'it took it for the same branch',
  )
})

test('SPEC I9: a checkpoint by which a feed jumps stays its base on the disk when it comes along the chain before the jump is flushed', () => {
  const pruned = new Pruned()
  const { played, feed, checkpoint } = pruned
  const { gateway } = played
  gateway.flushMsMax = 1
  pruned.offer()
  for (const part of pruned.parts) pruned.send(part)
  // As soon as the parts are on the disk the jump is on its way there.
  while (gateway.disk.head(feed.key)?.retained.size !== 2) played.pass(1)
  pruned.send(checkpoint)
  assert.equal(gateway.disk.head(feed.key)?.seq, 0, 'the jump was flushed before the checkpoint came')
  while (gateway.disk.head(feed.key)?.seq !== 41) played.pass(1)
  const history = new FeedHistory()
  history.decode(gateway.disk.getRecord(historyKey(feed)) ?? new Uint8Array(), () => null)
  assert.equal(history.baseSeq, 41)
})

test('what the disk took while it refused the end of a fill says nothing of a base that is not there', () => {
  const played = new Played()
  const author = new Author(played, 1)
  for (let n = 1; n <= 5; n++) author.put('hall', { n })
  author.push(1)
  author.checkpoint([5])
  author.put('hall', { n: 7 })
  author.checkpoint([5, 7])
  author.put('hall', { n: 9 })
  author.checkpoint([5, 8, 9])
  const { gateway, schedule } = played
  const [later, part] = [author.batches[9], author.batches[7]]
  const say = (batch: Batch | undefined): void => played.say({ type: 'data', batches: batch ? [batch.bytes] : [] })
  let jumps = 0
  const event = (_: number, name: string): void => {
    if (name !== 'jumped' || jumps++ > 0) return
    gateway.isDiskFull = true
    // Before the disk has answered.
    schedule.after(0.5, () => {
      gateway.isDiskFull = false
      say(later)
      say(part)
    })
  }
  Object.assign(played, { event })
  author.offer(6)
  assert.equal(jumps, 1)
  assert.equal(gateway.disk.batch(author.feed.key, 6), undefined, 'the end of the fill was refused')
  assert.ok(gateway.disk.batch(author.feed.key, 8), 'a part of the next one was taken')
  const history = new FeedHistory()
  history.decode(gateway.disk.getRecord(historyKey(author.feed)) as Uint8Array, () => null)
  assert.equal(history.baseSeq, 0)
})

test('parts of a fill that nobody goes on with leave the log, and what they had changed the documents', () => {
  const played = new Played()
  const author = new Author(played, 1)
  author.put('hall', { n: 1 })
  author.push()
  for (let n = 2; n <= 6; n++) author.put(n % 2 === 0 ? 'hall' : 'attic', { n })
  author.checkpoint([5, 6])
  author.offer(7, [6])
  const retained = (): readonly number[] => played.gateway.disk.head(author.feed.key)?.retained.runs ?? []
  assert.deepEqual(retained(), [1, 1, 6, 6])
  // Whoever is linked now has no more of it.
  played.again()
  author.introduce()
  author.tell(1)
  played.pass(20_000)
  assert.deepEqual(retained(), [1, 1, 6, 6])
  played.pass(20_000)
  assert.deepEqual(retained(), [1, 1])
  assert.deepEqual(played.gateway.disk.document({ collection: 'climate', partition: '' }, 'hall')?.values, [1])
  author.offer(7)
  assert.deepEqual(retained(), [1, 1, 5, 7])
})

test('parts of a fill leave also when its link went while nobody was asked for the feed any more, or before its offer was looked at', () => {
  for (const isLate of [false, true]) {
    const played = new Played()
    const author = new Author(played, 1)
    author.put('hall', { n: 1 })
    author.push()
    for (let n = 2; n <= 6; n++) author.put(n % 2 === 0 ? 'hall' : 'attic', { n })
    const checkpoint = author.checkpoint([5, 6])
    author.offer(7, [6])
    if (isLate) {
      // The signature is checked as long as the link takes to go.
      const { engine } = played.gateway
      assert.ok(engine)
      const handle = engine.handle.bind(engine)
      let again = (): void => {}
      engine.handle = (now, input) => {
        if (input.type !== 'verified') return handle(now, input)
        again = () => handle(now, input)
      }
      played.pass(2_000)
      played.say({ type: 'data', batches: [checkpoint.bytes] })
      played.again()
      engine.handle = handle
      again()
    } else {
      const part = (author.batches[4] as Batch).bytes.slice()
      part[part.length - 1] = (part.at(-1) as number) ^ 1
      played.say({ type: 'data', batches: [part] })
      played.again()
    }
    author.introduce()
    author.tell(1)
    assert.deepEqual(played.gateway.disk.head(author.feed.key)?.retained.runs, [1, 1, 6, 6])
    played.pass(60_000)
    assert.deepEqual(played.gateway.disk.head(author.feed.key)?.retained.runs, [1, 1])
  }
})

test('what was written after a store was put back, and lies beside what had been written before, is written again when the feed jumps over it', () => {
  const played = new Played()
  const [before, after] = [new Author(played, 0), new Author(played, 0)]
  for (let n = 1; n <= 2; n++) after.batches.push(before.put('hall', { n }))
  for (let n = 3; n <= 5; n++) before.put('hall', { n })
  before.checkpoint([5])
  played.pass(1_000)
  after.put('shop', { n: 3 })
  after.push()
  const { disk, incarnation } = played.gateway
  assert.equal(disk.head(before.feed.key)?.seq, 3)
  // The first makes it cut, and when that is on the disk it is offered again.
  for (let i = 0; i < 2; i++) before.offer(6)
  played.pass(1_000)
  assert.deepEqual(disk.head(before.feed.key)?.retained.runs, [1, 2, 5, 6])
  const document = disk.document({ collection: 'climate', partition: '' }, 'shop')
  assert.deepEqual(document && fieldsOf(document), { n: 3 })
  assert.deepEqual(document?.writes[0]?.feed.descriptor.incarnation, incarnation)
})

test('parts of another branch that an earlier fill has left beside the chain go before the feed jumps, and are said of no branch', () => {
  const played = new Played()
  const [author, copy] = [new Author(played, 1), new Author(played, 1)]
  for (let n = 1; n <= 9; n++) author.put('hall', { n })
  for (let n = 1; n <= 4; n++) copy.put(n === 2 ? 'attic' : 'hall', { n: -n })
  author.checkpoint([6, 9])
  copy.checkpoint([2, 4])
  copy.offer(5, [2])
  const { disk } = played.gateway
  const place = { collection: 'climate', partition: '' }
  assert.deepEqual(disk.head(author.feed.key)?.retained.runs, [2, 2])
  played.again()
  author.introduce()
  author.offer(10)
  const wants = played.pass(5_000).flatMap((message) => (message.type === 'want' ? message.entries : []))
  assert.ok(
    wants.some(([, from, mode]) => from === 1 && mode === 1),
    'it is asked for again at once: what was told of it still holds',
  )
  author.offer(10)
  assert.deepEqual(disk.head(author.feed.key)?.retained.runs, [6, 6, 9, 10])
  assert.equal(disk.document(place, 'attic'), undefined)
})

test('parts of another branch go before the chain comes to where they lie, and with them what they had changed', () => {
  const played = new Played()
  const [author, copy] = [new Author(played, 1), new Author(played, 1)]
  for (let n = 1; n <= 4; n++) author.put('hall', { n })
  for (let n = 1; n <= 4; n++) copy.put(n === 2 ? 'attic' : 'hall', { n: -n })
  copy.checkpoint([2, 4])
  copy.offer(5, [2])
  const { disk } = played.gateway
  const place = { collection: 'climate', partition: '' }
  assert.ok(disk.document(place, 'attic'))
  played.again()
  author.introduce()
  author.push()
  for (let round = 0; round < 3; round++) {
    const wants = played.pass(5_000).flatMap((message) => (message.type === 'want' ? message.entries : []))
    const from = wants.at(-1)?.[1] ?? author.batches.length
    played.say({ type: 'data', batches: author.batches.slice(from - 1).map(({ bytes }) => bytes) })
  }
  played.pass(200)
  assert.equal(disk.head(author.feed.key)?.seq, 4)
  assert.equal(disk.document(place, 'attic'), undefined)
})
