import { GATEWAY_LIMITS } from '../base/limits.ts'
import type { Batch, Feed, Ops } from '../model/batch.ts'
import { emptyDocument, mergeDocument, type Document, type Write } from '../model/document.ts'
import { isSeries, shownOps } from '../model/rows.ts'
import type { SequenceSet } from '../model/sequences.ts'
import type { AppendBatch, Change, Space } from '../ports/store.ts'
import type { Base } from './base.ts'
import { ConflictLog } from './conflicts.ts'
import { DocumentTable } from './documents.ts'
import { foldDocuments, opsOfStored, partOf } from './fold.ts'
import { BATCH_HIDDEN, DAMAGED, FeedTable, LEFT, type DropEnd, type StoredBatch, type StoredFeed } from './feeds.ts'
import { RecordTable } from './records.ts'

/** A batch that has become durable; `bytes` are the store's to keep. */
export interface DurableBatch {
  readonly stored: StoredFeed
  readonly batch: Batch
  readonly ops: Ops | null
  readonly bytes: StoredBatch
  readonly place: AppendBatch['place']
}

/** All that a store knows: feeds, documents and records in memory, over what lies beneath. Only durable things enter. */
export class State {
  readonly feeds: FeedTable
  readonly documents: DocumentTable
  readonly records: RecordTable
  readonly #bytesMax: number
  readonly conflicts: ConflictLog

  constructor(base: Base, bytesMax: number = GATEWAY_LIMITS.tableBytesMax) {
    this.#bytesMax = bytesMax
    this.feeds = new FeedTable(base)
    this.documents = new DocumentTable(base, (number): Feed | undefined => this.feeds.byNumber(number)?.feed)
    this.records = new RecordTable(base)
    this.conflicts = new ConflictLog(this.records)
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

  /** The batch is stored, as a rule as its feed's head, and its operations, if it has any that count, are merged. */
  take({ stored, batch, ops, bytes, place }: DurableBatch): void {
    const lsn = this.feeds.take(stored, batch, bytes, place)
    if (ops === null || bytes[0] === BATCH_HIDDEN) return
    const { seq, hlc } = batch.header
    const source = { feed: stored.feed, seq, hlc, lsn }
    if (isSeries(stored.feed)) return this.documents.merge(stored.space, shownOps(ops, stored.feed, hlc), source, null)
    // Of a fill we can't say what its author had written before.
    if (place !== undefined) return this.documents.merge(stored.space, ops, source, null)
    let number = 0
    this.documents.merge(stored.space, ops, source, (rival) =>
      this.conflicts.note(stored.space, rival, ops, source, (number += 1)),
    )
  }

  /**
   * Batches leave the log. A cut takes back what they have changed: such documents are folded anew from what is left. What
   * a checkpoint declared dead has been overtaken already, so only the deletes and removals among it leave their documents.
   * What rests on damaged ones stays: it was merged when they were whole, and nothing else is known of it until they come again.
   */
  drop(stored: StoredFeed, seqs: SequenceSet, end: DropEnd): void {
    if (end === LEFT) return this.#leave(stored, seqs)
    const lacking = stored.damaged.without(stored.damaged.without(seqs))
    const batches = this.feeds.drop(stored, seqs, end)
    if (end === DAMAGED) return
    const keys = keysOf(stored, batches)
    // Of what is cut and isn't here, only the documents can say what it had changed.
    const isLacking = (write: Write): boolean => write.feed === stored.feed && lacking.has(write.seq)
    if (end !== null && !lacking.isEmpty) {
      for (const key of this.documents.restingOn(stored.space, isLacking)) keys.add(key)
    }
    const isDropped = (write: Write): boolean => write.feed === stored.feed && seqs.has(write.seq)
    const uncertain = this.documents.retract(stored.space, keys, isDropped, end !== null)
    if (isSeries(stored.feed) && end === null) this.#forget(stored.space, uncertain)
    else if (uncertain.size > 0) this.refold(stored.space, uncertain)
  }

  /** What the whole feed had changed leaves the documents that these batches touched; what is left of others makes them anew. */
  #leave(stored: StoredFeed, seqs: SequenceSet): void {
    const lacking = stored.damaged.clone()
    const keys = keysOf(stored, this.feeds.drop(stored, seqs, LEFT))
    const isOfFeed = (write: Write): boolean => write.feed === stored.feed
    // Of what was damaged and has not come again only the documents know.
    const isDone = !stored.isLeaving && !lacking.isEmpty
    if (isDone) for (const key of this.documents.restingOn(stored.space, isOfFeed)) keys.add(key)
    const uncertain = this.documents.retract(stored.space, keys, isOfFeed, true)
    if (isSeries(stored.feed)) this.#forget(stored.space, uncertain)
    else if (uncertain.size > 0) this.refold(stored.space, uncertain)
  }

  /** Rows have no other batch that makes them. */
  #forget(space: Space, names: Iterable<string>): void {
    for (const name of names) this.documents.put(space, name, emptyDocument())
  }

  /** Puts documents back to what the batches say, and to what is known of damaged ones. */
  refold(space: Space, keys: ReadonlySet<string>): void {
    const kept = this.feeds.in(space).filter(({ isLeaving }) => !isLeaving)
    const feeds = kept.map(({ feed }) => ({ feed, batches: this.feeds.each(feed.key) }))
    for (const [key, document] of foldDocuments(feeds, keys, this.feeds.lsn)) {
      const before = this.documents.get(space, key)
      if (before !== undefined) mergeDocument(document, this.#unproven(before))
      this.documents.put(space, key, document)
    }
  }

  /** What of a document rests on batches that were damaged and have not come again. */
  #unproven(document: Document): Document {
    return partOf(document, ({ feed, seq }) => {
      const stored = this.feeds.get(feed.key)
      return stored?.isLeaving === false && stored.damaged.has(seq)
    })
  }

  /** Ends a row of `take`s: the documents they changed, each once. */
  settle(): Change[] {
    const changes: Change[] = []
    for (const { space, key, document } of this.documents.settle()) {
      const { collection, partition, isSeries } = space
      changes.push({ collection, partition, isSeries, key, document })
    }
    this.makeRoom()
    return changes
  }

  /** Clean documents are a cache within the same bound. */
  makeRoom(): void {
    this.documents.evict(this.#bytesMax - this.feeds.recentBytes - this.records.recentBytes)
  }
}

/** The documents that such batches touched. */
function keysOf({ feed }: StoredFeed, batches: readonly StoredBatch[]): Set<string> {
  const keys = new Set<string>()
  for (const batch of batches) for (const key of opsOfStored(feed, batch)?.ops.docs ?? []) keys.add(key)
  return keys
}
