import type { Batch, ChainPosition, Content, Feed, FeedHead } from '../model/batch.ts'
import type { Document } from '../model/document.ts'
import type { SequenceSet } from '../model/sequences.ts'
import type { Value } from '../model/value.ts'

/**
 * What a gateway keeps. One append may carry batches and small key-value records (cursors, broker sessions): they become
 * durable together, in order, with one flush. Reads are synchronous, see everything whose append has resolved, and
 * nothing whose append has not.
 */

/** A verified batch on its way to the disk. */
export interface AppendBatch {
  readonly feed: Feed
  readonly batch: Batch
  /** The decoded body to merge. What is locked is merged as soon as its key is here. */
  readonly ops: Content
  /**
   * `next`, when absent: it continues the feed's head, which it becomes. `aside`: it is part of a fill and leaves the head
   * where it is. A position: it is the last part of a fill, and the head jumps there.
   */
  readonly place?: 'aside' | ChainPosition
}

/** Batches that leave the log, and with them whatever cells rest on them alone. */
export interface Drop {
  readonly feed: Feed
  readonly seqs: SequenceSet
  /**
   * Where the head goes back to when the feed is cut; the batches above it must be among `seqs`. What damaged ones among them had changed
   * goes too.
   */
  readonly head?: ChainPosition
  /** They were damaged, and will come again: what they had changed stays as it is. */
  readonly isDamaged?: boolean
  /**
   * What the feed holds is not kept here any more. Of such feeds all goes, some with each append, and documents are what the
   * others make of them once all is gone; when the last batch has left the feed begins anew.
   */
  readonly isLeft?: boolean
}

/** A null value removes the key. Keys are `room/…`, at most 1,000 bytes. */
export interface KeyValue {
  readonly key: string
  readonly value: Uint8Array | null
}

export interface Append {
  readonly batches: readonly AppendBatch[]
  /** Take effect after the batches. */
  readonly drops?: readonly Drop[]
  readonly records: readonly KeyValue[]
}

export interface Log {
  /**
   * Resolves when the disk has flushed all of it and reads include it. Appends take effect in the order of their calls.
   * Batches of a feed must follow its head without a gap: anything else is a bug of the caller. Rejects with a
   * MarramError: `storage-full` (nothing of it was written, reads go on), `storage-io` (the store is of no more use),
   * `closed`.
   */
  append(append: Append): Promise<void>
  /** Every feed with at least one batch. */
  heads(): Iterable<FeedHead>
  head(feedKey: string): FeedHead | undefined
  /** The number of the last batch of all, 0 when there is none. */
  lastLsn(): number
  /**
   * The stored batches of a feed from `fromSeq` on, in order, until `bytesMax` is passed (at least one when there is one).
   * What is not retained is passed over. A copy, so it stays valid.
   */
  batches(feedKey: string, fromSeq: number, bytesMax: number): Uint8Array[]
}

export interface DocumentEntry {
  readonly key: string
  readonly document: Document
}

/** A collection and one of its partitions: documents are unique within it. */
export interface Space {
  readonly collection: string
  readonly partition: string
  /** Rows of a series (model/rows.ts), which stand apart from documents of a collection of the same name. */
  readonly isSeries?: boolean
  /** What was written to encrypted feeds, which stands apart in the same way. */
  readonly isEncrypted?: boolean
}

/** One document. */
export interface DocumentPlace extends Space {
  readonly key: string
}

export interface Change extends Space {
  readonly key: string
  /** As it is now; to be read at once, not kept. */
  readonly document: Document
}

export interface Documents {
  /** Undefined when nothing was ever written under the key; a deleted document is a Document without cells. */
  get(space: Space, key: string): Document | undefined
  /** The same, of a document that is about to be written: kept at hand until then. */
  getToWrite(space: Space, key: string): Document | undefined
  /**
   * Up to `limit` entries in the order of their keys' UTF-8 bytes, tombstones included, from the first key that is
   * at least `start` (exclusively, when `isAfter`) and begins with `prefix`. Never holds a read transaction afterwards.
   */
  scan(space: Space, range: ScanRange): DocumentEntry[]
  /** Up to `limit` documents that hold a link to this one, which need not exist. */
  referrers(to: DocumentPlace, limit: number): DocumentPlace[]
  /** The last entry in that order whose key begins with `prefix`. */
  last(space: Space, prefix: string): DocumentEntry | undefined
  /** Writes that were lost to concurrent ones, the latest first; the oldest give way. */
  conflicts(): Conflict[]
  /** Every space in which something was written, in order. */
  spaces(): Space[]
  /**
   * Live documents, and the digest of their content: 32 bytes, zero when there is none, the same in whatever order things
   * arrived. A series' digest is that of its feeds' heads, for each gateway keeps as many of the rows as it likes.
   */
  summary(space: Space): { readonly count: number; readonly digest: Uint8Array }
  /** Called after an append's flush for every document it changed, before the append resolves. Returns how to stop. */
  subscribe(listener: (change: Change) => void): () => void
}

/** Two authors wrote a field at once: neither had seen the other's value, and one was lost. */
export interface Conflict {
  readonly collection: string
  readonly partition: string
  readonly key: string
  readonly field: string
  readonly won: ConflictSide
  readonly lost: ConflictSide
  readonly why: string
}

export interface ConflictSide {
  readonly value: Value
  readonly author: string
  readonly stamp: string
  /** The value was too large to be kept, and is null. */
  readonly isLarge?: boolean
}

export interface ScanRange {
  readonly prefix?: string
  readonly start?: string
  readonly isAfter?: boolean
  readonly limit: number
}

export interface Records {
  getRecord(key: string): Uint8Array | undefined
  /** All records whose key begins with `prefix`, in order of their keys. */
  scanRecords(prefix: string): KeyValue[]
}

export interface StorageStatus {
  readonly path: string
  /** Bytes this store takes on the disk, and bytes free there (null in memory). */
  readonly bytes: number
  readonly freeBytes: number | null
  readonly isFull: boolean
  /** Bytes written and flushes since start. */
  readonly written: number
  readonly flushes: number
  readonly tableBytes: number
}

export interface Store extends Log, Documents, Records {
  status(): StorageStatus
  /** Sweeps what is in memory and releases the directory. */
  close(): Promise<void>
}
