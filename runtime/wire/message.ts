import { fail, ok, type Result } from '../base/result.ts'
import { PROTOCOL_LIMITS } from '../base/limits.ts'
import { decodeSequence, encodeSequence } from './cbor.ts'

/**
 * What gateways say on a link (protocol D23). A frame is a CBOR sequence (RFC 8742) of arrays whose first element is the
 * type. Unknown types and elements beyond the known ones are passed over, so neighbours of the next version are understood.
 *
 *   hello = [0, [min, max], [feature...], instance, lsn, [instance, lsn] / null, [interest...], [class, hlc], credit, name, version]
 *   feed  = [1, alias, descriptor, [capability...]]
 *   have  = [2, [[alias, seq, hash8] / [alias, seq, hash8, low]...], [lsn, frames, numbered] / null]
 *   want  = [3, [[alias, from, mode] / [alias, from, mode, [first, last, ...]]...]]
 *   data  = [4, [batch...]]
 *   ack   = [5, lsn, credit, [[alias, seq]...]] / [5, lsn, credit, [[alias, seq]...], [alias...]]
 *   nack  = [6, alias, seq, code, retry-after-ms]
 *   ping  = [8, nonce, is-reply, digest, sent-bytes] / [8, nonce, is-reply, digest, sent-bytes, [class, unix-ms]]
 *   dig   = [9, buckets]
 *   pex   = [10, [address record...]]
 *   cells = [17, [[collection, partition, heads8, live8, cells8, encrypted8?]...]]
 *   bye   = [11, reason, retry-after-ms] / [11, reason, retry-after-ms, [evidence...]] / [11, reason, retry-after-ms, [evidence...], [address...]]
 *   join  = [12, invite-id, secret, public-key, link-key, name, signature]
 *   grant = [13, [capability...], [address...]]
 *   number = [16, number]
 */
export type HaveEntry = readonly [alias: number, seq: number, hash8: Uint8Array, low?: number]

export type Message =
  | Hello
  | {
      readonly type: 'feed'
      readonly alias: number
      readonly descriptor: Uint8Array
      /** What proves the author's membership, leaf first; may be empty. */
      readonly chain: readonly Uint8Array[]
    }
  | {
      readonly type: 'have'
      /**
       * The sender's alias, its head's sequence and the first 8 bytes of the head's hash; of a series whose oldest rows went
       * by retention, the first sequence that is left.
       */
      readonly entries: readonly HaveEntry[]
      readonly marker: Marker | null
    }
  | {
      readonly type: 'want'
      /**
       * The receiver's alias, first sequence, and mode: 0 once, 1 as it grows, 2 tell heads only. With runs of sequences it
       * asks for just these, which a checkpoint says are live.
       */
      readonly entries: readonly WantEntry[]
    }
  | { readonly type: 'data'; readonly batches: readonly Uint8Array[] }
  | {
      readonly type: 'ack'
      /** Everything up to the receiver's `lsn` is on the sender's disk, but for what is lacking of the feeds `lacking`. */
      readonly lsn: number
      /** Bytes of batches that may be sent in all since the link came up. */
      readonly credit: number
      /** The receiver's alias and the sequence up to which its feed is on the sender's disk. */
      readonly entries: readonly (readonly [number, number])[]
      /** The receiver's aliases. */
      readonly lacking?: readonly number[]
    }
  | {
      readonly type: 'nack'
      readonly alias: number
      readonly seq: number
      readonly code: NackCode
      readonly retryAfterMs: number
    }
  | {
      readonly type: 'ping'
      readonly nonce: number
      readonly isReply: boolean
      /** 8 bytes over the heads of all feeds that the sender shares. */
      readonly digest: Uint8Array
      /** Bytes of batches sent on this link so far. */
      readonly sentBytes: number
      /** In an answer: what time it is for the sender, in Unix milliseconds, and its class. */
      readonly clock?: { readonly class: 0 | 1 | 2; readonly ms: number }
    }
  | {
      readonly type: 'dig'
      /** 64 digests of 8 bytes, each over the sender's heads of the feeds whose ids fall into that bucket. */
      readonly buckets: Uint8Array
    }
  /** Where gateways can be dialled and whom they are linked with: see wire/address-record.ts. */
  | { readonly type: 'pex'; readonly records: readonly Uint8Array[] }
  | {
      readonly type: 'cells'
      /**
       * Of each collection and partition 8 bytes of a digest of where its feeds stand (heads and checkpoints), of which of their
       * batches live, and of its documents' cells.
       */
      readonly entries: readonly CellsEntry[]
    }
  | {
      readonly type: 'bye'
      readonly reason: string
      readonly retryAfterMs: number
      /** What proves the reason: see operations/farewell.ts. */
      readonly evidence?: readonly Uint8Array[]
      /** To a joiner: who can admit it instead. */
      readonly addresses?: readonly string[]
    }
  | {
      readonly type: 'join'
      readonly inviteId: Uint8Array
      readonly secret: Uint8Array
      readonly publicKey: Uint8Array
      readonly linkKey: Uint8Array
      readonly name: string
      /** By `publicKey` over the handshake's hash. */
      readonly signature: Uint8Array
    }
  | { readonly type: 'grant'; readonly chain: readonly Uint8Array[]; readonly addresses: readonly string[] }
  /** Stands in each frame that tells of heads or holds batches: how many such frames its sender has sent, this one included. */
  | { readonly type: 'number'; readonly number: number }

export type CellsEntry = readonly [
  collection: string,
  partition: string,
  heads: Uint8Array,
  live: Uint8Array,
  cells: Uint8Array,
  /** Of what encrypted feeds hold there, from who can read all of it. */
  encrypted?: Uint8Array,
]

/**
 * "Everything up to my `lsn` was told to you": true for whoever has got all of the `numbered` frames that were sent until then.
 * A sender that numbers none counts all its `frames` instead, of which none may have been lost.
 */
export interface Marker {
  readonly lsn: number
  readonly frames: number
  readonly numbered?: number
}

export type WantEntry = readonly [number, number, number] | readonly [number, number, number, readonly number[]]

export interface Hello {
  readonly type: 'hello'
  readonly versions: readonly [number, number]
  readonly features: readonly string[]
  /** The sender's database incarnation, 8 bytes, and its number of the last batch. */
  readonly instance: Uint8Array
  readonly lsn: number
  /** How far the sender holds what the receiver has, and of which database of it. */
  readonly cursor: { readonly instance: Uint8Array; readonly lsn: number } | null
  readonly interest: readonly string[]
  readonly clock: { readonly class: 0 | 1 | 2; readonly hlc: number }
  readonly credit: number
  readonly name: string
  readonly version: string
}

/** `alias`: the number is unknown, tell the feed again. The others refuse batches of a feed from `seq` on. */
export type NackCode = 'alias' | 'future' | 'not-permitted' | 'sealed' | 'fork' | 'quota' | 'shape'

const NACK_CODES: readonly NackCode[] = ['alias', 'future', 'not-permitted', 'sealed', 'fork', 'quota', 'shape']
const TEXT_MAX = 256

export function encodeMessages(messages: readonly Message[]): Uint8Array {
  return encodeSequence(messages.map(elementsOf))
}

/** Byte strings in the result are views of `frame`. */
export function decodeMessages(frame: Uint8Array): Result<Message[]> {
  if (frame.length > PROTOCOL_LIMITS.frameBytesMax) return fail('bad-request', `the frame has ${frame.length} bytes`)
  const items = decodeSequence(frame)
  if (!items.ok) return items
  const messages: Message[] = []
  for (const item of items.value) {
    if (!Array.isArray(item) || !isCount(item[0]))
      return fail('bad-request', 'a message must be an array that begins with its type')
    const decode = DECODERS[item[0]]
    if (!decode) continue
    const message = decode(item)
    if (!message) return fail('bad-request', `a message of type ${item[0]} is malformed`)
    messages.push(message)
  }
  return ok(messages)
}

function elementsOf(message: Message): unknown[] {
  switch (message.type) {
    case 'hello': {
      const { versions, features, instance, lsn, cursor, interest, clock, credit, name, version } = message
      const held = cursor && [cursor.instance, cursor.lsn]
      return [0, versions, features, instance, lsn, held, interest, [clock.class, clock.hlc], credit, name, version]
    }
    case 'feed':
      return [1, message.alias, message.descriptor, message.chain]
    case 'have': {
      const { entries, marker } = message
      if (marker === null) return [2, entries, null]
      const { lsn, frames, numbered } = marker
      return [2, entries, numbered === undefined ? [lsn, frames] : [lsn, frames, numbered]]
    }
    case 'want':
      return [3, message.entries]
    case 'data':
      return [4, message.batches]
    case 'ack': {
      const { lsn, credit, entries, lacking = [] } = message
      return lacking.length === 0 ? [5, lsn, credit, entries] : [5, lsn, credit, entries, lacking]
    }
    case 'nack':
      return [6, message.alias, message.seq, message.code, message.retryAfterMs]
    case 'ping':
      return pingElements(message)
    case 'dig':
      return [9, message.buckets]
    case 'pex':
      return [10, message.records]
    case 'cells':
      return [17, message.entries]
    case 'bye': {
      const { reason, retryAfterMs, evidence, addresses } = message
      if (addresses !== undefined) return [11, reason, retryAfterMs, evidence ?? [], addresses]
      return [11, reason, retryAfterMs, ...(evidence === undefined ? [] : [evidence])]
    }
    case 'join': {
      const { inviteId, secret, publicKey, linkKey, name, signature } = message
      return [12, inviteId, secret, publicKey, linkKey, name, signature]
    }
    case 'grant':
      return [13, message.chain, message.addresses]
    case 'number':
      return [16, message.number]
  }
}

function pingElements({ nonce, isReply, digest, sentBytes, clock }: Extract<Message, { type: 'ping' }>): unknown[] {
  const elements = [8, nonce, isReply, digest, sentBytes]
  return clock === undefined ? elements : [...elements, [clock.class, clock.ms]]
}

type Decoder = (item: readonly unknown[]) => Message | null

const DECODERS: { readonly [type: number]: Decoder } = {
  0: ([, versions, features, instance, lsn, cursor, interest, clock, credit, name, version]) => {
    const [min, max] = isList(versions, isCount) ? versions : []
    const [trust, hlc] = isList(clock, isCount) ? clock : []
    const held = cursor === null ? null : cursorOf(cursor)
    const isWhole =
      isList(features, isText) &&
      isBytes(instance, 8) &&
      isCount(lsn) &&
      isList(interest, isText) &&
      isCount(credit) &&
      isText(name) &&
      isText(version)
    if (!isWhole || held === undefined || min === undefined || max === undefined || hlc === undefined) return null
    if (!isClass(trust)) return null
    const clockOf = { class: trust, hlc } as const
    return {
      type: 'hello',
      versions: [min, max],
      features,
      instance,
      lsn,
      cursor: held,
      interest,
      clock: clockOf,
      credit,
      name,
      version,
    }
  },
  1: ([, alias, descriptor, chain]) =>
    isCount(alias) && isBytes(descriptor) && isList(chain, isBytes) ? { type: 'feed', alias, descriptor, chain } : null,
  2: ([, entries, marker]) => {
    const isEntry = (entry: unknown): entry is HaveEntry =>
      Array.isArray(entry) &&
      isCount(entry[0]) &&
      isCount(entry[1]) &&
      isBytes(entry[2], 8) &&
      (entry.length < 4 || isCount(entry[3]))
    if (!isList(entries, isEntry)) return null
    if (marker === null) return { type: 'have', entries, marker }
    if (!isList(marker, isCount)) return null
    const [lsn, frames, numbered] = marker
    if (lsn === undefined || frames === undefined) return null
    return { type: 'have', entries, marker: { lsn, frames, ...(numbered !== undefined && { numbered }) } }
  },
  3: ([, entries]) => {
    const isEntry = (entry: unknown): entry is WantEntry =>
      Array.isArray(entry) &&
      entry.length >= 3 &&
      entry.slice(0, 3).every(isCount) &&
      (entry.length < 4 || isRuns(entry[3]))
    return isList(entries, isEntry) ? { type: 'want', entries } : null
  },
  4: ([, batches]) => (isList(batches, isBytes) ? { type: 'data', batches } : null),
  5: ([, lsn, credit, entries, lacking]) => {
    const isEntry = (entry: unknown): entry is [number, number] => isList(entry, isCount) && entry.length >= 2
    if (!isCount(lsn) || !isCount(credit) || !isList(entries, isEntry)) return null
    if (lacking === undefined) return { type: 'ack', lsn, credit, entries }
    return isList(lacking, isCount) ? { type: 'ack', lsn, credit, entries, lacking } : null
  },
  6: ([, alias, seq, code, retryAfterMs]) => {
    // A code of a later version refuses as well.
    const known = NACK_CODES.find((name) => name === code) ?? 'shape'
    return isCount(alias) && isCount(seq) && isText(code) && isCount(retryAfterMs)
      ? { type: 'nack', alias, seq, code: known, retryAfterMs }
      : null
  },
  8: ([, nonce, isReply, digest, sentBytes, time]) => {
    if (!isCount(nonce) || typeof isReply !== 'boolean' || !isBytes(digest, 8) || !isCount(sentBytes)) return null
    const ping = { type: 'ping', nonce, isReply, digest, sentBytes } as const
    if (time === undefined) return ping
    const [trust, ms] = isList(time, isCount) ? time : []
    if (!isClass(trust) || ms === undefined) return null
    return { ...ping, clock: { class: trust, ms } }
  },
  9: ([, buckets]) => (isBytes(buckets, 512) ? { type: 'dig', buckets } : null),
  10: ([, records]) => (isList(records, isBytes) ? { type: 'pex', records } : null),
  17: ([, entries]) => {
    const isEntry = (entry: unknown): entry is CellsEntry =>
      Array.isArray(entry) &&
      entry.length >= 5 &&
      entry.slice(0, 2).every(isText) &&
      entry.slice(2, 6).every((digest) => isBytes(digest, 8))
    return isList(entries, isEntry) ? { type: 'cells', entries } : null
  },
  11: ([, reason, retryAfterMs, evidence, addresses]) => {
    if (!isText(reason) || !isCount(retryAfterMs)) return null
    const bye = { type: 'bye', reason, retryAfterMs } as const
    if (isList(addresses, isText))
      return { ...bye, addresses, ...(isList(evidence, isBytes) && evidence.length > 0 && { evidence }) }
    return { ...bye, ...(isList(evidence, isBytes) && { evidence }) }
  },
  12: ([, inviteId, secret, publicKey, linkKey, name, signature]) =>
    isBytes(inviteId, 8) &&
    isBytes(secret, 16) &&
    isBytes(publicKey, 32) &&
    isBytes(linkKey, 32) &&
    isText(name) &&
    isBytes(signature, 64)
      ? { type: 'join', inviteId, secret, publicKey, linkKey, name, signature }
      : null,
  13: ([, chain, addresses]) =>
    isList(chain, isBytes) && isList(addresses, isText) ? { type: 'grant', chain, addresses } : null,
  16: ([, number]) => (isCount(number) ? { type: 'number', number } : null),
}

function cursorOf(value: unknown): Hello['cursor'] | undefined {
  if (!Array.isArray(value) || !isBytes(value[0], 8) || !isCount(value[1])) return undefined
  return { instance: value[0], lsn: value[1] }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isClass(value: unknown): value is 0 | 1 | 2 {
  return value === 0 || value === 1 || value === 2
}

/** First and last of each run, rising and apart. */
function isRuns(value: unknown): value is number[] {
  if (!isList(value, isCount) || value.length % 2 !== 0) return false
  return value.every((seq, i) =>
    i % 2 === 0 ? seq > (i === 0 ? 0 : (value[i - 1] as number) + 1) : seq >= (value[i - 1] as number),
  )
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= TEXT_MAX
}

function isBytes(value: unknown, length?: number): value is Uint8Array {
  return value instanceof Uint8Array && (typeof length !== 'number' || value.length === length)
}

function isList<T>(value: unknown, isItem: (item: unknown) => item is T): value is T[] {
  return Array.isArray(value) && value.every((item) => isItem(item))
}
