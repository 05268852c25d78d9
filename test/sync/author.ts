import assert from 'node:assert/strict'
import { OP_DELETE, OP_PUT, type Batch, type Feed, type Ops } from '../../runtime/model/batch.ts'
import { FLAG_CHECKPOINT, type Held } from '../../runtime/model/checkpoint.ts'
import { SELF_COLLECTION } from '../../runtime/model/names.ts'
import { SequenceSet } from '../../runtime/model/sequences.ts'
import { hlcFromMs } from '../../runtime/model/stamp.ts'
import type { Value } from '../../runtime/model/value.ts'
import { BEACON_KEY } from '../../runtime/sync/beacons.ts'
import { encodeBatch, type NewBatch } from '../../runtime/wire/batch.ts'
import { encodeCheckpoint, rootOf } from '../../runtime/wire/checkpoint.ts'
import { encodeDescriptor, feedOf } from '../../runtime/wire/descriptor.ts'
import type { Message } from '../../runtime/wire/message.ts'
import { fakeSignature } from '../simulation/gateway.ts'
import { START_MS, type Played } from './played.ts'

/** Somebody's feed, batch by batch; the neighbour of the played gateway has all of it, or as much as the test says. */
export class Author {
  readonly feed: Feed
  readonly batches: Batch[] = []
  readonly #played: Played
  readonly #alias: number
  #told = 0

  /** `index` of its key in `played.keys`; `alias`: another one, where it has more than one feed of users'. */
  constructor(
    played: Played,
    index: number,
    collection: string = 'climate',
    alias: number = index + (collection === SELF_COLLECTION ? 100 : 200),
  ) {
    const publicKey = played.keys[index] as Uint8Array
    const partition = collection === SELF_COLLECTION ? played.peerIdOf(index) : ''
    const incarnation = new Uint8Array(8).fill(index)
    this.feed = feedOf(played.meshId, { publicKey, incarnation, collection, partition, kind: 0, encrypted: false })
    this.#played = played
    this.#alias = alias
    this.introduce()
  }

  /** The neighbour says under which number it speaks of the feed: once on each link. */
  introduce(): void {
    const descriptor = encodeDescriptor(this.feed.descriptor)
    this.#played.say({ type: 'feed', alias: this.#alias, descriptor, chain: [] })
  }

  /** `aheadMs`: its author's clock is so far ahead. */
  put(key: string, fields: { readonly [path: string]: Value }, aheadMs: number = 0): Batch {
    const paths = Object.keys(fields)
    return this.write({ docs: [key], shapes: [{ kind: OP_PUT, paths }], values: Object.values(fields) }, aheadMs)
  }

  delete(key: string): Batch {
    return this.write({ docs: [key], shapes: [{ kind: OP_DELETE, paths: [] }], values: [] })
  }

  /** Says that of all so far, or of all before `floor`, just `live` lives; it had of others' feeds what `deps` says. */
  checkpoint(
    live: readonly number[],
    deps: readonly Held[] = [],
    dropsTombstones: boolean = false,
    floor: number = this.batches.length + 1,
  ): Batch {
    const last = this.batches[floor - 2] as Batch
    const body = encodeCheckpoint({
      floor,
      live: SequenceSet.of(live),
      root: rootOf(live.map((seq) => (this.batches[seq - 1] as Batch).hash)),
      before: { seq: last.header.seq, hash: last.hash, hlc: last.header.hlc },
      deps,
      dropsTombstones,
    })
    return this.#add({ body, flags: FLAG_CHECKPOINT })
  }

  /** In its own `$self`: nothing older than now will come of it; it has these of others. */
  beacon(acks: readonly Held[]): Batch {
    const at = this.#now(0)
    const said = acks.map(({ feedId, seq, hash8 }): Value => [feedId, seq, hash8])
    return this.put(BEACON_KEY, { at, 'heads/0': [], 'acks/0': said })
  }

  /** As somebody who holds it up to `seq` says it. */
  held(seq: number = this.batches.length): Held {
    return { feedId: this.feed.id, seq, hash8: (this.batches[seq - 1] as Batch).hash.slice(0, 8) }
  }

  /** The neighbour pushes everything that is new, up to `seq`. */
  push(seq: number = this.batches.length): void {
    const news = this.batches.slice(this.#told, seq)
    this.#told = seq
    this.tell(seq)
    this.#played.say({ type: 'data', batches: news.map(({ bytes }) => bytes) })
    this.#played.pass(200)
  }

  /** The neighbour says that it has everything up to `seq`; what the gateway answers. */
  tell(seq: number): readonly Message[] {
    const { hash8 } = this.held(seq)
    this.#played.say({ type: 'have', entries: [[this.#alias, seq, hash8]], marker: null })
    return this.#played.pass(20)
  }

  /** The neighbour is behind the past of the feed: it offers the checkpoint `seq`, and then what is asked for, or `only` so much of it. */
  offer(seq: number, only: readonly number[] | null = null): void {
    const checkpoint = this.batches[seq - 1] as Batch
    this.tell(seq)
    this.#played.say({ type: 'data', batches: [checkpoint.bytes] })
    const wants = this.#played.pass(20).flatMap((message) => (message.type === 'want' ? message.entries : []))
    const runs = wants.flatMap(([alias, , , asked]) => (alias === this.#alias && asked ? asked : []))
    const asked = new SequenceSet(runs)
    const parts = this.batches.filter(({ header }) => asked.has(header.seq) && only?.includes(header.seq) !== false)
    if (parts.length > 0) this.#played.say({ type: 'data', batches: parts.map(({ bytes }) => bytes) })
    this.#played.pass(200)
  }

  /** Whatever one operation does to a document. */
  write({ docs, shapes, values }: Pick<Ops, 'docs' | 'shapes' | 'values'>, aheadMs: number = 0): Batch {
    return this.#add({ docs, shapes, values, opDocs: [0], opShapes: [0] }, aheadMs)
  }

  #now(aheadMs: number): number {
    const before = this.batches.at(-1)?.header.hlc ?? 0
    return Math.max(before + 1, hlcFromMs(START_MS + this.#played.schedule.now + aheadMs))
  }

  #add(ops: NewBatch['ops'], aheadMs: number = 0): Batch {
    const { publicKey } = this.feed.descriptor
    const batch = encodeBatch({
      meshId: this.#played.meshId,
      feed: this.feed,
      seq: this.batches.length + 1,
      prev: this.batches.at(-1)?.hash ?? new Uint8Array(32),
      hlc: this.#now(aheadMs),
      ops,
      clockClass: 2,
      sign: (message) => fakeSignature(publicKey, message),
    })
    assert.ok(batch.ok)
    this.batches.push(batch.value)
    return batch.value
  }
}
