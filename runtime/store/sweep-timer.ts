import { GATEWAY_LIMITS } from '../base/limits.ts'

/** When to sweep although nothing presses: after a pause of the writers, or because something has waited for minutes. */
export class SweepTimer {
  readonly #isWorthwhile: () => boolean
  readonly #sweep: () => void
  #idle: NodeJS.Timeout | null = null
  #late: NodeJS.Timeout | null = null

  /** `isWorthwhile`: whether there is so much to sweep that a pause is to be used. */
  constructor(isWorthwhile: () => boolean, sweep: () => void) {
    this.#isWorthwhile = isWorthwhile
    this.#sweep = sweep
  }

  /** Something new waits to be swept. */
  touch(): void {
    this.#late ??= setTimeout(this.#sweep, GATEWAY_LIMITS.lateSweepMs).unref()
    this.#idle ??= setTimeout(() => {
      if (this.#isWorthwhile()) this.#sweep()
    }, GATEWAY_LIMITS.idleSweepMs).unref()
    this.#idle.refresh()
  }

  /** Everything that waited is being swept. */
  reset(): void {
    if (this.#late !== null) clearTimeout(this.#late)
    if (this.#idle !== null) clearTimeout(this.#idle)
    this.#late = null
    this.#idle = null
  }
}
