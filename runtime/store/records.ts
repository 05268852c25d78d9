import type { KeyValue } from '../ports/store.ts'
import type { Base } from './base.ts'
import { compareUtf8 } from './order.ts'

const RECORD_BYTES = 160

/** Small key-value records: those that no sweep has taken to LMDB yet stand before it; null hides one that was removed. */
export class RecordTable {
  readonly #base: Base
  #recent = new Map<string, Uint8Array | null>()
  #bytes = 0

  constructor(base: Base) {
    this.#base = base
  }

  get recentBytes(): number {
    return this.#bytes
  }

  get(key: string): Uint8Array | undefined {
    const recent = this.#recent.get(key)
    return recent === undefined ? this.#base.record(key) : (recent ?? undefined)
  }

  /** In the order of the keys' UTF-8 bytes. */
  scan(prefix: string): KeyValue[] {
    const found = this.#base.records(prefix).filter(({ key }) => !this.#recent.has(key))
    for (const [key, value] of this.#recent) if (value !== null && key.startsWith(prefix)) found.push({ key, value })
    return found.sort((a, b) => compareUtf8(a.key, b.key))
  }

  set(key: string, value: Uint8Array | null): void {
    const before = this.#recent.get(key)
    if (before !== undefined) this.#bytes -= bytesOf(key, before)
    this.#recent.set(key, value)
    this.#bytes += bytesOf(key, value)
  }

  /** What LMDB doesn't have. */
  recent(): [string, Uint8Array | null][] {
    return [...this.#recent]
  }

  /** LMDB has them: those that were not set again meanwhile are read from there. */
  release(swept: readonly (readonly [string, Uint8Array | null])[]): void {
    for (const [key, value] of swept) {
      // A removed one is null before and after: that it was set again does not matter then.
      if (this.#recent.get(key) !== value) continue
      this.#recent.delete(key)
      this.#bytes -= bytesOf(key, value)
    }
  }
}

function bytesOf(key: string, value: Uint8Array | null): number {
  return RECORD_BYTES + key.length + (value?.length ?? 0)
}
