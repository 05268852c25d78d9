import { concat, equal, hex, utf8 } from '../base/bytes.ts'
import { sha256 } from '../crypto/hash.ts'
import { FEED_KIND_STATE, type Batch } from '../model/batch.ts'
import { SequenceSet } from '../model/sequences.ts'
import { TIMES, type Core } from './core.ts'
import { storedBatch, suspect } from './damage.ts'
import type { FeedState } from './feeds.ts'
import type { LinkState } from './link.ts'
import { askHeadsOf } from './pinging.ts'
import { isVoid } from './sealing.ts'

/**
 * Batches that should be here and aren't, because `verify --repair` took damaged ones out: they are asked for by number
 * from any neighbour that has come as far, checked like all others, and stored in their places.
 */

/** Runs in one WANT, and milliseconds until somebody else is asked. */
const RUNS_PER_WANT = 256
const ASK_MS = 5_000
/** A neighbour that doesn't know a feed is asked about it again after so long. */
const NAMES_MS = 60_000

/** What the log lacks of what it should hold up to its head. */
export function holesOf({ feed, head, history }: FeedState): SequenceSet {
  // Which rows of a series it keeps is each gateway's own affair.
  if (feed.descriptor.kind !== FEED_KIND_STATE) return new SequenceSet()
  // What else is lacking only these checkpoints say.
  if (!history.lost.isEmpty) return history.lost.without(history.retained)
  const base = history.base?.checkpoint ?? null
  const expected = base === null ? SequenceSet.range(1, head.seq) : base.live.clone()
  if (base !== null) expected.addRange(base.floor, head.seq)
  return expected.without(history.retained)
}

/**
 * The incarnation, in hex, that counts of this author belong to now. A count goes on from what the author had counted before; while
 * some of that may be among what is lacking it is counted beside it, under a name for just these holes: everything that was ever
 * counted under that name was written later than they were, so it is here.
 */
export function countsAs<Token>(core: Core<Token>, state: FeedState): string {
  const { incarnation } = state.feed.descriptor
  const holes = core.holed.has(state) ? holesOf(state) : new SequenceSet()
  if (holes.isEmpty) return hex(incarnation)
  return hex(sha256(concat(incarnation, utf8(holes.runs.join(' ')))).subarray(0, incarnation.length))
}

/**
 * It has jumped, perhaps without parts that the disk refused, or was cut, or the checkpoint that it goes by is back: what is lacking
 * now.
 */
export function noteHoles<Token>(core: Core<Token>, state: FeedState): void {
  state.holes = holesOf(state)
  if (!state.holes.isEmpty) core.holed.add(state)
}

/** Asks for what is lacking, one neighbour after the other. */
export function mendHoles<Token>(core: Core<Token>): void {
  for (const state of core.holed) {
    const isDue = core.now.monotonicMs >= core.mendAt
    // Some may have been declared dead since.
    if (isDue) state.holes = holesOf(state)
    // What came may be on its way to the disk.
    if (state.holes.isEmpty && holesOf(state).isEmpty) core.holed.delete(state)
    else if (isDue) askFor(core, state)
  }
  if (core.holed.size === 0 || core.now.monotonicMs < core.mendAt) return
  core.mendAt = core.now.monotonicMs + ASK_MS
  for (const link of core.links.values()) askForNames(core, link)
}

export function mendDeadline<Token>(core: Core<Token>): number {
  return core.holed.size === 0 ? Number.POSITIVE_INFINITY : core.mendAt
}

/** A neighbour that was level with us has had no reason to tell us of the feed; or its word was lost, or forgotten as the feed was cut. */
function askForNames<Token>(core: Core<Token>, link: LinkState): void {
  if (!link.isGreeted || core.now.monotonicMs < link.namesAt) return
  const untold = [...core.holed].filter((state) => !link.theirAliases.has(state) || link.peerHead(state) === 0)
  if (untold.length === 0) return
  link.namesAt = core.now.monotonicMs + NAMES_MS
  askHeadsOf(core, link, untold)
}

function askFor<Token>(core: Core<Token>, state: FeedState): void {
  const links = [...core.links.values()].filter((link) => {
    return link.isGreeted && link.theirAliases.has(state) && link.peerHead(state) >= (state.holes.next(1) ?? 0)
  })
  const attempts = state.mendAttempts++
  const link: LinkState | undefined = links[attempts % links.length]
  if (link === undefined || (state.refusals > 0 && core.now.monotonicMs < state.touchedAt + TIMES.askMsMax)) return
  // When all were asked for the first, the next: those that nobody has hold up no others.
  const all = state.holes.runs
  const part = RUNS_PER_WANT * 2
  const from = (Math.floor(attempts / links.length) % Math.ceil(all.length / part)) * part
  const runs = all.slice(from, from + part)
  core.say(link, { type: 'want', entries: [[link.theirAliases.get(state) as number, runs[0] as number, 0, runs]] })
  // What comes late may wait for credit that was given, and lost on its way.
  link.isAckDue = true
}

/** A batch for a hole, its signature checked: true when it belongs there. */
export function takeMissing<Token>(core: Core<Token>, state: FeedState, batch: Batch): boolean {
  const { seq } = batch.header
  if (!state.holes.has(seq) || isVoid(state, batch) || !continues(core, state, batch)) return false
  state.holes.deleteRange(seq, seq)
  core.mended += 1
  if (!state.holes.isEmpty) return true
  core.emit('mended', { feed: hex(state.feed.id), origin: state.feed.origin, batches: core.mended })
  core.mended = 0
  return true
}

/** The batch after it, if it is here, names it. */
function continues<Token>(core: Core<Token>, state: FeedState, batch: Batch): boolean {
  const { seq } = batch.header
  if (seq === state.head.seq) return equal(state.head.hash, batch.hash)
  if (!state.history.retained.has(seq + 1)) return true
  const next = storedBatch(core, state, seq + 1)
  if (next === null || equal(next.header.prev, batch.hash)) return true
  // It may be the one that is wrong.
  suspect(core, state, seq + 1)
  return false
}
