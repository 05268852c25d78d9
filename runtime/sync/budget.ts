import type { KeyValue } from '../ports/store.ts'

/** What a gateway may send over all its links together, in bytes of frames; null is no limit. */
export interface BudgetOptions {
  readonly bytesPerSecond: number | null
  readonly bytesPerDay: number | null
}

export const NO_BUDGET: BudgetOptions = { bytesPerSecond: null, bytesPerDay: null }

/** Bytes, and when the day ends in which they were sent. */
export interface BudgetView extends BudgetOptions {
  readonly sentToday: number
  readonly dayEndsMs: number
}

const DAY_MS = 86_400_000
/** A bucket holds what comes in a second, but at least a frame. */
const BUCKET_BYTES_MIN = 65_536
/** The last part of a day is for system collections and urgent ones. */
const DAY_SHARE = 0.9
const KEEP_MS = 30_000
export const BUDGET_KEY = 'sync/budget'

/**
 * Everything that is sent counts, batches alone wait (protocol D27): those of system and urgent collections may overdraw the second by
 * a bucket, which the others pay for, and have the last tenth of the day to themselves. A day lasts 24 hours of running: no clock
 * has to be right for it, and a restart doesn't begin another.
 */
export class Budget {
  readonly #options: BudgetOptions
  #bytes: number
  /** Null until the time is first heard. */
  #at: number | null = null
  #sentToday = 0
  #dayAt = 0
  #keptAt = Number.NEGATIVE_INFINITY
  /** What waits for it. */
  #awaitedBy: 'none' | 'privileged' | 'others' = 'none'

  constructor(options: BudgetOptions, record: Uint8Array | undefined) {
    this.#options = options
    this.#bytes = this.#bucketBytes
    if (record?.length !== 16) return
    const view = new DataView(record.buffer, record.byteOffset)
    this.#sentToday = view.getFloat64(0)
    this.#dayAt = -view.getFloat64(8)
  }

  get isLimited(): boolean {
    return this.#options.bytesPerSecond !== null || this.#options.bytesPerDay !== null
  }

  /** A decision begins: what waits is found anew. */
  begin(): void {
    this.#awaitedBy = 'none'
  }

  spend(now: number, bytes: number): void {
    if (!this.isLimited) return
    this.#passTime(now)
    this.#bytes -= bytes
    this.#sentToday += bytes
  }

  /** Whether a batch may go now; one frame may overdraw it. */
  allows(now: number, isPrivileged: boolean): boolean {
    if (!this.isLimited) return true
    this.#passTime(now)
    const isAllowed = this.#bytes > this.#leastBytes(isPrivileged) && !this.#isDaySpent(isPrivileged)
    if (!isAllowed && this.#awaitedBy !== 'privileged') this.#awaitedBy = isPrivileged ? 'privileged' : 'others'
    return isAllowed
  }

  /** When what waits may go, in monotonic milliseconds; Infinity when nothing does. */
  get deadline(): number {
    if (this.#awaitedBy === 'none') return Number.POSITIVE_INFINITY
    const isPrivileged = this.#awaitedBy === 'privileged'
    if (this.#isDaySpent(isPrivileged)) return this.#dayAt + DAY_MS
    const bytesPerMs = (this.#options.bytesPerSecond ?? Number.POSITIVE_INFINITY) / 1_000
    return (this.#at ?? 0) + Math.floor(Math.max(0, this.#leastBytes(isPrivileged) - this.#bytes) / bytesPerMs) + 1
  }

  #leastBytes(isPrivileged: boolean): number {
    return isPrivileged ? -this.#bucketBytes : 0
  }

  #isDaySpent(isPrivileged: boolean): boolean {
    const { bytesPerDay } = this.#options
    return bytesPerDay !== null && this.#sentToday >= bytesPerDay * (isPrivileged ? 1 : DAY_SHARE)
  }

  view(now: number): BudgetView | null {
    if (!this.isLimited) return null
    this.#passTime(now)
    return { ...this.#options, sentToday: this.#sentToday, dayEndsMs: this.#dayAt + DAY_MS - now }
  }

  /** What of it is stored along with a commit, now and then. */
  record(now: number): KeyValue[] {
    if (!this.isLimited || now < this.#keptAt + KEEP_MS) return []
    this.#keptAt = now
    const value = new Uint8Array(16)
    const view = new DataView(value.buffer)
    view.setFloat64(0, this.#sentToday)
    view.setFloat64(8, now - this.#dayAt)
    return [{ key: BUDGET_KEY, value }]
  }

  get #bucketBytes(): number {
    return Math.max(this.#options.bytesPerSecond ?? Number.POSITIVE_INFINITY, BUCKET_BYTES_MIN)
  }

  #passTime(now: number): void {
    if (this.#at === null) this.#dayAt += now
    const passedMs = Math.max(0, now - (this.#at ?? now))
    this.#at = now
    const { bytesPerSecond } = this.#options
    if (bytesPerSecond !== null) {
      this.#bytes = Math.min(this.#bytes + (passedMs * bytesPerSecond) / 1_000, this.#bucketBytes)
    }
    if (now < this.#dayAt + DAY_MS) return
    this.#dayAt = now
    this.#sentToday = 0
  }
}
