import { hex } from '../base/bytes.ts'
import { codeOf } from '../base/errors.ts'
import { OP_ADD, OP_COUNTER, OP_DELETE, OP_LINK, OP_PUT, OP_REMOVE } from '../model/batch.ts'
import { cellName, counterSub, isRemovableSub, pathOfCell, subOfCell } from '../model/cells.ts'
import { emptyDocument, mergeDocument, mergeOps, type Document, type Source } from '../model/document.ts'
import type { Hlc } from '../model/stamp.ts'
import type { Value } from '../model/value.ts'
import type { WriteOp } from '../ports/writer.ts'

/**
 * What an operation on a counter or a set becomes depends on what is there: a counter's cell holds all that this author has
 * counted, a removal names the stamp of the add that it saw. Several such writes may share a batch, and batches may be on
 * their way to the disk, so the documents they touch are kept here as they will be, until nothing is under way.
 */

/** One operation as a batch holds it; a delete has no path. */
export interface Row {
  readonly key: string
  readonly kind: number
  readonly path: string | null
  readonly value: Value
}

type TypedOp = Exclude<WriteOp, { kind: 'put' | 'row' }>

/** A removal of more than fits in one value is several operations. */
const REMOVALS_BYTES_MAX = 16_384

export class Ahead {
  readonly #stored: (key: string) => Document | undefined
  readonly #documents = new Map<string, Document>()

  constructor(stored: (key: string) => Document | undefined) {
    this.#stored = stored
  }

  /** For one batch, which counts as `countsAs`; when it comes to nothing, nothing has happened. */
  attempt(source: Source, countsAs: string): Attempt {
    return new Attempt(source, countsAs, this.#documents, this.#stored)
  }

  /** Everything that was under way is stored, or lost. */
  clear(): void {
    this.#documents.clear()
  }
}

export class Attempt {
  readonly #source: Source
  readonly #countsAs: string
  readonly #ahead: Map<string, Document>
  readonly #stored: (key: string) => Document | undefined
  readonly #touched = new Map<string, Document>()

  constructor(
    source: Source,
    countsAs: string,
    ahead: Map<string, Document>,
    stored: (key: string) => Document | undefined,
  ) {
    this.#source = source
    this.#countsAs = countsAs
    this.#ahead = ahead
    this.#stored = stored
  }

  /** The batch's stamp. */
  get hlc(): Hlc {
    return this.#source.hlc
  }

  get origin(): string {
    return this.#source.feed.origin
  }

  /** The document that a put writes over, as it is stored; null when there is none, or it can't be read. */
  stored(key: string): Document | null {
    try {
      return this.#stored(key) ?? null
    } catch (error) {
      if (codeOf(error) === 'storage-damaged') return null
      throw error
    }
  }

  /**
   * What `op` becomes as operation `index` and following of the batch: at least one, so that it has a stamp. Throws `storage-damaged`
   * when what it goes on from can't be read.
   */
  rowsOf(op: TypedOp, index: number): readonly Row[] {
    const rows = this.#rows(op)
    rows.forEach((row, i) => this.#merge(row, index + i))
    return rows.length > 0 ? rows : [{ key: op.key, kind: OP_PUT, path: null, value: null }]
  }

  /** The batch is on its way. */
  succeeded(): void {
    for (const [key, document] of this.#touched) this.#ahead.set(key, document)
  }

  #rows(op: TypedOp): Row[] {
    const { key } = op
    switch (op.kind) {
      case 'delete':
        return [{ key, kind: OP_DELETE, path: null, value: null }]
      case 'count':
        return [{ key, kind: OP_COUNTER, path: op.path, value: this.#total(key, op.path, op.by) }]
      case 'total':
        return [{ key, kind: OP_COUNTER, path: op.path, value: op.total }]
      case 'add':
        return [{ key, kind: OP_ADD, path: op.path, value: op.elements }]
      case 'link':
        return [{ key, kind: OP_LINK, path: op.path, value: op.references }]
      case 'remove':
        return this.#removals(key, op.path, op.subs).map((value) => ({ key, kind: OP_REMOVE, path: op.path, value }))
    }
  }

  #total(key: string, path: string, by: number): Value {
    const document = this.#find(key)
    const { origin, descriptor } = this.#source.feed
    const cell = document.paths.indexOf(cellName(path, counterSub(origin, this.#countsAs)))
    const [added, taken] = cell < 0 ? [0, 0] : (document.values[cell] as readonly [number, number])
    // Beyond that a number loses its units; it stays there rather than being refused everywhere.
    const sum = (total: number): number => Math.min(total + Math.abs(by), Number.MAX_SAFE_INTEGER)
    const total = by < 0 ? [added, sum(taken)] : [sum(added), taken]
    return this.#countsAs === hex(descriptor.incarnation) ? total : [...total, this.#countsAs]
  }

  #removals(key: string, path: string, subs: readonly string[] | null): Value[] {
    const document = this.#find(key)
    const pieces: Value[][] = []
    let bytes = REMOVALS_BYTES_MAX
    document.paths.forEach((name, i) => {
      if (document.values[i] === null || pathOfCell(name) !== path) return
      const sub = subOfCell(name)
      if (!isRemovableSub(sub) || (subs !== null && !isNamed(sub, subs))) return
      const { hlc, index, origin } = document.writes[i] as Document['writes'][number]
      // A stamp from the future can't have been seen: who gave it will void it.
      if (hlc > this.hlc) return
      if (bytes >= REMOVALS_BYTES_MAX) {
        pieces.push([])
        bytes = 0
      }
      pieces.at(-1)?.push([sub, hlc, index, origin])
      bytes += 3 * sub.length + 48
    })
    return pieces
  }

  /** The document as it will be; a copy. */
  #find(key: string): Document {
    const known = this.#touched.get(key)
    if (known) return known
    const document = emptyDocument()
    for (const part of [this.#stored(key), this.#ahead.get(key)]) if (part) mergeDocument(document, part)
    this.#touched.set(key, document)
    return document
  }

  #merge({ key, kind, path, value }: Row, index: number): void {
    const isAt = { hlc: this.#source.hlc, index }
    const paths = path === null ? [] : [path]
    const ops = { docs: [key], shapes: [{ kind, paths }], opDocs: [0], opShapes: [0], values: [value], stamps: [isAt] }
    mergeOps(
      ops,
      this.#source,
      () => this.#find(key),
      () => {},
    )
  }
}

/** A link's name that ends before its label stands for every link that leads there. */
function isNamed(sub: string, subs: readonly string[]): boolean {
  return subs.some((name) => name === sub || (name.startsWith('l') && sub.startsWith(`${name}\0`)))
}
