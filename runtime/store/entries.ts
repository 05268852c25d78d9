import { HEADER_BYTES } from './ring-record.ts'
import { ByteReader } from './byte-reader.ts'
import { ByteWriter } from './byte-writer.ts'
import type { ChainPosition } from '../model/batch.ts'
import type { SequenceSet } from '../model/sequences.ts'
import type { AppendBatch } from '../ports/store.ts'
import { DAMAGED, LEFT, type DropEnd, type StoredBatch } from './feeds.ts'
import { decodeRuns, encodeRuns } from './layout.ts'

/**
 * What the payload of a ring record consists of, in the order in which it takes effect. A feed's descriptor stands before
 * its first batch; the number it is given there stands for it in batches and in LMDB.
 *
 *     feed   = 1, number, length, descriptor
 *     batch  = 2, feed number, length, (shown, bytes)
 *     put    = 3, length, key, length, value
 *     remove = 4, length, key
 *     aside  = 5, feed number, length, (shown, bytes)
 *     jump   = 6, feed number, length, (shown, bytes), position
 *     drop   = 7, feed number, runs, 0 to 3, [position]
 *
 * A position is sequence, hash and stamp. A drop with 1 is a cut and says where the head goes back to; one with 2 is of
 * damaged batches, one with 3 of a feed that is not kept any more.
 */
const FEED = 1
const BATCH = 2
const PUT = 3
const REMOVE = 4
const ASIDE = 5
const JUMP = 6
const DROP = 7

const DROP_DEAD = 0
const DROP_CUT = 1
const DROP_DAMAGED = 2
const DROP_LEFT = 3

/** More than any entry's tag, numbers and lengths take. */
const ENTRY_OVERHEAD = 80

export type RingEntry =
  | { readonly type: 'feed'; readonly number: number; readonly descriptor: Uint8Array }
  | {
      readonly type: 'batch'
      readonly feed: number
      readonly batch: StoredBatch
      readonly place: AppendBatch['place']
    }
  | { readonly type: 'drop'; readonly feed: number; readonly seqs: SequenceSet; readonly end: DropEnd }
  | { readonly type: 'record'; readonly key: string; readonly value: Uint8Array | null }

/** An upper bound of what an entry with so many bytes in it takes. */
export function entryBytesMax(bytes: number): number {
  return ENTRY_OVERHEAD + bytes
}

/** Writes one ring record into memory of its own: the table keeps views of it until the next sweep. */
export class RecordWriter {
  readonly #writer: ByteWriter

  /** `bytesMax`: the sum of its entries' upper bounds. */
  constructor(bytesMax: number) {
    this.#writer = new ByteWriter(Buffer.allocUnsafeSlow(HEADER_BYTES + bytesMax))
    this.#writer.raw(new Uint8Array(HEADER_BYTES))
  }

  feed(number: number, descriptor: Uint8Array): void {
    this.#writer.u8(FEED)
    this.#writer.natural(number)
    this.#writer.bytes(descriptor)
  }

  /** Returns the batch as it is stored: a view of the record. */
  batch(feed: number, shown: number, bytes: Uint8Array, place: AppendBatch['place']): StoredBatch {
    this.#writer.u8(place === undefined ? BATCH : place === 'aside' ? ASIDE : JUMP)
    this.#writer.natural(feed)
    this.#writer.natural(1 + bytes.length)
    const from = this.#writer.length
    this.#writer.u8(shown)
    this.#writer.raw(bytes)
    const stored = this.#writer.view(from)
    if (typeof place === 'object') encodePosition(this.#writer, place)
    return stored
  }

  drop(feed: number, seqs: SequenceSet, end: DropEnd): void {
    this.#writer.u8(DROP)
    this.#writer.natural(feed)
    encodeRuns(this.#writer, seqs)
    this.#writer.u8(howOf(end))
    if (end !== null && typeof end === 'object') encodePosition(this.#writer, end)
  }

  record(key: string, value: Uint8Array | null): void {
    this.#writer.u8(value === null ? REMOVE : PUT)
    this.#writer.text(key)
    if (value !== null) this.#writer.bytes(value)
  }

  /** The record, its header's place still empty. */
  finish(): Uint8Array {
    return this.#writer.view()
  }
}

/** The entries of a record's payload, as views of it. Throws RangeError when it is none: the check says that it is one. */
export function* readEntries(payload: Uint8Array): Iterable<RingEntry> {
  const reader = new ByteReader(payload)
  while (!reader.isAtEnd) {
    const tag = reader.u8()
    if (tag === FEED) yield { type: 'feed', number: reader.natural(), descriptor: reader.bytes() }
    else if (tag === BATCH || tag === ASIDE || tag === JUMP) {
      const feed = reader.natural()
      const batch = reader.bytes()
      const place = tag === BATCH ? undefined : tag === ASIDE ? 'aside' : decodePosition(reader)
      yield { type: 'batch', feed, batch, place }
    } else if (tag === DROP) {
      const feed = reader.natural()
      const seqs = decodeRuns(reader)
      const how = reader.u8()
      yield {
        type: 'drop',
        feed,
        seqs,
        end:
          how === DROP_DEAD ? null : how === DROP_DAMAGED ? DAMAGED : how === DROP_LEFT ? LEFT : decodePosition(reader),
      }
    } else if (tag === PUT) yield { type: 'record', key: reader.text(), value: Uint8Array.from(reader.bytes()) }
    else if (tag === REMOVE) yield { type: 'record', key: reader.text(), value: null }
    else throw new RangeError(`a ring record has an entry of the unknown type ${tag}`)
  }
}

function howOf(end: DropEnd): number {
  if (end === null) return DROP_DEAD
  return end === DAMAGED ? DROP_DAMAGED : end === LEFT ? DROP_LEFT : DROP_CUT
}

function encodePosition(writer: ByteWriter, { seq, hash, hlc }: ChainPosition): void {
  writer.natural(seq)
  writer.raw(hash)
  writer.natural(hlc)
}

function decodePosition(reader: ByteReader): ChainPosition {
  return { seq: reader.natural(), hash: Uint8Array.from(reader.raw(32)), hlc: reader.natural() }
}
