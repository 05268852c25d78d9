/** Tokens that come back at a steady rate, at most a second's worth at once. Pure: time comes in as an argument. */
export class TokenBucket {
  readonly #perSecond: number
  #tokens: number
  #at: number

  constructor(perSecond: number, nowMs: number) {
    this.#perSecond = perSecond
    this.#tokens = perSecond
    this.#at = nowMs
  }

  /** Takes a token and returns 0, or takes none and returns the milliseconds until there is one. */
  take(nowMs: number): number {
    const come = ((nowMs - this.#at) * this.#perSecond) / 1000
    this.#tokens = Math.min(Math.max(1, this.#perSecond), this.#tokens + Math.max(0, come))
    this.#at = nowMs
    if (this.#tokens < 1) return Math.ceil(((1 - this.#tokens) * 1000) / this.#perSecond)
    this.#tokens -= 1
    return 0
  }
}
