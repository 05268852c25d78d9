import { hlcFromMs, type Hlc } from '../model/stamp.ts'
import type { Running } from './running.ts'

/** What time it is for this gateway, by its engine: its own clock's or its neighbours', and how far that is to be believed. */
export class Time {
  readonly #running: Running

  constructor(running: Running) {
    this.#running = running
  }

  /** Unix milliseconds, whether they are to be believed or not. */
  get wallMs(): number {
    return this.#running.driver.time.wallMs
  }

  /** Up to where this gateway has given out stamps, or has seen others'. */
  get hlc(): Hlc {
    return this.#running.driver.view.clock
  }

  /** Stamps are ahead of the time that is believed. */
  get isAhead(): boolean {
    return this.#running.driver.view.isClockAhead
  }

  /** Unix milliseconds; null while the time is not to be believed. */
  get trustedMs(): number | null {
    if (!this.#running.isStarted) return null
    const { trust, wallMs } = this.#running.driver.time
    return trust > 0 ? wallMs : null
  }

  /** The stamp of the time that is believed, whatever stamps are ahead of it; null while none is. */
  get trustedHlc(): Hlc | null {
    const { trustedMs } = this
    return trustedMs === null ? null : hlcFromMs(trustedMs)
  }

  /** It is later than this, as far as is known. */
  get passedHlc(): Hlc {
    return Math.max(hlcFromMs(this.wallMs), this.hlc)
  }
}
