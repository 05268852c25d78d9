import { utf8 } from '../base/bytes.ts'
import { MarramError } from '../base/errors.ts'
import { isLive, type Document } from '../model/document.ts'
import { fieldsOf, type FieldKinds } from '../model/fields.ts'
import { isCollectionName } from '../model/names.ts'
import { parseOrder, parseWhere } from '../model/query.ts'
import type { Fields } from '../model/value.ts'
import type { DocumentView, Query } from '../ports/operations.ts'
import type { Documents, Space } from '../ports/store.ts'
import { rowsIn, viewOfRow } from './rows.ts'

const SLICE = 256

/** Where documents are read, and what the profile says of their fields. */
export interface Reader {
  readonly store: Documents
  readonly kinds: FieldKinds
  readonly isSeries: boolean
  readonly isEncrypted: boolean
  /** The time that stamps go by, Unix milliseconds. */
  readonly wallMs: () => number
  /** Whether this gateway keeps what is written there: else it has just what it wrote itself, and shows nothing. */
  keeps(space: Space): boolean
}

export type Filter = (fields: Fields) => boolean

export function checkCollection(collection: string): void {
  if (isCollectionName(collection)) return
  throw new MarramError(
    'bad-request',
    `Cannot use "${collection.slice(0, 60)}" as a collection: it must be 1 to 63 of a-z, 0-9 and "-"`,
  )
}

export function filterOf(where: string | undefined): Filter | null {
  if (where === undefined) return null
  const parsed = parseWhere(where)
  if (!parsed.ok) throw new MarramError(parsed.error.code, parsed.error.message)
  return parsed.value
}

/** Live documents of all partitions of a collection, read in slices; no read transaction is held in between. */
export function* readDocuments(reader: Reader, collection: string, query: Query = {}): Generator<DocumentView> {
  checkCollection(collection)
  checkQuery(reader, collection, query)
  const filter = filterOf(query.where)
  const limit = query.limit ?? Number.POSITIVE_INFINITY
  if (query.order !== undefined) {
    yield* ordered(reader, collection, query, filter).slice(0, query.limit)
    return
  }
  let given = 0
  let last: DocumentView | null = null
  for (const view of matching(reader, collection, query, filter)) {
    // The next page begins behind the last key: what other partitions have under it belongs to this one.
    if (given >= limit && (reader.isSeries || view.key !== last?.key)) return
    given += 1
    last = view
    yield view
  }
}

export function countDocuments(reader: Reader, collection: string, query: Query = {}): number {
  checkCollection(collection)
  checkQuery(reader, collection, query)
  if (Object.values(query).every((value) => value === undefined)) {
    return spacesOf(reader, collection).reduce((sum, space) => sum + reader.store.summary(space).count, 0)
  }
  const filter = filterOf(query.where)
  let count = 0
  for (const _ of matching(reader, collection, query, filter)) count += 1
  return count
}

/** The partitions of a collection, as what it is: documents, or rows of a series. */
export function spacesOf(
  reader: Pick<Reader, 'store' | 'isSeries' | 'isEncrypted' | 'keeps'>,
  collection: string,
): Space[] {
  const { store, isSeries, isEncrypted } = reader
  const isOfCollection = (space: Space): boolean =>
    space.collection === collection &&
    (space.isSeries ?? false) === isSeries &&
    (space.isEncrypted ?? false) === isEncrypted
  return store.spaces().filter((space) => isOfCollection(space) && reader.keeps(space))
}

function checkQuery({ isSeries }: Reader, collection: string, { from, to }: Query): void {
  if (isSeries || (from === undefined && to === undefined)) return
  const sentence = `Cannot read "${collection}" by time: it is no series, its documents have no rows`
  throw new MarramError('bad-request', sentence)
}

/** Every entry of a space, deleted ones too, in the order of keys. */
export function* entriesOf(
  store: Documents,
  space: Space,
  prefix?: string,
  after?: string,
): Generator<{ key: string; document: Document }> {
  let range = {
    ...(prefix !== undefined && { prefix }),
    ...(after !== undefined && { start: after, isAfter: true }),
    limit: SLICE,
  }
  for (;;) {
    const entries = store.scan(space, range)
    yield* entries
    const last = entries.at(-1)
    if (entries.length < SLICE || !last) return
    range = { ...range, start: last.key, isAfter: true }
  }
}

/** One entry of a space as users see it; `name` is its key, or of a row what rows stand in order by. */
interface Found {
  readonly name: string
  readonly view: DocumentView
}

function* matching(reader: Reader, collection: string, query: Query, filter: Filter | null): Generator<DocumentView> {
  const found = inOneOrder(spacesOf(reader, collection).map((space) => foundIn(reader, space, query)))
  for (const { view } of reader.isSeries && query.latest === true ? lastOfEachKey(found) : found)
    if (filter === null || filter(view.value)) yield view
}

function* foundIn({ store, kinds, isSeries, wallMs }: Reader, space: Space, query: Query): Generator<Found> {
  if (isSeries) {
    for (const row of rowsIn(store, space, query, wallMs())) yield { name: row.name, view: viewOfRow(row) }
    return
  }
  for (const { key, document } of entriesOf(store, space, query.prefix, query.after))
    if (isLive(document)) yield { name: key, view: { key, value: fieldsOf(document, kinds) } }
}

/** What several partitions hold, as if it lay in one: a page ends at a key, and the next begins behind it in all of them. */
function* inOneOrder(sources: readonly Generator<Found>[]): Generator<Found> {
  if (sources.length === 1) return yield* sources[0] as Generator<Found>
  const heads = sources.flatMap((source) => headOf(source) ?? [])
  while (heads.length > 0) {
    const least = heads.reduce((a, b) => (compareNames(b.found.name, a.found.name) < 0 ? b : a))
    const next = headOf(least.source)
    heads.splice(heads.indexOf(least), 1, ...(next ? [next] : []))
    yield least.found
  }
}

function headOf(source: Generator<Found>): { readonly found: Found; readonly source: Generator<Found> } | null {
  const { done, value } = source.next()
  return done === true ? null : { found: value as Found, source }
}

/** As the store orders keys: by their UTF-8 bytes. */
function compareNames(a: string, b: string): number {
  return Buffer.compare(utf8(a), utf8(b))
}

/** Each partition gives its own last row of a key. */
function* lastOfEachKey(rows: Iterable<Found>): Generator<Found> {
  let last: Found | null = null
  for (const row of rows) {
    if (last !== null && last.view.key !== row.view.key) yield last
    last = row
  }
  if (last !== null) yield last
}

function ordered(reader: Reader, collection: string, query: Query, filter: Filter | null): DocumentView[] {
  const compare = parseOrder(query.order as string)
  if (!compare.ok) throw new MarramError(compare.error.code, compare.error.message)
  return [...matching(reader, collection, query, filter)].sort((a, b) => compare.value(a.value, b.value))
}
