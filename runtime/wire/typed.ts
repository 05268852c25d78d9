import { PROTOCOL_LIMITS } from '../base/limits.ts'
import { OP_ADD, OP_COUNTER, OP_LINK, OP_REMOVE, type OpStamp, type Seen } from '../model/batch.ts'
import { isElement, isReference, isRemovableSub, isTotal } from '../model/cells.ts'
import { isPeerId } from '../model/names.ts'
import type { Hlc } from '../model/stamp.ts'
import type { Value } from '../model/value.ts'

/**
 * The values of counters, sets and links in a body, and stamps older than the batch's. On the wire a stamp is how far it
 * lies before the batch's, which is small where the stamp itself would need a 64-bit number; in memory it is the stamp.
 */

/** Whether a value that is JSON is one that an operation of this kind has. */
export function isTypedValue(kind: number, value: Value): boolean {
  if (kind === OP_COUNTER) return isTotal(value)
  if (!Array.isArray(value) || value.length === 0) return false
  switch (kind) {
    case OP_ADD:
      return value.every((element) => isElement(element))
    case OP_LINK:
      return value.every(isReference)
    default:
      return kind === OP_REMOVE && value.every(isRemoval)
  }
}

/** `[name, hlc, index, origin][]` with `before` in the place of `hlc`. */
export function removeToWire(value: Value, hlc: Hlc): Value {
  return (value as [string, Hlc, number, string][]).map(([sub, seen, index, origin]) => [
    sub,
    hlc - seen,
    index,
    origin,
  ])
}

/** The opposite; what has no such form stays as it is, and is found wrong. */
export function removeFromWire(value: Value, hlc: Hlc): Value {
  if (!Array.isArray(value)) return value
  return value.map((item: Value) => {
    if (!Array.isArray(item) || item.length !== 4) return item
    const [sub, before, index, origin] = item as [Value, Value, Value, Value]
    return [sub, isBefore(before, hlc) ? hlc - before : null, index, origin]
  })
}

/** Two columns, null where an operation has the batch's own stamp. */
export function stampsToWire(stamps: readonly (OpStamp | null)[], hlc: Hlc): (number | null)[][] {
  return [stamps.map((stamp) => stamp && hlc - stamp.hlc), stamps.map((stamp) => stamp && stamp.index)]
}

/** Null when they are malformed. */
export function stampsFromWire(value: unknown, count: number, hlc: Hlc): (OpStamp | null)[] | null {
  if (!Array.isArray(value) || value.length !== 2) return null
  const [befores, indexes] = value as unknown[]
  if (!Array.isArray(befores) || !Array.isArray(indexes)) return null
  if (befores.length !== count || indexes.length !== count) return null
  const stamps: (OpStamp | null)[] = []
  for (let i = 0; i < count; i++) {
    const [before, index] = [befores[i] as unknown, indexes[i] as unknown]
    if (before === null && index === null) stamps.push(null)
    else if (isBefore(before, hlc) && isIndex(index)) stamps.push({ hlc: hlc - before, index })
    else return null
  }
  return stamps
}

/** `[op, path, before, index, origin][]`. */
export function seenToWire(seen: readonly Seen[], hlc: Hlc): (number | string)[][] {
  return seen.map(({ op, path, stamp }) => [op, path, hlc - stamp.hlc, stamp.index, stamp.origin])
}

/** Null when it is malformed. `count` is that of the operations. */
export function seenFromWire(value: unknown, count: number, hlc: Hlc): Seen[] | null {
  if (!Array.isArray(value)) return null
  const seen: Seen[] = []
  for (const item of value as unknown[]) {
    if (!Array.isArray(item) || item.length !== 5) return null
    const [op, path, before, index, origin] = item as unknown[]
    if (!isIndex(op) || op >= count || !isIndex(path) || !isBefore(before, hlc) || !isIndex(index)) return null
    if (typeof origin !== 'string' || !isPeerId(origin)) return null
    seen.push({ op, path, stamp: { hlc: hlc - before, index, origin } })
  }
  return seen
}

function isRemoval(item: unknown): boolean {
  if (!Array.isArray(item) || item.length !== 4) return false
  const [sub, hlc, index, origin] = item as unknown[]
  return isRemovableSub(sub) && hlc !== null && isIndex(index) && typeof origin === 'string' && isPeerId(origin)
}

function isBefore(value: unknown, hlc: Hlc): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= hlc
}

function isIndex(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < PROTOCOL_LIMITS.opsPerBatchMax
}
