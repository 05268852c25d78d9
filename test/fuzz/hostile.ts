import { GATEWAY_LIMITS } from '../../runtime/base/limits.ts'
import { randomInteger, type Random } from '../../runtime/base/random.ts'
import type { Batch, Feed } from '../../runtime/model/batch.ts'
import { SequenceSet } from '../../runtime/model/sequences.ts'
import { hlcFromMs } from '../../runtime/model/stamp.ts'
import { decodeBatch } from '../../runtime/wire/batch.ts'
import { encodeBody } from '../../runtime/wire/body.ts'
import { encodeCheckpoint, rootOf } from '../../runtime/wire/checkpoint.ts'
import { encodeDescriptor, feedOf } from '../../runtime/wire/descriptor.ts'
import { decodeMessages, encodeMessages, type Message } from '../../runtime/wire/message.ts'
import { fakeSignature } from '../simulation/gateway.ts'
import { forgedBatch } from './forge.ts'
import { boundary, mutated, pick } from './mutate.ts'
import { MESSAGES, OPS } from '../wire/samples.ts'

/** Frames that it remembers, to change them, and bytes of one. */
const HEARD_MAX = 64
const HEARD_BYTES_MAX = 4_096
const FEEDS = 12
const KINDS = 10
const MESSAGES_PER_FRAME = 100

/**
 * A neighbour that is a member, signs with its own key, and says what it likes: what it heard with changes, sound messages
 * with any numbers, and batches of its own whose headers, bodies and checkpoints lie.
 */
export class Hostile {
  readonly #random: Random
  readonly #meshId: Uint8Array
  readonly #publicKey: Uint8Array
  readonly #startHlc: number
  readonly #feeds: readonly Feed[]
  /** Where each of its own feeds stands, as it pretends. */
  readonly #tips = new Map<Feed, { seq: number; hash: Uint8Array; hlc: number }>()
  /** Frames that others said, the latest last. */
  readonly #heard: Uint8Array[] = [encodeMessages(MESSAGES)]
  /** The last life sign that it owes an answer to. */
  #ping: Extract<Message, { type: 'ping' }> | null = null
  /** Feeds of others, from what it heard. */
  readonly #descriptors: Uint8Array[] = []

  constructor(random: Random, meshId: Uint8Array, publicKey: Uint8Array, startMs: number) {
    this.#random = random
    this.#meshId = meshId
    this.#publicKey = publicKey
    this.#startHlc = hlcFromMs(startMs)
    this.#feeds = Array.from({ length: FEEDS }, (_, i) =>
      feedOf(meshId, {
        publicKey,
        incarnation: new Uint8Array(8).fill(i),
        collection: pick(random, ['climate', 'plugs', '$mesh', '$self']),
        partition: '',
        kind: i % 3 === 2 ? 1 : i === 7 ? 9 : 0,
        encrypted: i === 5,
      }),
    )
  }

  hear(frame: Uint8Array): void {
    this.#heard.push(frame.length > HEARD_BYTES_MAX ? frame.slice(0, HEARD_BYTES_MAX) : frame)
    if (this.#heard.length > HEARD_MAX) this.#heard.shift()
    const messages = decodeMessages(frame)
    for (const message of messages.ok ? messages.value : []) {
      if (message.type === 'ping' && !message.isReply) this.#ping = { ...message, digest: message.digest.slice() }
      if (message.type !== 'feed' || this.#descriptors.length >= FEEDS) continue
      if (!this.#descriptors.some((known) => Buffer.compare(known, message.descriptor) === 0))
        this.#descriptors.push(message.descriptor.slice())
    }
  }

  greeting(): Uint8Array {
    const feeds = this.#feeds.map(({ descriptor }, alias): Message => {
      return { type: 'feed', alias, descriptor: encodeDescriptor(descriptor), chain: [] }
    })
    return encodeMessages([{ ...(MESSAGES[0] as Message), cursor: null } as Message, ...feeds])
  }

  /** Anything at all. */
  frame(): Uint8Array {
    const draw = this.#random()
    if (draw < 0.3) return mutated(this.#random, this.#heard, 'cbor').subarray(0, 65_536)
    if (draw < 0.4) return mutated(this.#random, [this.#sound()], 'cbor').subarray(0, 65_536)
    return this.#sound()
  }

  /** Much of one kind, in the right form and about few feeds, so that nothing ends the link. */
  wellFormed(): Uint8Array {
    const kind = randomInteger(this.#random, 0, KINDS - 1)
    const messages = Array.from({ length: MESSAGES_PER_FRAME }, () => this.#message(kind))
    if (this.#ping !== null) messages.push({ ...this.#ping, isReply: true })
    this.#ping = null
    return encodeMessages(messages)
  }

  #sound(): Uint8Array {
    const messages = Array.from({ length: randomInteger(this.#random, 1, 4) }, () => this.#message())
    if (this.#random() < 0.6) messages.push({ type: 'data', batches: this.#batches() })
    return encodeMessages(messages)
  }

  #message(kind: number = randomInteger(this.#random, 0, KINDS - 1)): Message {
    const [alias, seq] = [this.#alias(), this.#number()]
    switch (kind) {
      case 0: {
        const own = this.#feeds.map(({ descriptor }) => encodeDescriptor(descriptor))
        const descriptor = pick(this.#random, [...own, ...this.#descriptors])
        // Under its number, or under another.
        const other = randomInteger(this.#random, 0, GATEWAY_LIMITS.feedsMax - 1)
        return {
          type: 'feed',
          alias: this.#random() < 0.5 ? other : Math.min(alias, GATEWAY_LIMITS.feedsMax - 1),
          descriptor,
          chain: [],
        }
      }
      case 1:
        return { type: 'have', entries: [[alias, seq, this.#hash8()]], marker: { lsn: seq, frames: this.#number() } }
      case 2:
        return { type: 'have', entries: [[alias, seq, this.#hash8(), this.#number()]], marker: null }
      case 3:
        return { type: 'want', entries: [[alias, seq, randomInteger(this.#random, 0, 2)]] }
      case 4:
        return { type: 'want', entries: [[alias, seq, 0, this.#runs(this.#number())]] }
      case 5:
        return { type: 'ack', lsn: seq, credit: this.#number(), entries: [[alias, this.#number()]] }
      case 6: {
        const code = pick(this.#random, ['alias', 'future', 'sealed', 'fork', 'shape'] as const)
        return { type: 'nack', alias, seq, code, retryAfterMs: this.#number() }
      }
      case 7:
        return {
          type: 'ping',
          nonce: seq,
          isReply: this.#random() < 0.5,
          digest: this.#hash8(),
          sentBytes: this.#number(),
        }
      case 8:
        return { type: 'dig', buckets: new Uint8Array(512).fill(randomInteger(this.#random, 0, 255)) }
      default:
        return { ...(MESSAGES[0] as Message), lsn: seq, credit: this.#number() } as Message
    }
  }

  #batches(): Uint8Array[] {
    const batches = Array.from({ length: randomInteger(this.#random, 1, 3) }, () =>
      this.#batch(pick(this.#random, this.#feeds)),
    )
    return this.#random() < 0.15 ? batches.map((batch) => mutated(this.#random, [batch], 'cbor')) : batches
  }

  /** Mostly the next of its feed; its signature is sound, what it says need not be. */
  #batch(feed: Feed): Uint8Array {
    const random = this.#random
    const tip = this.#tips.get(feed) ?? { seq: 0, hash: new Uint8Array(32), hlc: this.#startHlc }
    const isNext = random() < 0.8
    const seq = isNext ? tip.seq + 1 : Math.max(1, this.#number())
    const hlc = random() < 0.97 ? tip.hlc + randomInteger(random, 1, 5_000_000) : Math.max(1, this.#number())
    const isCheckpoint = random() < 0.3
    const { body, flags } = isCheckpoint ? { body: this.#checkpoint(seq, hlc), flags: 8 } : this.#body(hlc)
    const header = {
      feedId: feed.id,
      seq,
      prev: isNext || random() < 0.5 ? tip.hash : new Uint8Array(32).fill(1),
      hlc,
      flags: random() < 0.9 ? flags : this.#number(),
      minReader: random() < 0.9 ? 1 : Math.max(2, this.#number()),
    }
    const bytes = forgedBatch(this.#meshId, header, body, (message) => fakeSignature(this.#publicKey, message))
    const batch = decodeBatch(this.#meshId, bytes)
    if (batch.ok && random() < 0.9) this.#moveTip(feed, batch.value, isCheckpoint)
    return bytes
  }

  #moveTip(feed: Feed, { header, hash }: Batch, isCheckpoint: boolean): void {
    const tip = this.#tips.get(feed)
    if (header.seq !== (tip?.seq ?? 0) + 1 && !isCheckpoint) return
    this.#tips.set(feed, { seq: header.seq, hash, hlc: header.hlc })
  }

  #body(hlc: number): { readonly body: Uint8Array; readonly flags: number } {
    const ops = pick(this.#random, OPS)
    if (this.#random() < 0.6) return encodeBody({ ...ops, stamps: ops.opDocs.map(() => null) }, hlc)
    return {
      body: mutated(this.#random, [encodeBody(ops, Math.max(hlc, this.#startHlc * 2)).body], 'cbor').slice(0, 30_000),
      flags: 0,
    }
  }

  #checkpoint(seq: number, hlc: number): Uint8Array {
    const random = this.#random
    const floor = random() < 0.5 ? seq : Math.max(1, Math.min(seq, this.#number()))
    const made = encodeCheckpoint({
      floor,
      live: random() < 0.3 ? new SequenceSet() : new SequenceSet(this.#runs(floor - 1)),
      root: random() < 0.5 ? rootOf([]) : new Uint8Array(32),
      before: { seq: floor - 1, hash: new Uint8Array(32).fill(1), hlc: Math.max(0, Math.min(hlc - 1, this.#number())) },
      deps:
        random() < 0.5
          ? []
          : [{ feedId: pick(random, this.#feeds).id, seq: Math.max(1, this.#number()), hash8: this.#hash8() }],
      dropsTombstones: random() < 0.5,
    })
    return random() < 0.2 ? mutated(random, [made], 'cbor').slice(0, 30_000) : made
  }

  /** Rising runs of sequences up to `last`. */
  #runs(last: number): number[] {
    const runs: number[] = []
    let next = 1
    const count = this.#random() < 0.05 ? 3_000 : randomInteger(this.#random, 0, 4)
    for (let i = 0; i < count && next <= last; i++) {
      const to = this.#random() < 0.7 ? Math.min(last, next + randomInteger(this.#random, 0, 3)) : last
      runs.push(next, to)
      next = to + randomInteger(this.#random, 2, 5)
    }
    return runs
  }

  #alias(): number {
    return this.#random() < 0.9 ? randomInteger(this.#random, 0, FEEDS * 2) : this.#number()
  }

  /** Small, or at a bound; always one that a message may hold. */
  #number(): number {
    if (this.#random() < 0.7) return randomInteger(this.#random, 0, 30)
    const drawn = Number(boundary(this.#random))
    return Number.isSafeInteger(drawn) ? drawn : randomInteger(this.#random, 0, 2 ** 31)
  }

  #hash8(): Uint8Array {
    return new Uint8Array(8).fill(randomInteger(this.#random, 0, 3))
  }
}
