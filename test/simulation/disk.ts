import { latin1 } from '../../runtime/base/bytes.ts'
import type { Batch, Feed, FeedHead, Ops } from '../../runtime/model/batch.ts'
import { emptyDocument, mergeOps, type Document } from '../../runtime/model/document.ts'

export interface DiskAppend {
  readonly batches: readonly { readonly feed: Feed; readonly batch: Batch; readonly ops: Ops | null }[]
  readonly records: readonly { readonly key: string; readonly value: Uint8Array | null }[]
}

/** A disk with a write cache: what was appended is only there for good once `flush` has taken it. */
export class SimulatedDisk {
  readonly batchesByFeed: Map<string, Batch[]> = new Map<string, Batch[]>()
  readonly documents: Map<string, Document> = new Map<string, Document>()
  readonly #feeds = new Map<string, Feed>()
  readonly #lsnByFeed = new Map<string, number>()
  readonly #records = new Map<string, Uint8Array>()
  readonly #cache: DiskAppend[] = []
  #lsn = 0

  append(append: DiskAppend): void {
    this.#cache.push(append)
  }

  /** Makes the oldest cached append durable. */
  flushOne(): void {
    const append = this.#cache.shift()
    if (append) this.#take(append)
  }

  /** Power is cut: the last `keep` of the cached appends are lost, the others happened to reach the disk. */
  powerCut(keep: number): void {
    for (let i = 0; i < keep && this.#cache.length > 0; i++) this.flushOne()
    this.#cache.length = 0
  }

  get cached(): number {
    return this.#cache.length
  }

  heads(): FeedHead[] {
    return [...this.batchesByFeed].map(([key, batches]) => {
      const last = batches.at(-1) as Batch
      const feed = this.#feeds.get(key) as Feed
      const lsn = this.#lsnByFeed.get(key) as number
      return { feed, seq: batches.length, hash: last.hash, hlc: last.header.hlc, lsn, bytes: 0 }
    })
  }

  head(key: string): number {
    return this.batchesByFeed.get(key)?.length ?? 0
  }

  batches(key: string, fromSeq: number, bytesMax: number): Uint8Array[] {
    const found: Uint8Array[] = []
    let bytes = 0
    for (const batch of (this.batchesByFeed.get(key) ?? []).slice(fromSeq - 1)) {
      if (found.length > 0 && bytes + batch.bytes.length > bytesMax) break
      found.push(batch.bytes)
      bytes += batch.bytes.length
    }
    return found
  }

  getRecord(key: string): Uint8Array | undefined {
    return this.#records.get(key)
  }

  #take(append: DiskAppend): void {
    for (const { key, value } of append.records) {
      if (value) this.#records.set(key, value)
      else this.#records.delete(key)
    }
    for (const { feed, batch, ops } of append.batches) this.#takeBatch(feed, batch, ops)
  }

  #takeBatch(feed: Feed, batch: Batch, ops: Ops | null): void {
    const key = latin1(feed.id)
    const held = this.batchesByFeed.get(key) ?? []
    if (batch.header.seq !== held.length + 1) throw new Error(`Gap on disk: ${batch.header.seq} after ${held.length}`)
    held.push(batch)
    this.batchesByFeed.set(key, held)
    this.#feeds.set(key, feed)
    this.#lsnByFeed.set(key, ++this.#lsn)
    if (!ops) return
    const { collection, partition } = feed.descriptor
    const source = { feed, seq: batch.header.seq, hlc: batch.header.hlc, lsn: this.#lsn }
    mergeOps(
      ops,
      source,
      (doc) => this.#document(`${collection}/${partition}/${doc}`),
      () => {},
    )
  }

  #document(name: string): Document {
    let document = this.documents.get(name)
    if (!document) {
      document = emptyDocument()
      this.documents.set(name, document)
    }
    return document
  }
}
