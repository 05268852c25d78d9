import { assert } from '../base/errors.ts'
import { equal } from '../base/bytes.ts'
import type { Batch, Feed, FeedHead } from '../model/batch.ts'
import type { Space } from '../ports/store.ts'
import type { Base } from './base.ts'

/** A batch as stored: one byte that says whether it counts (BATCH_SHOWN) or is only forwarded, then its bytes. */
export type StoredBatch = Uint8Array
export const BATCH_HIDDEN = 0
export const BATCH_SHOWN = 1

const NO_HASH = new Uint8Array(32)

/** A feed in this store. Numbers, from 1, stand for feeds wherever one is named on the disk. */
export class StoredFeed {
  readonly feed: Feed
  readonly number: number
  /** Shared by the feeds of one collection and partition. */
  readonly space: Space
  /** Durable and in effect; null before the first batch. */
  head: FeedHead | null = null
  /** What the next append must follow: the head, or what is queued behind it. */
  tailSeq = 0
  tailHash: Uint8Array = NO_HASH
  /** The ring, or LMDB, has the descriptor. */
  isAnnounced = false
  /** LMDB has the head as it is. */
  isHeadSwept = true
  /** Batches that no sweep has taken to LMDB, the last one being the head. */
  recent: StoredBatch[] = []

  constructor(feed: Feed, number: number) {
    this.feed = feed
    this.number = number
    this.space = { collection: feed.descriptor.collection, partition: feed.descriptor.partition }
  }

  /** The sequence number of `recent[0]`. */
  get recentFrom(): number {
    return (this.head?.seq ?? 0) - this.recent.length + 1
  }
}

/** All feeds of a store, with their heads and the batches that were not swept yet. */
export class FeedTable {
  readonly #base: Base
  readonly #byKey = new Map<string, StoredFeed>()
  readonly #byNumber = new Map<number, StoredFeed>()
  #lastNumber = 0
  /** Those whose descriptors the base doesn't have. */
  #new: StoredFeed[] = []
  #recentBytes = 0
  #lsn = 0

  constructor(base: Base) {
    this.#base = base
  }

  get recentBytes(): number {
    return this.#recentBytes
  }

  /** Batches taken so far, of all feeds together. */
  get lsn(): number {
    return this.#lsn
  }

  restoreLsn(lsn: number): void {
    this.#lsn = lsn
  }

  all(): Iterable<StoredFeed> {
    return this.#byNumber.values()
  }

  get(key: string): StoredFeed | undefined {
    return this.#byKey.get(key)
  }

  byNumber(number: number): StoredFeed | undefined {
    return this.#byNumber.get(number)
  }

  /** The feed under its number here; a feed that is new gets the next one. */
  adopt(feed: Feed): StoredFeed {
    return this.#byKey.get(feed.key) ?? this.#add(feed, this.#lastNumber + 1, true)
  }

  /** A feed that the disk knows by this number. */
  restore(feed: Feed, number: number, isInBase: boolean): void {
    const known = this.#byKey.get(feed.key) ?? this.#add(feed, number, !isInBase)
    assert(known.number === number, 'a feed has one number')
    known.isAnnounced = true
  }

  /** Feeds that the base doesn't have yet, each once. */
  takeNew(): readonly StoredFeed[] {
    const taken = this.#new
    this.#new = []
    return taken
  }

  /** What stands in the base as of its mark. */
  restoreHead(stored: StoredFeed, head: FeedHead): void {
    stored.head = head
    stored.tailSeq = head.seq
    stored.tailHash = head.hash
  }

  /** A batch on its way to the disk: it must continue its feed. */
  expect(stored: StoredFeed, batch: Batch): void {
    const { seq, prev } = batch.header
    assert(seq === stored.tailSeq + 1, `batch ${seq} of a feed follows ${stored.tailSeq} without a gap`)
    assert(equal(prev, stored.tailHash), `batch ${seq} of a feed names the hash of the one before`)
    stored.tailSeq = seq
    stored.tailHash = batch.hash
  }

  /** Takes an `expect` back. The latest first. */
  unexpect(stored: StoredFeed, batch: Batch): void {
    stored.tailSeq = batch.header.seq - 1
    stored.tailHash = batch.header.prev
  }

  /** A batch that is durable becomes its feed's head; returns the number it has in this store. */
  advance(stored: StoredFeed, batch: Batch, bytes: StoredBatch): number {
    const { seq, hlc } = batch.header
    assert(seq === (stored.head?.seq ?? 0) + 1, 'batches take effect in the order of their feed')
    this.#lsn += 1
    const total = (stored.head?.bytes ?? 0) + bytes.length - 1
    stored.head = { feed: stored.feed, seq, hash: batch.hash, hlc, lsn: this.#lsn, bytes: total }
    stored.isHeadSwept = false
    stored.recent.push(bytes)
    this.#recentBytes += bytes.length
    return this.#lsn
  }

  /** LMDB has the feed's batches up to `seq`. */
  release(stored: StoredFeed, seq: number): void {
    const swept = stored.recent.splice(0, seq - stored.recentFrom + 1)
    for (const bytes of swept) this.#recentBytes -= bytes.length
  }

  *heads(): Iterable<FeedHead> {
    for (const { head } of this.#byNumber.values()) if (head !== null) yield head
  }

  /** See Log.batches, with the byte in front that says whether the batch counts. */
  batches(key: string, fromSeq: number, bytesMax: number): StoredBatch[] {
    const stored = this.#byKey.get(key)
    if (stored === undefined || stored.head === null) return []
    const from = Math.max(1, fromSeq)
    const recentFrom = stored.recentFrom
    const found = from < recentFrom ? this.#base.batches(stored.number, from, recentFrom - 1, bytesMax) : []
    let bytes = found.reduce((sum, batch) => sum + batch.length - 1, 0)
    for (let i = Math.max(0, from - recentFrom); i < stored.recent.length && bytes <= bytesMax; i++) {
      const batch = stored.recent[i] as StoredBatch
      found.push(batch)
      bytes += batch.length - 1
    }
    return found
  }

  #add(feed: Feed, number: number, isNew: boolean): StoredFeed {
    const stored = new StoredFeed(feed, number)
    this.#byKey.set(feed.key, stored)
    this.#byNumber.set(number, stored)
    this.#lastNumber = Math.max(this.#lastNumber, number)
    if (isNew) this.#new.push(stored)
    return stored
  }
}
