import { assert } from '../base/errors.ts'
import { equal } from '../base/bytes.ts'
import type { Batch, ChainPosition, Feed, FeedHead } from '../model/batch.ts'
import { SequenceSet } from '../model/sequences.ts'
import { spaceOf } from '../model/spaces.ts'
import type { AppendBatch, Space } from '../ports/store.ts'
import type { Base } from './base.ts'

/** A batch as stored: one byte that says whether it counts (BATCH_SHOWN) or is only forwarded, then its bytes. */
export type StoredBatch = Uint8Array
export const BATCH_HIDDEN = 0
export const BATCH_SHOWN = 1

const NO_HASH = new Uint8Array(32)
/** What one read of LMDB brings, in bytes. */
const READ_BYTES = 262_144

/**
 * Of batches that leave a log: where its head goes back to when it is cut, null when it stays; or that they were damaged, or that
 * their feed is not kept any more.
 */
export type DropEnd = ChainPosition | null | typeof DAMAGED | typeof LEFT
export const DAMAGED = 'damaged'
export const LEFT = 'left'

export interface SequencedBatch {
  readonly seq: number
  readonly bytes: StoredBatch
}

/** What the next append of a feed must continue. */
export interface Tail {
  readonly seq: number
  readonly hash: Uint8Array
}

/** A feed in this store. Numbers, from 1, stand for feeds wherever one is named on the disk. */
export class StoredFeed {
  readonly feed: Feed
  readonly number: number
  /** Shared by the feeds of one collection and partition. */
  readonly space: Space
  /** Durable and in effect; null before the first batch. */
  head: FeedHead | null = null
  /** The head, or what is queued behind it. */
  tail: Tail = { seq: 0, hash: NO_HASH }
  /** The ring, or LMDB, has the descriptor. */
  isAnnounced = false
  /** LMDB has the head as it is. */
  isHeadSwept = true
  readonly retained: SequenceSet
  readonly damaged: SequenceSet
  readonly locked: SequenceSet
  /** It is not kept any more, and what it still holds makes no documents. */
  isLeaving = false
  /** Batches that no sweep has taken to LMDB, by sequence. */
  readonly recent: Map<number, StoredBatch> = new Map<number, StoredBatch>()
  /** Batches that LMDB may still have and that have left the log. */
  dropped: SequenceSet = new SequenceSet()

  constructor(feed: Feed, number: number) {
    this.feed = feed
    this.number = number
    this.space = spaceOf(feed)
    this.retained = new SequenceSet()
    this.damaged = new SequenceSet()
    this.locked = new SequenceSet()
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

  /** The feeds of one collection and partition. */
  in(space: Space): StoredFeed[] {
    const name = spaceName(space)
    return [...this.#byNumber.values()].filter((stored) => spaceName(stored.space) === name)
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
    const { retained, damaged, locked } = stored
    retained.replace(head.retained)
    damaged.replace(head.damaged ?? new SequenceSet())
    locked.replace(head.locked ?? new SequenceSet())
    stored.head = { ...head, retained, damaged, locked }
    stored.tail = head
  }

  /** A batch on its way to the disk: it must continue its feed, unless it fills a gap. Returns the tail before it. */
  expect(stored: StoredFeed, batch: Batch, place: AppendBatch['place']): Tail {
    const before = stored.tail
    if (place !== undefined) {
      if (place !== 'aside') stored.tail = place
      return before
    }
    const { seq, prev } = batch.header
    assert(seq === before.seq + 1, `batch ${seq} of a feed follows ${before.seq} without a gap`)
    assert(equal(prev, before.hash), `batch ${seq} of a feed names the hash of the one before`)
    stored.tail = { seq, hash: batch.hash }
    return before
  }

  /** A batch that is durable is stored, and becomes its feed's head unless it fills a gap. Returns its number here. */
  take(stored: StoredFeed, batch: Batch, bytes: StoredBatch, place: AppendBatch['place']): number {
    const { seq, hlc } = batch.header
    const { head, retained, damaged, locked } = stored
    assert(place !== undefined || seq === (head?.seq ?? 0) + 1, 'batches take effect in the order of their feed')
    this.#lsn += 1
    const position = place === undefined ? { seq, hash: batch.hash, hlc } : place === 'aside' ? head : place
    const total = (head?.bytes ?? 0) + (retained.has(seq) ? 0 : bytes.length - 1)
    retained.add(seq)
    damaged.deleteRange(seq, seq)
    locked.deleteRange(seq, seq)
    const { seq: at, hash, hlc: time } = position ?? { seq: 0, hash: NO_HASH, hlc: 0 }
    stored.head = {
      feed: stored.feed,
      seq: at,
      hash,
      hlc: time,
      lsn: this.#lsn,
      bytes: total,
      retained,
      damaged,
      locked,
    }
    stored.isHeadSwept = false
    this.#forgetRecent(stored, seq)
    stored.recent.set(seq, bytes)
    stored.dropped.deleteRange(seq, seq)
    this.#recentBytes += bytes.length
    return this.#lsn
  }

  /** Batches leave the log, and the head goes back to `end` if it is a position. Returns those that were there. */
  drop(stored: StoredFeed, seqs: SequenceSet, end: DropEnd): readonly StoredBatch[] {
    const batches: StoredBatch[] = []
    const there = stored.retained.without(stored.retained.without(seqs))
    for (const { bytes } of this.#read(stored, there)) batches.push(bytes)
    for (const seq of there.values()) {
      this.#forgetRecent(stored, seq)
      stored.dropped.add(seq)
    }
    stored.retained.delete(there)
    stored.locked.delete(there)
    if (end === DAMAGED) for (const seq of there.values()) stored.damaged.add(seq)
    else if (end !== LEFT) stored.damaged.delete(seqs)
    if (stored.head === null) return batches
    const bytes = stored.head.bytes - batches.reduce((sum, batch) => sum + batch.length - 1, 0)
    stored.head = { ...stored.head, ...(typeof end === 'object' && end), bytes }
    stored.isHeadSwept = false
    if (end === LEFT) this.#leave(stored)
    return batches
  }

  /** Begins anew when nothing is left of it. */
  #leave(stored: StoredFeed): void {
    stored.isLeaving = !stored.retained.isEmpty
    if (stored.isLeaving || stored.head === null) return
    stored.damaged.replace(new SequenceSet())
    stored.head = { ...stored.head, seq: 0, hash: NO_HASH, hlc: 0 }
    stored.tail = stored.head
  }

  /** The batch waits for its key, or does no longer. */
  lock(stored: StoredFeed, seq: number): void {
    stored.locked.add(seq)
    stored.isHeadSwept = false
  }

  unlock(stored: StoredFeed, seq: number): void {
    stored.locked.deleteRange(seq, seq)
    stored.isHeadSwept = false
  }

  /** Batches that wait for their keys, from a sequence on, until so many bytes are passed. */
  locked(stored: StoredFeed, fromSeq: number, bytesMax: number): SequencedBatch[] {
    return this.#upTo(this.#read(stored, stored.locked.clone(), fromSeq, bytesMax), bytesMax)
  }

  /** LMDB has these batches, and no longer has those. */
  release(stored: StoredFeed, swept: Iterable<readonly [number, StoredBatch]>, dropped: SequenceSet): void {
    for (const [seq, bytes] of swept) if (stored.recent.get(seq) === bytes) this.#forgetRecent(stored, seq)
    stored.dropped.delete(dropped)
  }

  *heads(): Iterable<FeedHead> {
    for (const { head } of this.#byNumber.values()) if (head !== null) yield head
  }

  /** See Log.batches, with the byte in front that says whether the batch counts. */
  batches(key: string, fromSeq: number, bytesMax: number): SequencedBatch[] {
    const stored = this.#byKey.get(key)
    return stored === undefined ? [] : this.#upTo(this.#read(stored, stored.retained, fromSeq, bytesMax), bytesMax)
  }

  #upTo(batches: Iterable<SequencedBatch>, bytesMax: number): SequencedBatch[] {
    const found: SequencedBatch[] = []
    let bytes = 0
    for (const batch of batches) {
      found.push(batch)
      bytes += batch.bytes.length - 1
      if (bytes > bytesMax) break
    }
    return found
  }

  /** Every stored batch of a feed, in order. */
  *each(key: string): Generator<SequencedBatch> {
    const stored = this.#byKey.get(key)
    if (stored !== undefined) yield* this.#read(stored, stored.retained)
  }

  /** The batches of `seqs` from `fromSeq` on, in order; those that LMDB should have and hasn't are left out. */
  *#read(stored: StoredFeed, seqs: SequenceSet, fromSeq = 1, bytesMax = READ_BYTES): Generator<SequencedBatch> {
    for (let seq = seqs.next(fromSeq); seq !== null;) {
      const recent = stored.recent.get(seq)
      if (recent !== undefined) {
        yield { seq, bytes: recent }
        seq = seqs.next(seq + 1)
        continue
      }
      const end = seqs.runEnd(seq)
      let next = seq
      let recentAt: number | null = null
      for (const { seq: at, bytes } of this.#base.batches(stored.number, seq, end, bytesMax)) {
        // What came again stands between those that LMDB has.
        recentAt = recentIn(stored, next, at)
        if (recentAt !== null) break
        yield { seq: at, bytes }
        next = at + 1
      }
      // LMDB has nothing of a run that it should have: goes on behind it, or where the table has a batch of it.
      if (next === seq) recentAt ??= recentIn(stored, seq, end) ?? seqs.next(end + 1)
      seq = next === seq ? recentAt : (recentAt ?? seqs.next(next))
    }
  }

  #forgetRecent(stored: StoredFeed, seq: number): void {
    const bytes = stored.recent.get(seq)
    if (bytes === undefined) return
    stored.recent.delete(seq)
    this.#recentBytes -= bytes.length
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

/** The first of these sequences of which the table has the batch, or null. */
function recentIn({ recent }: StoredFeed, from: number, to: number): number | null {
  if (recent.size === 0) return null
  for (let seq = from; seq <= to; seq++) if (recent.has(seq)) return seq
  return null
}

/** Names one space. */
export function spaceName({ collection, partition, isSeries: isRows = false, isEncrypted = false }: Space): string {
  return `${collection}\0${partition}${isRows ? '\0rows' : ''}${isEncrypted ? '\0encrypted' : ''}`
}
