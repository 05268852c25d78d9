import { hex } from '../base/bytes.ts'
import type { Feed } from '../model/batch.ts'
import type { Document } from '../model/document.ts'
import { isSystemName, SELF_COLLECTION } from '../model/names.ts'
import { msOfHlc, type Hlc } from '../model/stamp.ts'
import { decodeAheadSeal, encodeAheadSeal, type AheadSeal } from '../wire/ahead-seal.ts'
import { TIMES, type Core } from './core.ts'
import type { FeedState } from './feeds.ts'
import { futureFrom, lastOf } from './future.ts'
import { batchesFrom, wholeBelow } from './cutting.ts'
import { lastUntil } from './sealing.ts'
import { isAheadOf, noteSetBack, weigh } from './weighing.ts'
import { addInternalWrite } from './writing.ts'

/**
 * Recovery from a clock that ran ahead (protocol D15). A gateway that once believed a wrong time has stamped what it wrote so that
 * its neighbours defer it, and stamps all that it writes since later still. When it knows the time its owner starts it again under a
 * new incarnation with the clock set back. What it had stamped ahead it then voids itself, in a document of its own for each
 * feed, and reissuing.ts writes it again with fresh stamps. All of it follows from what is stored: a power cut costs nothing but time.
 */
export const AHEAD_PREFIX = 'seal/'
const SEAL_FIELD = 'sealed'
/** What is stamped so many milliseconds ahead of a believed clock at most is taken at once. */
export const LET_PASS_MS: number = TIMES.futureMs

/** What a member says of a feed of its own in a document of that key, its signature not checked; null when it says nothing that counts. */
export function aheadSealIn(
  meshId: Uint8Array,
  origin: string,
  key: string,
  { paths, values, writes }: Document,
): AheadSeal | null {
  const at = paths.indexOf(SEAL_FIELD)
  const [bytes, write] = [values[at], writes[at]]
  const decoded = bytes instanceof Uint8Array ? decodeAheadSeal(meshId, bytes.slice()) : null
  if (decoded?.ok !== true || write === undefined) return null
  const { feed, first } = decoded.value
  const isOwn = feed.origin === origin && key === AHEAD_PREFIX + hex(feed.id)
  return isOwn && first.header.hlc > write.hlc ? decoded.value : null
}

/**
 * Whether a seal of the feed counts no longer than the document that holds it stands: so all take the same for void, whenever they were
 * started. Where members speak of themselves and of others it counts on, for two seals there could void and restore each other for ever.
 */
export function isLiftable({ descriptor }: Feed): boolean {
  return !isSystemName(descriptor.collection)
}

/** Looks now and then, when something happens anyway, whether this gateway is ahead, and seals what former incarnations of it have stamped ahead. */
export function recoverClock<Token>(core: Core<Token>): void {
  if (core.now.monotonicMs < core.overrunAt) return
  core.overrunAt = core.now.monotonicMs + TIMES.overrunMs
  const wasToBeSetBack = core.isClockAhead && core.clockDoubt === null
  core.isClockAhead = core.now.trust > 0 && isAheadOf(core, core.now.wallMs)
  core.clockDoubt = weigh(core)
  if (core.now.trust === 0) return
  if (!core.isClockAhead) return sealOverrun(core)
  if (core.clockDoubt === null && !wasToBeSetBack)
    core.emit('clock-ahead', { aheadMs: core.clock.aheadOf(core.now.wallMs) })
}

/** Who waits for its clock to be set back looks again though nothing happens. */
export function recoverDeadline<Token>({ isClockAhead, overrunAt }: Core<Token>): number {
  return isClockAhead ? overrunAt : Number.POSITIVE_INFINITY
}

function sealOverrun<Token>(core: Core<Token>): void {
  // The seal itself is to be stamped before what it voids.
  const after = Math.max(futureFrom(core), lastOf(msOfHlc(core.clock.last) + TIMES.futureMs))
  for (const state of core.feeds.values()) if (isOverrun(core, state, after)) seal(core, state, after)
}

/** Own feeds that are to be sealed: what they hold is not to be had by others, and written again when the seal is on the disk. */
function isOverrun<Token>(core: Core<Token>, state: FeedState, after: Hlc): boolean {
  const { feed, isOwn, head } = state
  if (isOwn || feed.origin !== core.options.peerId || head.hlc <= after) return false
  return core.surroundings.authority.aheadOf(feed) > head.seq
}

function seal<Token>(core: Core<Token>, state: FeedState, after: Hlc): void {
  const [first] = batchesFrom(core, state, lastUntil(core, state, after) + 1)
  if (first === undefined) return
  const { peerId } = core.options
  noteSetBack(core)
  const from = wholeBelow(core, state, first.header.seq) + 1
  const fields = { [SEAL_FIELD]: encodeAheadSeal(state.feed, first, from) }
  addInternalWrite(core, SELF_COLLECTION, peerId, [{ kind: 'put', key: AHEAD_PREFIX + hex(state.feed.id), fields }])
}
