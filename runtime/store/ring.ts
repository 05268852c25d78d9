import { closeSync, constants, fstatSync, openSync, rmSync, write } from 'node:fs'
import { join } from 'node:path'
import { assert, MarramError } from '../base/errors.ts'
import { fillFile } from './file.ts'
import { BLOCK_BYTES, blocksOf, HEADER_BYTES, sealRecord, type Position } from './ring-record.ts'
import { SEAL_BYTES, type ValueCipher, type ValuePlace } from './value-cipher.ts'

/** Fixed when a store is made: a store keeps its ring's shape for life. */
export interface RingShape {
  readonly segments: number
  /** A multiple of 4,096. */
  readonly segmentBytes: number
  /** The seed of every check: 32 random bits that never leave the machine. */
  readonly salt: number
}

/** Records say themselves where they stand. */
export const RING_PLACE: ValuePlace = { table: 'ring', key: new Uint8Array(0) }

export function segmentPath(dir: string, segment: number): string {
  return join(dir, `ring-${segment}`)
}

/**
 * The durable truth of a store: segments allocated once and overwritten in turn. One positional write on a descriptor
 * opened with O_DSYNC is one flush: data, and no metadata to journal. Writing goes on into a segment only when the mark has
 * left it.
 */
export class Ring {
  readonly #shape: RingShape
  readonly #files: readonly number[]
  readonly #cipher: ValueCipher | null
  #next: Position
  /** The oldest segment that LMDB does not include yet. */
  #oldest: number

  /** `next`: where recovery ended; `oldest`: the segment of the mark. */
  constructor(dir: string, shape: RingShape, next: Position, oldest: number, cipher: ValueCipher | null = null) {
    this.#shape = shape
    this.#cipher = cipher
    this.#files = openSegments(dir, shape)
    this.#next = next
    this.#oldest = oldest
  }

  /** Where the next record will stand, unless the rest of the segment is too short for it. */
  get next(): Position {
    return this.#next
  }

  /** Between 0 and 1: how much of the ring must be kept. */
  get fill(): number {
    const { segments, segmentBytes } = this.#shape
    const behind = (this.#next.segment - this.#oldest + segments) % segments
    return (behind * segmentBytes + this.#next.offset) / (segments * segmentBytes)
  }

  get capacityBytes(): number {
    return this.#shape.segments * this.#shape.segmentBytes
  }

  fits(recordBytes: number): boolean {
    return this.#place(recordBytes + (this.#cipher === null ? 0 : SEAL_BYTES)) !== null
  }

  /**
   * Writes one record (its header's place empty) and calls `done` when the disk has flushed it. One at a time; `fits`
   * must have said yes. Returns where the next record goes. After an error the ring is of no more use.
   */
  write(plain: Uint8Array, done: (error: Error | null) => void): Position {
    const record = this.#cipher === null ? plain : sealedRecord(plain, this.#cipher)
    const at = this.#place(record.length)
    assert(at !== null, 'the ring has room for the record')
    const check = sealRecord(record, at, this.#shape.salt)
    const offset = at.offset + blocksOf(record.length)
    this.#next = { number: at.number + 1, segment: at.segment, offset, previous: check }
    writeAll(this.#files[at.segment] as number, record, at.offset, done)
    return this.#next
  }

  /** LMDB includes everything before `mark`, and has flushed it: what lies before may be overwritten. */
  release(mark: Position): void {
    this.#oldest = mark.segment
  }

  close(): void {
    for (const file of this.#files) closeSync(file)
  }

  #place(recordBytes: number): Position | null {
    const { segments, segmentBytes } = this.#shape
    const next = this.#next
    if (next.offset + recordBytes <= segmentBytes) return next
    const segment = (next.segment + 1) % segments
    return segment === this.#oldest || recordBytes > segmentBytes ? null : { ...next, segment, offset: 0 }
  }
}

/** Its payload sealed; the header's place stays empty. */
function sealedRecord(record: Uint8Array, cipher: ValueCipher): Uint8Array {
  const header = record.subarray(0, HEADER_BYTES)
  return Buffer.concat([header, cipher.seal(RING_PLACE, record.subarray(HEADER_BYTES))])
}

/** Zero-filled and flushed, so that later writes change no metadata. */
export function createRing(dir: string, shape: RingShape): Position {
  assert(shape.segments >= 2 && shape.segmentBytes % BLOCK_BYTES === 0, 'a ring has two segments of whole blocks')
  for (let i = 0; i < shape.segments; i++) {
    rmSync(segmentPath(dir, i), { force: true })
    fillFile(segmentPath(dir, i), shape.segmentBytes)
  }
  return { number: 1, segment: 0, offset: 0, previous: shape.salt }
}

function openSegments(dir: string, shape: RingShape): number[] {
  const files: number[] = []
  for (let i = 0; i < shape.segments; i++) {
    const path = segmentPath(dir, i)
    const file = openSync(path, constants.O_RDWR | constants.O_DSYNC)
    files.push(file)
    const { size } = fstatSync(file)
    if (size === shape.segmentBytes) continue
    for (const opened of files) closeSync(opened)
    const sentence = `Cannot open "${path}": it has ${size} bytes, it must have ${shape.segmentBytes}`
    throw new MarramError('storage-damaged', `${sentence}; run: marram verify --repair`)
  }
  return files
}

/** A write may take fewer bytes than it was given; the rest follows at its place. */
function writeAll(file: number, bytes: Uint8Array, at: number, done: (error: Error | null) => void): void {
  write(file, bytes, 0, bytes.length, at, (error, written) => {
    if (error) done(error)
    else if (written === bytes.length) done(null)
    else if (written === 0) done(new Error('the disk took no byte'))
    else writeAll(file, bytes.subarray(written), at + written, done)
  })
}
