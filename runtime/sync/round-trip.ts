/** However short the way is, whoever answers may be busy for so long; milliseconds. */
const TIMEOUT_MS_MIN = 3_000

/** How long answers on a link take, and from when on one is overdue: as TCP reckons it (RFC 6298 2). Milliseconds. */
export class RoundTrip {
  #smoothed: number | null = null
  #variation = 0

  note(ms: number): void {
    if (this.#smoothed === null) {
      this.#smoothed = ms
      this.#variation = ms / 2
      return
    }
    this.#variation += (Math.abs(this.#smoothed - ms) - this.#variation) / 4
    this.#smoothed += (ms - this.#smoothed) / 8
  }

  /** Infinity before the first answer. */
  get timeoutMs(): number {
    if (this.#smoothed === null) return Number.POSITIVE_INFINITY
    return Math.max(TIMEOUT_MS_MIN, this.#smoothed + 4 * this.#variation)
  }
}
