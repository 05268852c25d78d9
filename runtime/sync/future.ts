import { hlcFromMs, type Hlc } from '../model/stamp.ts'
import { TIMES, type Core } from './core.ts'

/** Stamps later than this are from the future; none is while the time isn't known. */
export function futureFrom<Token>({ now }: Core<Token>): Hlc {
  return now.trust > 0 ? lastOf(now.wallMs + TIMES.futureMs) : Number.POSITIVE_INFINITY
}

/** The last stamp of a millisecond. */
export function lastOf(ms: number): Hlc {
  return hlcFromMs(ms + 1) - 1
}
