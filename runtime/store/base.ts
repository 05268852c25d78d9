import type { KeyValue } from '../ports/store.ts'

/**
 * What lies beneath the memory table: what sweeps took to LMDB, or nothing in a store that lives in memory. It deals in
 * bytes and in this store's numbers for spaces and feeds. All bytes it returns are copies.
 */
export interface Base {
  document(space: number, key: string): Uint8Array | undefined
  /** Up to `limit` documents whose keys begin with `prefix`, from the first that is at least (or above) `start`. */
  documents(space: number, range: KeyRange): BaseDocument[]
  /** The last `limit` documents whose keys begin with `prefix`, backwards, from below `before`. */
  documentsBack(space: number, prefix: string, before: string | null, limit: number): BaseDocument[]
  /** Up to `limit` documents that had a link to this target when they were stored, after one of them. */
  referrers(target: string, limit: number, after: Referrer | null): Referrer[]
  /** Those of the batches `fromSeq` to `toSeq` of a feed that are there, until `bytesMax` is passed, each as StoredBatch. */
  batches(feed: number, fromSeq: number, toSeq: number, bytesMax: number): BaseBatch[]
  record(key: string): Uint8Array | undefined
  records(prefix: string): KeyValue[]
}

export interface KeyRange {
  readonly prefix: string
  readonly start: string
  readonly isAfter: boolean
  readonly limit: number
}

export interface BaseDocument {
  readonly key: string
  readonly bytes: Uint8Array
}

export interface BaseBatch {
  readonly seq: number
  readonly bytes: Uint8Array
}

/** A document, by the number of its space. */
export interface Referrer {
  readonly space: number
  readonly key: string
}

export const NOTHING_BENEATH: Base = {
  document: () => undefined,
  documents: () => [],
  documentsBack: () => [],
  referrers: () => [],
  batches: () => [],
  record: () => undefined,
  records: () => [],
}
