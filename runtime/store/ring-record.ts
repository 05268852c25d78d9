import { crc32 } from 'node:zlib'

/**
 * What one flush puts into the log ring. A record is whole or, after a crash, not there: what it carries takes effect
 * together.
 *
 *     record = length u32, number u48, previous u32, check u32, payload[length]          (big endian)
 *
 * Numbers rise by one with every record, so what an earlier lap left is told by its lower number. `previous` is the check
 * of the record before: a record continues exactly one history. The check is a CRC-32 of everything else, seeded by a
 * secret of the ring: no batch can be made whose bytes, found at a block's start, pass for a record.
 */
export const HEADER_BYTES = 18
export const BLOCK_BYTES = 4096
const CHECKED_BYTES = 14

/** Where a record begins, and what it must say to be the one expected there. */
export interface Position {
  readonly number: number
  readonly segment: number
  /** A multiple of BLOCK_BYTES. */
  readonly offset: number
  /** The check of the record before. */
  readonly previous: number
}

export interface RingRecord {
  readonly number: number
  readonly previous: number
  readonly check: number
  /** A view of the segment's bytes. */
  readonly payload: Uint8Array
}

/** Fills the first HEADER_BYTES of `record`, whose payload stands behind them, and returns its check. */
export function sealRecord(record: Uint8Array, at: Position, salt: number): number {
  const buffer = Buffer.from(record.buffer, record.byteOffset, record.byteLength)
  buffer.writeUInt32BE(record.length - HEADER_BYTES, 0)
  buffer.writeUIntBE(at.number, 4, 6)
  buffer.writeUInt32BE(at.previous, 10)
  const check = checkOf(buffer, salt)
  buffer.writeUInt32BE(check, CHECKED_BYTES)
  return check
}

/** The record at `offset` of a segment's bytes, or null when none that passes its check begins there. */
export function readRecord(segment: Buffer, offset: number, salt: number): RingRecord | null {
  if (offset + HEADER_BYTES > segment.length) return null
  const length = segment.readUInt32BE(offset)
  const number = segment.readUIntBE(offset + 4, 6)
  if (number === 0 || length > segment.length - offset - HEADER_BYTES) return null
  const record = segment.subarray(offset, offset + HEADER_BYTES + length)
  const check = record.readUInt32BE(CHECKED_BYTES)
  if (checkOf(record, salt) !== check) return null
  return { number, previous: record.readUInt32BE(10), check, payload: record.subarray(HEADER_BYTES) }
}

/** Every record begins on a new block, so no write ever touches a block that holds acknowledged data. */
export function blocksOf(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES
}

function checkOf(record: Buffer, salt: number): number {
  return crc32(record.subarray(HEADER_BYTES), crc32(record.subarray(0, CHECKED_BYTES), salt))
}
