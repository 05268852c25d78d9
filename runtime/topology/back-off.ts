import type { Random } from '../base/random.ts'

const FIRST_MS = 500
const CAP_MS = 30_000
/** A link that lasted so long begins again with short waits. */
const STEADY_MS = 5_000

/**
 * How long to wait before the next attempt: full jitter over a doubling span (Brooker, "Exponential Backoff and
 * Jitter"), capped at 30 s; within a second after a link that had authenticated.
 */
export class BackOff {
  readonly #random: Random
  #attempts = 0

  constructor(random: Random) {
    this.#random = random
  }

  /** Milliseconds to wait. `linkedMs`: how long the link that ended had been up, null when none came about. */
  next(linkedMs: number | null): number {
    if (linkedMs !== null && linkedMs >= STEADY_MS) this.#attempts = 0
    const span = Math.min(FIRST_MS * 2 ** this.#attempts, CAP_MS)
    this.#attempts += 1
    return Math.round(span * this.#random())
  }
}
