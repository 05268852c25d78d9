import { MarramError } from '../base/errors.ts'
import type { Feed, Ops } from '../model/batch.ts'
import {
  CHANGED,
  emptyDocument,
  isLive,
  keepCells,
  mergeOps,
  type Document,
  type Rival,
  type Source,
  type Write,
} from '../model/document.ts'
import type { DocumentEntry, DocumentPlace, ScanRange, Space } from '../ports/store.ts'
import type { Base, Referrer } from './base.ts'
import { spaceName } from './feeds.ts'
import { decodeDocument, type StoredDocument } from './layout.ts'
import { LinkIndex, NO_LINKS, targetName, targetsOf } from './links.ts'
import { scanBack, scanKeys } from './scan.ts'
import { memoryOf } from './size.ts'
import { SpaceTable, type Entry, type Summary } from './space.ts'

const REFERRERS_PAGE = 256
const PAGE = 256

/**
 * The merged documents: those that differ from LMDB, always; those that don't, as a cache that gives way. A document is
 * loaded whole when an operation touches it first, so reads and merges ask one place.
 */
export class DocumentTable {
  readonly #base: Base
  readonly #feedOf: (number: number) => Feed | undefined
  readonly #spaces = new Map<string, SpaceTable>()
  #spaceNumber = 0
  /** In the order in which they became so: the first are evicted first. */
  readonly #clean = new Set<Entry>()
  #cleanBytes = 0
  #dirtyBytes = 0
  #dirty: Entry[] = []
  #merge = 0
  readonly #links = new LinkIndex()
  #changed: Entry[] = []
  /** To be stored, but nobody need hear of it: only the batch that holds a cell is another. */
  readonly #moved = new Set<Entry>()
  /** Told of each space in which a document's bytes have changed on the disk: it must be derived anew. */
  onDamaged: (space: Space) => void = () => {}

  constructor(base: Base, feedOf: (number: number) => Feed | undefined) {
    this.#base = base
    this.#feedOf = feedOf
  }

  get dirtyBytes(): number {
    return this.#dirtyBytes
  }

  get bytes(): number {
    return this.#dirtyBytes + this.#cleanBytes
  }

  space(space: Space): SpaceTable | undefined {
    return this.#spaces.get(spaceName(space))
  }

  spaces(): SpaceTable[] {
    const written = [...this.#spaces.values()].filter((space) => space.isWritten)
    return written.sort((a, b) => (spaceName(a) < spaceName(b) ? -1 : 1))
  }

  /** A space that LMDB has. */
  restoreSpace(space: Space, number: number, summary: Summary): void {
    this.#spaces.set(spaceName(space), new SpaceTable(space, number, summary))
    this.#spaceNumber = Math.max(this.#spaceNumber, number)
  }

  get(space: Space, key: string): Document | undefined {
    const table = this.space(space)
    if (table === undefined) return undefined
    const entry = table.entries.get(key)
    if (entry !== undefined) return this.#shown(entry)
    return this.#loadFromBase(table, key)?.document
  }

  getToWrite(space: Space, key: string): Document | undefined {
    const table = this.space(space)
    if (table === undefined) return undefined
    return this.#shown(table.entries.get(key) ?? this.#load(table, key))
  }

  scan(space: Space, range: ScanRange): DocumentEntry[] {
    const table = this.space(space)
    const found: DocumentEntry[] = []
    if (table === undefined || range.limit < 1) return found
    for (const { key, bytes } of scanKeys(table, this.#base, range)) {
      const document = this.#read(table, key, bytes)
      if (document !== undefined) found.push({ key, document })
      if (found.length >= range.limit) break
    }
    return found
  }

  /** Up to `limit` documents that link to this one, in any space; each was looked at, so that none is told that no longer does. */
  referrers(to: DocumentPlace, limit: number): DocumentPlace[] {
    const target = targetName(to.collection, to.partition, to.key)
    const found = new Map<string, DocumentPlace>()
    for (const { space, key } of this.#links.entries(target)) {
      if (found.size >= limit) break
      found.set(placeName(space.number, key), placeOf(space, key))
    }
    for (let after: Referrer | null = null; found.size < limit;) {
      const rows: Referrer[] = this.#base.referrers(target, REFERRERS_PAGE, after)
      for (const { space: number, key } of rows) {
        const space = this.#byNumber(number)
        if (space === undefined || found.size >= limit) break
        const document = this.get(space, key)
        if (document && targetsOf(document).includes(target)) found.set(placeName(number, key), placeOf(space, key))
      }
      after = rows.at(-1) ?? null
      if (rows.length < REFERRERS_PAGE) break
    }
    return [...found.values()]
  }

  last(space: Space, prefix: string): DocumentEntry | undefined {
    const table = this.space(space)
    if (table === undefined) return undefined
    for (const { key, bytes } of scanBack(table, this.#base, prefix)) {
      const document = this.#read(table, key, bytes)
      if (document !== undefined) return { key, document }
    }
    return undefined
  }

  /** Merges a batch's operations. What they changed waits for `settle`. */
  merge(space: Space, ops: Ops, source: Source, met: ((rival: Rival) => void) | null): void {
    const table = this.#spaceFor(space)
    let entry: Entry
    mergeOps(
      ops,
      source,
      (key) => {
        entry = table.entries.get(key) ?? this.#load(table, key)
        return entry.document
      },
      // It is always the document that was found last.
      (_key, _document, effect) => {
        if (effect === CHANGED) this.#noteChange(entry)
        else this.#moved.add(entry)
      },
      met,
    )
  }

  /** Accounts for everything that merges have changed since the last call, and returns it, each document once. */
  settle(): readonly Entry[] {
    const changed = this.#changed
    for (const entry of changed) this.#settleEntry(entry)
    for (const entry of this.#moved) this.#settleEntry(entry)
    this.#changed = []
    this.#moved.clear()
    this.#merge += 1
    return changed
  }

  /** The keys of all documents in which something rests on such a write: reads every one. */
  *restingOn(space: Space, isSuch: (write: Write) => boolean): Generator<string> {
    for (let start = '', isAfter = false; ; isAfter = true) {
      const page = this.scanStored(space, { start, isAfter, limit: PAGE })
      for (const { key, stored } of page) {
        const { deleted, writes } = stored?.document ?? emptyDocument()
        if ((deleted !== null && isSuch(deleted)) || writes.some(isSuch)) yield key
      }
      if (page.length < PAGE) return
      start = (page.at(-1) as { key: string }).key
    }
  }

  /** As `scan`, but with what is known of each document, and null for one that does not decode. */
  scanStored(space: Space, range: ScanRange): { readonly key: string; readonly stored: StoredDocument | null }[] {
    const table = this.space(space)
    const found: { key: string; stored: StoredDocument | null }[] = []
    if (table === undefined) return found
    for (const { key, bytes } of scanKeys(table, this.#base, range)) {
      const entry = table.entries.get(key)
      if (entry !== undefined) {
        table.refresh(entry)
        found.push({ key, stored: entry })
      } else {
        const stored = decodeDocument(bytes as Uint8Array, this.#feedOf)
        found.push({ key, stored: stored.ok ? stored.value : null })
      }
      if (found.length >= range.limit) break
    }
    return found
  }

  /**
   * Takes deletes and removals that `isDropped` out of the documents under `keys`. Returns the keys of those that hold a
   * value which is dropped, or, with `isCut`, anything that is: only a fold can tell what they are without it.
   */
  retract(space: Space, keys: Iterable<string>, isDropped: (write: Write) => boolean, isCut: boolean): Set<string> {
    const uncertain = new Set<string>()
    const table = this.space(space)
    if (table === undefined) return uncertain
    for (const key of keys) {
      const entry = table.entries.get(key) ?? this.#load(table, key)
      const { document } = entry
      const isDeleteDropped = document.deleted !== null && isDropped(document.deleted)
      const dropped = document.writes.map(isDropped)
      if (!isDeleteDropped && !dropped.includes(true)) continue
      if (isCut || dropped.some((is, i) => is && document.values[i] !== null)) {
        uncertain.add(key)
        continue
      }
      if (isDeleteDropped) document.deleted = null
      keepCells(document, (i) => dropped[i] !== true)
      this.#noteChange(entry)
    }
    return uncertain
  }

  /** Puts `document` in the place of whatever is stored under `key`; a blank one removes it. */
  put(space: Space, key: string, document: Document): void {
    const table = this.#spaceFor(space)
    const entry = table.entries.get(key) ?? this.#load(table, key)
    table.damaged.delete(key)
    Object.assign(entry.document, document)
    this.#noteChange(entry)
  }

  /** As `put`, at once. For repair. */
  replace(space: Space, key: string, document: Document): void {
    this.put(space, key, document)
    this.settle()
  }

  /** Everything that differs from LMDB, for a sweep to write. Until `release` it stays where it is. */
  takeDirty(): Entry[] {
    const taken = this.#dirty
    this.#dirty = []
    for (const entry of taken) {
      entry.isDirty = false
      entry.isSweeping = true
    }
    return taken
  }

  /** LMDB has flushed the entries: those that have not changed again meanwhile are clean now. */
  release(entries: readonly Entry[]): void {
    const spaces = new Set<SpaceTable>()
    for (const entry of entries) {
      entry.isSweeping = false
      entry.isInBase = true
      spaces.add(entry.space)
      if (entry.isDirty) continue
      this.#links.forget(entry)
      this.#dirtyBytes -= entry.bytes
      if (isBlank(entry.document)) entry.space.entries.delete(entry.key)
      else this.#addClean(entry)
    }
    for (const space of spaces) space.pruneFresh()
  }

  /** Lets go of the oldest clean entries until all take at most `bytesMax`, or none is left. */
  evict(bytesMax: number): void {
    for (const entry of this.#clean) {
      if (this.bytes <= bytesMax) return
      this.#clean.delete(entry)
      this.#cleanBytes -= entry.bytes
      entry.space.entries.delete(entry.key)
    }
  }

  #spaceFor(space: Space): SpaceTable {
    const known = this.space(space)
    if (known !== undefined) return known
    this.#spaceNumber += 1
    const table = new SpaceTable(space, this.#spaceNumber, null)
    this.#spaces.set(spaceName(space), table)
    return table
  }

  #byNumber(number: number): SpaceTable | undefined {
    for (const space of this.#spaces.values()) if (space.number === number) return space
    return undefined
  }

  #noteChange(entry: Entry): void {
    if (entry.mergedIn === this.#merge) return
    entry.mergedIn = this.#merge
    this.#changed.push(entry)
  }

  #settleEntry(entry: Entry): void {
    if (this.#clean.delete(entry)) {
      this.#cleanBytes -= entry.bytes
      if (!entry.isInBase) entry.space.addFresh(entry.key)
    } else this.#dirtyBytes -= entry.bytes
    entry.bytes = memoryOf(entry.key, entry.document)
    this.#dirtyBytes += entry.bytes
    if (!entry.isDirty) {
      entry.isDirty = true
      this.#dirty.push(entry)
    }
    entry.space.touch(entry, isLive(entry.document))
    this.#links.note(entry)
  }

  /** As a clean entry, so that it gives way unless it changes. A damaged one is taken for an empty one, until it is derived anew. */
  #load(space: SpaceTable, key: string): Entry {
    const bytes = space.isInBase ? this.#base.document(space.number, key) : undefined
    const stored = bytes === undefined ? null : decodeDocument(bytes, this.#feedOf)
    if (stored?.ok === false) this.#noteDamage(space, key)
    const found = stored?.ok === true ? stored.value : { document: emptyDocument(), contribution: 0n }
    return this.#addEntry(space, key, found, bytes !== undefined)
  }

  /** Of what a scan found: undefined when nothing was written to it. */
  #read(space: SpaceTable, key: string, bytes: Uint8Array | null): Document | undefined {
    const entry = space.entries.get(key)
    if (entry !== undefined) return this.#shown(entry)
    const { document } = this.#decode(space, key, bytes as Uint8Array)
    return isBlank(document) ? undefined : document
  }

  #noteDamage(space: SpaceTable, key: string): void {
    space.damaged.add(key)
    this.onDamaged(space)
  }

  /** Undefined when nothing was written to it. Throws when it is damaged. */
  #shown({ space, key, document }: Entry): Document | undefined {
    if (space.damaged.has(key)) {
      this.onDamaged(space)
      throw unreadable(space, key, 'its bytes have changed')
    }
    return isBlank(document) ? undefined : document
  }

  #addEntry(space: SpaceTable, key: string, { document, contribution }: StoredDocument, isInBase: boolean): Entry {
    const entry: Entry = {
      space,
      key,
      document,
      bytes: memoryOf(key, document),
      contribution,
      contributionInBase: contribution,
      isCounted: contribution !== 0n,
      isStale: false,
      isDirty: false,
      isSweeping: false,
      isInBase,
      links: NO_LINKS,
      linksInBase: isInBase ? targetsOf(document) : NO_LINKS,
      mergedIn: -1,
    }
    space.entries.set(key, entry)
    this.#addClean(entry)
    return entry
  }

  #loadFromBase(space: SpaceTable, key: string): StoredDocument | undefined {
    const bytes = space.isInBase ? this.#base.document(space.number, key) : undefined
    return bytes === undefined ? undefined : this.#decode(space, key, bytes)
  }

  #decode(space: SpaceTable, key: string, bytes: Uint8Array): StoredDocument {
    const stored = decodeDocument(bytes, this.#feedOf)
    if (stored.ok) return stored.value
    this.#noteDamage(space, key)
    throw unreadable(space, key, stored.error.message)
  }

  #addClean(entry: Entry): void {
    this.#clean.add(entry)
    this.#cleanBytes += entry.bytes
  }
}

function unreadable({ collection }: Space, key: string, why: string): MarramError {
  const sentence = `Cannot read the document "${key}" of ${collection}: ${why}`
  return new MarramError(
    'storage-damaged',
    `${sentence}; a running gateway derives it anew, else run: marram verify --repair`,
  )
}

/** Nothing was ever written to it: a delete of what isn't there leaves its stamp, and is not blank. */
export function isBlank(document: Document): boolean {
  return document.deleted === null && document.paths.length === 0
}

function placeOf({ collection, partition, isEncrypted }: Space, key: string): DocumentPlace {
  return { collection, partition, key, ...(isEncrypted === true && { isEncrypted }) }
}

function placeName(space: number, key: string): string {
  return `${space}\0${key}`
}
