import { existsSync } from 'node:fs'
import type { Clock, ClockClass } from '../ports/clock.ts'

/** Written by systemd-timesyncd, and by chrony's and ntpd's units on Debian, once the clock was set from the network. */
const SYNCHRONISED_FILE = '/run/systemd/timesync/synchronized'
const CHECK_MS = 60_000
/** A jump of the wall clock against the monotonic one beyond this is not believed without a new sign of synchronisation. */
const JUMP_MS_MAX = 3_600_000

/**
 * The system's clock and how far to believe it (protocol D14). `buildMs` is a time that has passed for certain: a clock
 * before it is wrong.
 */
export class SystemClock implements Clock {
  readonly #buildMs: number
  #trust: ClockClass = 0
  #checkedAt = Number.NEGATIVE_INFINITY
  #offsetMs: number

  constructor(buildMs: number) {
    this.#buildMs = buildMs
    this.#offsetMs = Date.now() - performance.now()
  }

  wallMs(): number {
    return Date.now()
  }

  monotonicMs(): number {
    return performance.now()
  }

  trust(): ClockClass {
    const now = performance.now()
    if (now - this.#checkedAt >= CHECK_MS) {
      this.#checkedAt = now
      this.#trust = this.#check()
    }
    return this.#trust
  }

  #check(): ClockClass {
    const offsetMs = Date.now() - performance.now()
    const hasJumped = Math.abs(offsetMs - this.#offsetMs) > JUMP_MS_MAX
    this.#offsetMs = offsetMs
    const isSynchronised = existsSync(SYNCHRONISED_FILE)
    if (Date.now() < this.#buildMs) return 0
    return isSynchronised && !hasJumped ? 2 : 0
  }
}
