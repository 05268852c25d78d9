import { crc32 } from 'node:zlib'
import { fail, ok, type Result } from '../base/result.ts'
import { sentenceOf } from '../base/errors.ts'
import type { Feed, FeedHead } from '../model/batch.ts'
import type { Document, Write } from '../model/document.ts'
import { SequenceSet } from '../model/sequences.ts'
import type { Value } from '../model/value.ts'
import type { Space } from '../ports/store.ts'
import { ByteReader } from './byte-reader.ts'
import { ByteWriter } from './byte-writer.ts'
import { bigintOf, bytesOf, ROW_CONTRIBUTION } from './digest.ts'
import type { Position } from './ring-record.ts'
import type { RingShape } from './ring.ts'
import type { Summary } from './space.ts'

/**
 * The values that LMDB holds. Keys are built so that bytes sort as they should: numbers are big endian, texts are UTF-8.
 *
 *     documents  space u32, key                → document
 *     links      target 16 bytes, space u32, key → nothing that matters, see links.ts
 *     batches    feed u32, seq u48             → shown u8, batch as transmitted
 *     feeds      feed u32                      → descriptor
 *     heads      feed u32                      → head
 *     spaces     space u32                     → space
 *     records    key                           → value
 *     meta       "format"                      → u8
 *                "instance"                    → 8 random bytes
 *                "ring", "mark"                → ring, mark
 */
export const FORMAT = 1

export interface StoredDocument {
  readonly document: Document
  /** Its part in the digest of its space; 0 when it isn't live. */
  readonly contribution: bigint
}

export interface StoredSpace extends Space, Summary {}

/** What LMDB includes: everything before this place in the ring. */
export interface Mark {
  readonly position: Position
  /** Batches taken until then. */
  readonly lsn: number
}

const IS_LIVE = 1
const IS_DELETED = 2
/** Some write has the stamp of another author's: what removed an element or a link. */
const HAS_ORIGINS = 4
/** A row of a series: live, and its contribution is not kept. */
const IS_ROW = 8
/** After a space: whether it is of a series, and of encrypted feeds. */
const SERIES = 1
const ENCRYPTED = 2
/** Of the CRC-32 after a document. */
const CHECK_BYTES = 4
/** In the place of a feed's number: the write of the cell before. */
const SAME_WRITE = 0

/**
 *     document = flags u8, lsn, [contribution 32 bytes], [write of the delete], number of cells, (write, path, value)…, CRC-32
 *     write    = 0 for that of the cell before, or feed, seq, hlc, index, [origin, empty for the feed's author]
 */
export function encodeDocument(
  writer: ByteWriter,
  { document, contribution }: StoredDocument,
  numberOf: (feed: Feed) => number,
): void {
  const hasOrigins = document.writes.some(isOfAnother)
  const isDeleted = document.deleted !== null
  const isRow = contribution === ROW_CONTRIBUTION
  const from = writer.length
  const live = contribution === 0n ? 0 : isRow ? IS_ROW : IS_LIVE
  writer.u8(live | (isDeleted ? IS_DELETED : 0) | (hasOrigins ? HAS_ORIGINS : 0))
  writer.natural(document.lsn)
  if (live === IS_LIVE) writer.raw(bytesOf(contribution))
  if (document.deleted !== null) encodeWrite(writer, document.deleted, hasOrigins, numberOf)
  writer.natural(document.values.length)
  let last: Write | null = null
  for (let i = 0; i < document.values.length; i++) {
    const write = document.writes[i] as Write
    if (write === last) writer.natural(SAME_WRITE)
    else encodeWrite(writer, write, hasOrigins, numberOf)
    last = write
    writer.text(document.paths[i] as string)
    writer.value(document.values[i] as Value, false)
  }
  writer.u32(crc32(writer.view(from)))
}

export function decodeDocument(
  bytes: Uint8Array,
  feedOf: (number: number) => Feed | undefined,
): Result<StoredDocument> {
  const content = bytes.subarray(0, Math.max(0, bytes.length - CHECK_BYTES))
  return decoding('document', content, (reader) => {
    if (crc32(content) !== u32At(bytes, content.length)) throw new RangeError('its bytes have changed')
    const flags = reader.u8()
    const lsn = reader.natural()
    const contribution = flags & IS_LIVE ? bigintOf(reader.raw(32)) : flags & IS_ROW ? ROW_CONTRIBUTION : 0n
    const hasOrigins = (flags & HAS_ORIGINS) !== 0
    const deleted = flags & IS_DELETED ? decodeWrite(reader, null, hasOrigins, feedOf) : null
    const document = { deleted, lsn, paths: [] as string[], values: [] as Value[], writes: [] as Write[] }
    let write: Write | null = null
    for (let count = reader.natural(); count > 0; count--) {
      write = decodeWrite(reader, write, hasOrigins, feedOf)
      document.writes.push(write)
      document.paths.push(reader.text())
      document.values.push(reader.value())
    }
    return { document, contribution }
  })
}

/** NaN where it ends before. */
function u32At(bytes: Uint8Array, at: number): number {
  return bytes.length < at + 4 ? Number.NaN : new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0)
}

function encodeWrite(writer: ByteWriter, write: Write, hasOrigins: boolean, numberOf: (feed: Feed) => number): void {
  writer.natural(numberOf(write.feed))
  writer.natural(write.seq)
  writer.natural(write.hlc)
  writer.natural(write.index)
  if (hasOrigins) writer.text(isOfAnother(write) ? write.origin : '')
}

function isOfAnother({ origin, feed }: Write): boolean {
  return origin !== feed.origin
}

function decodeWrite(
  reader: ByteReader,
  last: Write | null,
  hasOrigins: boolean,
  feedOf: (number: number) => Feed | undefined,
): Write {
  const number = reader.natural()
  if (number === SAME_WRITE) {
    if (last === null) throw new RangeError('the first cell refers to the one before')
    return last
  }
  const feed = feedOf(number)
  if (feed === undefined) throw new RangeError(`it refers to feed ${number}, which is not there`)
  const [seq, hlc, index] = [reader.natural(), reader.natural(), reader.natural()]
  const origin = hasOrigins ? reader.text() : ''
  return { hlc, index, origin: origin === '' ? feed.origin : origin, feed, seq }
}

export function encodeHead(head: FeedHead): Uint8Array {
  const { retained, damaged = new SequenceSet(), locked = new SequenceSet() } = head
  const runs = retained.runs.length + damaged.runs.length + locked.runs.length
  const writer = new ByteWriter(Buffer.allocUnsafe(96 + runs * 8))
  writer.natural(head.seq)
  writer.raw(head.hash)
  writer.natural(head.hlc)
  writer.natural(head.lsn)
  writer.natural(head.bytes)
  encodeRuns(writer, retained)
  if (!damaged.isEmpty || !locked.isEmpty) encodeRuns(writer, damaged)
  if (!locked.isEmpty) encodeRuns(writer, locked)
  return writer.view()
}

export function decodeHead(bytes: Uint8Array, feed: Feed): Result<FeedHead> {
  return decoding('head', bytes, (reader) => ({
    feed,
    seq: reader.natural(),
    hash: Uint8Array.from(reader.raw(32)),
    hlc: reader.natural(),
    lsn: reader.natural(),
    bytes: reader.natural(),
    retained: decodeRuns(reader),
    ...(!reader.isAtEnd && { damaged: decodeRuns(reader) }),
    ...(!reader.isAtEnd && { locked: decodeRuns(reader) }),
  }))
}

/** Number of runs, then for each the gap to it and its length less one. */
export function encodeRuns(writer: ByteWriter, { runs }: SequenceSet): void {
  writer.natural(runs.length / 2)
  let last = 0
  for (let i = 0; i < runs.length; i += 2) {
    const [from, to] = [runs[i] as number, runs[i + 1] as number]
    writer.natural(from - last)
    writer.natural(to - from)
    last = to
  }
}

export function decodeRuns(reader: ByteReader): SequenceSet {
  const runs: number[] = []
  let last = 0
  for (let count = reader.natural(); count > 0; count--) {
    const from = last + reader.natural()
    last = from + reader.natural()
    runs.push(from, last)
  }
  return new SequenceSet(runs)
}

export function encodeSpace(space: StoredSpace): Uint8Array {
  const writer = new ByteWriter(Buffer.allocUnsafe(256))
  writer.text(space.collection)
  writer.text(space.partition)
  writer.natural(space.count)
  writer.raw(bytesOf(space.digest))
  const flags = (space.isSeries === true ? SERIES : 0) | (space.isEncrypted === true ? ENCRYPTED : 0)
  if (flags !== 0) writer.u8(flags)
  return writer.view()
}

export function decodeSpace(bytes: Uint8Array): Result<StoredSpace> {
  return decoding('space', bytes, (reader) => {
    const [collection, partition] = [reader.text(), reader.text()]
    const [count, digest] = [reader.natural(), bigintOf(reader.raw(32))]
    const flags = reader.isAtEnd ? 0 : reader.u8()
    return {
      collection,
      partition,
      count,
      digest,
      ...((flags & SERIES) !== 0 && { isSeries: true }),
      ...((flags & ENCRYPTED) !== 0 && { isEncrypted: true }),
    }
  })
}

export function encodeMark({ position, lsn }: Mark): Uint8Array {
  const writer = new ByteWriter(Buffer.allocUnsafe(40))
  writer.natural(position.number)
  writer.natural(position.segment)
  writer.natural(position.offset)
  writer.u32(position.previous)
  writer.natural(lsn)
  return writer.view()
}

export function decodeMark(bytes: Uint8Array): Result<Mark> {
  return decoding('mark', bytes, (reader) => {
    const number = reader.natural()
    const segment = reader.natural()
    const offset = reader.natural()
    return { position: { number, segment, offset, previous: reader.u32() }, lsn: reader.natural() }
  })
}

export function encodeRingShape(shape: RingShape): Uint8Array {
  const writer = new ByteWriter(Buffer.allocUnsafe(24))
  writer.natural(shape.segments)
  writer.natural(shape.segmentBytes)
  writer.u32(shape.salt)
  return writer.view()
}

export function decodeRingShape(bytes: Uint8Array): Result<RingShape> {
  return decoding('ring', bytes, (reader) => ({
    segments: reader.natural(),
    segmentBytes: reader.natural(),
    salt: reader.u32(),
  }))
}

function decoding<T>(what: string, bytes: Uint8Array, decode: (reader: ByteReader) => T): Result<T> {
  try {
    const reader = new ByteReader(bytes)
    const value = decode(reader)
    return reader.isAtEnd ? ok(value) : fail('storage-damaged', `the stored ${what} has bytes too many`)
  } catch (error) {
    return fail('storage-damaged', `the stored ${what} does not decode: ${sentenceOf(error)}`)
  }
}
