import { LAST_MS } from '../model/stamp.ts'
import type { LinkState } from './link.ts'
import type { Now } from './types.ts'

/** What the time that the engine goes by rests on; `kept` is what was believed not long ago, gone on by the monotonic clock. */
export type TimeSource = 'system' | 'neighbours' | 'kept' | 'none'

/** The time that the engine goes by: what the driver says, as far as it is to be believed. */
export type Told = Now & { readonly source: TimeSource }

/** So long what was believed is still believed when nobody vouches for it any more: the monotonic clock drifts seconds a day. */
const KEPT_MS = 86_400_000

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
  /** What neighbours have said, by peer id, and when, linked or not. */
  readonly #said = new Map<string, { readonly offsetMs: number; readonly atMs: number }>()
  #believedAtMs = Number.NEGATIVE_INFINITY

  /** Unix milliseconds: a clock before `notBeforeMs` is wrong for certain; without any, time goes on from `floorMs`. */
  constructor(notBeforeMs: number, floorMs: number) {
    this.#notBeforeMs = notBeforeMs
    this.#floorMs = Math.max(notBeforeMs, floorMs)
  }

  /** The time to go by, of what the driver says; `trust` is then its class. */
  read(said: Now): Told {
    const { monotonicMs } = said
    if (said.trust > 0) return this.#believe(said, 'system')
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
    const offsets: number[] = []
    for (const { peerId, clockOffsetMs } of links) {
      if (clockOffsetMs === null) continue
      offsets.push(clockOffsetMs)
      this.#said.set(peerId, { offsetMs: clockOffsetMs, atMs: monotonicMs })
    }
    offsets.sort((a, b) => a - b)
    // Of an even number the earlier one: between the two may be a time that nobody has.
    this.#neighboursOffsetMs = offsets[(offsets.length - 1) >> 1] ?? null
  }

  /**
   * What time it is now by each that knows it: the system's clock, which has no name, and neighbours of class 2, by peer id, as far as they
   * have said so within a day. A link that is down for a while, or a neighbour that starts again, takes nothing of that back.
   */
  known({ wallMs, trust, monotonicMs }: Told): Map<string, number> {
    const times = new Map<string, number>(trust === 2 ? [['', wallMs]] : [])
    for (const [peerId, { offsetMs, atMs }] of this.#said) {
      if (monotonicMs - atMs < KEPT_MS) times.set(peerId, monotonicMs + offsetMs)
      else this.#said.delete(peerId)
    }
    return times
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
