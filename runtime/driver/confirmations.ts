import { GATEWAY_LIMITS } from '../base/limits.ts'
import type { Written } from '../ports/writer.ts'

/** One who waits until so many other gateways hold a batch of an own feed. */
interface Waiting {
  readonly written: Written
  readonly count: number
  settle(held: number): void
}

/** Waiting for other gateways' disks. What they hold is the engine's to know; here are those who want to hear of it. */
export class Confirmations {
  readonly #heldBy: (feedKey: string) => readonly number[]
  readonly #waitingByFeed = new Map<string, Set<Waiting>>()
  #size = 0
  #isClosed = false

  /** `heldBy`: up to where each other gateway has the feed on its disk. */
  constructor(heldBy: (feedKey: string) => readonly number[]) {
    this.#heldBy = heldBy
  }

  /** False when so many wait that no further one should begin. */
  get hasRoom(): boolean {
    return this.#size < GATEWAY_LIMITS.confirmationsMax
  }

  /**
   * Resolves with how many other gateways hold the write once there are `count`, or with fewer when `timeoutMs` have passed or
   * `signal` is aborted.
   */
  wait(written: Written, count: number, timeoutMs: number, signal?: AbortSignal): Promise<number> {
    const held = this.#count(written)
    if (held >= count || this.#isClosed || signal?.aborted === true) return Promise.resolve(held)
    return new Promise((resolve) => {
      const giveUp = (): void => waiting.settle(this.#count(written))
      const timer = setTimeout(giveUp, timeoutMs)
      signal?.addEventListener('abort', giveUp)
      const waiting: Waiting = {
        written,
        count,
        settle: (now) => {
          clearTimeout(timer)
          signal?.removeEventListener('abort', giveUp)
          this.#remove(waiting)
          resolve(now)
        },
      }
      this.#add(waiting)
    })
  }

  /** Other gateways have confirmed more of these feeds. */
  confirmed(feedKeys: readonly string[]): void {
    for (const feedKey of feedKeys) {
      const waitingHere = this.#waitingByFeed.get(feedKey)
      if (!waitingHere) continue
      // The most first: the n-th is what n gateways hold.
      const held = [...this.#heldBy(feedKey)].sort((a, b) => b - a)
      for (const waiting of waitingHere) {
        if ((held[waiting.count - 1] ?? 0) < waiting.written.sequence) continue
        waiting.settle(held.filter((seq) => seq >= waiting.written.sequence).length)
      }
    }
  }

  /** Nobody will confirm anything any more: all are told what is known. */
  close(): void {
    this.#isClosed = true
    for (const waitingHere of this.#waitingByFeed.values()) {
      for (const waiting of waitingHere) waiting.settle(this.#count(waiting.written))
    }
  }

  #count({ feedKey, sequence }: Written): number {
    return this.#heldBy(feedKey).filter((seq) => seq >= sequence).length
  }

  #add(waiting: Waiting): void {
    const { feedKey } = waiting.written
    const waitingHere = this.#waitingByFeed.get(feedKey)
    if (waitingHere) waitingHere.add(waiting)
    else this.#waitingByFeed.set(feedKey, new Set([waiting]))
    this.#size += 1
  }

  #remove(waiting: Waiting): void {
    const { feedKey } = waiting.written
    const waitingHere = this.#waitingByFeed.get(feedKey)
    if (waitingHere?.delete(waiting) !== true) return
    this.#size -= 1
    if (waitingHere.size === 0) this.#waitingByFeed.delete(feedKey)
  }
}
