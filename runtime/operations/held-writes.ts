import { codeOf, MarramError, sentenceOf } from '../base/errors.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import { utf8 } from '../base/bytes.ts'
import type { Log } from '../ports/log.ts'
import type { HeldWrite, Holder } from '../ports/operations.ts'
import type { Log as BatchLog, Records } from '../ports/store.ts'

export interface HeldSurroundings {
  readonly store: BatchLog & Records
  readonly canWrite: (collection: string) => boolean
  readonly write: (write: HeldWrite) => Promise<unknown>
  readonly log: Log
}

const PREFIX = 'held-write/'
/** What passes by itself: the write stays where it is. */
const PASSING: readonly string[] = ['no-key', 'storage-full', 'storage-io', 'storage-damaged', 'overloaded', 'closed']

/**
 * What devices say to an encrypted collection whose key is not here yet: nobody could read what would be written, and a device
 * says it once. It is kept on the disk, in order, and written when the key has come; users are told instead (`no-key`).
 */
export class HeldWrites implements Holder {
  readonly #with: HeldSurroundings
  readonly #held = new Map<string, HeldWrite>()
  readonly #counts = new Map<string, number>()
  #bytes = 0
  #lastNumber = 0
  /** Passes run one after the other: the last that was asked for, and the one that has not begun, which serves all who ask meanwhile. */
  #last: Promise<void> = Promise.resolve()
  #next: Promise<void> | null = null

  constructor(surroundings: HeldSurroundings) {
    this.#with = surroundings
    for (const { key, value } of surroundings.store.scanRecords(PREFIX)) {
      const write = value === null ? null : writeIn(value)
      this.#lastNumber = Number(key.slice(PREFIX.length))
      if (value === null) continue
      if (write !== null) this.#note(key, write, value.length)
      // It stays where it is, and keeps nothing else from being written.
      else surroundings.log.warn('held-write-damaged', { record: key })
    }
  }

  countOf(collection: string): number {
    return this.#counts.get(collection) ?? 0
  }

  isHolding(collection: string): boolean {
    return this.countOf(collection) > 0
  }

  async hold(write: HeldWrite): Promise<void> {
    const value = utf8(JSON.stringify(write))
    const { heldWritesMax, heldWriteBytesMax } = GATEWAY_LIMITS
    if (this.#held.size >= heldWritesMax || this.#bytes + value.length > heldWriteBytesMax) {
      const sentence = `Cannot write "${write.collection}": it is encrypted, there is no key for it here, and ${this.#held.size} writes wait for one already`
      throw new MarramError('no-key', sentence)
    }
    const key = PREFIX + String((this.#lastNumber += 1)).padStart(12, '0')
    this.#note(key, write, value.length)
    try {
      await this.#with.store.append({ batches: [], records: [{ key, value }] })
    } catch (error) {
      this.#forget(key, write, value.length)
      throw error
    }
    // The key may have come meanwhile.
    void this.release()
  }

  /** Writes what can be written now, in order. */
  release(): Promise<void> {
    this.#next ??= this.#last = this.#last
      .then(() => {
        this.#next = null
        return this.#pass()
      })
      .catch((error: unknown) => this.#with.log.warn('held-writes-not-written', { message: sentenceOf(error) }))
    return this.#next
  }

  async #pass(): Promise<void> {
    const locked = new Set<string>()
    for (const [key, write] of this.#held) {
      // A key that comes meanwhile lets no later write of its collection overtake an earlier one.
      if (locked.has(write.collection) || !this.#with.canWrite(write.collection)) {
        locked.add(write.collection)
        continue
      }
      try {
        await this.#with.write(write)
      } catch (error) {
        if (PASSING.includes(codeOf(error))) return
        this.#with.log.warn('held-write-refused', { collection: write.collection, message: sentenceOf(error) })
      }
      await this.#with.store.append({ batches: [], records: [{ key, value: null }] })
      this.#forget(key, write, utf8(JSON.stringify(write)).length)
    }
  }

  #note(key: string, write: HeldWrite, bytes: number): void {
    this.#held.set(key, write)
    this.#counts.set(write.collection, this.countOf(write.collection) + 1)
    this.#bytes += bytes
  }

  #forget(key: string, write: HeldWrite, bytes: number): void {
    this.#held.delete(key)
    this.#counts.set(write.collection, this.countOf(write.collection) - 1)
    this.#bytes -= bytes
  }
}

/** Null for one that a card has changed. */
function writeIn(bytes: Uint8Array): HeldWrite | null {
  try {
    const { collection, key, fields } = JSON.parse(Buffer.from(bytes).toString()) as HeldWrite
    return typeof collection === 'string' && typeof key === 'string' && typeof fields === 'object'
      ? { collection, key, fields }
      : null
  } catch {
    return null
  }
}
