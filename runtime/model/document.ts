import { OP_DELETE, OP_PUT, type Feed, type Ops } from './batch.ts'
import { compareStamps, type Hlc, type Stamp } from './stamp.ts'
import type { Fields, Value } from './value.ts'

/**
 * Merging (protocol D7): a document is a map of cells, each won by the write with the greatest stamp, and one delete
 * stamp that voids every write at or below it. Merging is commutative, associative and idempotent, so a document is the
 * fold of its operations in any order.
 */

/** One operation's identity, shared by all cells that it won. */
export interface Write extends Stamp {
  readonly feed: Feed
  readonly seq: number
}

/** Cells in parallel arrays: `paths[i]` holds `values[i]`, written by `writes[i]`; a null value is a removed field. */
export interface Document {
  /** The greatest delete, or null. Every cell's stamp is above it. */
  deleted: Write | null
  /** May be shared with other documents: replaced, never changed in place. */
  paths: readonly string[]
  values: Value[]
  writes: Write[]
  /** This store's number of the batch that changed it last: where watchers resume. Local, never part of a digest. */
  lsn: number
}

/** The feed, sequence and stamp of the batch that operations come from. */
export interface Source {
  readonly feed: Feed
  readonly seq: number
  readonly hlc: Hlc
  /** Number that this store gave the batch. */
  readonly lsn: number
}

export function emptyDocument(): Document {
  return { deleted: null, paths: [], values: [], writes: [], lsn: 0 }
}

/** True when some field has a value. */
export function isLive(document: Document): boolean {
  for (const value of document.values) if (value !== null) return true
  return false
}

/** The fields that have a value, in the order of their names. */
export function fieldsOf(document: Document): Fields {
  const order = document.paths.map((_, i) => i).filter((i) => document.values[i] !== null)
  order.sort((a, b) => ((document.paths[a] as string) < (document.paths[b] as string) ? -1 : 1))
  const fields: { [path: string]: Value } = {}
  for (const i of order) fields[document.paths[i] as string] = document.values[i] as Value
  return fields
}

/** Merges every operation into the document that `find` gives for its key, and tells `changed` of each that changed. */
export function mergeOps(
  ops: Ops,
  source: Source,
  find: (key: string) => Document,
  changed: (key: string, document: Document) => void,
): void {
  let at = 0
  for (let index = 0; index < ops.opDocs.length; index++) {
    const shape = ops.shapes[ops.opShapes[index] as number] as Ops['shapes'][number]
    const from = at
    at += shape.paths.length
    if (shape.kind !== OP_PUT && shape.kind !== OP_DELETE) continue
    const key = ops.docs[ops.opDocs[index] as number] as string
    const document = find(key)
    const write: Write = { hlc: source.hlc, index, origin: source.feed.origin, feed: source.feed, seq: source.seq }
    const isChange =
      shape.kind === OP_PUT ? mergePut(document, shape.paths, ops.values, from, write) : mergeDelete(document, write)
    if (!isChange) continue
    document.lsn = source.lsn
    changed(key, document)
  }
}

/** True when the document changed. `values[from + i]` belongs to `paths[i]`. */
export function mergePut(
  document: Document,
  paths: readonly string[],
  values: readonly Value[],
  from: number,
  write: Write,
): boolean {
  if (document.deleted !== null && compareStamps(write, document.deleted) <= 0) return false
  if (document.paths.length === 0 && paths.length > 0) {
    document.paths = paths
    document.values = values.slice(from, from + paths.length)
    document.writes = Array.from({ length: paths.length }, () => write)
    return true
  }
  let isChange = false
  for (let i = 0; i < paths.length; i++) {
    const path = paths[i] as string
    const value = values[from + i] as Value
    const cell = document.paths[i] === path ? i : document.paths.indexOf(path)
    if (cell < 0) {
      document.paths = [...document.paths, path]
      document.values.push(value)
      document.writes.push(write)
      isChange = true
    } else if (compareStamps(write, document.writes[cell] as Write) > 0) {
      document.values[cell] = value
      document.writes[cell] = write
      isChange = true
    }
  }
  return isChange
}

/** True when the document changed. */
export function mergeDelete(document: Document, write: Write): boolean {
  if (document.deleted !== null && compareStamps(write, document.deleted) <= 0) return false
  document.deleted = write
  keepCells(document, (i) => compareStamps(document.writes[i] as Write, write) > 0)
  return true
}

/** Removes the cells that `isKept` says no to, by their place. */
export function keepCells(document: Document, isKept: (index: number) => boolean): void {
  const kept = document.paths.map((_, i) => i).filter(isKept)
  document.paths = kept.map((i) => document.paths[i] as string)
  document.values = kept.map((i) => document.values[i] as Value)
  document.writes = kept.map((i) => document.writes[i] as Write)
}

/** Merges a whole document into another: what a rebuild or a read over two layers needs. True when `into` changed. */
export function mergeDocument(into: Document, from: Document): boolean {
  let isChange = from.deleted !== null && mergeDelete(into, from.deleted)
  for (let i = 0; i < from.paths.length; i++) {
    isChange = mergePut(into, [from.paths[i] as string], from.values, i, from.writes[i] as Write) || isChange
  }
  return isChange
}
