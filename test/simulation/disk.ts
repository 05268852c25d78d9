import { hash } from 'node:crypto'
import { equal } from '../../runtime/base/bytes.ts'
import {
  LOCKED,
  type Batch,
  type ChainPosition,
  type Content,
  type Feed,
  type FeedHead,
  type Ops,
} from '../../runtime/model/batch.ts'
import { emptyDocument, mergeDocument, mergeOps, type Document } from '../../runtime/model/document.ts'
import { randomInteger, type Random } from '../../runtime/base/random.ts'
import type { Place } from '../../runtime/model/interest.ts'
import { isSystemName, placeOf } from '../../runtime/model/names.ts'
import { COUNTED_KEY } from './writes.ts'
import { SequenceSet } from '../../runtime/model/sequences.ts'
import type { Stamp } from '../../runtime/model/stamp.ts'
import { historyKey } from '../../runtime/sync/history.ts'
import { partOf } from '../../runtime/store/fold.ts'

interface DiskDrop {
  readonly feed: Feed
  readonly seqs: SequenceSet
  readonly head?: ChainPosition
  readonly isDamaged?: boolean
  readonly isLeft?: boolean
}

export interface DiskAppend {
  readonly batches: readonly {
    readonly feed: Feed
    readonly batch: Batch
    readonly ops: Content
    readonly place?: 'aside' | ChainPosition
  }[]
  readonly drops?: readonly DiskDrop[]
  readonly records: readonly { readonly key: string; readonly value: Uint8Array | null }[]
}

/** What the checkers want to hear of. */
export interface DiskWatch {
  /** What a locked batch changes now: its key may have come meanwhile. */
  read(feed: Feed, batch: Batch): Content
  taken(feed: Feed, batch: Batch, ops: Ops | null): void
  /** Dead batches have left; `before` and `after` are the live cells of the documents. */
  dropped(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>, mayChange: boolean): void
  /** A document may show something else; `mayGoBack`: void batches have left, or others while some were damaged. */
  changed(name: string, mayGoBack: boolean): void
}

interface Held {
  readonly batch: Batch
  readonly ops: Ops | null
  /** It waits for its key. */
  readonly isLocked?: boolean
  /** What is read in its place: some of its bytes have turned. */
  readonly spoiled?: Uint8Array
}

/** One feed on the disk. */
export interface DiskFeed {
  readonly feed: Feed
  /** Of the record of its past. */
  readonly historyKey: string
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
  /** Where feeds stand when everything in the cache is taken. */
  readonly #tails = new Map<string, ChainPosition>()
  /** Batches that were taken out as damaged, and what they had changed: that stays until they come again. */
  readonly #rotten = new Map<string, { readonly feed: Feed; readonly seq: number; readonly held: Held }>()
  /** Documents that were changed behind the gateway's back and have not been derived anew. */
  readonly #altered = new Set<string>()
  /** What `cells` has found, by place and by document, until anything there changes. */
  readonly #digests = new Map<string, Uint8Array>()
  readonly #texts = new Map<string, string>()
  #lsn = 0

  constructor(watch: DiskWatch) {
    this.#watch = watch
  }

  /** False when a batch does not follow what was appended before: then nothing of it is taken. */
  append(append: DiskAppend): boolean {
    const tails = new Map<string, ChainPosition>()
    for (const { feed, batch, place } of append.batches) {
      const tail = tails.get(feed.key) ?? this.#tails.get(feed.key) ?? this.feeds.get(feed.key)?.head ?? BEGINNING
      const { seq, prev, hlc } = batch.header
      if (place === undefined && (seq !== tail.seq + 1 || (tail.seq > 0 && !equal(prev, tail.hash)))) return false
      if (place === undefined) tails.set(feed.key, { seq, hash: batch.hash, hlc })
      else if (place !== 'aside') tails.set(feed.key, place)
    }
    for (const { feed, head } of append.drops ?? []) if (head) tails.set(feed.key, head)
    for (const [key, tail] of tails) this.#tails.set(key, tail)
    this.#cache.push(append)
    return true
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
    this.#tails.clear()
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

  /** What is read of it, sound or not. */
  bytesOf(key: string, seq: number): Uint8Array | undefined {
    const held = this.feeds.get(key)?.batches.get(seq)
    return held?.spoiled ?? held?.batch.bytes
  }

  /** Whether it is here as its author made it. */
  isSound(key: string, seq: number): boolean {
    const held = this.feeds.get(key)?.batches.get(seq)
    return held !== undefined && held.spoiled === undefined
  }

  batches(key: string, fromSeq: number, bytesMax: number): Uint8Array[] {
    const found: Uint8Array[] = []
    const held = this.feeds.get(key)
    let bytes = 0
    for (let seq = held?.retained.next(fromSeq) ?? null; held && seq !== null; seq = held.retained.next(seq + 1)) {
      const { batch, spoiled } = held.batches.get(seq) as Held
      if (found.length > 0 && bytes + batch.bytes.length > bytesMax) break
      found.push(spoiled ?? batch.bytes)
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
    for (const [name, rotten] of this.#rotten) copy.#rotten.set(name, rotten)
    copy.#lsn = this.#lsn
    for (const [name, document] of this.documents) {
      copy.documents.set(name, { ...document, values: [...document.values], writes: [...document.writes] })
    }
    return copy
  }

  /**
   * Takes out a few batches, as a repair does with damaged ones; those that `mayGo`, of the mesh's own collections only `withSystem`.
   * Returns how many.
   */
  rot(random: Random, mayGo: (feed: Feed, seq: number) => boolean, withSystem: boolean): number {
    let count = 0
    for (const held of this.feeds.values()) {
      if ((isSystemName(held.feed.descriptor.collection) && !withSystem) || random() < 0.7) continue
      const seqs = [...held.batches.keys()].filter((seq) => random() < 0.1 && mayGo(held.feed, seq)).slice(0, 3)
      for (const seq of seqs) this.#takeOut(held, seq)
      count += seqs.length
    }
    return count
  }

  /** Turns a byte of a few batches, which nobody notices yet; of the same. Returns how many. */
  spoil(random: Random, mayGo: (feed: Feed, seq: number) => boolean, withSystem: boolean): number {
    let count = 0
    for (const { feed, batches } of this.feeds.values()) {
      if ((isSystemName(feed.descriptor.collection) && !withSystem) || random() < 0.5) continue
      const seqs = [...batches.keys()].filter((seq) => random() < 0.2 && mayGo(feed, seq)).slice(-3)
      for (const seq of seqs) {
        const held = batches.get(seq) as Held
        const spoiled = (held.spoiled ?? held.batch.bytes).slice()
        const at = randomInteger(random, 0, spoiled.length - 1)
        spoiled[at] = (spoiled[at] as number) ^ (1 << randomInteger(random, 0, 7))
        batches.set(seq, { ...held, spoiled })
      }
      count += seqs.length
    }
    return count
  }

  /**
   * Turns a bit of a stored batch: of the name of the batch before in its header, or of its signature, with which it still reads as one;
   * or of its body, with which it doesn't.
   */
  turn(key: string, seq: number, what: 'prev' | 'signature' | 'body' = 'prev'): void {
    const { batches } = this.feeds.get(key) as DiskFeed
    const held = batches.get(seq) as Held
    const spoiled = held.batch.bytes.slice()
    const { header, signature, body } = held.batch
    const at = Buffer.from(spoiled).indexOf({ prev: header.prev, signature, body }[what])
    spoiled[at] = (spoiled[at] as number) ^ 1
    batches.set(seq, { ...held, spoiled })
  }

  /** A damaged batch leaves the log: what it had changed stays. */
  #takeOut(held: DiskFeed, seq: number): void {
    const gone = held.batches.get(seq)
    if (gone === undefined) return
    held.bytes -= gone.batch.bytes.length
    held.batches.delete(seq)
    held.retained.deleteRange(seq, seq)
    const { batch, ops } = gone
    this.#rotten.set(`${held.feed.key} ${seq}`, { feed: held.feed, seq, held: { batch, ops } })
  }

  /** A digest of what is shown there, whatever has changed it. */
  cells(place: Place): Uint8Array {
    const name = placeOf(place)
    const known = this.#digests.get(name)
    if (known !== undefined) return known
    const names = [...this.documents.keys()].filter((document) => document.startsWith(`${name}/`)).sort()
    const texts = names.map((document) => this.#textOf(document)).filter((text) => text !== '')
    const digest = new Uint8Array(hash('sha256', `[${texts.join()}]`, 'buffer'))
    this.#digests.set(name, digest)
    return digest
  }

  /** Empty when nothing is left there: it is as if there were no document. */
  #textOf(name: string): string {
    const known = this.#texts.get(name)
    if (known !== undefined) return known
    const cells = new Map<string, string>()
    addCells(cells, name, this.documents.get(name) as Document)
    const text = JSON.stringify([...cells].sort(([a], [b]) => (a < b ? -1 : 1))).slice(1, -1)
    this.#texts.set(name, text)
    return text
  }

  /** What waited for its key is shown as far as that is here now. */
  unlock(): void {
    for (const { feed, batches } of this.feeds.values()) {
      for (const [seq, held] of batches) {
        const content = held.isLocked === true ? this.#watch.read(feed, held.batch) : LOCKED
        if (content === LOCKED) continue
        const { batch, spoiled } = held
        batches.set(seq, { batch, ops: content, ...(spoiled && { spoiled }) })
        if (content === null) continue
        this.#merge(feed, batch, content)
        this.#tellChanged(feed, content.docs, false)
      }
    }
  }

  /** Derives the documents of a place anew; how many differed. */
  examine({ collection, partition }: { readonly collection: string; readonly partition: string }): {
    readonly documents: number
    readonly damaged: readonly { readonly feedKey: string; readonly seq: number }[]
  } {
    const prefix = `${collection}/${partition}/`
    const feeds = [...this.feeds.values()].filter(({ feed: { descriptor } }) => {
      return descriptor.collection === collection && descriptor.partition === partition
    })
    const [first] = feeds
    if (first === undefined) return { documents: 0, damaged: [] }
    const before = cellsOf(this, prefix)
    const keys = new Set([...this.documents.keys()].filter((name) => name.startsWith(prefix)))
    for (const { batches } of feeds) {
      for (const { ops } of batches.values()) for (const key of ops?.docs ?? []) keys.add(prefix + key)
    }
    this.#fold(first.feed, new Set([...keys].map((name) => name.slice(prefix.length))))
    for (const name of keys) this.#watch.changed(name, true)
    const after = cellsOf(this, prefix)
    const names = new Set([...before.keys(), ...after.keys()])
    const changed = [...names].filter((name) => before.get(name) !== after.get(name))
    const damaged = feeds.flatMap(({ feed, batches }) =>
      [...batches].filter(([, held]) => held.spoiled !== undefined).map(([seq]) => ({ feedKey: feed.key, seq })),
    )
    return { documents: new Set(changed.map((name) => name.slice(0, name.lastIndexOf(' ')))).size, damaged }
  }

  /** Changes what a few documents show where it `mayChange`, or loses some of it, without a batch that says so; returns how many. */
  alter(random: Random, mayChange: (place: Place) => boolean): number {
    let count = 0
    for (const [name, document] of this.documents) {
      const [collection, partition] = name.split('/') as [string, string]
      if (isSystemName(collection) || random() < 0.8 || !mayChange({ collection, partition })) continue
      // What a counter or a set shows is what its gateway goes on from; of these nothing can be made up.
      const at = document.values.findIndex((value) => typeof value === 'number' || typeof value === 'string')
      if (at < 0 || name.endsWith(`/${COUNTED_KEY}`)) continue
      this.#altered.add(name)
      this.#digests.clear()
      this.#texts.delete(name)
      const draw = random()
      if (draw < 0.3) this.documents.delete(name)
      else if (draw < 0.6) document.values[at] = 'altered'
      else {
        for (const list of ['paths', 'values', 'writes'] as const)
          Object.assign(document, { [list]: document[list].toSpliced(at, 1) })
      }
      this.#watch.changed(name, true)
      count += 1
    }
    return count
  }

  /** What documents show is not what the batches say. */
  get isAltered(): boolean {
    return this.#altered.size > 0
  }

  /** What was taken out as damaged and has not come back, or is damaged and will be. */
  *damaged(): Generator<{ readonly feedKey: string; readonly seq: number }> {
    for (const { feed, seq } of this.#rotten.values()) yield { feedKey: feed.key, seq }
    for (const { feed, batches } of this.feeds.values())
      for (const [seq, { spoiled }] of batches) if (spoiled !== undefined) yield { feedKey: feed.key, seq }
  }

  /** Something that was taken out as damaged has not come back. */
  get isRotten(): boolean {
    return this.#rotten.size > 0
  }

  #take(append: DiskAppend): void {
    for (const { key, value } of append.records) {
      if (value) this.#records.set(key, value)
      else this.#records.delete(key)
    }
    for (const batch of append.batches) this.#takeBatch(batch)
    this.#drop(append.drops ?? [])
  }

  #takeBatch({ feed, batch, ops: content, place }: DiskAppend['batches'][number]): void {
    const known = content === LOCKED ? this.#watch.read(feed, batch) : content
    const ops = known === LOCKED ? null : known
    const held = this.feeds.get(feed.key) ?? this.#addFeed(feed)
    const { seq, hlc } = batch.header
    if (!held.batches.has(seq)) held.bytes += batch.bytes.length
    held.batches.set(seq, { batch, ops, ...(known === LOCKED && { isLocked: true }) })
    held.retained.add(seq)
    this.#rotten.delete(`${feed.key} ${seq}`)
    held.lsn = ++this.#lsn
    if (place === undefined) held.head = { seq, hash: batch.hash, hlc }
    else if (place !== 'aside') held.head = place
    if (ops) this.#merge(feed, batch, ops)
    this.#watch.taken(feed, batch, ops)
    this.#tellChanged(feed, ops?.docs ?? [], false)
  }

  #tellChanged({ descriptor: { collection, partition } }: Feed, keys: Iterable<string>, mayGoBack: boolean): void {
    if (isSystemName(collection)) return
    for (const key of keys) this.#watch.changed(`${collection}/${partition}/${key}`, mayGoBack)
  }

  /** All of it at once: what leaves together is never seen without the rest. */
  #drop(all: readonly DiskDrop[]): void {
    for (const { feed, seqs } of all.filter(({ isDamaged }) => isDamaged)) {
      const held = this.feeds.get(feed.key)
      for (const seq of seqs.values()) if (held) this.#takeOut(held, seq)
    }
    const drops = all.filter(({ isDamaged }) => isDamaged !== true)
    const touched = drops.map(({ feed, seqs, head, isLeft }) => {
      const keys = this.#remove(feed, seqs, head)
      if (isLeft === true) return { feed, keys: new Set([...keys, ...this.#leave(feed)]) }
      return { feed, keys: new Set([...keys].filter((key) => this.#shows(feed, key, seqs))) }
    })
    const cells = (): Map<string, string> => {
      return new Map(touched.flatMap(({ feed, keys }) => [...liveCells(this, feed, keys)]))
    }
    const before = cells()
    const mayGoBack = this.isRotten || this.isAltered
    for (const { feed, keys } of touched) if (keys.size > 0) this.#fold(feed, keys)
    const isOfDead = drops.every(({ head, isLeft = false }) => head === undefined && !isLeft)
    if (drops.length > 0 && isOfDead) this.#watch.dropped(before, cells(), mayGoBack)
    for (const { feed, keys } of touched) this.#tellChanged(feed, keys, !isOfDead || mayGoBack)
  }

  /** Returns the documents that the batches had touched. */
  #remove(feed: Feed, seqs: SequenceSet, head: ChainPosition | undefined): Set<string> {
    const touched = new Set<string>()
    const held = this.feeds.get(feed.key)
    if (!held) return touched
    for (const [seq, { batch, ops }] of held.batches) {
      if (!seqs.has(seq)) continue
      held.bytes -= batch.bytes.length
      for (const key of ops?.docs ?? []) touched.add(key)
      held.batches.delete(seq)
    }
    held.retained.delete(seqs)
    for (const [name, rotten] of this.#rotten) {
      if (rotten.feed.key !== feed.key || !seqs.has(rotten.seq)) continue
      for (const key of rotten.held.ops?.docs ?? []) touched.add(key)
      this.#rotten.delete(name)
    }
    if (head) held.head = head
    return touched
  }

  /** A feed of which nothing is left begins anew; returns what damaged batches of it had changed. */
  #leave({ key }: Feed): Set<string> {
    const touched = new Set<string>()
    const held = this.feeds.get(key)
    if (held === undefined || !held.retained.isEmpty) return touched
    held.head = BEGINNING
    this.#tails.delete(key)
    for (const [name, rotten] of this.#rotten) {
      if (rotten.feed.key !== key) continue
      for (const doc of rotten.held.ops?.docs ?? []) touched.add(doc)
      this.#rotten.delete(name)
    }
    return touched
  }

  /** Whether a document shows anything of some batches: what they were overtaken in stays what it is without them. */
  #shows(feed: Feed, key: string, seqs: SequenceSet): boolean {
    const { collection, partition } = feed.descriptor
    const document = this.documents.get(`${collection}/${partition}/${key}`)
    const isOfThem = (write: Document['writes'][number]): boolean => write.feed.key === feed.key && seqs.has(write.seq)
    return (
      document !== undefined &&
      (document.writes.some(isOfThem) || (document.deleted !== null && isOfThem(document.deleted)))
    )
  }

  #addFeed(feed: Feed): DiskFeed {
    const held: DiskFeed = {
      feed,
      historyKey: historyKey(feed),
      batches: new Map(),
      retained: new SequenceSet(),
      head: BEGINNING,
      lsn: 0,
      bytes: 0,
    }
    this.feeds.set(feed.key, held)
    return held
  }

  /** Documents of the collection and partition of `feed` are made anew, from the log and from what they show of damaged batches. */
  #fold({ descriptor }: Feed, keys: ReadonlySet<string>): void {
    const { collection, partition } = descriptor
    this.#digests.delete(placeOf(descriptor))
    const shown = new Map<string, Document>()
    for (const key of keys) {
      const name = `${collection}/${partition}/${key}`
      const before = this.documents.get(name)
      if (before && this.isRotten) shown.set(name, this.#unproven(before))
      this.documents.delete(name)
      this.#texts.delete(name)
      this.#altered.delete(name)
    }
    for (const { feed, batches } of this.feeds.values()) {
      if (feed.descriptor.collection !== collection || feed.descriptor.partition !== partition) continue
      for (const { batch, ops } of batches.values())
        if (ops?.docs.some((key) => keys.has(key))) this.#merge(feed, batch, ops, keys)
    }
    for (const [name, part] of shown) mergeDocument(this.#document(name), part)
  }

  /** What of a document rests on batches that were taken out as damaged: as the real store knows it, from the document alone. */
  #unproven(document: Document): Document {
    return partOf(document, ({ feed, seq }) => this.#rotten.has(`${feed.key} ${seq}`))
  }

  #merge(feed: Feed, batch: Batch, ops: Ops, only: ReadonlySet<string> | null = null): void {
    const { collection, partition } = feed.descriptor
    this.#digests.delete(placeOf(feed.descriptor))
    const source = { feed, seq: batch.header.seq, hlc: batch.header.hlc, lsn: this.#lsn }
    const aside = emptyDocument()
    mergeOps(
      ops,
      source,
      (doc) => (only?.has(doc) === false ? aside : this.#document(`${collection}/${partition}/${doc}`)),
      () => {},
    )
  }

  /** To be changed. */
  #document(name: string): Document {
    this.#texts.delete(name)
    let document = this.documents.get(name)
    if (!document) {
      document = emptyDocument()
      this.documents.set(name, document)
    }
    return document
  }
}

/** Cells that have a value, with their stamps, of the documents whose names begin so. */
export function cellsOf(disk: SimulatedDisk, prefix: string): Map<string, string> {
  const cells = new Map<string, string>()
  for (const [name, document] of disk.documents) if (name.startsWith(prefix)) addCells(cells, name, document)
  return cells
}

function addCells(cells: Map<string, string>, name: string, document: Document): void {
  document.paths.forEach((path, i) => {
    const { hlc, index, origin } = document.writes[i] as Document['writes'][number]
    const value = document.values[i]
    if (value !== null) cells.set(`${name} ${path}`, `${JSON.stringify(value)} ${hlc}.${index}@${origin}`)
  })
}

/** The stamp of what such a cell shows. */
export function stampShown(shown: string): Stamp {
  const [hlc, index, origin] = shown.slice(shown.lastIndexOf(' ') + 1).split(/[.@]/)
  return { hlc: Number(hlc), index: Number(index), origin: String(origin) }
}

function headOf({ feed, head, lsn, retained, bytes, batches }: DiskFeed): FeedHead {
  if (!feed.descriptor.encrypted) return { feed, ...head, lsn, bytes, retained }
  const waiting = [...batches].filter(([, { isLocked }]) => isLocked === true).map(([seq]) => seq)
  return { feed, ...head, lsn, bytes, retained, locked: SequenceSet.of(waiting.sort((a, b) => a - b)) }
}

/** The same of some documents of the collection and partition of `feed`. */
function liveCells(disk: SimulatedDisk, { descriptor }: Feed, keys: Iterable<string>): Map<string, string> {
  const cells = new Map<string, string>()
  for (const key of keys) {
    const name = `${placeOf(descriptor)}/${key}`
    const document = disk.documents.get(name)
    if (document !== undefined) addCells(cells, name, document)
  }
  return cells
}
