/** How long a link must have been busy before it is known how fast it is, if it brings something, and if not. */
const KNOWN_MS = 1_000
export const SILENT_MS = 4_000
/** The last ten seconds count most. */
const FADING = 0.95

/** How fast a link brings what it was asked for: batches of late, and the time in which it had some to bring. */
export class Pace {
  #batches = 0
  #ms = 0

  note(batches: number, ms: number): void {
    this.#batches = this.#batches * FADING + batches
    this.#ms = this.#ms * FADING + ms
  }

  /** Batches a millisecond; null when that isn't known yet. */
  get perMs(): number | null {
    if (this.#ms < (this.#batches > 0 ? KNOWN_MS : SILENT_MS)) return null
    return Math.max(this.#batches, 1) / this.#ms
  }
}
