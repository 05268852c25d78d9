import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { equal } from '../base/bytes.ts'
import { PROTOCOL_LIMITS } from '../base/limits.ts'
import { fail, ok, type Result } from '../base/result.ts'
import { sha256 } from '../crypto/hash.ts'
import { OP_DELETE, OP_LINK, OP_PUT, OP_REMOVE, type BatchHeader, type Ops, type Shape } from '../model/batch.ts'
import { isDocumentKey, isFieldPath } from '../model/names.ts'
import type { Hlc } from '../model/stamp.ts'
import { valueFault, type Value } from '../model/value.ts'
import { decodeValue, encodeValue } from './cbor.ts'
import {
  isTypedValue,
  removeFromWire,
  removeToWire,
  seenFromWire,
  seenToWire,
  stampsFromWire,
  stampsToWire,
} from './typed.ts'

/**
 * The body of a batch, in columns, for that is what deflate likes: `[docs, shapes, opDocs, opShapes, values, stamps,
 * seen]`.
 * `docs` are the distinct keys; a shape is `[kind, path…]`; `opDocs` gives each operation's document and is null for
 * 0, 1, 2, …; `opShapes` gives its shape and is a number when all have the same; `values` are those of all operations, one
 * for each path of the shape (model/batch.ts says what each kind has); `stamps` is left out or null when every operation
 * has the batch's own stamp. Stamps are written as how far they lie before the batch's. `seen` is left out where no operation
 * wrote over another author's value. Elements beyond the seventh are passed over.
 */

const COMPRESSION = 0b11
const COMPRESSION_NONE = 0
const COMPRESSION_DEFLATE = 1
/** Smaller bodies gain nothing. */
const DEFLATE_FROM_BYTES = 200
/** Stands for an operation that is wrong by itself: its place counts, it changes nothing. */
const OP_SKIPPED = 255

/** Of a transmitted body the one that was compressed. */
export type Decrypt = (body: Uint8Array) => Result<Uint8Array>

/** `hlc` is the batch's stamp; no stamp of `ops` is greater. */
export function encodeBody(ops: Ops, hlc: Hlc): { body: Uint8Array; flags: number } {
  const isInOrder = ops.opDocs.length === ops.docs.length && ops.opDocs.every((doc, i) => doc === i)
  const [shape] = ops.opShapes
  const isUniform = shape !== undefined && ops.opShapes.every((other) => other === shape)
  const raw = encodeValue([
    ops.docs,
    ops.shapes.map(({ kind, paths }) => [kind, ...paths]),
    isInOrder ? null : ops.opDocs,
    isUniform && isInOrder ? shape : ops.opShapes,
    mapRemoves(ops, (value) => removeToWire(value, hlc)),
    ...(ops.stamps || ops.seen ? [ops.stamps ? stampsToWire(ops.stamps, hlc) : null] : []),
    ...(ops.seen ? [seenToWire(ops.seen, hlc)] : []),
  ])
  if (raw.length < DEFLATE_FROM_BYTES) return { body: raw, flags: COMPRESSION_NONE }
  const deflated = deflateRawSync(raw, { level: 1 })
  if (deflated.length >= raw.length || raw.length > inflatedBytesMax(deflated.length))
    return { body: raw, flags: COMPRESSION_NONE }
  return { body: new Uint8Array(deflated), flags: COMPRESSION_DEFLATE }
}

/**
 * The operations of a body whose hash is the header's. A body that is malformed as a whole is an error; an operation that
 * is wrong by itself (a key, path or value that no gateway may store) is skipped the same way everywhere. `decrypt` is for
 * an encrypted one: see encryption.ts, which knows when.
 */
export function decodeBody(header: BatchHeader, body: Uint8Array, decrypt: Decrypt = ok): Result<Ops> {
  if (body.length !== header.bodyLength || !equal(sha256(body), header.bodyHash))
    return malformed('it is not the one that was signed')
  return decodeSoundBody(header, body, decrypt)
}

/** The same of a body whose hash was compared already. */
export function decodeSoundBody(header: BatchHeader, body: Uint8Array, decrypt: Decrypt = ok): Result<Ops> {
  const plain = decrypt(body)
  if (!plain.ok) return plain
  const raw = inflated(header.flags & COMPRESSION, plain.value)
  if (!raw.ok) return raw
  const decoded = decodeValue(raw.value)
  if (!decoded.ok) return decoded
  const columns = columnsOf(decoded.value, header.hlc)
  if (!columns) return malformed('its columns are not of the expected form')
  return isConsistent(columns) ? ok(withoutWrong(columns, header.hlc)) : malformed('its columns do not fit together')
}

function inflated(compression: number, body: Uint8Array): Result<Uint8Array> {
  if (compression === COMPRESSION_NONE) return ok(body)
  if (compression !== COMPRESSION_DEFLATE) return malformed('its compression is unknown')
  try {
    const maxOutputLength = inflatedBytesMax(body.length)
    return ok(inflateRawSync(body, { maxOutputLength, chunkSize: chunkBytesOf(body.length) }))
  } catch {
    return malformed('it does not inflate within its limits')
  }
}

/** Room for what most bodies inflate to, so that a small one does not take 16 KiB of memory each time. */
function chunkBytesOf(transmitted: number): number {
  return Math.min(16_384, 64 + transmitted * 8)
}

/** Small bodies may be mostly repetition; of large ones nobody may make work out of nothing. */
function inflatedBytesMax(transmitted: number): number {
  const { bodyBytesMax, inflateRatioMax, inflateBytesAlways } = PROTOCOL_LIMITS
  return Math.min(bodyBytesMax, Math.max(inflateBytesAlways, transmitted * inflateRatioMax))
}

function columnsOf(value: unknown, hlc: Hlc): Ops | null {
  if (!Array.isArray(value) || value.length < 5) return null
  const [docs, shapes, opDocs, opShapes, values, stampColumns = null, seenRows = null] = value as unknown[]
  if (!isListOf(docs, isText) || !isListOf(shapes, isShape) || !Array.isArray(values)) return null
  const inOrder = opDocs === null ? docs.map((_, i) => i) : opDocs
  if (!isListOf(inOrder, isIndex)) return null
  const each = isIndex(opShapes) ? inOrder.map(() => opShapes) : opShapes
  if (!isListOf(each, isIndex)) return null
  const shaped = shapes.map(([kind, ...paths]): Shape => ({ kind: kind as number, paths: paths as string[] }))
  const ops = { docs, shapes: shaped, opDocs: inOrder, opShapes: each, values: values as Value[] }
  if (stampColumns === null && seenRows === null) return ops
  const stamps = stampColumns === null ? undefined : stampsFromWire(stampColumns, inOrder.length, hlc)
  const seen = seenRows === null ? undefined : seenFromWire(seenRows, inOrder.length, hlc)
  if (stamps === null || seen === null) return null
  return { ...ops, ...(stamps && { stamps }), ...(seen && { seen }) }
}

function isConsistent({ docs, shapes, opDocs, opShapes, values }: Ops): boolean {
  if (opDocs.length > PROTOCOL_LIMITS.opsPerBatchMax || opShapes.length !== opDocs.length) return false
  let count = 0
  for (let i = 0; i < opDocs.length; i++) {
    const shape = shapes[opShapes[i] as number]
    if (shape === undefined || (opDocs[i] as number) >= docs.length) return false
    count += shape.paths.length
  }
  return count === values.length
}

/** Puts a shape that no gateway knows in the place of that of every operation that may not be stored. */
function withoutWrong(columns: Ops, hlc: Hlc): Ops {
  const ops = { ...columns, values: mapRemoves(columns, (value) => removeFromWire(value, hlc)) }
  const shapes = [...ops.shapes]
  const opShapes = [...ops.opShapes]
  const areDocsSound = ops.docs.map(isDocumentKey)
  const areShapesSound = ops.shapes.map(({ kind, paths }) => kind > OP_LINK || paths.every(isFieldPath))
  let at = 0
  for (let i = 0; i < opShapes.length; i++) {
    const { kind, paths } = ops.shapes[ops.opShapes[i] as number] as Shape
    const from = at
    at += paths.length
    const isSound =
      areDocsSound[ops.opDocs[i] as number] &&
      areShapesSound[ops.opShapes[i] as number] &&
      areValuesSound(kind, ops.values, from, at)
    if (!isSound) opShapes[i] = shapes.push({ kind: OP_SKIPPED, paths }) - 1
  }
  return { ...ops, shapes, opShapes }
}

/** With the values of removes changed; the same array when there is none. */
function mapRemoves({ shapes, opShapes, values }: Ops, change: (value: Value) => Value): readonly Value[] {
  if (!shapes.some(({ kind }) => kind === OP_REMOVE)) return values
  let at = 0
  return opShapes.flatMap((shape) => {
    const { kind, paths } = shapes[shape] as Shape
    const own = values.slice(at, (at += paths.length))
    return kind === OP_REMOVE ? own.map(change) : own
  })
}

function areValuesSound(kind: number, values: readonly Value[], from: number, to: number): boolean {
  for (let i = from; i < to; i++) {
    const value = values[i] as Value
    if (kind !== OP_PUT && kind !== OP_DELETE && kind <= OP_LINK && !isTypedValue(kind, value)) return false
    if (typeof value === 'number' || typeof value === 'boolean' || value === null) continue
    if (typeof value === 'string' && value.length * 3 <= PROTOCOL_LIMITS.valueBytesMax) continue
    if (valueFault(value) !== null || encodeValue(value).length > PROTOCOL_LIMITS.valueBytesMax) return false
  }
  return true
}

function isShape(item: unknown): item is [number, ...string[]] {
  if (!Array.isArray(item) || !isIndex(item[0]) || item[0] >= OP_SKIPPED) return false
  const paths = item.slice(1) as unknown[]
  return paths.every(isText) && new Set(paths).size === paths.length
}

function isIndex(item: unknown): item is number {
  return Number.isSafeInteger(item) && (item as number) >= 0
}

function isText(item: unknown): item is string {
  return typeof item === 'string'
}

function isListOf<T>(value: unknown, isItem: (item: unknown) => item is T): value is T[] {
  return Array.isArray(value) && value.every((item) => isItem(item))
}

function malformed(why: string): Result<never> {
  return fail('bad-request', `the body is malformed: ${why}`)
}
