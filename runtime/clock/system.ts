import type { Clock, ClockClass } from '../ports/clock.ts'
import { chronyProbe } from './chrony.ts'
import { operatorProbe } from './operator.ts'
import type { ClockProbe, ClockSource } from './probe.ts'
import { rtcProbe } from './rtc.ts'
import { timesyncdProbe } from './timesyncd.ts'

/** How often the probes are to be asked. */
export const CHECK_MS = 15_000
/** A jump of the wall clock against the monotonic one beyond this is not believed until something confirms it anew. */
const JUMP_MS_MAX = 3_600_000

export interface SystemClockOptions {
  /** Unix milliseconds that have passed for certain: a clock before them is wrong. */
  readonly buildMs: number
  /** The first that vouches counts. */
  readonly probes: readonly ClockProbe[]
  readonly wallMs?: () => number
  readonly monotonicMs?: () => number
}

/** All that may vouch for the clock of an ordinary board. */
export function systemProbes(isTrustedByOperator: boolean): readonly ClockProbe[] {
  return [timesyncdProbe(), chronyProbe(), rtcProbe(), operatorProbe(isTrustedByOperator)]
}

/** The system's clock and who vouches for it (protocol D14). Nobody does before the first `check`. */
export class SystemClock implements Clock {
  readonly wallMs: () => number
  readonly monotonicMs: () => number
  readonly #options: SystemClockOptions
  readonly #marks = new Map<ClockSource, string>()
  #source: ClockSource | null = null
  /** The wall clock less the monotonic one, when somebody vouched for it last. */
  #offsetMs: number | null = null

  constructor(options: SystemClockOptions) {
    this.#options = options
    this.wallMs = options.wallMs ?? (() => Date.now())
    this.monotonicMs = options.monotonicMs ?? (() => performance.now())
  }

  trust(): ClockClass {
    return this.source === null ? 0 : 2
  }

  /** Who vouches for the clock now; null when nobody does, or not since it jumped. */
  get source(): ClockSource | null {
    return this.#hasJumped() || this.wallMs() < this.#options.buildMs ? null : this.#source
  }

  /** Asks the probes; never throws. To be called every CHECK_MS. */
  async check(): Promise<void> {
    for (const probe of this.#options.probes) {
      const { source } = probe
      const mark = await probe.look(this.wallMs())
      if (mark === null) continue
      // What vouched for the clock before it jumped says nothing about it since.
      if (this.#hasJumped() && mark === this.#marks.get(source)) continue
      this.#marks.set(source, mark)
      this.#source = source
      this.#offsetMs = this.#offset()
      return
    }
    this.#source = null
  }

  #offset(): number {
    return this.wallMs() - this.monotonicMs()
  }

  #hasJumped(): boolean {
    return this.#offsetMs !== null && Math.abs(this.#offset() - this.#offsetMs) > JUMP_MS_MAX
  }
}
