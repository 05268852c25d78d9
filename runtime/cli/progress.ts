const REDRAW_MS = 200
const BAR = 24
/** To the first column, and erase to the end. */
const CLEAR_LINE = '\r\u001b[K'

/** A progress bar on stderr, where that is a terminal; silent elsewhere. */
export class Progress {
  readonly #what: string
  readonly #bytesTotal: number | null
  readonly #startedAt = performance.now()
  readonly #isShown = process.stderr.isTTY === true
  #bytes = 0
  #count = 0
  #drawnAt = 0

  constructor(what: string, bytesTotal: number | null) {
    this.#what = what
    this.#bytesTotal = bytesTotal
  }

  addBytes(bytes: number): void {
    this.#bytes += bytes
  }

  set(count: number): void {
    this.#count = count
    const now = performance.now()
    if (!this.#isShown || now - this.#drawnAt < REDRAW_MS) return
    this.#drawnAt = now
    process.stderr.write(`${CLEAR_LINE}${this.#what} ${this.#bar()}${this.#count} documents, ${this.#rate()}/s`)
  }

  /** Clears the line; returns documents a second. */
  finish(count: number = this.#count): number {
    this.#count = count
    if (this.#isShown) process.stderr.write(CLEAR_LINE)
    return this.#rate()
  }

  #bar(): string {
    if (!this.#bytesTotal) return ''
    const part = Math.min(1, this.#bytes / this.#bytesTotal)
    return `[${'='.repeat(Math.round(part * BAR)).padEnd(BAR)}] ${Math.round(part * 100)}% `
  }

  #rate(): number {
    return Math.round(this.#count / Math.max(0.001, (performance.now() - this.#startedAt) / 1_000))
  }
}
