import { GATEWAY_LIMITS } from '../base/limits.ts'
import type { TokenBucket } from './bucket.ts'

export interface Flushable {
  /** At most so many in the log. */
  readonly bytes: number
  /** About so many in memory when it has taken effect. */
  readonly memory: number
}

export interface FlushTarget<Item extends Flushable> {
  /** Whether log and table have room for one more flush of that size. Who says no calls `pump` when they have. */
  hasRoom(size: Flushable): boolean
  /**
   * Makes the items durable, lets them take effect in their order, and calls `done`, which may start the next flush. A
   * target whose flushes take time calls it as soon as the items are durable, so that the disk works while they are merged.
   */
  flush(items: readonly Item[], done: () => void): void
}

/**
 * Group commit without a timer: an item starts a flush when none is under way; what arrives meanwhile forms the next.
 * Small flushes pay a token of the bucket, so a lone write goes at once and a steady trickle is gathered: that is what
 * keeps a card alive. Bulk pays none.
 */
export class Flusher<Item extends Flushable> {
  readonly #target: FlushTarget<Item>
  readonly #bucket: TokenBucket | null
  readonly #flushMax: Flushable
  #queue: Item[] = []
  #queuedBytes = 0
  #queuedMemory = 0
  #isFlushing = false
  #isScheduled = false
  #timer: NodeJS.Timeout | null = null
  #idle: (() => void)[] = []

  /** A flush gathers up to `flushMax`; a single item that is greater goes alone. */
  constructor(target: FlushTarget<Item>, bucket: TokenBucket | null, flushMax: Flushable) {
    this.#target = target
    this.#bucket = bucket
    this.#flushMax = flushMax
  }

  get queuedBytes(): number {
    return this.#queuedBytes
  }

  get isFlushing(): boolean {
    return this.#isFlushing
  }

  add(item: Item): void {
    this.#queue.push(item)
    this.#queuedBytes += item.bytes
    this.#queuedMemory += item.memory
    if (this.#isFlushing || this.#isScheduled) return
    // At the end of this turn's synchronous part, so that writers of one turn share a flush.
    this.#isScheduled = true
    queueMicrotask(() => {
      this.#isScheduled = false
      this.pump()
    })
  }

  /** Starts a flush when there is something to flush, and room and a token for it. */
  pump(): void {
    if (this.#isFlushing) return
    if (this.#queue.length === 0) return this.#becomeIdle()
    const { count, bytes, memory } = this.#nextFlush()
    if (!this.#target.hasRoom({ bytes, memory }) || !this.#pays()) return
    const items = this.#queue.splice(0, count)
    this.#queuedBytes -= bytes
    this.#queuedMemory -= memory
    this.#isFlushing = true
    this.#target.flush(items, () => {
      this.#isFlushing = false
      this.pump()
    })
  }

  /** Takes back everything that no flush has begun with. */
  withdraw(): Item[] {
    const items = this.#queue
    this.#queue = []
    this.#queuedBytes = 0
    this.#queuedMemory = 0
    if (!this.#isFlushing) this.#becomeIdle()
    return items
  }

  /** Resolves when nothing is queued or under way. */
  idle(): Promise<void> {
    if (!this.#isFlushing && this.#queue.length === 0) return Promise.resolve()
    return new Promise((resolve) => this.#idle.push(resolve))
  }

  #nextFlush(): Flushable & { readonly count: number } {
    let count = 0
    let bytes = 0
    let memory = 0
    for (const item of this.#queue) {
      const isOver = bytes + item.bytes > this.#flushMax.bytes || memory + item.memory > this.#flushMax.memory
      if (count > 0 && isOver) break
      bytes += item.bytes
      memory += item.memory
      count += 1
    }
    return { count, bytes, memory }
  }

  /** Bulk is what takes much in the log or, since bodies are compressed, makes much of it. */
  #pays(): boolean {
    const { smallFlushBytes, smallFlushMemoryBytes } = GATEWAY_LIMITS
    const isBulk = this.#queuedBytes >= smallFlushBytes || this.#queuedMemory >= smallFlushMemoryBytes
    if (this.#bucket === null || isBulk) {
      this.#stopTimer()
      return true
    }
    if (this.#timer !== null) return false
    const waitMs = this.#bucket.take(performance.now())
    if (waitMs === 0) return true
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.pump()
    }, waitMs)
    return false
  }

  #stopTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }

  #becomeIdle(): void {
    this.#stopTimer()
    const waiting = this.#idle
    this.#idle = []
    for (const resolve of waiting) resolve()
  }
}
