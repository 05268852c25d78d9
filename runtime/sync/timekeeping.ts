import { LAST_MS } from '../model/stamp.ts'
import type { LinkState } from './link.ts'
import type { Now } from './types.ts'

/** What the time that the engine goes by rests on; `kept` is what was believed not long ago, gone on by the monotonic clock. */
export type TimeSource = 'system' | 'neighbours' | 'kept' | 'none'

/** A neighbour that has said the same since `sinceMs`, monotonic. */
export interface LoneVoucher {
  readonly peerId: string
  readonly offsetMs: number
  readonly sinceMs: number
}

/** The time that the engine goes by: what the driver says, as far as it is to be believed. */
export type Told = Now & { readonly source: TimeSource }

/** So long what was believed is still believed when nobody vouches for it any more: the monotonic clock drifts seconds a day. */
const KEPT_MS = 86_400_000
/** Neighbours whose clocks are no farther apart say the same. */
const AGREED_MS = 3_600_000

/**
 * What time it is (protocol D14). The system's clock counts when something vouches for it (class 2); otherwise the median
 * of what linked neighbours of class 2 say (class 1); otherwise time goes on by the monotonic clock, from what was believed
 * last or from the greatest time known to have passed (class 0).
 */
export class Timekeeper {
  readonly #notBeforeMs: number
  readonly #floorMs: number
  /** The time less the monotonic clock. */
  #offsetMs: number | null = null
  #neighboursOffsetMs: number | null = null
  #loneVoucher: LoneVoucher | null = null
  #believedAtMs = Number.NEGATIVE_INFINITY

  /** Unix milliseconds: a clock before `notBeforeMs` is wrong for certain; without any, time goes on from `floorMs`. */
  constructor(notBeforeMs: number, floorMs: number) {
    this.#notBeforeMs = notBeforeMs
    this.#floorMs = Math.max(notBeforeMs, floorMs)
  }

  /** The time to go by, of what the driver says; `trust` is then its class. */
  read(said: Now): Told {
    const { monotonicMs } = said
    if (said.trust > 0) {
      this.#loneVoucher = null
      return this.#believe(said, 'system')
    }
    if (this.#neighboursOffsetMs !== null) {
      const wallMs = Math.floor(monotonicMs + this.#neighboursOffsetMs)
      return this.#believe({ wallMs, trust: 1, monotonicMs }, 'neighbours')
    }
    this.#offsetMs ??= this.#floorMs - monotonicMs
    const isKept = monotonicMs - this.#believedAtMs < KEPT_MS
    const wallMs = Math.floor(monotonicMs + this.#offsetMs)
    return { wallMs, trust: isKept ? 1 : 0, monotonicMs, source: isKept ? 'kept' : 'none' }
  }

  /** A neighbour has said its time, or a link is gone. */
  noteNeighbours(links: Iterable<LinkState>, monotonicMs: number): void {
    const said: { readonly peerId: string; readonly offsetMs: number }[] = []
    for (const { peerId, clockOffsetMs } of links)
      if (clockOffsetMs !== null) said.push({ peerId, offsetMs: clockOffsetMs })
    said.sort((a, b) => a.offsetMs - b.offsetMs)
    // Of an even number the earlier one: between the two may be a time that nobody has.
    const median = said[(said.length - 1) >> 1]
    this.#neighboursOffsetMs = median?.offsetMs ?? null
    if (median === undefined) return
    const isShared = said.some(
      ({ peerId, offsetMs }) => peerId !== median.peerId && Math.abs(offsetMs - median.offsetMs) <= AGREED_MS,
    )
    this.#loneVoucher = isShared ? null : steadied(this.#loneVoucher, { ...median, sinceMs: monotonicMs })
  }

  /** The one neighbour on whose word alone the time is what it is; null when others say the same, or the system's clock does. */
  get loneVoucher(): LoneVoucher | null {
    return this.#loneVoucher
  }

  /**
   * What a neighbour said in answer to a ping, as its time less our monotonic clock: it said so half a round trip ago. Null
   * when nothing vouches for its clock, or when it can't be right.
   */
  offsetOf(
    clock: { readonly class: number; readonly ms: number } | undefined,
    now: Now,
    roundTripMs: number,
  ): number | null {
    if (clock?.class !== 2 || clock.ms < this.#notBeforeMs || clock.ms > LAST_MS) return null
    return clock.ms + roundTripMs / 2 - now.monotonicMs
  }

  #believe({ wallMs, trust, monotonicMs }: Now, source: TimeSource): Told {
    this.#offsetMs = wallMs - monotonicMs
    this.#believedAtMs = monotonicMs
    return { wallMs, trust, monotonicMs, source }
  }
}

/** Who says the same as before has said so since then. */
function steadied(before: LoneVoucher | null, now: LoneVoucher): LoneVoucher {
  const isSame =
    before !== null && before.peerId === now.peerId && Math.abs(before.offsetMs - now.offsetMs) <= AGREED_MS
  return isSame ? before : now
}
