import { latin1 } from '../../runtime/base/bytes.ts'
import { randomInteger, type Random } from '../../runtime/base/random.ts'
import { OP_PUT, type Batch, type Feed, type Ops } from '../../runtime/model/batch.ts'
import { FLAG_CHECKPOINT } from '../../runtime/model/checkpoint.ts'
import { isSystemName, SELF_COLLECTION } from '../../runtime/model/names.ts'
import { SequenceSet } from '../../runtime/model/sequences.ts'
import { hlcFromMs } from '../../runtime/model/stamp.ts'
import type { Value } from '../../runtime/model/value.ts'
import { BEACON_KEY } from '../../runtime/sync/beacons.ts'
import { decodeBatch } from '../../runtime/wire/batch.ts'
import { encodeBody } from '../../runtime/wire/body.ts'
import { encodeCheckpoint, isCheckpoint, rootOf } from '../../runtime/wire/checkpoint.ts'
import { decodeMessages, encodeMessages } from '../../runtime/wire/message.ts'
import { forgedBatch } from '../fuzz/forge.ts'
import type { DiskFeed } from './disk.ts'
import { fakeSignature, type SimulatedGateway } from './gateway.ts'
import { promisesOf } from './promises.ts'
import type { Fault } from './simulation.ts'

const FORKS = 0.1
const AHEAD_MS = 3_600_000

/** What it needs of the simulated world. */
export interface Surroundings {
  readonly random: Random
  readonly meshId: Uint8Array
  note(fault: Fault): void
  /** It has signed a batch that its own engine doesn't know. */
  signed(feed: Feed, batch: Batch, ops: Ops): void
}

/** A member that signs with its own key what no honest gateway would: whatever it says, the others must stay equal. */
export class Byzantine {
  readonly gateway: SimulatedGateway
  readonly #world: Surroundings
  /** By feed, the batch that half of its neighbours get in the place of another. */
  readonly #others = new Map<string, { readonly seq: number; readonly bytes: Uint8Array }>()

  constructor(gateway: SimulatedGateway, world: Surroundings) {
    this.gateway = gateway
    this.#world = world
  }

  /** Now and then it signs two batches under one number, and tells half of its neighbours one and half the other. */
  speak(link: number, frame: Uint8Array): Uint8Array {
    if ((link >> 1) % 2 === 0 || promisesOf(frame)?.batches.length === 0) return frame
    const messages = decodeMessages(frame)
    if (!messages.ok) return frame
    return encodeMessages(
      messages.value.map((message) => {
        if (message.type !== 'data') return message
        return { ...message, batches: message.batches.map((bytes) => this.#other(bytes)) }
      }),
    )
  }

  #other(bytes: Uint8Array): Uint8Array {
    const batch = decodeBatch(this.#world.meshId, bytes)
    const held = batch.ok ? this.gateway.disk.feeds.get(latin1(batch.value.header.feedId)) : undefined
    if (!batch.ok || held === undefined || !this.#isOwn(held) || isCheckpoint(batch.value.header)) return bytes
    const { feed } = held
    const known = this.#others.get(feed.key)
    if (known !== undefined) return known.seq === batch.value.header.seq ? known.bytes : bytes
    if (this.#world.random() >= FORKS) return bytes
    const other = this.#forge(feed, batch.value)
    this.#others.set(feed.key, { seq: batch.value.header.seq, bytes: other })
    return other
  }

  #forge(feed: Feed, { header }: Batch): Uint8Array {
    const value = randomInteger(this.#world.random, 0, 1_000)
    const shapes = [{ kind: OP_PUT, paths: ['temperature'] }]
    const ops: Ops = { docs: ['sensor-1'], shapes, opDocs: [0], opShapes: [0], values: [value] }
    const { body, flags } = encodeBody(ops, header.hlc)
    const bytes = forgedBatch(this.#world.meshId, { ...header, flags }, body, (message) => this.#sign(message))
    const batch = decodeBatch(this.#world.meshId, bytes)
    if (batch.ok) this.#world.signed(feed, batch.value, ops)
    this.#world.note('byzantine: two batches of one number')
    return bytes
  }

  /** It says that nothing older comes from it, and that it holds what it doesn't. */
  writeFalseBeacon(): void {
    if (!this.gateway.isUp) return
    const { random } = this.#world
    this.#world.note('byzantine: false beacon')
    const heads: Value[] = []
    const acks: Value[] = []
    for (const held of this.gateway.disk.feeds.values()) {
      const { collection, partition, incarnation } = held.feed.descriptor
      const seq = held.head.seq + randomInteger(random, 0, 50)
      const hash8 = random() < 0.5 ? held.head.hash.slice(0, 8) : new Uint8Array(8).fill(randomInteger(random, 0, 255))
      if (!this.#isOwn(held)) acks.push([held.feed.id, seq, hash8])
      else if (random() < 0.5) heads.push([collection, partition, incarnation, seq, hash8])
    }
    const at = hlcFromMs(this.gateway.now().wallMs + AHEAD_MS)
    const fields = { at, 'heads/0': heads, 'acks/0': acks }
    this.gateway.write(SELF_COLLECTION, { kind: 'put', key: BEACON_KEY, fields }, this.gateway.peerId)
  }

  /** Its power was cut, and when it comes back its feed goes on with a checkpoint that is not so. */
  appendFalseCheckpoint(): void {
    const { random, meshId } = this.#world
    const own = [...this.gateway.disk.feeds.values()].filter((held) => this.#isOwn(held) && held.head.seq > 1)
    const held = own[randomInteger(random, 0, Math.max(0, own.length - 1))]
    if (held === undefined || this.gateway.isUp) return
    this.#world.note('byzantine: false checkpoint')
    const { feed, head } = held
    const live = random() < 0.5 ? new SequenceSet() : held.retained.within(1, head.seq >> 1)
    const hashes = Array.from(live.values(), (seq) => held.batches.get(seq)?.batch.hash ?? new Uint8Array(32))
    const checkpoint = {
      floor: head.seq + 1,
      live,
      root: rootOf(hashes),
      before: head,
      deps: [],
      dropsTombstones: random() < 0.5,
    }
    const header = { feedId: feed.id, seq: head.seq + 1, prev: head.hash, hlc: head.hlc + 1, minReader: 1 }
    const bytes = forgedBatch(meshId, { ...header, flags: FLAG_CHECKPOINT }, encodeCheckpoint(checkpoint), (message) =>
      this.#sign(message),
    )
    const batch = decodeBatch(meshId, bytes)
    if (!batch.ok) throw new Error(`Cannot append a false checkpoint: ${batch.error.message}`)
    this.gateway.disk.append({ batches: [{ feed, batch: batch.value, ops: null }], records: [] })
    this.gateway.disk.flushOne()
  }

  #isOwn({ feed: { origin, descriptor } }: DiskFeed): boolean {
    return origin === this.gateway.peerId && !isSystemName(descriptor.collection)
  }

  #sign(message: Uint8Array): Uint8Array {
    return fakeSignature(this.gateway.publicKey, message)
  }
}
