import { concat, utf8 } from '../base/bytes.ts'
import { PROTOCOL_LIMITS } from '../base/limits.ts'
import { fail, ok, type Result } from '../base/result.ts'
import { sha256 } from '../crypto/hash.ts'
import {
  FLAG_ENCRYPTED,
  type Batch,
  type BatchHeader,
  type ChainPosition,
  type Feed,
  type Ops,
} from '../model/batch.ts'
import { encodeBody } from './body.ts'
import { encryptBody, type BodyKey } from './encryption.ts'
import { decodeDeterministic, encodeDeterministic, type Item } from './deterministic.ts'

/**
 * A batch as transmitted (protocol D11): `[[protected, {}, header, signature], body]`, deterministic CBOR; the first
 * element is a COSE_Sign1 (RFC 9052 4.2), untagged, whose payload is the header and whose external data bind the mesh.
 */
const PROTECTED = Uint8Array.of(0xa1, 0x01, 0x32) // {1: -19}, Ed25519 by RFC 9864
const ZEROS = new Uint8Array(32)
const NONCE_BYTES = 12

export interface NewBatch {
  readonly meshId: Uint8Array
  readonly feed: Feed
  readonly seq: number
  readonly prev: Uint8Array
  readonly hlc: number
  /** What it changes, or a body that was made already, with its flags. */
  readonly ops: Ops | { readonly body: Uint8Array; readonly flags: number }
  readonly clockClass: 0 | 1 | 2
  /** Of an encrypted feed; not for checkpoints. */
  readonly key?: BodyKey
  readonly sign: (message: Uint8Array) => Uint8Array
}

/** Fails with `too-large` when the batch would be over the transmitted maximum. */
export function encodeBatch(options: NewBatch): Result<Batch> {
  const { feed, seq, hlc, key } = options
  const plain = 'body' in options.ops ? options.ops : encodeBody(options.ops, hlc)
  const place = {
    feedId: feed.id,
    seq,
    prev: seq === 1 ? ZEROS : options.prev,
    hlc,
    flags: plain.flags | (options.clockClass << 4) | (key ? FLAG_ENCRYPTED : 0),
    ...(key && { encryption: { epoch: key.epoch, nonce: key.nonce } }),
  }
  const body = key ? encryptBody(place, key, plain.body) : plain.body
  const header: BatchHeader = { ...place, bodyHash: sha256(body), bodyLength: body.length, minReader: 1 }
  const headerBytes = encodeHeader(header)
  const signed = signedBytes(options.meshId, headerBytes)
  const signature = options.sign(signed)
  const bytes = encodeDeterministic([[PROTECTED, new Map(), headerBytes, signature], body])
  if (bytes.length > PROTOCOL_LIMITS.batchBytesMax) return fail('too-large', `the batch has ${bytes.length} bytes`)
  return ok({ header, hash: sha256(headerBytes), bytes, signed, signature, body })
}

/** Checks the shape of every byte, not the signature. The result holds views of `bytes`, which must not change. */
export function decodeBatch(meshId: Uint8Array, bytes: Uint8Array): Result<Batch> {
  if (bytes.length > PROTOCOL_LIMITS.batchBytesMax) return fail('too-large', `the batch has ${bytes.length} bytes`)
  const item = decodeDeterministic(bytes)
  if (!item.ok) return item
  const [envelope, body] = Array.isArray(item.value) && item.value.length === 2 ? (item.value as Item[]) : []
  if (!Array.isArray(envelope) || envelope.length !== 4 || !(body instanceof Uint8Array)) return malformed('envelope')
  const [protectedHeader, unprotected, headerBytes, signature] = envelope as Item[]
  if (!(protectedHeader instanceof Uint8Array) || Buffer.compare(protectedHeader, PROTECTED) !== 0)
    return malformed('algorithm')
  if (!(unprotected instanceof Map) || unprotected.size > 0) return malformed('unprotected header')
  if (!(headerBytes instanceof Uint8Array) || !(signature instanceof Uint8Array) || signature.length !== 64)
    return malformed('signature')
  if (headerBytes.length > PROTOCOL_LIMITS.batchHeaderBytesMax) return malformed('header')
  const header = decodeHeader(headerBytes)
  if (!header.ok) return header
  if (header.value.bodyLength !== body.length) return malformed('body length')
  return ok({
    header: header.value,
    hash: sha256(headerBytes),
    bytes,
    // Made when it is asked for: once for each batch that comes, never for those that are read again.
    get signed() {
      return signedBytes(meshId, headerBytes)
    },
    signature,
    body,
  })
}

/**
 * Where the header, and the values of its first two keys, feed and sequence, stand in every batch that `decodeBatch` accepts: the
 * head of its map is one byte, and no key is before that of the feed.
 */
const HEADER_OFFSET = 9
const FEED_ID_OFFSET = 12
const SEQ_OFFSET = 29
/** From behind the sequence to the value of the fourth key, the stamp: the hash of the batch before is between. */
const STAMP_DISTANCE = 36
const HEADER_KEYS_MAX = 23

/** The sequence of a batch whose shape was checked before, without decoding the rest. */
export function seqOfBatch(bytes: Uint8Array): number {
  return numberAt(bytes, SEQ_OFFSET)
}

/** The same for its feed's id; a view. */
export function feedIdOfBatch(bytes: Uint8Array): Uint8Array {
  return bytes.subarray(FEED_ID_OFFSET, FEED_ID_OFFSET + 16)
}

/** The same for all that says where a batch stands in its chain. */
export function positionOfBatch(bytes: Uint8Array): ChainPosition {
  const header = bytes.subarray(HEADER_OFFSET, HEADER_OFFSET + (bytes[HEADER_OFFSET - 1] as number))
  const hlc = numberAt(bytes, SEQ_OFFSET + widthAt(bytes, SEQ_OFFSET) + STAMP_DISTANCE)
  return { seq: seqOfBatch(bytes), hash: sha256(header), hlc }
}

function numberAt(bytes: Uint8Array, offset: number): number {
  const width = widthAt(bytes, offset)
  if (width === 1) return (bytes[offset] as number) & 0x1f
  let value = 0
  for (let at = offset + 1; at < offset + width; at++) value = value * 256 + (bytes[at] as number)
  return value
}

function widthAt(bytes: Uint8Array, offset: number): number {
  const head = (bytes[offset] as number) & 0x1f
  return head < 24 ? 1 : 1 + (1 << (head - 24))
}

/** RFC 9052 4.4: Sig_structure of a COSE_Sign1. */
export function signedBytes(meshId: Uint8Array, payload: Uint8Array): Uint8Array {
  return encodeDeterministic(['Signature1', PROTECTED, concat(utf8('marram1'), meshId), payload])
}

function encodeHeader(header: BatchHeader): Uint8Array {
  const map = new Map<number, Item>([
    [1, header.feedId],
    [2, header.seq],
    [3, header.prev],
    [4, header.hlc],
    [5, header.bodyHash],
    [6, header.bodyLength],
    [7, header.flags],
  ])
  if (header.encryption) map.set(8, header.encryption.epoch).set(9, header.encryption.nonce)
  if (header.minReader !== 1) map.set(10, header.minReader)
  return encodeDeterministic(map)
}

function decodeHeader(bytes: Uint8Array): Result<BatchHeader> {
  const item = decodeDeterministic(bytes)
  if (!item.ok) return item
  if (!(item.value instanceof Map)) return malformed('header')
  const map = item.value as ReadonlyMap<number, Item>
  if (map.size > HEADER_KEYS_MAX || map.has(0)) return malformed('header')
  const [feedId, seq, prev, hlc] = [map.get(1), map.get(2), map.get(3), map.get(4)]
  const [bodyHash, bodyLength, flags, minReader] = [map.get(5), map.get(6), map.get(7), map.get(10) ?? 1]
  if (!isBytes(feedId, 16) || !isBytes(prev, 32) || !isBytes(bodyHash, 32)) return malformed('header')
  if (!isCount(seq) || seq < 1 || seq > PROTOCOL_LIMITS.sequenceMax) return malformed('sequence')
  if (!isCount(hlc) || !isCount(bodyLength) || !isCount(flags) || !isCount(minReader)) return malformed('header')
  const [epoch, nonce] = (flags & FLAG_ENCRYPTED) === 0 ? [] : [map.get(8), map.get(9)]
  const encryption = isCount(epoch) && isBytes(nonce, NONCE_BYTES) ? { epoch, nonce } : null
  return ok({ feedId, seq, prev, hlc, bodyHash, bodyLength, flags, ...(encryption && { encryption }), minReader })
}

function isBytes(item: Item | undefined, length: number): item is Uint8Array {
  return item instanceof Uint8Array && item.length === length
}

function isCount(item: Item | undefined): item is number {
  return typeof item === 'number' && item >= 0
}

function malformed(what: string): Result<never> {
  return fail('bad-request', `the batch's ${what} is malformed`)
}
