import { isCollectionName, isDocumentKey, isLabel, isPartition } from './names.ts'
import type { Value } from './value.ts'

/**
 * A document's cells are named by their field's path and, for everything but a register, by what tells the cells of one
 * field apart (protocol D7), behind a NUL, which no path has. So every type merges by the one rule for cells:
 *
 *     register  path                                      → the value
 *     counter   path NUL "c" author "." incarnation       → [p, n]: all that this author has added and taken
 *     set       path NUL "e" element as JSON              → the element
 *     link      path NUL "l" collection NUL partition NUL key NUL label → the reference
 *
 * A removed element or link has null for its value.
 */
export type CellKind = 'register' | 'counter' | 'set' | 'link'

/** What a set may hold. */
export type Element = string | number | boolean

/** `[collection, partition, key]`, with a label when it has one. */
export type Reference =
  | readonly [collection: string, partition: string, key: string]
  | readonly [collection: string, partition: string, key: string, label: string]

const KINDS: { readonly [letter: string]: CellKind } = { c: 'counter', e: 'set', l: 'link' }
/** Of an element as JSON, in UTF-16 units. */
const ELEMENT_LENGTH_MAX = 512

export function kindOfCell(name: string): CellKind {
  const end = name.indexOf('\0')
  return end < 0 ? 'register' : (KINDS[name[end + 1] as string] ?? 'register')
}

/** The path of a cell's field. */
export function pathOfCell(name: string): string {
  const end = name.indexOf('\0')
  return end < 0 ? name : name.slice(0, end)
}

/** What stands behind the NUL: the cell's name within its field; nothing for a register. */
export function subOfCell(name: string): string {
  const end = name.indexOf('\0')
  return end < 0 ? '' : name.slice(end + 1)
}

export function cellName(path: string, sub: string): string {
  return `${path}\0${sub}`
}

export function counterSub(origin: string, incarnation: string): string {
  return `c${origin}.${incarnation}`
}

/** The incarnation that a counter's cell belongs to. */
export function incarnationOfCell(name: string): string {
  return name.slice(name.lastIndexOf('.') + 1)
}

export function elementSub(element: Element): string {
  return `e${JSON.stringify(element)}`
}

export function linkSub([collection, partition, key, label]: Reference): string {
  return `l${collection}\0${partition}\0${key}\0${label ?? ''}`
}

/** True for the names of elements and links within their field: what a remove may name. */
export function isRemovableSub(sub: unknown): sub is string {
  if (typeof sub !== 'string') return false
  if (sub.startsWith('l')) {
    const [collection = '', partition = '', key = '', label = '', ...rest] = sub.slice(1).split('\0')
    return (
      rest.length === 0 &&
      isReference(label === '' ? [collection, partition, key] : [collection, partition, key, label])
    )
  }
  return sub.startsWith('e') && isElement(parsed(sub.slice(1)), sub.slice(1))
}

export function isElement(value: unknown, text: string = JSON.stringify(value) ?? ''): value is Element {
  const isScalar = typeof value === 'string' || typeof value === 'boolean' || Number.isFinite(value)
  // JSON has one text for each, but for minus zero.
  return isScalar && text.length <= ELEMENT_LENGTH_MAX && text === JSON.stringify(value) && isWellFormed(value)
}

export function isReference(value: unknown): value is Reference {
  if (!Array.isArray(value) || value.length < 3 || value.length > 4) return false
  const [collection, partition, key, label] = value as unknown[]
  if (typeof collection !== 'string' || typeof partition !== 'string' || typeof key !== 'string') return false
  if (value.length === 4 && (typeof label !== 'string' || !isLabel(label))) return false
  return isCollectionName(collection) && isPartition(partition) && isDocumentKey(key)
}

/** `[p, n]` or `[p, n, incarnation]`. */
export function isTotal(value: unknown): value is readonly [number, number] | readonly [number, number, string] {
  if (!Array.isArray(value) || value.length < 2 || value.length > 3) return false
  const [added, taken, incarnation] = value as unknown[]
  return isAmount(added) && isAmount(taken) && (value.length === 2 || isIncarnation(incarnation))
}

/** What one author may have counted: beyond this, numbers lose their units. */
export function isAmount(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= Number.MAX_SAFE_INTEGER
}

function isIncarnation(value: unknown): boolean {
  return typeof value === 'string' && /^[0-9a-f]{16}$/.test(value)
}

function isWellFormed(value: unknown): boolean {
  return typeof value !== 'string' || value.isWellFormed()
}

function parsed(text: string): Value | undefined {
  try {
    return JSON.parse(text) as Value
  } catch {
    return undefined
  }
}
