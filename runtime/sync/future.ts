import type { Feed } from '../model/batch.ts'
import { hlcFromMs, LAST_MS, msOfHlc, type Hlc } from '../model/stamp.ts'
import { TIMES, type Core } from './core.ts'
import type { LinkState } from './link.ts'

/** Stamps later than this are from the future; none is while the time isn't known. */
export function futureFrom<Token>({ now }: Core<Token>): Hlc {
  return now.trust > 0 ? lastOf(now.wallMs + TIMES.futureMs) : Number.POSITIVE_INFINITY
}

/** The same of a neighbour, as far as it has said what time it is there. */
export function futureFromOf<Token>({ now }: Core<Token>, { futureOffsetMs }: LinkState): Hlc {
  return futureOffsetMs === null ? Number.POSITIVE_INFINITY : lastOf(now.monotonicMs + futureOffsetMs + TIMES.futureMs)
}

/** The last stamp of a millisecond. */
export function lastOf(ms: number): Hlc {
  return hlcFromMs(ms + 1) - 1
}

/**
 * Only a gateway that may believe its clock can tell the future (protocol D15), but for what nobody will live to see. What it has
 * stamped ahead itself and lost since, it takes: nobody else can void it and write it again.
 */
export function isFuture<Token>(core: Core<Token>, feed: Feed, hlc: Hlc): boolean {
  return msOfHlc(hlc) > LAST_MS || (hlc > futureFrom(core) && feed.origin !== core.options.peerId)
}
