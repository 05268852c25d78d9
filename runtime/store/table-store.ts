import { assert, MarramError } from '../base/errors.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import { LOCKED, type Feed, type FeedHead } from '../model/batch.ts'
import type { BodyKeys } from '../model/keys.ts'
import type { SequenceSet } from '../model/sequences.ts'
import type { Document } from '../model/document.ts'
import type { Log as Logger } from '../ports/log.ts'
import type {
  Append,
  AppendBatch,
  Change,
  Conflict,
  DocumentEntry,
  DocumentPlace,
  KeyValue,
  ScanRange,
  Space,
  StorageStatus,
  Store,
} from '../ports/store.ts'
import type { TokenBucket } from './bucket.ts'
import { CONFLICTS } from './conflicts.ts'
import { bytesOf, contributionOfHead, exchange } from './digest.ts'
import { entryBytesMax } from './entries.ts'
import type { DocumentTable } from './documents.ts'
import { DAMAGED, LEFT, type DropEnd, type SequencedBatch, type StoredFeed, type Tail } from './feeds.ts'
import { Flusher, type Flushable } from './flusher.ts'
import { memoryOfOps } from './size.ts'
import type { State } from './state.ts'

/** An append on its way. */
export interface PendingAppend extends Flushable {
  readonly batches: readonly PendingBatch[]
  readonly drops: readonly PendingDrop[]
  readonly records: readonly KeyValue[]
  readonly resolve: () => void
  readonly reject: (error: MarramError) => void
  /** Lets the next append continue what this one would have continued. The latest first. */
  readonly undo: () => void
}

export interface PendingBatch extends Omit<AppendBatch, 'place'> {
  readonly stored: StoredFeed
  readonly place: AppendBatch['place']
}

export interface PendingDrop {
  readonly stored: StoredFeed
  readonly seqs: SequenceSet
  readonly end: DropEnd
}

/** A batch that its key does not open: its author encrypted something else than its header says. */
export interface Unreadable {
  readonly feed: Feed
  readonly seq: number
}

/** What one turn of the event loop unlocks. */
const UNLOCK_BYTES = 131_072
/** More than the descriptor of any feed takes. */
const DESCRIPTOR_BYTES_MAX = 512

/**
 * The part of a store that is the same on a disk and in memory: reads answered from the state, appends gathered into
 * flushes, subscribers told. What a flush is, and when there is room for one, is the adapter's.
 */
export abstract class TableStore implements Store {
  protected readonly state: State
  protected readonly log: Logger
  protected readonly flusher: Flusher<PendingAppend>
  readonly #appendBytesMax: number
  readonly #listeners = new Set<(change: Change) => void>()
  /** Why no append is taken any more, or for now. */
  #refusal: MarramError | null = null

  /** `flushMax`: what one flush can take at the very most. */
  constructor(state: State, log: Logger, bucket: TokenBucket | null, flushMax: Flushable) {
    this.state = state
    this.log = log
    this.#appendBytesMax = Math.min(GATEWAY_LIMITS.appendBytesMax, flushMax.bytes)
    this.flusher = new Flusher<PendingAppend>(
      { hasRoom: (size) => this.hasRoom(size), flush: (appends, done) => this.flush(appends, done) },
      bucket,
      { bytes: Math.min(GATEWAY_LIMITS.flushBytesMax, flushMax.bytes), memory: flushMax.memory },
    )
  }

  protected abstract hasRoom(size: Flushable): boolean
  /** Makes the appends durable and lets them take effect; `done` as in FlushTarget. */
  protected abstract flush(appends: readonly PendingAppend[], done: () => void): void
  abstract status(): StorageStatus
  abstract close(): Promise<void>

  append(append: Append): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#refusal !== null) return reject(this.#refusal)
      const bytes = this.#sizeOf(append)
      const fault = this.#faultOf(bytes)
      if (fault !== null) return reject(fault)
      if (bytes === 0) return resolve()
      const expected = this.#expect(append)
      const memory = append.batches.reduce(
        (sum, { ops }) => sum + (ops === null || ops === LOCKED ? 0 : memoryOfOps(ops)),
        bytes,
      )
      this.flusher.add({ bytes, memory, ...expected, records: append.records.map(copyOf), resolve, reject })
    })
  }

  heads(): Iterable<FeedHead> {
    return this.state.feeds.heads()
  }

  head(feedKey: string): FeedHead | undefined {
    return this.state.feeds.get(feedKey)?.head ?? undefined
  }

  lastLsn(): number {
    return this.state.feeds.lsn
  }

  batches(feedKey: string, fromSeq: number, bytesMax: number): Uint8Array[] {
    return this.state.feeds.batches(feedKey, fromSeq, bytesMax).map(({ bytes }) => bytes.subarray(1))
  }

  get(space: Space, key: string): Document | undefined {
    return this.state.documents.get(space, key)
  }

  getToWrite(space: Space, key: string): Document | undefined {
    return this.state.documents.getToWrite(space, key)
  }

  scan(space: Space, range: ScanRange): DocumentEntry[] {
    return this.state.documents.scan(space, range)
  }

  last(space: Space, prefix: string): DocumentEntry | undefined {
    return this.state.documents.last(space, prefix)
  }

  referrers(to: DocumentPlace, limit: number): DocumentPlace[] {
    return this.state.documents.referrers(to, limit)
  }

  /** Which feeds are written here: of what loses to them it is known that neither side had seen the other. */
  knowOwn(isOwn: (feed: Feed) => boolean): void {
    this.state.conflicts.isOwn = isOwn
  }

  conflicts(): Conflict[] {
    const records = this.state.records.scan(CONFLICTS).toReversed()
    return records.map(({ value }) => JSON.parse(Buffer.from(value as Uint8Array).toString()) as Conflict)
  }

  spaces(): Space[] {
    return this.state.documents.spaces().map(({ collection, partition, isSeries, isEncrypted }) => ({
      collection,
      partition,
      ...(isSeries && { isSeries }),
      ...(isEncrypted && { isEncrypted }),
    }))
  }

  summary(space: Space): { readonly count: number; readonly digest: Uint8Array } {
    const table = this.state.documents.space(space)
    const digest = space.isSeries === true ? this.#digestOfHeads(space) : (table?.digest ?? 0n)
    return { count: table?.count ?? 0, digest: bytesOf(digest) }
  }

  subscribe(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  getRecord(key: string): Uint8Array | undefined {
    return this.state.records.get(key)
  }

  scanRecords(prefix: string): KeyValue[] {
    return this.state.records.scan(prefix)
  }

  /** For verification: batches with the byte in front that says whether they count. */
  storedBatches(feedKey: string, fromSeq: number, bytesMax: number): SequencedBatch[] {
    return this.state.feeds.batches(feedKey, fromSeq, bytesMax)
  }

  /** Keys have come: what waited for them is merged, in slices; the event loop runs meanwhile. */
  async unlock(): Promise<readonly Unreadable[]> {
    const unreadable: Unreadable[] = []
    for (const stored of this.state.feeds.all()) {
      for (let from: number | null = 1; from !== null && !stored.locked.isEmpty;) {
        const { next, bad } = this.state.unlock(stored, from, UNLOCK_BYTES)
        unreadable.push(...bad.map((seq) => ({ feed: stored.feed, seq })))
        this.announce(this.state.settle(), [])
        from = next
        await this.unlocked()
      }
    }
    return unreadable
  }

  /** Some batches were unlocked: makes room for more. */
  protected abstract unlocked(): Promise<void>

  get keys(): BodyKeys {
    return this.state.keys
  }

  /** For verification and repair. */
  get documents(): DocumentTable {
    return this.state.documents
  }

  /** Subscribers hear of what a flush has changed, then its appends resolve. */
  protected announce(changes: readonly Change[], appends: readonly PendingAppend[]): void {
    for (const change of changes) for (const listener of this.#listeners) this.#tell(listener, change)
    for (const append of appends) append.resolve()
  }

  /** Appends are refused from now on; those that wait already go on. */
  protected refuseNew(error: MarramError): void {
    this.#refusal = error
  }

  /** Appends are refused from now on; those that no flush has begun with as well. Null: they are taken again. */
  protected refuse(error: MarramError | null): void {
    this.#refusal = error
    if (error !== null) this.rejectQueued(error)
  }

  /** Nothing of them was written: what they would have continued is continued by the next. */
  protected rejectQueued(error: MarramError): void {
    const queued = this.flusher.withdraw()
    for (const { undo } of queued.toReversed()) undo()
    for (const { reject } of queued) reject(error)
  }

  #digestOfHeads(space: Space): bigint {
    return this.state.feeds
      .in(space)
      .reduce((digest, { head }) => (head === null ? digest : exchange(digest, 0n, contributionOfHead(head))), 0n)
  }

  #faultOf(bytes: number): MarramError | null {
    if (bytes > this.#appendBytesMax) {
      const sentence = `Cannot append ${bytes} bytes at once: at most ${this.#appendBytesMax} are taken`
      return new MarramError('too-large', sentence)
    }
    if (bytes + this.flusher.queuedBytes > GATEWAY_LIMITS.appendQueueBytesMax) {
      const sentence = `Cannot append: ${this.flusher.queuedBytes} bytes wait for the disk, it must catch up first`
      return new MarramError('overloaded', sentence)
    }
    return null
  }

  /** An upper bound of what it takes in the ring. */
  #sizeOf({ batches, drops, records }: Append): number {
    let bytes = 0
    for (const { feed, batch } of batches) {
      const isAnnounced = this.state.feeds.get(feed.key)?.isAnnounced === true
      bytes += entryBytesMax(batch.bytes.length) + (isAnnounced ? 0 : entryBytesMax(DESCRIPTOR_BYTES_MAX))
    }
    for (const { seqs } of drops ?? []) bytes += entryBytesMax(8 * seqs.runs.length)
    for (const { key, value } of records) {
      const keyBytes = Buffer.byteLength(key)
      assert(keyBytes > 0 && keyBytes <= GATEWAY_LIMITS.recordKeyBytesMax, 'a record has a key of 1 to 1,000 bytes')
      bytes += entryBytesMax(keyBytes + (value?.length ?? 0))
    }
    return bytes
  }

  /** All of them or, when one is out of order, none. */
  #expect(append: Append): Pick<PendingAppend, 'batches' | 'drops' | 'undo'> {
    const { feeds } = this.state
    const before: (readonly [StoredFeed, Tail])[] = []
    const undo = (): void => {
      for (const [stored, tail] of before.toReversed()) stored.tail = tail
    }
    try {
      const batches = append.batches.map(({ feed, batch, ops, place }) => {
        const stored = feeds.adopt(feed)
        before.push([stored, feeds.expect(stored, batch, place)])
        return { feed, batch, ops, stored, place }
      })
      const drops = (append.drops ?? []).map(({ feed, seqs, head, isDamaged = false, isLeft = false }): PendingDrop => {
        const stored = feeds.adopt(feed)
        before.push([stored, stored.tail])
        if (head !== undefined) stored.tail = head
        return { stored, seqs, end: isDamaged ? DAMAGED : isLeft ? LEFT : (head ?? null) }
      })
      return { batches, drops, undo }
    } catch (error) {
      undo()
      throw error
    }
  }

  #tell(listener: (change: Change) => void, change: Change): void {
    try {
      listener(change)
    } catch (error) {
      // A watcher's mistake must not keep a writer from hearing that its write is durable.
      this.log.error('watcher-failed', { collection: change.collection, key: change.key, error: String(error) })
    }
  }
}

function copyOf({ key, value }: KeyValue): KeyValue {
  return { key, value: value === null ? null : Uint8Array.from(value) }
}
