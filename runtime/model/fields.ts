import { kindOfCell, pathOfCell, type CellKind, type Reference } from './cells.ts'
import type { Document } from './document.ts'
import { compareStamps } from './stamp.ts'
import type { Fields, Value } from './value.ts'

/**
 * What a profile says of a collection's fields. A path that it doesn't know, or to which nothing of that kind was written,
 * shows what was written to it last.
 */
export type FieldKinds = ReadonlyMap<string, CellKind>

const NONE: FieldKinds = new Map()

/** The cells of a field that are shown together, by their places in the document. */
export interface Field {
  readonly path: string
  readonly kind: CellKind
  readonly cells: readonly number[]
}

/** The fields that have a value, in the order of their names. */
export function fieldsOf(document: Document, kinds: FieldKinds = NONE): Fields {
  const order = document.paths.map((_, i) => i).filter((i) => document.values[i] !== null)
  if (order.some((i) => isPart(document.paths[i] as string))) return shownFields(document, kinds)
  order.sort((a, b) => ((document.paths[a] as string) < (document.paths[b] as string) ? -1 : 1))
  const fields: { [path: string]: Value } = {}
  for (const i of order) fields[document.paths[i] as string] = document.values[i] as Value
  return fields
}

/** The fields that have a value, with the cells that make it, in the order of their names. */
export function shownCells(document: Document, kinds: FieldKinds = NONE): Field[] {
  const byPath = new Map<string, number[]>()
  document.paths.forEach((name, i) => {
    if (document.values[i] === null) return
    const cells = byPath.get(pathOfCell(name))
    if (cells) cells.push(i)
    else byPath.set(pathOfCell(name), [i])
  })
  const paths = [...byPath].sort(([a], [b]) => (a < b ? -1 : 1))
  return paths.map(([path, cells]) => {
    const declared = kinds.get(path)
    const isWritten = cells.some((i) => kindOfCell(document.paths[i] as string) === declared)
    const kind = declared !== undefined && isWritten ? declared : lastKind(document, cells)
    const shown = cells.filter((i) => kindOfCell(document.paths[i] as string) === kind)
    // In one order everywhere, for sums of fractions depend on it.
    shown.sort((a, b) => ((document.paths[a] as string) < (document.paths[b] as string) ? -1 : 1))
    return { path, kind, cells: shown }
  })
}

/** `collection/key`: how a reference is shown, and may be given. */
export function linkText([collection, , key]: Reference): string {
  return `${collection}/${key}`
}

function shownFields(document: Document, kinds: FieldKinds): Fields {
  const fields: { [path: string]: Value } = {}
  for (const { path, kind, cells } of shownCells(document, kinds)) {
    fields[path] = valueOf(
      kind,
      cells.map((i) => document.values[i] as Value),
    )
  }
  return fields
}

function valueOf(kind: CellKind, values: readonly Value[]): Value {
  switch (kind) {
    case 'register':
      return values[0] as Value
    case 'counter':
      return totalOf(values)
    case 'set':
      return values.toSorted(compareElements)
    case 'link':
      return [...new Set((values as readonly Reference[]).map(linkText))].sort()
  }
}

/** The sum of counters' cells. */
export function totalOf(cells: readonly Value[]): number {
  let [added, taken] = [0, 0]
  for (const [p, n] of cells as readonly (readonly [number, number])[]) {
    added += p
    taken += n
  }
  // Fractions are shown as they were meant: 0.1 and 0.2 are 0.3.
  const total = added - taken
  return Number.isInteger(total) ? total : Number(total.toPrecision(15))
}

/** Numbers by size, then texts by their UTF-16 units, then false and true. */
function compareElements(a: Value, b: Value): number {
  if (typeof a !== typeof b) return typeof a === 'number' || typeof b === 'boolean' ? -1 : 1
  return (a as string) < (b as string) ? -1 : 1
}

function lastKind(document: Document, cells: readonly number[]): CellKind {
  let last = cells[0] as number
  for (const i of cells) {
    const [write, before] = [document.writes[i], document.writes[last]]
    if (write && before && compareStamps(write, before) > 0) last = i
  }
  return kindOfCell(document.paths[last] as string)
}

function isPart(name: string): boolean {
  return name.includes('\0')
}
