import type { Ops } from '../model/batch.ts'
import type { Document } from '../model/document.ts'
import type { Value } from '../model/value.ts'

/** Estimates of what things take in memory on 64-bit V8, good to about a third: they bound the table, no more. */
const ENTRY_BYTES = 320
const CELL_BYTES = 40
const WRITE_BYTES = 72

export function memoryOf(key: string, document: Document): number {
  let bytes = ENTRY_BYTES + key.length
  let last: unknown = null
  for (let i = 0; i < document.values.length; i++) {
    bytes += CELL_BYTES + memoryOfValue(document.values[i] as Value)
    const write = document.writes[i]
    // Cells of one operation share the object.
    if (write !== last) bytes += WRITE_BYTES
    last = write
  }
  return bytes
}

/** What the documents of a batch's operations take at the most, each in a document of its own. */
export function memoryOfOps(ops: Ops): number {
  let bytes = ops.opDocs.length * (ENTRY_BYTES + WRITE_BYTES)
  for (const value of ops.values) bytes += CELL_BYTES + memoryOfValue(value)
  return bytes
}

function memoryOfValue(value: Value): number {
  if (typeof value === 'string') return 24 + value.length
  if (typeof value !== 'object' || value === null) return 8
  if (value instanceof Uint8Array) return 120 + value.length
  let bytes = 32
  for (const item of Object.values(value)) bytes += 16 + memoryOfValue(item as Value)
  return bytes
}
