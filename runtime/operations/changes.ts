import { MarramError } from '../base/errors.ts'
import { GATEWAY_LIMITS, PROTOCOL_LIMITS } from '../base/limits.ts'
import {
  elementSub,
  isElement,
  isReference,
  kindOfCell,
  linkSub,
  pathOfCell,
  type CellKind,
  type Element,
  type Reference,
} from '../model/cells.ts'
import type { Document } from '../model/document.ts'
import { fieldsOf, type FieldKinds } from '../model/fields.ts'
import { checkFieldPath } from '../model/names.ts'
import { valueFault, type Fields, type Value } from '../model/value.ts'
import type { WriteOp } from '../ports/writer.ts'
import { encodeValue } from '../wire/cbor.ts'

/**
 * What a user writes to the fields of a document, as operations. A value sets its field and null removes it; an object of
 * the following keys changes it instead:
 *
 *     {"$add": 5}                                    counts; a negative number takes
 *     {"$add": ["a"], "$remove": ["b"]}              adds elements to a set, removes elements from it
 *     {"$link": ["pumps/p1"], "$remove": ["pumps/p2"]}  adds and removes links; a link is "collection/key", or an object
 *                                                    {"collection", "key", "partition"?, "label"?}
 *
 * A field that the profile declares as a set, or that is of links, takes a plain array as all that it shall hold.
 */
export interface ChangedDocument {
  readonly key: string
  /** What the profile says of the collection's fields. */
  readonly kinds: FieldKinds
  /** As it is stored; asked for only where what is there matters. */
  readonly stored: () => Document | undefined
  /** A plain number brings a counter to it. */
  readonly isExact: boolean
}

type Change = { readonly [operator: string]: Value }

const OPERATORS = new Set(['$add', '$remove', '$link'])

/** Throws `bad-request` or `too-large`. */
export function opsOfFields(document: ChangedDocument, fields: Fields): WriteOp[] {
  checkCount(Object.keys(fields).length)
  const plain: { [path: string]: Value } = {}
  const ops: WriteOp[] = []
  for (const [path, value] of Object.entries(fields)) {
    checkPath(path)
    checkValue(path, value)
    const typed = new FieldChange(document, path).opsOf(value)
    if (typed) ops.push(...typed)
    else plain[path] = value
  }
  return Object.keys(plain).length > 0 ? [{ kind: 'put', key: document.key, fields: plain }, ...ops] : ops
}

/** What a row of a series holds: plain values, and nothing where there is none. Throws `bad-request` or `too-large`. */
export function rowOf(fields: Fields): Fields {
  const row = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null))
  checkCount(Object.keys(row).length)
  for (const [path, value] of Object.entries(row)) {
    checkPath(path)
    checkValue(path, value)
    if (!isChange(value)) continue
    throw new MarramError('bad-request', `Cannot write the field "${path}": a row of a series holds plain values`)
  }
  return row
}

/** The change of one field. */
class FieldChange {
  readonly #document: ChangedDocument
  readonly #path: string
  readonly #declared: CellKind | undefined

  constructor(document: ChangedDocument, path: string) {
    this.#document = document
    this.#path = path
    this.#declared = document.kinds.get(path)
  }

  /** Null when the value is to be put as it is. */
  opsOf(value: Value): WriteOp[] | null {
    if (this.#declared !== 'register') {
      if (isChange(value)) return this.#changeOps(value)
      const names = namesIn(value)
      const other = names.find((name) => !OPERATORS.has(name))
      if (other !== undefined && names.some((name) => OPERATORS.has(name)))
        throw this.#fault(
          `"${other}" is no operator, and what has one of "$add", "$remove" and "$link" has nothing else`,
        )
    }
    const kind = this.#declared ?? (value === null ? this.#storedKind() : 'register')
    if (kind === 'register') return null
    if (kind === 'counter' && this.#document.isExact && typeof value === 'number') {
      return [{ ...this.#at, kind: 'count', by: this.#amount(value - this.#total()) }]
    }
    if (kind === 'counter') throw this.#fault('it is a counter, which is not set but counted: use {"$add": 5}')
    return this.#replacing(kind, value)
  }

  #changeOps(change: Change): WriteOp[] {
    const { $add: add, $link: link, $remove: removed } = change
    if (typeof add === 'number') {
      if (Object.keys(change).length > 1) throw this.#fault('a number to add stands alone')
      this.#demand('counter')
      return [{ ...this.#at, kind: 'count', by: this.#amount(add) }]
    }
    if (add !== undefined && link !== undefined) throw this.#fault('a field is a set or holds links, not both')
    const ops: WriteOp[] = []
    if (removed !== undefined) ops.push({ ...this.#at, kind: 'remove', subs: this.#removed(removed) })
    if (add !== undefined) ops.push(...this.#adding('set', this.#list('$add', add)))
    if (link !== undefined) ops.push(...this.#adding('link', this.#list('$link', link)))
    return ops
  }

  /** A plain value in the place of all that is there. */
  #replacing(kind: 'set' | 'link', value: Value): WriteOp[] {
    const all: WriteOp = { ...this.#at, kind: 'remove', subs: null }
    if (value === null) return [all]
    const what = kind === 'set' ? 'it is a set' : 'it holds links'
    if (!Array.isArray(value))
      throw this.#fault(`${what}: it must be an array, or {"$${kind === 'set' ? 'add' : 'link'}": […]}`)
    return [all, ...this.#adding(kind, value as readonly Value[])]
  }

  #adding(kind: 'set' | 'link', items: readonly Value[]): WriteOp[] {
    this.#demand(kind)
    this.#checkRoom(kind, items.length)
    // Nothing to add is still a write, which has its stamp.
    if (items.length === 0) return [{ ...this.#at, kind: 'remove', subs: [] }]
    if (kind === 'set') return [{ ...this.#at, kind: 'add', elements: items.map((item) => this.#element(item)) }]
    return [{ ...this.#at, kind: 'link', references: items.map((item) => this.#reference(item)) }]
  }

  /** Names of cells; a link without a label stands for all that lead there. */
  #removed(value: Value): string[] {
    return this.#list('$remove', value).flatMap((item) => {
      const links = this.#declared === 'set' || !isLinkLike(item) ? [] : [this.#removedLink(item)]
      const elements = this.#declared === 'link' || !isElement(item) ? [] : [elementSub(item)]
      if (links.length + elements.length === 0) throw this.#fault(`${shown(item)} is no element and no link`)
      return [...elements, ...links]
    })
  }

  #removedLink(item: Value): string {
    const reference = this.#reference(item)
    const sub = linkSub(reference)
    return reference.length === 4 ? sub : sub.slice(0, -1)
  }

  #element(item: Value): Element {
    if (isElement(item)) return item
    throw this.#fault(
      `${shown(item)} is no element of a set: it must be a text, a number or a boolean, of at most 512 characters`,
    )
  }

  #reference(item: Value): Reference {
    const reference = referenceOf(item)
    if (reference) return reference
    throw this.#fault(
      `${shown(item)} is no link: it must be "collection/key" or {"collection", "key", "partition"?, "label"?}`,
    )
  }

  #amount(by: number): number {
    if (Math.abs(by) <= GATEWAY_LIMITS.amountMax) return by
    throw this.#fault(`${by} is too much to count at once: it must be at most ${GATEWAY_LIMITS.amountMax}`)
  }

  #list(operator: string, value: Value): readonly Value[] {
    if (Array.isArray(value)) return value as readonly Value[]
    if (typeof value === 'string') return [value]
    throw this.#fault(`"${operator}" must be an array${operator === '$add' ? ', or a number to count' : ''}`)
  }

  #demand(kind: CellKind): void {
    if (this.#declared === undefined || this.#declared === kind) return
    throw this.#fault(`the profile says that it is ${NAMES[this.#declared]}, not ${NAMES[kind]}`)
  }

  #checkRoom(kind: 'set' | 'link', count: number): void {
    const max = GATEWAY_LIMITS.elementsPerFieldMax
    const held = this.#cells().filter((name) => kindOfCell(name) === kind).length
    if (held + count <= max) return
    throw new MarramError('too-large', `Cannot write the field "${this.#path}": it would hold more than ${max}`)
  }

  /** What null removes where the profile says nothing: what is there. */
  #storedKind(): CellKind {
    const kinds = this.#cells().map(kindOfCell)
    return kinds.find((kind) => kind === 'counter') ?? kinds.find((kind) => kind !== 'register') ?? 'register'
  }

  #total(): number {
    const document = this.#document.stored()
    const total = document && fieldsOf(document, this.#document.kinds)[this.#path]
    return typeof total === 'number' ? total : 0
  }

  #cells(): string[] {
    const document = this.#document.stored()
    return document?.paths.filter((name, i) => document.values[i] !== null && pathOfCell(name) === this.#path) ?? []
  }

  get #at(): { readonly key: string; readonly path: string } {
    return { key: this.#document.key, path: this.#path }
  }

  #fault(why: string): MarramError {
    return new MarramError('bad-request', `Cannot write the field "${this.#path}": ${why}`)
  }
}

const NAMES: { readonly [kind in CellKind]: string } = {
  register: 'a plain value',
  counter: 'a counter',
  set: 'a set',
  link: 'links',
}

/** `collection/key`, or an object with those names; null for what is neither. */
function referenceOf(item: Value): Reference | null {
  if (typeof item === 'string') {
    const slash = item.indexOf('/')
    const reference = slash < 0 ? [] : [item.slice(0, slash), '', item.slice(slash + 1)]
    return isReference(reference) ? reference : null
  }
  if (typeof item !== 'object' || item === null || Array.isArray(item) || item instanceof Uint8Array) return null
  const { collection, partition = '', key, label, ...rest } = item as { readonly [name: string]: Value | undefined }
  const reference = label === undefined ? [collection, partition, key] : [collection, partition, key, label]
  return Object.keys(rest).length === 0 && isReference(reference) ? reference : null
}

function namesIn(value: Value): string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Uint8Array) return []
  return Object.keys(value)
}

function isChange(value: Value): value is Change {
  const names = namesIn(value)
  return names.length > 0 && names.every((name) => OPERATORS.has(name))
}

function isLinkLike(item: Value): boolean {
  return referenceOf(item) !== null
}

function shown(item: Value): string {
  return (JSON.stringify(item) ?? '').slice(0, 60)
}

function checkCount(count: number): void {
  if (count === 0) throw new MarramError('bad-request', 'Cannot put an empty object: it must have at least one field')
  const max = PROTOCOL_LIMITS.fieldsPerDocumentMax
  if (count > max) throw new MarramError('too-large', `Cannot put ${count} fields: a document has at most ${max}`)
}

function checkPath(path: string): void {
  const checked = checkFieldPath(path)
  if (!checked.ok) throw new MarramError(checked.error.code, checked.error.message)
}

function checkValue(path: string, value: Value): void {
  if (value instanceof Uint8Array)
    throw new MarramError('bad-request', `Cannot store the field "${path}": it must be JSON`)
  const fault = valueFault(value)
  if (fault) throw new MarramError('bad-request', `Cannot store the field "${path}": ${fault}`)
  const bytes = encodedBytes(value)
  if (bytes <= PROTOCOL_LIMITS.valueBytesMax) return
  throw new MarramError(
    'too-large',
    `Cannot store the field "${path}": it has ${bytes} bytes, a value has at most ${PROTOCOL_LIMITS.valueBytesMax}`,
  )
}

/** The encoded size; for short strings, numbers and the like no more than that they are within the limit. */
function encodedBytes(value: Value): number {
  if (typeof value === 'string' && value.length * 3 <= PROTOCOL_LIMITS.valueBytesMax) return value.length
  return typeof value === 'string' || (typeof value === 'object' && value !== null) ? encodeValue(value).length : 9
}
