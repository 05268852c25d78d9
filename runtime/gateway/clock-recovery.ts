import type { Log } from '../ports/log.ts'
import type { Store } from '../ports/store.ts'
import { hlcFromMs, type Hlc } from '../model/stamp.ts'
import { LET_PASS_MS } from '../sync/overrun.ts'
import type { ClockDoubt } from '../sync/weighing.ts'
import type { Incarnation } from './incarnation.ts'
import type { Running } from './running.ts'

export interface ClockRecoveryOptions {
  readonly store: Pick<Store, 'heads'>
  readonly running: Running
  readonly incarnation: Incarnation
  /** The stamp of this gateway's admission: none of its own may be earlier. */
  readonly notBefore: () => Hlc
  /** Stores the incarnation. */
  readonly keepIncarnation: () => Promise<void>
  readonly onSetBack: () => void
  readonly log: Log
}

const AHEAD =
  'clock-ahead: this gateway went by a wrong time and its stamps are ahead of the right one, so its neighbours wait with what it writes; '
const SOON = 'it is set back under a new incarnation, and what it wrote is written again'
const NOT_BEFORE =
  'it was admitted under such a stamp too: an administrator\'s gateway must be linked, which gives it its rights anew once its own clock is right; if that one is lost, run "marram grant" on another'

const SET_RIGHT =
  '(its NTP server, or its clock with a battery, which has to be in UTC), and meanwhile it may wait with what others write'
/** Why it is not set back, or not yet, and what is to be done about it. */
const DOUBTS: Readonly<Record<ClockDoubt, string>> = {
  outvoted: `clock-doubted: by the time that this gateway goes by its stamps are more than an hour ahead, but more of those that know the time say that they are not: nothing is set back, for most likely its clock is behind; set that right ${SET_RIGHT}`,
  tied: `clock-doubted: by the time that this gateway goes by its stamps are more than an hour ahead, but as many that know the time say that they are not, or said so before they were out of reach: it is set back when that has been so for a day; before that, set right whichever clock is wrong, most likely the one of this gateway ${SET_RIGHT}, or link another gateway that knows the time`,
  alone:
    'clock-ahead: only one clock says that the stamps of this gateway are more than an hour ahead, its own or that of one neighbour: it is set back when that has been so for five minutes, or, on the word of a neighbour on which it was set back before, for longer, a day at most; link another gateway that knows the time to have it at once, or set that clock right if it is wrong',
}

/** Sets the clock of a gateway back that had gone by a wrong time (protocol D15): the engine does the rest, see sync/overrun.ts. */
export class ClockRecovery {
  readonly #options: ClockRecoveryOptions

  constructor(options: ClockRecoveryOptions) {
    this.#options = options
  }

  /** Null when stamps go by the right time, as far as that is known. */
  get warning(): string | null {
    const { isClockAhead, clockDoubt } = this.#options.running.driver.view
    if (!isClockAhead) return null
    if (clockDoubt !== null) return DOUBTS[clockDoubt]
    return AHEAD + (this.#isPossible ? SOON : NOT_BEFORE)
  }

  /** To be called again and again: not more often than once an hour comes anything of it. */
  async step(): Promise<void> {
    const { running, incarnation, keepIncarnation, onSetBack, log } = this.#options
    if (!this.#isDue) return
    const isReplaced = await running.replace(
      () => this.#isDue,
      async () => {
        incarnation.renewedAt(performance.now())
        incarnation.setBack(this.#right())
        await keepIncarnation()
      },
    )
    if (!isReplaced) return
    log.warn('clock-set-back', { incarnation: incarnation.id })
    onSetBack()
  }

  get #isDue(): boolean {
    const { running, incarnation } = this.#options
    const { view, time } = running.driver
    return (
      view.isClockAhead &&
      view.clockDoubt === null &&
      time.trust > 0 &&
      this.#isPossible &&
      incarnation.waitMs(performance.now()) === 0
    )
  }

  get #isPossible(): boolean {
    return this.#options.notBefore() <= this.#latest
  }

  /** Stamps up to it are let pass. */
  get #latest(): Hlc {
    return hlcFromMs(this.#options.running.driver.time.wallMs + LET_PASS_MS)
  }

  /** The greatest stamp that may be right: what was rightly taken from others is before what is written next. */
  #right(): Hlc {
    const { store, running, notBefore } = this.#options
    let right = Math.max(hlcFromMs(running.driver.time.wallMs), notBefore())
    for (const { hlc } of store.heads()) if (hlc <= this.#latest) right = Math.max(right, hlc)
    return right
  }
}
