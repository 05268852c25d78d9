import { HEADER_BYTES } from './ring-record.ts'
import { ByteReader } from './byte-reader.ts'
import { ByteWriter } from './byte-writer.ts'
import type { StoredBatch } from './feeds.ts'

/**
 * What the payload of a ring record consists of, in the order in which it takes effect. A feed's descriptor stands before
 * its first batch; the number it is given there stands for it in batches and in LMDB.
 *
 *     feed   = 1, number, length, descriptor
 *     batch  = 2, feed number, length, (shown, bytes)
 *     put    = 3, length, key, length, value
 *     remove = 4, length, key
 */
const FEED = 1
const BATCH = 2
const PUT = 3
const REMOVE = 4

/** More than any entry's tag, numbers and lengths take. */
const ENTRY_OVERHEAD = 24

export type RingEntry =
  | { readonly type: 'feed'; readonly number: number; readonly descriptor: Uint8Array }
  | { readonly type: 'batch'; readonly feed: number; readonly batch: StoredBatch }
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
  batch(feed: number, shown: number, bytes: Uint8Array): StoredBatch {
    this.#writer.u8(BATCH)
    this.#writer.natural(feed)
    this.#writer.natural(1 + bytes.length)
    const from = this.#writer.length
    this.#writer.u8(shown)
    this.#writer.raw(bytes)
    return this.#writer.view(from)
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
    else if (tag === BATCH) yield { type: 'batch', feed: reader.natural(), batch: reader.bytes() }
    else if (tag === PUT) yield { type: 'record', key: reader.text(), value: Uint8Array.from(reader.bytes()) }
    else if (tag === REMOVE) yield { type: 'record', key: reader.text(), value: null }
    else throw new RangeError(`a ring record has an entry of the unknown type ${tag}`)
  }
}
