/** A token bucket: so many events a second, and as many at once as it holds. */
export class Bucket {
  readonly #perSecond: number
  readonly #most: number
  #tokens: number
  #at = 0

  constructor(perSecond: number, most: number) {
    this.#perSecond = perSecond
    this.#most = most
    this.#tokens = most
  }

  /** False when there is no token left; `nowMs` never goes back. */
  take(nowMs: number): boolean {
    this.#tokens = Math.min(this.#most, this.#tokens + ((nowMs - this.#at) / 1_000) * this.#perSecond)
    this.#at = nowMs
    if (this.#tokens < 1) return false
    this.#tokens -= 1
    return true
  }
}
