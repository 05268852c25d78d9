import { GATEWAY_LIMITS } from '../base/limits.ts'
import { OP_DELETE, OP_PUT, type Ops, type Shape } from '../model/batch.ts'
import type { Value } from '../model/value.ts'
import type { WriteOp } from '../ports/writer.ts'
import type { LocalWrite } from './types.ts'

/**
 * Gathers local writes into batches without a timer (group commit): a write is sent to the disk at once when none is
 * under way; what comes meanwhile forms the next batch, which is cut early when it is full.
 */

/** Raw size at which a batch is cut; deflated it stays well under the transmitted maximum for ordinary data. */
const RAW_BYTES_MAX = 131_072
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

  constructor(opsMax: number, delayMs: number) {
    this.#opsMax = opsMax
    this.#delayMs = delayMs
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

  /** The next batch to write, or null when there is none or it should wait. */
  cut(monotonicMs: number): Draft<Token> | null {
    if (!this.#isDue(monotonicMs)) return null
    const writes = this.#take()
    this.#underWay += 1
    return draftOf(writes)
  }

  /** A batch was made two. */
  started(): void {
    this.#underWay += 1
  }

  /** A batch of this queue is on the disk or has failed. */
  settled(): void {
    this.#underWay -= 1
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

/** Splits a draft that turned out too large to transmit; null when it is a single write. */
export function halves<Token>(draft: Draft<Token>): [Draft<Token>, Draft<Token>] | null {
  if (draft.writes.length < 2) return null
  const middle = draft.writes.length >> 1
  return [draftOf(draft.writes.slice(0, middle)), draftOf(draft.writes.slice(middle))]
}

function draftOf<Token>(writes: readonly LocalWrite<Token>[]): Draft<Token> {
  const columns = new Columns()
  const lastIndexes: number[] = []
  for (const write of writes) {
    for (const op of write.ops) columns.add(op)
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
  readonly #docIndexes = new Map<string, number>()
  readonly #shapeIndexes = new Map<string, number>()

  add(op: WriteOp): void {
    this.opDocs.push(this.#docIndex(op.key))
    if (op.kind === 'delete') {
      this.opShapes.push(this.#shapeIndex(OP_DELETE, []))
      return
    }
    const paths = Object.keys(op.fields)
    this.opShapes.push(this.#shapeIndex(OP_PUT, paths))
    for (const path of paths) this.values.push(op.fields[path] as Value)
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
    if (op.kind === 'delete') continue
    for (const path in op.fields) bytes += roughValueBytes(op.fields[path] as Value)
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
