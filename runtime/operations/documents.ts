import { hex } from '../base/bytes.ts'
import { MarramError } from '../base/errors.ts'
import { GATEWAY_LIMITS, PROTOCOL_LIMITS } from '../base/limits.ts'
import { isLive, type Document, type Write } from '../model/document.ts'
import { fieldsOf, shownCells, totalOf, type Field, type FieldKinds } from '../model/fields.ts'
import type { Place } from '../model/interest.ts'
import { checkDocumentKey, isSystemName } from '../model/names.ts'
import { rowPrefix } from '../model/rows.ts'
import { compareStamps, formatStamp } from '../model/stamp.ts'
import type { Fields, Value } from '../model/value.ts'
import type {
  BatchWrite,
  Documents,
  DocumentView,
  Provenance,
  PutOptions,
  Query,
  Receipt,
  WalkOptions,
  WalkStep,
  WaitOptions,
  WatchEvent,
  WatchOptions,
} from '../ports/operations.ts'
import type { Conflict, DocumentPlace, Documents as StoredDocuments, Log, Space } from '../ports/store.ts'
import type { Confirmer, Writer, WriteOp, Written } from '../ports/writer.ts'
import { opsOfFields, rowOf } from './changes.ts'
import { checkCollection, countDocuments, readDocuments, spacesOf, type Reader } from './reading.ts'
import { writeAndWait } from './confirming.ts'
import { lastRow, stampOfRow, viewOfRow, type Row } from './rows.ts'
import { walkLinks, type Graph } from './walking.ts'
import { watchDocuments, Watchers } from './watching.ts'

export interface Summary {
  readonly kind: 'state' | 'series'
  readonly count: number
  /** In hexadecimal. */
  readonly digest: string
}

/** What the profile in force says of collections. */
export interface CollectionRules {
  /** The partition that this gateway writes to. */
  partitionOf(collection: string): string
  /** Whether the profile declares a series; null for a collection that it doesn't name. */
  isSeries(collection: string): boolean | null
  /** Which fields are counters, sets or links, and which are not. */
  kindsOf(collection: string): FieldKinds
  /** Why the collection can't be written here, or null. */
  refusal(collection: string): string | null
  /** Whether this gateway keeps what is written there, and of a collection, or of what is within a pattern, any of it. */
  keeps(place: Place): boolean
  keepsSome(pattern: string): boolean
  isEncrypted(collection: string): boolean
  /** It is encrypted, and there is no key for it here. */
  isLocked(collection: string): boolean
  /** Why this gateway doesn't keep what it would write, or null. */
  strangeness(collection: string): string | null
}

export interface DocumentSurroundings {
  readonly store: StoredDocuments & Log
  readonly writer: Writer
  readonly confirmer: Confirmer
  readonly rules: () => CollectionRules
  /** The time that stamps go by, Unix milliseconds: the system's clock may be another. */
  readonly wallMs: () => number
  /** The store's identity in hexadecimal. */
  readonly instance: string
  /** Whether a stored batch's hash, chain and signature verify. */
  readonly isValid: (feedKey: string, seq: number) => boolean
}

/** Documents as users see them: whole JSON objects whose fields are merged. */
export class DocumentService implements Documents {
  readonly #watching = new Watchers()
  readonly #with: DocumentSurroundings

  constructor(surroundings: DocumentSurroundings) {
    this.#with = surroundings
  }

  async put(collection: string, key: string, fields: Fields, options: PutOptions = {}): Promise<Receipt> {
    this.#checkWrite(collection, key)
    if (this.#isSeries(collection)) return this.#addRow(collection, key, fields, options)
    const stored = (): Document | undefined => this.#with.store.get(this.#ownSpace(collection), key)
    const isExact = options.exact === true
    const ops = opsOfFields({ key, kinds: this.#kindsOf(collection), stored, isExact }, fields)
    return this.#write(collection, key, options.replace ? [{ kind: 'delete', key }, ...ops] : ops, options)
  }

  async batch(
    collection: string,
    writes: readonly BatchWrite[],
    options: WaitOptions = {},
  ): Promise<{ readonly stamp: string; readonly held?: number }> {
    if (writes.length === 0) throw new MarramError('bad-request', 'Cannot write a batch of nothing')
    for (const { key } of writes) this.#checkWrite(collection, key)
    if (this.#isSeries(collection)) {
      const sentence = `Cannot write a batch to "${collection}": it is a series, rows are written one by one`
      throw new MarramError('not-supported', sentence)
    }
    const ops = writes.flatMap(({ key, fields }): readonly WriteOp[] => {
      if (fields === undefined) return [{ kind: 'delete', key }]
      const stored = (): Document | undefined => this.#with.store.get(this.#ownSpace(collection), key)
      return opsOfFields({ key, kinds: this.#kindsOf(collection), stored, isExact: false }, fields)
    })
    const { opsPerBatchMax } = PROTOCOL_LIMITS
    if (ops.length > opsPerBatchMax) {
      const sentence = `Cannot write ${ops.length} operations at once: a batch holds at most ${opsPerBatchMax}`
      throw new MarramError('too-large', sentence)
    }
    const { key: _, ...receipt } = await this.#write(collection, (writes.at(-1) as BatchWrite).key, ops, options)
    return receipt
  }

  async delete(collection: string, key: string, options: WaitOptions = {}): Promise<Receipt> {
    this.#checkWrite(collection, key)
    if (this.#isSeries(collection)) {
      const sentence = `Cannot delete "${key}": "${collection}" is a series, whose rows go by its "retain" in the profile`
      throw new MarramError('not-supported', sentence)
    }
    const place = this.#place(collection, key)
    if (!place) throw new MarramError('not-found', `Cannot delete "${key}": there is no such document`)
    const own = this.#ownSpace(collection)
    if (place.partition !== own.partition) {
      const sentence = `Cannot delete "${key}": it is in the partition "${place.partition}", and this gateway writes to "${own.partition}": delete it on one that writes there`
      throw new MarramError('not-supported', sentence)
    }
    return this.#write(collection, key, [{ kind: 'delete', key }], options)
  }

  isKept(collection: string): boolean {
    const rules = this.#with.rules()
    return rules.keepsSome(collection) && !rules.isLocked(collection)
  }

  get(collection: string, key: string): DocumentView | undefined {
    if (this.#isSeries(collection)) {
      const row = this.#lastRow(collection, key)
      return row && viewOfRow(row)
    }
    const document = this.#find(collection, key)
    return document && { key, value: fieldsOf(document, this.#kindsOf(collection)) }
  }

  provenance(collection: string, key: string): { readonly [path: string]: Provenance } | undefined {
    const document = this.#isSeries(collection) ? this.#lastRow(collection, key)?.document : this.#find(collection, key)
    if (!document) return undefined
    const provenance: { [path: string]: Provenance } = {}
    for (const field of shownCells(document, this.#kindsOf(collection))) {
      provenance[field.path] = this.#provenanceOfField(document, field)
    }
    return provenance
  }

  list(collection: string, query: Query = {}): Iterable<DocumentView> {
    this.#checkKept(collection)
    return readDocuments(this.#reader(collection), collection, query)
  }

  count(collection: string, query: Query = {}): number {
    this.#checkKept(collection)
    return countDocuments(this.#reader(collection), collection, query)
  }

  walk(collection: string, key: string, options: WalkOptions = {}): Iterable<WalkStep> {
    this.#checkKept(collection)
    const { depth = 1 } = options
    if (!Number.isSafeInteger(depth) || depth < 1 || depth > GATEWAY_LIMITS.walkDepthMax) {
      const sentence = `Cannot walk so far: the depth is ${depth}, it must be 1 to ${GATEWAY_LIMITS.walkDepthMax}`
      throw new MarramError('bad-request', sentence)
    }
    const graph: Graph = {
      store: this.#with.store,
      place: (name, at) => this.#place(name, at),
      kindsOf: (name) => this.#kindsOf(name),
    }
    return walkLinks(graph, collection, key, options)
  }

  conflicts({ collection, limit }: { readonly collection?: string; readonly limit?: number } = {}): Conflict[] {
    if (collection !== undefined) checkCollection(collection)
    const all = this.#with.store.conflicts()
    return all.filter((each) => collection === undefined || each.collection === collection).slice(0, limit)
  }

  watch(collection: string, options: WatchOptions = {}): AsyncIterable<WatchEvent> {
    this.#checkKept(collection)
    const { store, instance } = this.#with
    return watchDocuments(
      { ...this.#reader(collection), instance, lastLsn: () => store.lastLsn(), watching: this.#watching },
      collection,
      options,
    )
  }

  /** The gateway stops: who watches is told nothing more. */
  endWatches(): void {
    this.#watching.end()
  }

  digest(collection?: string): { readonly collections: { readonly [name: string]: string } } {
    const summaries = this.summaries()
    if (collection !== undefined) {
      this.#checkKept(collection)
      if (!summaries.has(collection))
        throw new MarramError('not-found', `Cannot digest "${collection}": nothing was ever written to it`)
    }
    const collections: { [name: string]: string } = {}
    for (const [name, { digest }] of summaries) {
      if (!isNothing(digest) && (collection === undefined || name === collection)) collections[name] = digest
    }
    return { collections }
  }

  /** Count and digest of every collection, partitions added up; the system's collections are left out. */
  summaries(): Map<string, Summary> {
    const { store } = this.#with
    const sums = new Map<string, { kind: 'state' | 'series'; count: number; digest: Uint8Array }>()
    for (const space of store.spaces()) {
      const { collection, isSeries = false, isEncrypted = false } = space
      if (isSystemName(collection) || this.#isSeries(collection) !== isSeries || !this.#keeps(space)) continue
      if (this.#with.rules().isEncrypted(collection) !== isEncrypted) continue
      const { count, digest } = store.summary(space)
      const sum = sums.get(collection)
      sums.set(collection, {
        kind: isSeries ? 'series' : 'state',
        count: count + (sum?.count ?? 0),
        digest: sum ? added(sum.digest, digest) : digest,
      })
    }
    const sorted = [...sums].sort(([a], [b]) => (a < b ? -1 : 1))
    return new Map(sorted.map(([name, sum]) => [name, { ...sum, digest: hex(sum.digest) }]))
  }

  checkWritable(collection: string): void {
    checkCollection(collection)
    if (isSystemName(collection)) {
      throw new MarramError(
        'not-permitted',
        `Cannot write "${collection}": it is the system's, use the commands for members`,
      )
    }
    const refusal = this.#with.rules().refusal(collection)
    if (refusal) throw new MarramError('not-supported', `Cannot write "${collection}": ${refusal}`)
    const strangeness = this.#with.rules().strangeness(collection)
    if (strangeness) throw new MarramError('not-kept', `Cannot write "${collection}": ${strangeness}`)
    if (this.#with.rules().isLocked(collection)) throw lockedError('write', collection)
  }

  #checkWrite(collection: string, key: string): void {
    this.checkWritable(collection)
    const checked = checkDocumentKey(key)
    if (!checked.ok) throw new MarramError(checked.error.code, checked.error.message)
  }

  /** Where nothing is kept nothing is to be found, whatever others have. */
  #checkKept(collection: string): void {
    checkCollection(collection)
    if (this.#with.rules().isLocked(collection)) throw lockedError('read', collection)
    if (this.isKept(collection)) return
    const sentence = `Cannot read "${collection}": this gateway does not keep it: it is not of its "interest" in the profile, or beyond its rights`
    throw new MarramError('not-kept', sentence)
  }

  #keeps(space: Space): boolean {
    return this.#with.rules().keeps(space)
  }

  async #write(collection: string, key: string, ops: readonly WriteOp[], options: WaitOptions): Promise<Receipt> {
    const { writer, confirmer } = this.#with
    const place = this.#ownSpace(collection)
    const write = (): Promise<Written> => writer.write(collection, place.partition, ops)
    const { wait = 0 } = options
    if (wait === 0) return { key, stamp: formatStamp(await write()) }
    return writeAndWait(confirmer, { ...place, key }, write, { ...options, wait })
  }

  /** A row that was exported is there once, whoever took it. Waiting for others is for what is written now. */
  async #addRow(collection: string, key: string, fields: Fields, options: PutOptions): Promise<Receipt> {
    const op = rowOp(key, fields, options.row)
    const held = options.row === undefined ? undefined : this.#rowOf(collection, key, options.row)
    const [write] = held?.writes ?? []
    if (write && (options.wait ?? 0) === 0) return { key, stamp: formatStamp(write) }
    return this.#write(collection, key, [op], options)
  }

  #rowOf(collection: string, key: string, row: string): Document | undefined {
    const spaces = spacesOf({ ...this.#reader(collection), isSeries: true }, collection)
    const rows = spaces.map((space) => this.#with.store.get(space, rowPrefix(key) + row))
    return rows.find((found) => found !== undefined && isLive(found))
  }

  /** The live document of this gateway's own partition, else of any other. */
  #find(collection: string, key: string): Document | undefined {
    this.#checkKept(collection)
    const place = this.#place(collection, key)
    return place && this.#with.store.get(place, key)
  }

  #place(collection: string, key: string): DocumentPlace | undefined {
    const { store } = this.#with
    const keeps = (space: Space): boolean => this.#keeps(space)
    const isEncrypted = this.#with.rules().isEncrypted(collection)
    const spaces = spacesOf({ store, isSeries: false, isEncrypted, keeps }, collection)
    for (const space of [this.#ownSpace(collection), ...spaces]) {
      const document = this.#with.store.get(space, key)
      if (document && isLive(document)) return { ...space, key }
    }
    return undefined
  }

  #ownSpace(collection: string): Space {
    const rules = this.#with.rules()
    const place = { collection, partition: rules.partitionOf(collection) }
    return rules.isEncrypted(collection) ? { ...place, isEncrypted: true } : place
  }

  /** As the profile says; a collection that it does not name is what the mesh has made of it. */
  #isSeries(collection: string): boolean {
    const isDeclared = this.#with.rules().isSeries(collection)
    if (isDeclared !== null) return isDeclared
    return this.#with.store.spaces().some((space) => space.collection === collection && space.isSeries === true)
  }

  #lastRow(collection: string, key: string): Row | undefined {
    this.#checkKept(collection)
    const { store } = this.#with
    return lastRow(store, spacesOf({ ...this.#reader(collection), isSeries: true }, collection), key)
  }

  #kindsOf(collection: string): FieldKinds {
    return this.#with.rules().kindsOf(collection)
  }

  #reader(collection: string): Reader {
    return {
      store: this.#with.store,
      kinds: this.#kindsOf(collection),
      isSeries: this.#isSeries(collection),
      isEncrypted: this.#with.rules().isEncrypted(collection),
      wallMs: this.#with.wallMs,
      keeps: (space) => this.#keeps(space),
    }
  }

  /** Of the last write, and of each that what is shown consists of. */
  #provenanceOfField(document: Document, { kind, cells }: Field): Provenance {
    const parts = cells.map((i) => {
      const value = document.values[i] as Value
      return { value: kind === 'counter' ? totalOf([value]) : value, write: document.writes[i] as Write }
    })
    const last = parts.map(({ write }) => write).reduce((a, b) => (compareStamps(a, b) > 0 ? a : b))
    if (kind === 'register') return this.#provenanceOf(last)
    const views = parts.map(({ value, write }) => ({ value, ...this.#provenanceOf(write) }))
    return { ...this.#provenanceOf(last), parts: views }
  }

  #provenanceOf(write: Write): Provenance {
    return {
      author: write.origin,
      stamp: formatStamp(write),
      feed: hex(write.feed.id),
      sequence: write.seq,
      valid: this.#with.isValid(write.feed.key, write.seq),
    }
  }
}

function lockedError(verb: 'read' | 'write', collection: string): MarramError {
  return new MarramError(
    'no-key',
    `Cannot ${verb} "${collection}": it is encrypted, and this gateway has no key for it: an administrator's gateway gives one to each of its readers as soon as it hears of them, "marram status" shows what waits`,
  )
}

function rowOp(key: string, fields: Fields, row: string | undefined): WriteOp {
  const op = { kind: 'row', key, fields: rowOf(fields) } as const
  return row === undefined ? op : { ...op, stamp: stampOfRow(row) }
}

/** Of a collection in which nothing is. */
function isNothing(digest: string): boolean {
  return /^0*$/.test(digest)
}

/** Byte by byte, so that partitions may be added in any order. */
function added(a: Uint8Array, b: Uint8Array): Uint8Array {
  return a.map((byte, i) => byte + (b[i] as number))
}
