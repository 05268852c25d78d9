import { assert } from '../base/errors.ts'
import { hlcFromMs, HLC_MAX, LAST_MS, msOfHlc, type Hlc } from './stamp.ts'

/**
 * The clock of one author: strictly increasing over all its feeds, whatever the physical time does, and above every
 * stamp it has accepted from others. Pure: physical time comes in as an argument.
 */
export class HybridClock {
  #last: Hlc

  /** `floor` is the greatest stamp this author may have used before (stored batches, the mark beside the key). */
  constructor(floor: Hlc) {
    this.#last = floor
  }

  /** The greatest stamp given out or observed. */
  get last(): Hlc {
    return this.#last
  }

  /** Milliseconds by which stamps run ahead of a physical time; 0 when they don't. */
  aheadOf(physicalMs: number): number {
    return Math.max(0, msOfHlc(this.#last) - physicalMs)
  }

  /** A stamp above every earlier one. `physicalMs` is Unix time, possibly wrong. */
  next(physicalMs: number): Hlc {
    const next = Math.max(this.#last + 1, hlcFromMs(Math.min(physicalMs, LAST_MS)))
    assert(next < HLC_MAX, 'the hybrid clock has room')
    this.#last = next
    return next
  }

  /** To be called only after the future check (SPEC): what passes it may lift this clock. */
  observe(hlc: Hlc): void {
    if (hlc > this.#last) this.#last = hlc
  }
}
