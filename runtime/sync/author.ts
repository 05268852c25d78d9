import { GATEWAY_LIMITS } from '../base/limits.ts'
import { OP_PUT, type Ops, type OpStamp, type Seen, type Shape } from '../model/batch.ts'
import type { Document } from '../model/document.ts'
import type { Hlc } from '../model/stamp.ts'
import type { Fields, Value } from '../model/value.ts'
import type { WriteOp } from '../ports/writer.ts'
import { Ahead, type Attempt, type Row } from './ahead.ts'
import type { LocalWrite } from './types.ts'

/**
 * Gathers local writes into batches without a timer (group commit): a write is sent to the disk at once when none is
 * under way; what comes meanwhile forms the next batch, which is cut early when it is full.
 */

/** Raw size at which a batch is cut; deflated it stays well under the transmitted maximum for ordinary data. */
const RAW_BYTES_MAX = 131_072
/** What removing one element takes, and how many there may be where all are removed. */
const REMOVAL_BYTES = 48
const REMOVED_ROUGHLY = 16
/** Full batches may go to the disk while others are on their way, up to this many. */
const UNDER_WAY_MAX = 16

/** Local writes of one feed that share a batch. */
export interface Draft<Token> {
  readonly ops: Ops
  readonly writes: readonly LocalWrite<Token>[]
  /** For each write, the index of its last operation in the batch. */
  readonly lastIndexes: readonly number[]
}

/** The local writes of one own feed that are not on the disk yet. */
export class WriteQueue<Token> {
  #waiting: LocalWrite<Token>[] = []
  #from = 0
  #ops = 0
  #firstAt = 0
  #underWay = 0
  readonly #opsMax: number
  readonly #delayMs: number
  readonly ahead: Ahead

  /** `stored` is the document of this key in the feed's collection and partition. */
  constructor(opsMax: number, delayMs: number, stored: (key: string) => Document | undefined) {
    this.#opsMax = opsMax
    this.#delayMs = delayMs
    this.ahead = new Ahead(stored)
  }

  get waitingOps(): number {
    return this.#ops
  }

  /** False when the queue is full. */
  add(write: LocalWrite<Token>, monotonicMs: number): boolean {
    if (this.#ops + write.ops.length > GATEWAY_LIMITS.pendingWritesMax) return false
    if (this.#ops === 0) this.#firstAt = monotonicMs
    this.#waiting.push(write)
    this.#ops += write.ops.length
    return true
  }

  /** What the next batch is to hold, or null when there is nothing or it should wait. */
  cut(monotonicMs: number): readonly LocalWrite<Token>[] | null {
    if (!this.#isDue(monotonicMs)) return null
    this.#underWay += 1
    return this.#take()
  }

  /** A batch was made two. */
  started(): void {
    this.#underWay += 1
  }

  /** A batch of this queue is on the disk or has failed. */
  settled(): void {
    this.#underWay -= 1
    if (this.#underWay === 0) this.ahead.clear()
  }

  /** Monotonic time at which `cut` will give something by itself. */
  get deadline(): number {
    const isHeld = this.#ops > 0 && this.#underWay === 0 && this.#delayMs > 0
    return isHeld ? this.#firstAt + this.#delayMs : Number.POSITIVE_INFINITY
  }

  /** Everything that waits, given up. */
  drain(): LocalWrite<Token>[] {
    const writes = this.#waiting.slice(this.#from)
    this.#waiting = []
    this.#from = 0
    this.#ops = 0
    return writes
  }

  #isDue(monotonicMs: number): boolean {
    if (this.#ops === 0) return false
    if (this.#ops >= this.#opsMax) return this.#underWay < UNDER_WAY_MAX
    return this.#underWay === 0 && monotonicMs >= this.#firstAt + this.#delayMs
  }

  #take(): LocalWrite<Token>[] {
    const start = this.#from
    let ops = 0
    let bytes = 0
    while (this.#from < this.#waiting.length) {
      const write = this.#waiting[this.#from] as LocalWrite<Token>
      const size = roughBytes(write.ops)
      const isFull = ops + write.ops.length > this.#opsMax || bytes + size > RAW_BYTES_MAX
      if (isFull && this.#from > start) break
      this.#from += 1
      ops += write.ops.length
      bytes += size
    }
    const writes = this.#waiting.slice(start, this.#from)
    this.#ops -= ops
    if (this.#from === this.#waiting.length) {
      this.#waiting = []
      this.#from = 0
    }
    return writes
  }
}

/** Splits what turned out too large to transmit; null when it is a single write. */
export function halves<T>(writes: readonly T[]): [readonly T[], readonly T[]] | null {
  if (writes.length < 2) return null
  const middle = writes.length >> 1
  return [writes.slice(0, middle), writes.slice(middle)]
}

/** `isShared`: others write there too. */
export function draftOf<Token>(
  writes: readonly LocalWrite<Token>[],
  attempt: Attempt,
  isShared: boolean,
): Draft<Token> {
  const columns = new Columns(attempt.origin, attempt.hlc)
  const lastIndexes: number[] = []
  for (const write of writes) {
    for (const op of write.ops) {
      if (op.kind === 'put') columns.put(op.key, op.fields, isShared ? attempt.stored(op.key) : null)
      else if (op.kind === 'row') columns.addRow(op)
      else for (const row of attempt.rowsOf(op, columns.opDocs.length)) columns.row(row)
    }
    lastIndexes.push(columns.opDocs.length - 1)
  }
  return { ops: columns, writes, lastIndexes }
}

class Columns implements Ops {
  readonly docs: string[] = []
  readonly shapes: Shape[] = []
  readonly opDocs: number[] = []
  readonly opShapes: number[] = []
  readonly values: Value[] = []
  stamps?: (OpStamp | null)[]
  seen?: Seen[]
  readonly #origin: string
  readonly #hlc: Hlc
  readonly #docIndexes = new Map<string, number>()
  readonly #shapeIndexes = new Map<string, number>()

  constructor(origin: string, hlc: Hlc) {
    this.#origin = origin
    this.#hlc = hlc
  }

  /** `stored` is the document that is written over, when others have written it too. */
  put(key: string, fields: Fields, stored: Document | null): void {
    const paths = Object.keys(fields)
    if (stored !== null) this.#note(paths, stored)
    this.opDocs.push(this.#docIndex(key))
    this.opShapes.push(this.#shapeIndex(OP_PUT, paths))
    for (const path of paths) this.values.push(fields[path] as Value)
  }

  /** Which of another author's values the next operation takes the place of; from the future none can be. */
  #note(paths: readonly string[], { paths: cells, writes }: Document): void {
    for (let i = 0; i < paths.length; i++) {
      const write = writes[cells[i] === paths[i] ? i : cells.indexOf(paths[i] as string)]
      if (write === undefined || write.origin === this.#origin || write.hlc > this.#hlc) continue
      const { hlc, index, origin } = write
      this.seen ??= []
      this.seen.push({ op: this.opDocs.length, path: i, stamp: { hlc, index, origin } })
    }
  }

  /** A row that is written again keeps its stamp, unless that is from the future of the batch's. */
  addRow({ key, fields, stamp }: Extract<WriteOp, { kind: 'row' }>): void {
    const its = stamp && stamp.hlc <= this.#hlc ? stamp : null
    if (its || this.stamps) {
      this.stamps ??= this.opDocs.map(() => null)
      this.stamps.push(its)
    }
    this.put(key, fields, null)
  }

  row({ key, kind, path, value }: Row): void {
    this.opDocs.push(this.#docIndex(key))
    this.opShapes.push(this.#shapeIndex(kind, path === null ? [] : [path]))
    if (path !== null) this.values.push(value)
  }

  #docIndex(key: string): number {
    const found = this.#docIndexes.get(key)
    if (found !== undefined) return found
    this.#docIndexes.set(key, this.docs.length)
    return this.docs.push(key) - 1
  }

  #shapeIndex(kind: number, paths: readonly string[]): number {
    // A NUL can't occur in a path, so the joined text names one shape only.
    const name = `${kind}\0${paths.join('\0')}`
    const found = this.#shapeIndexes.get(name)
    if (found !== undefined) return found
    this.#shapeIndexes.set(name, this.shapes.length)
    return this.shapes.push({ kind, paths }) - 1
  }
}

/** An estimate of the encoded size, right within a small factor; the exact limit is checked on the encoded batch. */
function roughBytes(ops: readonly WriteOp[]): number {
  let bytes = 0
  for (const op of ops) {
    bytes += op.key.length + 4
    if (op.kind === 'put' || op.kind === 'row')
      for (const path in op.fields) bytes += roughValueBytes(op.fields[path] as Value)
    else if (op.kind === 'add') bytes += roughValueBytes(op.elements)
    else if (op.kind === 'link') bytes += roughValueBytes(op.references)
    else bytes += REMOVAL_BYTES * (op.kind === 'remove' ? (op.subs?.length ?? REMOVED_ROUGHLY) : 1)
  }
  return bytes
}

function roughValueBytes(value: Value): number {
  if (typeof value === 'string') return value.length + 3
  if (typeof value !== 'object' || value === null) return 9
  if (value instanceof Uint8Array) return value.length + 3
  let bytes = 3
  for (const item of Object.values(value as { [key: string]: Value })) bytes += roughValueBytes(item) + 8
  return bytes
}
