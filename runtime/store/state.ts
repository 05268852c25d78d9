import { GATEWAY_LIMITS } from '../base/limits.ts'
import type { Batch, Feed, Ops } from '../model/batch.ts'
import type { Change } from '../ports/store.ts'
import type { Base } from './base.ts'
import { DocumentTable } from './documents.ts'
import { BATCH_HIDDEN, FeedTable, type StoredBatch, type StoredFeed } from './feeds.ts'
import { RecordTable } from './records.ts'

/** A batch that has become durable; `bytes` are the store's to keep. */
export interface DurableBatch {
  readonly stored: StoredFeed
  readonly batch: Batch
  readonly ops: Ops | null
  readonly bytes: StoredBatch
}

/** All that a store knows: feeds, documents and records in memory, over what lies beneath. Only durable things enter. */
export class State {
  readonly feeds: FeedTable
  readonly documents: DocumentTable
  readonly records: RecordTable
  readonly #bytesMax: number

  constructor(base: Base, bytesMax: number = GATEWAY_LIMITS.tableBytesMax) {
    this.#bytesMax = bytesMax
    this.feeds = new FeedTable(base)
    this.documents = new DocumentTable(base, (number): Feed | undefined => this.feeds.byNumber(number)?.feed)
    this.records = new RecordTable(base)
  }

  /** What only a sweep can take out of memory. */
  get unsweptBytes(): number {
    return this.documents.dirtyBytes + this.feeds.recentBytes + this.records.recentBytes
  }

  get bytes(): number {
    return this.documents.bytes + this.feeds.recentBytes + this.records.recentBytes
  }

  /** Whether so many bytes may come; an empty table takes whatever comes. */
  hasRoom(bytes: number): boolean {
    const unswept = this.unsweptBytes
    return unswept === 0 || unswept + bytes <= this.#bytesMax
  }

  /** Between 0 and 1 and sometimes a flush more: how much of the table is full of what must stay. */
  get fill(): number {
    return this.unsweptBytes / this.#bytesMax
  }

  /** The batch becomes its feed's head, and its operations, if it has any that count, are merged. */
  take({ stored, batch, ops, bytes }: DurableBatch): void {
    const lsn = this.feeds.advance(stored, batch, bytes)
    if (ops === null || bytes[0] === BATCH_HIDDEN) return
    this.documents.merge(stored.space, ops, { feed: stored.feed, seq: batch.header.seq, hlc: batch.header.hlc, lsn })
  }

  /** Ends a row of `take`s: the documents they changed, each once. */
  settle(): Change[] {
    const changes: Change[] = []
    for (const { space, key, document } of this.documents.settle()) {
      changes.push({ collection: space.collection, partition: space.partition, key, document })
    }
    this.makeRoom()
    return changes
  }

  /** Clean documents are a cache within the same bound. */
  makeRoom(): void {
    this.documents.evict(this.#bytesMax - this.feeds.recentBytes - this.records.recentBytes)
  }
}
