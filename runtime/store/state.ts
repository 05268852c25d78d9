import { GATEWAY_LIMITS } from '../base/limits.ts'
import { LOCKED, type Batch, type Content, type Feed, type Ops } from '../model/batch.ts'
import { emptyDocument, mergeDocument, type Document, type Write } from '../model/document.ts'
import { NO_KEYS, type BodyKeys } from '../model/keys.ts'
import { isSeries, shownOps } from '../model/rows.ts'
import type { SequenceSet } from '../model/sequences.ts'
import type { AppendBatch, Change, Space } from '../ports/store.ts'
import { decodeBatch } from '../wire/batch.ts'
import { readBody } from '../wire/encryption.ts'
import type { Base } from './base.ts'
import { ConflictLog } from './conflicts.ts'
import { DocumentTable } from './documents.ts'
import { foldDocuments, opsOfStored, partOf } from './fold.ts'
import { BATCH_HIDDEN, DAMAGED, FeedTable, LEFT, type DropEnd, type StoredBatch, type StoredFeed } from './feeds.ts'
import { RecordTable } from './records.ts'

/** Only the signature depends on the mesh, and it isn't looked at here. */
const ANY_MESH = new Uint8Array(16)

/** A batch that has become durable; `bytes` are the store's to keep. */
export interface DurableBatch {
  readonly stored: StoredFeed
  readonly batch: Batch
  readonly ops: Content
  readonly bytes: StoredBatch
  readonly place: AppendBatch['place']
}

/** All that a store knows: feeds, documents and records in memory, over what lies beneath. Only durable things enter. */
export class State {
  readonly feeds: FeedTable
  readonly documents: DocumentTable
  readonly records: RecordTable
  readonly keys: BodyKeys
  readonly #bytesMax: number
  readonly conflicts: ConflictLog

  constructor(base: Base, bytesMax: number = GATEWAY_LIMITS.tableBytesMax, keys: BodyKeys = NO_KEYS) {
    this.#bytesMax = bytesMax
    this.keys = keys
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
  take({ stored, batch, ops: content, bytes, place }: DurableBatch): void {
    const lsn = this.feeds.take(stored, batch, bytes, place)
    // Its key may have come while it was on its way.
    const ops = content === LOCKED ? this.#read(stored.feed, batch) : content
    if (ops === LOCKED) this.feeds.lock(stored, batch.header.seq)
    if (ops === null || ops === LOCKED || bytes[0] === BATCH_HIDDEN) return
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

  #read(feed: Feed, { header, body }: Batch): Content {
    const ops = readBody(feed, header, body, this.keys)
    if (ops.ok) return ops.value
    return ops.error.code === 'no-key' ? LOCKED : null
  }

  /**
   * Merges locked batches of a feed whose keys have come, from a sequence on and of so many bytes. Returns from where it goes
   * on, null at the end, and which of them don't open though their key is here: they change nothing, here as elsewhere.
   */
  unlock(
    stored: StoredFeed,
    fromSeq: number,
    bytesMax: number,
  ): { readonly next: number | null; readonly bad: number[] } {
    const bad: number[] = []
    let next: number | null = null
    for (const { seq, bytes } of this.feeds.locked(stored, fromSeq, bytesMax)) {
      next = seq + 1
      const batch = decodeBatch(ANY_MESH, bytes.subarray(1))
      const ops = batch.ok ? this.#read(stored.feed, batch.value) : LOCKED
      if (!batch.ok || ops === LOCKED) continue
      this.feeds.unlock(stored, seq)
      if (ops === null) bad.push(seq)
      else this.#show(stored, ops, batch.value.header.hlc, seq)
    }
    return { next, bad }
  }

  /** As if it had come just now, after everything else: whoever asks what has changed since must find it. */
  #show({ feed, space }: StoredFeed, ops: Ops, hlc: number, seq: number): void {
    const source = { feed, seq, hlc, lsn: this.feeds.lsn + 1 }
    this.documents.merge(space, shownOps(ops, feed, hlc), source, null)
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
    const keys = this.#keysOf(stored, batches)
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
    const keys = this.#keysOf(stored, this.feeds.drop(stored, seqs, LEFT))
    const isOfFeed = (write: Write): boolean => write.feed === stored.feed
    // Of what was damaged and has not come again only the documents know.
    const isDone = !stored.isLeaving && !lacking.isEmpty
    if (isDone) for (const key of this.documents.restingOn(stored.space, isOfFeed)) keys.add(key)
    const uncertain = this.documents.retract(stored.space, keys, isOfFeed, true)
    if (isSeries(stored.feed)) this.#forget(stored.space, uncertain)
    else if (uncertain.size > 0) this.refold(stored.space, uncertain)
  }

  /** The documents that such batches touched. */
  #keysOf({ feed }: StoredFeed, batches: readonly StoredBatch[]): Set<string> {
    const keys = new Set<string>()
    for (const batch of batches) for (const key of opsOfStored(feed, batch, this.keys)?.ops.docs ?? []) keys.add(key)
    return keys
  }

  /** Rows have no other batch that makes them. */
  #forget(space: Space, names: Iterable<string>): void {
    for (const name of names) this.documents.put(space, name, emptyDocument())
  }

  /** Puts documents back to what the batches say, and to what is known of damaged ones. */
  refold(space: Space, keys: ReadonlySet<string>): void {
    const kept = this.feeds.in(space).filter(({ isLeaving }) => !isLeaving)
    const feeds = kept.map(({ feed }) => ({ feed, batches: this.feeds.each(feed.key) }))
    for (const [key, document] of foldDocuments(feeds, keys, this.feeds.lsn, this.keys)) {
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
      const { collection, partition, isSeries, isEncrypted } = space
      changes.push({ collection, partition, isSeries, isEncrypted, key, document })
    }
    this.makeRoom()
    return changes
  }

  /** Clean documents are a cache within the same bound. */
  makeRoom(): void {
    this.documents.evict(this.#bytesMax - this.feeds.recentBytes - this.records.recentBytes)
  }
}
