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
  for (const view of matching(reader, collection, query, filter)) {
    if (given++ >= limit) return
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

function* matching(reader: Reader, collection: string, query: Query, filter: Filter | null): Generator<DocumentView> {
  const { store, kinds } = reader
  for (const space of spacesOf(reader, collection)) {
    if (reader.isSeries) {
      for (const view of rowsOf(store, space, query)) if (filter === null || filter(view.value)) yield view
      continue
    }
    for (const { key, document } of entriesOf(store, space, query.prefix, query.after)) {
      if (!isLive(document)) continue
      const value = fieldsOf(document, kinds)
      if (filter === null || filter(value)) yield { key, value }
    }
  }
}

function* rowsOf(store: Documents, space: Space, query: Query): Generator<DocumentView> {
  for (const row of rowsIn(store, space, query)) yield viewOfRow(row)
}

function ordered(reader: Reader, collection: string, query: Query, filter: Filter | null): DocumentView[] {
  const compare = parseOrder(query.order as string)
  if (!compare.ok) throw new MarramError(compare.error.code, compare.error.message)
  return [...matching(reader, collection, query, filter)].sort((a, b) => compare.value(a.value, b.value))
}
