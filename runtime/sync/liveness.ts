import {
  OP_ADD,
  OP_COUNTER,
  OP_DELETE,
  OP_LINK,
  OP_PUT,
  OP_REMOVE,
  type Ops,
  type OpStamp,
  type Shape,
} from '../model/batch.ts'
import { cellsOfOp, writeOf, type Document, type Source, type Write } from '../model/document.ts'
import { compareStamps, type Hlc, type Stamp } from '../model/stamp.ts'
import type { Value } from '../model/value.ts'

/**
 * Which operations of an own batch still count (protocol D16, D18). A value counts while it is the winner of its cell. A
 * delete or removal counts until its own feed overtakes it or nothing is left that it keeps dead: a later one in another
 * feed may be voided, or dropped by its author, and what both had killed would be back.
 */

/** A delete of a document (`cell` null) or of one cell. */
export interface Tombstone {
  readonly key: string
  readonly cell: string | null
  readonly stamp: Stamp
  /** When it was written: a removal has the stamp of the add that it saw, which may be long ago. */
  readonly writtenAt: Hlc
}

/** A part of an operation: one cell that it writes, or its delete. */
interface Part {
  readonly isLive: boolean
  /** The document shows neither it nor anything newer: it isn't what its batches say. */
  readonly isLost?: boolean
  /** Set when the part counts only for what it keeps dead. */
  readonly tombstone: Tombstone | null
}

/** One operation of a batch, and what of it counts. */
export interface OpLife {
  readonly index: number
  readonly parts: readonly Part[]
}

/** Documents as they are here, and which of what they show is of the chains that a checkpoint can say it relies on. */
export interface Shown {
  readonly document: (key: string) => Document | undefined
  readonly isInChain: (write: Write) => boolean
}

/** What counts of each operation; null when the batch has kinds that only later versions understand. */
export function livesOf(ops: Ops, source: Source, shown: Shown): readonly OpLife[] | null {
  const lives: OpLife[] = []
  let at = 0
  for (let index = 0; index < ops.opDocs.length; index++) {
    const shape = ops.shapes[ops.opShapes[index] as number] as Shape
    const from = at
    at += shape.paths.length
    if (shape.kind > OP_LINK) return null
    const key = ops.docs[ops.opDocs[index] as number] as string
    const document = shown.document(key)
    const write = writeOf(source, ops.stamps?.[index] ?? null, index)
    const parts =
      shape.kind === OP_DELETE
        ? [lifeOfDelete(key, document, write)]
        : Array.from(cellsOfOp(shape, ops.values, from, write), ([name, value, stamp]) =>
            lifeOfCell(shown, key, document, name, value, stamp, write.hlc),
          )
    lives.push({ index, parts })
  }
  return lives
}

const DEAD: Part = { isLive: false, tombstone: null }
const LIVE: Part = { isLive: true, tombstone: null }
const LOST: Part = { isLive: true, isLost: true, tombstone: null }

function lifeOfDelete(key: string, document: Document | undefined, write: Write): Part {
  const by = document?.deleted ?? null
  if (by !== null && by.feed === write.feed && by.seq !== write.seq) return DEAD
  if (by !== null && by.feed === write.feed && compareStamps(by, write) !== 0) return DEAD
  return { isLive: true, tombstone: { key, cell: null, stamp: write, writtenAt: write.hlc } }
}

function lifeOfCell(
  shown: Shown,
  key: string,
  document: Document | undefined,
  name: string,
  value: Value,
  write: Write,
  writtenAt: Hlc,
): Part {
  const at = document?.paths.indexOf(name) ?? -1
  const winner = at < 0 ? (document?.deleted ?? null) : (document?.writes[at] ?? null)
  const isWinner = at >= 0 && winner !== null && winner.seq === write.seq && winner.feed === write.feed
  if (value !== null) {
    const order = winner === null ? -1 : compareStamps(winner, write)
    // What nothing newer has overtaken and still isn't shown was lost: the batch is what it can come back from.
    if (order < 0) return LOST
    if (isWinner) return order === 0 ? LIVE : DEAD
    // Whoever goes by the checkpoint need not have what has come beside the chain, for a fill that is not whole.
    return winner !== null && !shown.isInChain(winner) ? LIVE : DEAD
  }
  const isOvertaken = winner !== null && winner.feed === write.feed && !isWinner
  const isOlder = winner !== null && isWinner && compareStamps(winner, write) !== 0
  return isOvertaken || isOlder ? DEAD : { isLive: true, tombstone: { key, cell: name, stamp: write, writtenAt } }
}

/** Whether something that was written before may count again when these operations go. */
export function mayKeepDead({ shapes, values }: Ops): boolean {
  const keeps = ({ kind }: Shape): boolean => kind === OP_DELETE || kind === OP_REMOVE || kind > OP_LINK
  return values.includes(null) || shapes.some(keeps)
}

/** Operations to be told again under their first stamps, with just the parts that `counts` says. */
export function copyParts(
  ops: Ops,
  source: Source,
  lives: readonly OpLife[],
  counts: (part: Part) => boolean,
  into: OpsCopy,
): void {
  let at = 0
  for (const { index, parts } of lives) {
    const shape = ops.shapes[ops.opShapes[index] as number] as Shape
    const from = at
    at += shape.paths.length
    if (!parts.some(counts)) continue
    const key = ops.docs[ops.opDocs[index] as number] as string
    const { hlc, index: place } = writeOf(source, ops.stamps?.[index] ?? null, index)
    const kept: [string, Value][] = []
    let part = 0
    for (const [i, path] of shape.paths.entries()) {
      const value = ops.values[from + i] as Value
      const size = cellsIn(shape.kind, value)
      const those = parts.slice(part, part + size).map(counts)
      part += size
      if (those.includes(true)) kept.push([path, partOf(shape.kind, value, those)])
    }
    into.add(key, shape.kind, kept, { hlc, index: place })
  }
}

function cellsIn(kind: number, value: Value): number {
  return kind === OP_PUT || kind === OP_COUNTER ? 1 : (value as readonly Value[]).length
}

function partOf(kind: number, value: Value, kept: readonly boolean[]): Value {
  if (kind !== OP_ADD && kind !== OP_LINK && kind !== OP_REMOVE) return value
  return (value as readonly Value[]).filter((_, i) => kept[i])
}

/** Columns that grow. */
export class OpsCopy implements Ops {
  readonly docs: string[] = []
  readonly shapes: Shape[] = []
  readonly opDocs: number[] = []
  readonly opShapes: number[] = []
  readonly values: Value[] = []
  readonly stamps?: (OpStamp | null)[]
  readonly #docs = new Map<string, number>()
  readonly #shapes = new Map<string, number>()

  /** `isStamped`: operations keep the stamps under which they were first written. */
  constructor(isStamped: boolean) {
    if (isStamped) this.stamps = []
  }

  get size(): number {
    return this.opDocs.length
  }

  add(
    key: string,
    kind: number,
    fields: readonly (readonly [path: string, value: Value])[],
    stamp: OpStamp | null,
  ): void {
    const paths = fields.map(([path]) => path)
    this.opDocs.push(indexOf(this.#docs, key, () => this.docs.push(key) - 1))
    this.opShapes.push(
      indexOf(this.#shapes, `${kind}\0${paths.join('\0')}`, () => this.shapes.push({ kind, paths }) - 1),
    )
    for (const [, value] of fields) this.values.push(value)
    this.stamps?.push(stamp)
  }
}

function indexOf(indexes: Map<string, number>, name: string, add: () => number): number {
  const found = indexes.get(name) ?? add()
  indexes.set(name, found)
  return found
}

/** Whether the tombstone keeps a write dead; `cell` is null for a delete. Of two removals of one add neither needs the other. */
export function isKilledBy(tombstone: Tombstone, cell: string | null, write: Stamp, isRemoval: boolean): boolean {
  if (tombstone.cell !== null && tombstone.cell !== cell) return false
  const order = compareStamps(write, tombstone.stamp)
  return isRemoval ? order < 0 : order <= 0
}
