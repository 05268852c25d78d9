import { equal } from '../../runtime/base/bytes.ts'
import { randomInteger, type Random } from '../../runtime/base/random.ts'
import { OP_PUT, type Ops } from '../../runtime/model/batch.ts'
import { isSystemName } from '../../runtime/model/names.ts'
import type { Hlc } from '../../runtime/model/stamp.ts'
import { decodeBatch } from '../../runtime/wire/batch.ts'
import { encodeBody } from '../../runtime/wire/body.ts'
import { decodeSequence, encodeSequence } from '../../runtime/wire/cbor.ts'
import { forgedBatch } from '../fuzz/forge.ts'
import type { DiskFeed } from './disk.ts'
import { fakeSignature, type SimulatedGateway } from './gateway.ts'

const UNKNOWN_OP = 77
const UNKNOWN_FLAG = 64
const UNKNOWN_HEADER_KEY = 11
const UNKNOWN_MESSAGE = 99
const BATCHES_MAX = 3
const KINDS = 4
/** Of its frames one in so many holds a message of a later version. */
const FRAMES = 10

/**
 * A member that was updated to a later version and put back (protocol D29, D30): among what it wrote are batches of which this version
 * understands a part or nothing, and it says what this version passes over. All must carry that and go on behind it.
 */
export class LaterVersion {
  readonly gateway: SimulatedGateway
  readonly #meshId: Uint8Array
  readonly #random: Random

  constructor(gateway: SimulatedGateway, meshId: Uint8Array, random: Random) {
    this.gateway = gateway
    this.#meshId = meshId
    this.#random = random
  }

  /** What it says, and sometimes a message of a type that this version doesn't know. */
  speak(frame: Uint8Array): Uint8Array {
    if (this.#random() >= 1 / FRAMES) return frame
    const messages = decodeSequence(frame)
    return messages.ok ? encodeSequence([...messages.value, [UNKNOWN_MESSAGE, { of: 'a later version' }]]) : frame
  }

  /** While it is down, the later version has written: above `clock`, the greatest stamp that it has given out. False if there is no feed to go on with. */
  write(clock: Hlc): boolean {
    const { disk, peerId, incarnation } = this.gateway
    const own = [...disk.feeds.values()].filter(({ feed: { origin, descriptor }, head }) => {
      const isCurrent = origin === peerId && equal(descriptor.incarnation, incarnation)
      return isCurrent && head.seq > 0 && !isSystemName(descriptor.collection) && !descriptor.encrypted
    })
    if (own.length === 0) return false
    let hlc = Math.max(clock, ...disk.heads().flatMap(({ feed, hlc: at }) => (feed.origin === peerId ? [at] : [])))
    for (let i = randomInteger(this.#random, 1, BATCHES_MAX); i > 0; i--) {
      this.#append(own[randomInteger(this.#random, 0, own.length - 1)] as DiskFeed, (hlc += 1))
    }
    return true
  }

  #append({ feed, head }: DiskFeed, hlc: Hlc): void {
    const kind = randomInteger(this.#random, 1, KINDS)
    const value = randomInteger(this.#random, 0, 1_000)
    const ops = kind === 1 ? withUnknown(value) : put(value)
    const { body, flags } = encodeBody(ops, hlc)
    const minReader = kind === 2 ? 2 : 1
    const header = {
      feedId: feed.id,
      seq: head.seq + 1,
      prev: head.hash,
      hlc,
      flags: kind === 3 ? flags | UNKNOWN_FLAG : flags,
      minReader,
      more: kind === 4 ? [[UNKNOWN_HEADER_KEY, 'of a later version'] as const] : [],
    }
    const sign = (message: Uint8Array): Uint8Array => fakeSignature(this.gateway.publicKey, message)
    const batch = decodeBatch(this.#meshId, forgedBatch(this.#meshId, header, body, sign))
    if (!batch.ok) throw new Error(`Cannot write as a later version: ${batch.error.message}`)
    this.gateway.disk.append({ batches: [{ feed, batch: batch.value, ops: minReader > 1 ? null : ops }], records: [] })
    this.gateway.disk.flushOne()
  }
}

const KEY = 'sensor-1'

function put(value: number): Ops {
  return {
    docs: [KEY],
    shapes: [{ kind: OP_PUT, paths: ['temperature'] }],
    opDocs: [0],
    opShapes: [0],
    values: [value],
  }
}

/** An operation of a kind that this version doesn't know, between two that it knows. */
function withUnknown(value: number): Ops {
  return {
    docs: [KEY],
    shapes: [
      { kind: OP_PUT, paths: ['temperature'] },
      { kind: UNKNOWN_OP, paths: ['of-later'] },
      { kind: OP_PUT, paths: ['humidity'] },
    ],
    opDocs: [0, 0, 0],
    opShapes: [0, 1, 2],
    values: [value, [1, 'unknown', null], value],
  }
}
