import { hex } from '../base/bytes.ts'
import {
  OP_ADD,
  OP_COUNTER,
  OP_DELETE,
  OP_LINK,
  OP_PUT,
  OP_REMOVE,
  type Feed,
  type Ops,
  type OpStamp,
  type Shape,
} from './batch.ts'
import { cellName, counterSub, elementSub, linkSub, type Element, type Reference } from './cells.ts'
import { compareStamps, type Hlc, type Stamp } from './stamp.ts'
import type { Value } from './value.ts'

/**
 * Merging (protocol D7): a document is a map of cells, each won by the write with the greatest stamp, and one delete
 * stamp that voids every write at or below it. Merging is commutative, associative and idempotent, so a document is the
 * fold of its operations in any order. Registers, counters, sets and links differ in the names of their cells alone.
 */

/**
 * One operation's stamp, shared by all cells that it won, and the batch that holds it. What removes an element or a link
 * has the stamp of the add that it saw, so `origin` may be another than the feed's.
 */
export interface Write extends Stamp {
  readonly feed: Feed
  readonly seq: number
}

/** What merging did to a document: nothing; only the batch that holds a cell is another now; or it has changed. */
export type Effect = typeof NOTHING | typeof MOVED | typeof CHANGED
export const NOTHING = 0
export const MOVED = 1
export const CHANGED = 2

/** Cells in parallel arrays: `paths[i]` (see cells.ts) holds `values[i]`, written by `writes[i]`; null is a removed one. */
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

/** A value that met another author's in a field. */
export interface Rival {
  readonly key: string
  readonly field: string
  /** What was there, and who wrote it. */
  readonly held: Value
  readonly by: Write
  /** What came: value `path` of an operation. */
  readonly value: Value
  readonly write: Write
  readonly path: number
  /** Whether what came has won. */
  readonly isWon: boolean
}

/**
 * Merges every operation into the document that `find` gives for its key, and tells `touched` of each that did anything, and
 * `met` of every plain value that met another author's.
 */
export function mergeOps(
  ops: Ops,
  source: Source,
  find: (key: string) => Document,
  touched: (key: string, document: Document, effect: Effect) => void,
  met: ((rival: Rival) => void) | null = null,
): void {
  let at = 0
  for (let index = 0; index < ops.opDocs.length; index++) {
    const shape = ops.shapes[ops.opShapes[index] as number] as Shape
    const from = at
    at += shape.paths.length
    if (shape.kind > OP_LINK) continue
    const key = ops.docs[ops.opDocs[index] as number] as string
    const document = find(key)
    const write = writeOf(source, ops.stamps?.[index] ?? null, index)
    const effect =
      shape.kind === OP_PUT
        ? mergePut(document, shape.paths, ops.values, from, write, key, met)
        : mergeOther(document, shape, ops.values, from, write)
    if (effect === NOTHING) continue
    if (effect === CHANGED) document.lsn = source.lsn
    touched(key, document, effect)
  }
}

/** The write of operation `index` of a batch, under its own stamp or the one that it is told again with. */
export function writeOf({ feed, seq, hlc }: Source, stamp: OpStamp | null, index: number): Write {
  if (stamp === null) return { hlc, index, origin: feed.origin, feed, seq }
  return { hlc: stamp.hlc, index: stamp.index, origin: feed.origin, feed, seq }
}

/** `values[from + i]` belongs to the cell named `paths[i]`. */
export function mergePut(
  document: Document,
  paths: readonly string[],
  values: readonly Value[],
  from: number,
  write: Write,
  key = '',
  met: ((rival: Rival) => void) | null = null,
): Effect {
  if (document.deleted !== null && compareStamps(write, document.deleted) <= 0) return NOTHING
  if (document.paths.length === 0 && paths.length > 0) {
    document.paths = paths
    document.values = values.slice(from, from + paths.length)
    document.writes = Array.from({ length: paths.length }, () => write)
    return CHANGED
  }
  let effect: Effect = NOTHING
  for (let i = 0; i < paths.length; i++) {
    const path = paths[i] as string
    const value = values[from + i] as Value
    const cell = document.paths[i] === path ? i : document.paths.indexOf(path)
    if (cell < 0) {
      document.paths = [...document.paths, path]
      document.values.push(value)
      document.writes.push(write)
      effect = CHANGED
      continue
    }
    const [held, by] = [document.values[cell] as Value, document.writes[cell] as Write]
    const won = rivalry(held, by, value, write)
    if (met !== null && by.origin !== write.origin) {
      met({ key, field: path, held, by, value, write, path: i, isWon: won === CHANGED })
    }
    if (won === NOTHING) continue
    document.values[cell] = value
    document.writes[cell] = write
    if (won > effect) effect = won
  }
  return effect
}

/** Deletes the document for every write at or below the stamp. */
export function mergeDelete(document: Document, write: Write): Effect {
  if (document.deleted !== null) {
    const effect = rivalry(null, document.deleted, null, write)
    if (effect === MOVED) document.deleted = write
    if (effect !== CHANGED) return effect
  }
  document.deleted = write
  keepCells(document, (i) => compareStamps(document.writes[i] as Write, write) > 0)
  return CHANGED
}

/** Removes the cells that `isKept` says no to, by their place. */
export function keepCells(document: Document, isKept: (index: number) => boolean): void {
  const kept = document.paths.map((_, i) => i).filter(isKept)
  document.paths = kept.map((i) => document.paths[i] as string)
  document.values = kept.map((i) => document.values[i] as Value)
  document.writes = kept.map((i) => document.writes[i] as Write)
}

/** Merges a whole document into another: what a rebuild or a read over two layers needs. */
export function mergeDocument(into: Document, from: Document): Effect {
  let effect = from.deleted === null ? NOTHING : mergeDelete(into, from.deleted)
  for (let i = 0; i < from.paths.length; i++) {
    const cell = mergePut(into, [from.paths[i] as string], from.values, i, from.writes[i] as Write)
    if (cell > effect) effect = cell
  }
  return effect
}

/** Everything but a register: each value is cells of its own, see batch.ts. */
function mergeOther(
  document: Document,
  { kind, paths }: Shape,
  values: readonly Value[],
  from: number,
  write: Write,
): Effect {
  if (kind === OP_DELETE) return mergeDelete(document, write)
  let effect: Effect = NOTHING
  paths.forEach((path, i) => {
    for (const [sub, value, stamp] of cellsOf(kind, values[from + i] as Value, write)) {
      const cell = mergePut(document, [cellName(path, sub)], [value], 0, stamp)
      if (cell > effect) effect = cell
    }
  })
  return effect
}

/** The cells within their field that an operation's value writes. */
function* cellsOf(
  kind: number,
  value: Value,
  write: Write,
): Iterable<readonly [sub: string, value: Value, write: Write]> {
  if (kind === OP_COUNTER) {
    const [added, taken, incarnation = hex(write.feed.descriptor.incarnation)] = value as [number, number, string?]
    yield [counterSub(write.origin, incarnation), [added, taken], write]
  }
  if (kind === OP_ADD) for (const element of value as Element[]) yield [elementSub(element), element, write]
  if (kind === OP_LINK) for (const reference of value as Reference[]) yield [linkSub(reference), reference, write]
  if (kind === OP_REMOVE) {
    for (const [sub, hlc, index, origin] of value as [string, Hlc, number, string][]) {
      yield [sub, null, { hlc, index, origin, feed: write.feed, seq: write.seq }]
    }
  }
}

/** Every cell that an operation other than a delete writes; `values[from + i]` belongs to path i of its shape. */
export function* cellsOfOp(
  { kind, paths }: Shape,
  values: readonly Value[],
  from: number,
  write: Write,
): Iterable<readonly [name: string, value: Value, write: Write]> {
  for (const [i, path] of paths.entries()) {
    const value = values[from + i] as Value
    if (kind === OP_PUT) yield [path, value, write]
    else for (const [sub, part, stamp] of cellsOf(kind, value, write)) yield [cellName(path, sub), part, stamp]
  }
}

/** What a write does to a cell that another has won. */
function rivalry(held: Value, by: Write, value: Value, write: Write): Effect {
  const order = compareStamps(write, by)
  if (order !== 0) return order > 0 ? CHANGED : NOTHING
  if (value !== held) {
    // A remove beats the add that it saw. Of two values that one author gave one stamp, the greater text wins everywhere.
    if (value === null || held === null) return value === null ? CHANGED : NOTHING
    const [text, heldText] = [JSON.stringify(value), JSON.stringify(held)]
    if (text !== heldText) return text > heldText ? CHANGED : NOTHING
  }
  // Told again by its author: the last batch that holds it is the one that will be kept.
  const isLater = write.feed.key === by.feed.key ? write.seq > by.seq : write.feed.key > by.feed.key
  return isLater ? MOVED : NOTHING
}
