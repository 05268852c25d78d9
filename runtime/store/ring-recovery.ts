import { readFileSync } from 'node:fs'
import { MarramError, sentenceOf } from '../base/errors.ts'
import { BLOCK_BYTES, blocksOf, HEADER_BYTES, readRecord, type Position, type RingRecord } from './ring-record.ts'
import { segmentPath, type RingShape } from './ring.ts'

export interface Recovered {
  /** In order, from the mark on. */
  readonly payloads: readonly Uint8Array[]
  /** Where the next record goes. */
  readonly next: Position
  /** Records that pass their check but stand behind one that doesn't: the disk lost what was acknowledged. */
  readonly stranded: readonly Uint8Array[]
}

/**
 * Reads the ring from the mark on while numbers rise by one, each record names the check of the one before, and checks
 * hold. The first that fails is the end: a flush that a crash tore, or nothing. Flushes follow one another, so a torn one
 * is the last, and a whole record with a later number proves damage instead; that is reported, never passed over.
 * `isRepair` takes a segment that can't be read for an empty one.
 */
export function recoverRing(dir: string, shape: RingShape, mark: Position, isRepair: boolean): Recovered {
  const segments = new Segments(dir, shape, isRepair)
  const payloads: Uint8Array[] = []
  let next = mark
  for (;;) {
    const found = readNext(segments, shape, next)
    if (found === null) break
    payloads.push(found.record.payload)
    next = found.next
  }
  return { payloads, next, stranded: strandedRecords(segments, shape, next.number) }
}

function readNext(segments: Segments, shape: RingShape, at: Position): { record: RingRecord; next: Position } | null {
  // A record that did not fit the rest of the segment stands at the beginning of the next.
  const places = [at, { segment: (at.segment + 1) % shape.segments, offset: 0 }]
  for (const { segment, offset } of places) {
    const record = readRecord(segments.read(segment), offset, shape.salt)
    if (record === null || record.number !== at.number || record.previous !== at.previous) continue
    const end = offset + blocksOf(HEADER_BYTES + record.payload.length)
    return { record, next: { number: record.number + 1, segment, offset: end, previous: record.check } }
  }
  return null
}

function strandedRecords(segments: Segments, shape: RingShape, from: number): Uint8Array[] {
  const found = new Map<number, Uint8Array>()
  // No more records than blocks: a bound on the numbers keeps crafted bytes from costing a check at every block.
  const end = from + (shape.segments * shape.segmentBytes) / BLOCK_BYTES
  for (let segment = 0; segment < shape.segments; segment++) {
    const bytes = segments.read(segment)
    for (let offset = 0; offset < shape.segmentBytes; offset += BLOCK_BYTES) {
      if (bytes.length < offset + HEADER_BYTES) break
      const number = bytes.readUIntBE(offset + 4, 6)
      if (number < from || number >= end) continue
      const record = readRecord(bytes, offset, shape.salt)
      if (record !== null) found.set(number, record.payload)
    }
  }
  return [...found].sort(([a], [b]) => a - b).map(([, payload]) => payload)
}

/** Each segment is read once, when it is first asked for. */
class Segments {
  readonly #dir: string
  readonly #isRepair: boolean
  readonly #bytes: (Buffer | null)[]

  constructor(dir: string, shape: RingShape, isRepair: boolean) {
    this.#dir = dir
    this.#isRepair = isRepair
    this.#bytes = Array.from({ length: shape.segments }, () => null)
  }

  read(segment: number): Buffer {
    return (this.#bytes[segment] ??= readSegment(segmentPath(this.#dir, segment), this.#isRepair))
  }
}

function readSegment(path: string, isRepair: boolean): Buffer {
  try {
    return readFileSync(path)
  } catch (cause) {
    if (isRepair) return Buffer.alloc(0)
    const sentence = `Cannot read "${path}": ${sentenceOf(cause)}; run: marram verify --repair`
    throw new MarramError('storage-damaged', sentence, { cause })
  }
}
