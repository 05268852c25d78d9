import type { Batch, ChainPosition, Feed, FeedHead, Ops } from '../../runtime/model/batch.ts'
import { emptyDocument, mergeOps, type Document } from '../../runtime/model/document.ts'
import { SequenceSet } from '../../runtime/model/sequences.ts'

export interface DiskAppend {
  readonly batches: readonly {
    readonly feed: Feed
    readonly batch: Batch
    readonly ops: Ops | null
    readonly place?: 'aside' | ChainPosition
  }[]
  readonly drops?: readonly { readonly feed: Feed; readonly seqs: SequenceSet; readonly head?: ChainPosition }[]
  readonly records: readonly { readonly key: string; readonly value: Uint8Array | null }[]
}

/** What the checkers want to hear of. */
export interface DiskWatch {
  taken(feed: Feed, batch: Batch, ops: Ops | null): void
  /** Dead batches have left; `before` and `after` are the live cells of the documents. */
  dropped(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): void
}

interface Held {
  readonly batch: Batch
  readonly ops: Ops | null
}

/** One feed on the disk. */
export interface DiskFeed {
  readonly feed: Feed
  readonly batches: Map<number, Held>
  readonly retained: SequenceSet
  head: ChainPosition
  lsn: number
  bytes: number
}

const BEGINNING: ChainPosition = { seq: 0, hash: new Uint8Array(32), hlc: 0 }

/**
 * A disk with a write cache: what was appended is only there for good once `flush` has taken it. Documents are folded anew
 * from the log whenever something leaves it, so they are what the log says at any moment.
 */
export class SimulatedDisk {
  readonly feeds: Map<string, DiskFeed> = new Map<string, DiskFeed>()
  readonly documents: Map<string, Document> = new Map<string, Document>()
  readonly #records = new Map<string, Uint8Array>()
  readonly #watch: DiskWatch
  readonly #cache: DiskAppend[] = []
  #lsn = 0

  constructor(watch: DiskWatch) {
    this.#watch = watch
  }

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
    return [...this.feeds.values()].map(headOf)
  }

  head(key: string): FeedHead | undefined {
    const held = this.feeds.get(key)
    return held && headOf(held)
  }

  batch(key: string, seq: number): Batch | undefined {
    return this.feeds.get(key)?.batches.get(seq)?.batch
  }

  batches(key: string, fromSeq: number, bytesMax: number): Uint8Array[] {
    const found: Uint8Array[] = []
    const held = this.feeds.get(key)
    let bytes = 0
    for (let seq = held?.retained.next(fromSeq) ?? null; held && seq !== null; seq = held.retained.next(seq + 1)) {
      const batch = held.batches.get(seq)?.batch as Batch
      if (found.length > 0 && bytes + batch.bytes.length > bytesMax) break
      found.push(batch.bytes)
      bytes += batch.bytes.length
    }
    return found
  }

  document(place: { readonly collection: string; readonly partition: string }, key: string): Document | undefined {
    return this.documents.get(`${place.collection}/${place.partition}/${key}`)
  }

  scanRecords(prefix: string): { readonly key: string; readonly value: Uint8Array }[] {
    const found = [...this.#records].filter(([key]) => key.startsWith(prefix))
    return found.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => ({ key, value }))
  }

  getRecord(key: string): Uint8Array | undefined {
    return this.#records.get(key)
  }

  /** A copy as it would be made with `cp`, of what is there for good. */
  copy(watch: DiskWatch): SimulatedDisk {
    const copy = new SimulatedDisk(watch)
    for (const [key, feed] of this.feeds) {
      copy.feeds.set(key, { ...feed, batches: new Map(feed.batches), retained: feed.retained.clone() })
    }
    for (const [key, value] of this.#records) copy.#records.set(key, value)
    copy.#lsn = this.#lsn
    copy.#foldAll()
    return copy
  }

  #take(append: DiskAppend): void {
    for (const { key, value } of append.records) {
      if (value) this.#records.set(key, value)
      else this.#records.delete(key)
    }
    for (const batch of append.batches) this.#takeBatch(batch)
    for (const drop of append.drops ?? []) this.#drop(drop)
  }

  #takeBatch({ feed, batch, ops, place }: DiskAppend['batches'][number]): void {
    const held = this.feeds.get(feed.key) ?? this.#addFeed(feed)
    const { seq, hlc } = batch.header
    if (place === undefined && seq !== held.head.seq + 1) throw new Error(`Gap on disk: ${seq} after ${held.head.seq}`)
    if (!held.batches.has(seq)) held.bytes += batch.bytes.length
    held.batches.set(seq, { batch, ops })
    held.retained.add(seq)
    held.lsn = ++this.#lsn
    if (place === undefined) held.head = { seq, hash: batch.hash, hlc }
    else if (place !== 'aside') held.head = place
    if (ops) this.#merge(feed, batch, ops)
    this.#watch.taken(feed, batch, ops)
  }

  #drop({ feed, seqs, head }: NonNullable<DiskAppend['drops']>[number]): void {
    const held = this.feeds.get(feed.key)
    if (!held) return
    let isShown = false
    for (const [seq, { batch, ops }] of held.batches) {
      if (!seqs.has(seq)) continue
      held.bytes -= batch.bytes.length
      isShown ||= ops !== null
      held.batches.delete(seq)
    }
    held.retained.delete(seqs)
    if (head) held.head = head
    if (!isShown) return
    const before = liveCells(this, feed)
    this.#foldAll(feed)
    if (!head) this.#watch.dropped(before, liveCells(this, feed))
  }

  #addFeed(feed: Feed): DiskFeed {
    const held: DiskFeed = { feed, batches: new Map(), retained: new SequenceSet(), head: BEGINNING, lsn: 0, bytes: 0 }
    this.feeds.set(feed.key, held)
    return held
  }

  /** Documents of the collection and partition of `feed`, or of all, are made anew from the log. */
  #foldAll(feed: Feed | null = null): void {
    const { collection, partition } = feed?.descriptor ?? { collection: '', partition: '' }
    const prefix = `${collection}/${partition}/`
    for (const name of this.documents.keys()) if (feed === null || name.startsWith(prefix)) this.documents.delete(name)
    for (const held of this.feeds.values()) {
      const { descriptor } = held.feed
      if (feed !== null && (descriptor.collection !== collection || descriptor.partition !== partition)) continue
      for (const { batch, ops } of held.batches.values()) if (ops) this.#merge(held.feed, batch, ops)
    }
  }

  #merge(feed: Feed, batch: Batch, ops: Ops): void {
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

function headOf({ feed, head, lsn, retained, bytes }: DiskFeed): FeedHead {
  return { feed, ...head, lsn, bytes, retained }
}

/** Cells that have a value, with their stamps; of the collection and partition of `feed`, or of all but the system's. */
export function liveCells(disk: SimulatedDisk, feed: Feed | null = null): Map<string, string> {
  const cells = new Map<string, string>()
  const prefix = feed === null ? '' : `${feed.descriptor.collection}/${feed.descriptor.partition}/`
  for (const [name, { paths, values, writes }] of disk.documents) {
    if (!name.startsWith(prefix) || (feed === null && name.startsWith('$'))) continue
    paths.forEach((path, i) => {
      const { hlc, index, origin } = writes[i] as Document['writes'][number]
      if (values[i] !== null) cells.set(`${name} ${path}`, `${JSON.stringify(values[i])} ${hlc}.${index}@${origin}`)
    })
  }
  return cells
}
