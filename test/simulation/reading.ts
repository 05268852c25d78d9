import { latin1 } from '../../runtime/base/bytes.ts'
import type { Result } from '../../runtime/base/result.ts'
import type { Batch, Feed, Ops } from '../../runtime/model/batch.ts'
import type { BodyKeys } from '../../runtime/model/keys.ts'
import { readingOf, type Reading } from '../../runtime/sync/reading.ts'

/** What the gateways of one simulation read: the same bytes mean the same to all, so they are read once. */
export class SharedReading implements Reading {
  readonly #reading: Reading
  readonly #batches = new Map<string, Batch | string>()
  /** The same by the buffer, for what is read from disks again and again. */
  readonly #read = new WeakMap<Uint8Array, Batch | string>()
  /** By the hash of the header, which covers the body: the author's own is read here too. */
  readonly #ops = new Map<string, Result<Ops>>()

  constructor(meshId: Uint8Array) {
    this.#reading = readingOf(meshId)
  }

  batch(bytes: Uint8Array): Batch | string {
    const known = this.#read.get(bytes)
    if (known !== undefined) return known
    const name = latin1(bytes)
    const batch = this.#batches.get(name) ?? this.#reading.batch(bytes)
    this.#batches.set(name, batch)
    this.#read.set(bytes, batch)
    return batch
  }

  ops(feed: Feed, batch: Batch, keys: BodyKeys): Result<Ops> {
    // Not everyone can read what is encrypted.
    if (feed.descriptor.encrypted) return this.#reading.ops(feed, batch, keys)
    const name = latin1(batch.hash)
    const ops = this.#ops.get(name) ?? this.#reading.ops(feed, batch, keys)
    this.#ops.set(name, ops)
    return ops
  }
}
