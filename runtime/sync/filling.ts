import { equal, hex } from '../base/bytes.ts'
import type { Batch, ChainPosition } from '../model/batch.ts'
import { revives, type SignedCheckpoint } from '../model/checkpoint.ts'
import { SequenceSet } from '../model/sequences.ts'
import { positionOfBatch, seqOfBatch } from '../wire/batch.ts'
import { decodeCheckpoint, rootOf } from '../wire/checkpoint.ts'
import type { Core } from './core.ts'
import { besideFrom, cutFeed, letStraysGo } from './cutting.ts'
import { storedBatch, suspect } from './damage.ts'
import type { FeedState } from './feeds.ts'
import type { LinkState } from './link.ts'
import { futureFrom, futureFromOf } from './future.ts'
import { ask, patienceMs } from './pulling.ts'
import { lastUntil } from './sealing.ts'

/**
 * Catching up with a feed whose past was pruned (protocol D16): the neighbour offers the author's checkpoint, we ask for
 * just the live batches that we lack and for what was written from the floor up to the checkpoint, all are stored beside the
 * chain, and when they are on the disk the feed jumps to the checkpoint and goes on from there. Never just to the floor: what
 * its author has told again of what is dead stands above it, and if nobody had that any more, for its author's store was put
 * back, the checkpoint could never be applied. What came is kept when the link or the power goes.
 */
export interface Fill {
  readonly signed: SignedCheckpoint
  readonly batch: Batch
  readonly link: LinkState
  /** Batches that are lacking. */
  readonly wanted: SequenceSet
  /** Those that came: on the disk, or on their way there. */
  readonly came: SequenceSet
  /** The last one of those that were asked for, and when; monotonic milliseconds. */
  askedTo: number
  askedAt: number
}

/** `differs`: what the author says that there is isn't what is held of it, so there are two branches. */
export type FillProgress = 'goes on' | 'jumped' | 'differs'

/** Runs of sequences in one WANT: a message must fit a frame. */
const RUNS_PER_WANT = 256
/** Dead batches that cost less to send along than a checkpoint and a round trip. */
const DEAD_BATCHES_SENT = 8
const READ_BYTES = 262_144

/**
 * Whether a neighbour that wants the feed from `from` on is better served with our base checkpoint first. Not where it would wait there for
 * its time, as long as what comes before it is here: each batch of that comes in its own time, while a checkpoint waits only as long as
 * the link holds, and where its author's clock stays ahead the next is too early too.
 */
export function isOfferDue<Token>(core: Core<Token>, link: LinkState, state: FeedState, from: number): boolean {
  const { base, retained } = state.history
  if (base === null || from >= base.checkpoint.floor) return false
  const last = base.checkpoint.floor - 1
  if (retained.runEnd(from) < last) return true
  if (base.hlc > futureFromOf(core, link)) return false
  return last - from + 1 - base.checkpoint.live.within(from, last).size > DEAD_BATCHES_SENT
}

/** The checkpoint in a stored batch; null when it is gone or means nothing. */
export function readCheckpoint<Token>(core: Core<Token>, state: FeedState, seq: number): SignedCheckpoint | null {
  const batch = storedBatch(core, state, seq)
  const signed = batch === null ? null : signedCheckpoint(batch)
  // Its header may have turned.
  if (batch !== null && signed === null) suspect(core, state, seq)
  return signed
}

/** A checkpoint is looked at several times between its arrival and the disk; a batch never changes. */
const checkpointsRead = new WeakMap<Batch, SignedCheckpoint | null>()

export function signedCheckpoint(batch: Batch): SignedCheckpoint | null {
  const known = checkpointsRead.get(batch)
  if (known !== undefined) return known
  const { header, body } = batch
  const checkpoint = decodeCheckpoint(header, body)
  const signed = checkpoint.ok ? { seq: header.seq, hlc: header.hlc, checkpoint: checkpoint.value } : null
  checkpointsRead.set(batch, signed)
  return signed
}

/** A checkpoint ahead of our head, its signature checked: asks for what we lack of what it says is live. */
export function beginFill<Token>(core: Core<Token>, link: LinkState, state: FeedState, batch: Batch): FillProgress {
  const signed = signedCheckpoint(batch)
  if (signed === null || signed.checkpoint.floor <= state.tip.seq + 1) {
    // What is lacking was never dropped: a frame was lost.
    if (state.parent === link) goOn(core, link, state)
    return 'goes on'
  }
  if (cutOwn(core, state, signed)) return 'goes on'
  if (isRevived(state, signed) && !state.isCompared) return 'differs'
  if (isAskedFor(core, link, state, signed)) return 'goes on'
  const came = state.fill?.came ?? new SequenceSet()
  const wanted = partsOf(signed)
    .within(state.tip.seq + 1, signed.seq - 1)
    .without(state.history.retained)
    .without(came)
  state.fill = { signed, batch, link, wanted, came, askedTo: 0, askedAt: 0 }
  state.parent = link
  if (state.fill.wanted.isEmpty) return endFill(core, state, state.fill)
  askForParts(core, state, state.fill)
  return 'goes on'
}

/**
 * What this gateway wrote itself before what it had written already, but under later stamps, is of a branch of its own: its store was put
 * back. Nobody may have anything left that shows where the branches part, so that is cut here, and written again.
 */
function cutOwn<Token>(core: Core<Token>, state: FeedState, { checkpoint: { before } }: SignedCheckpoint): boolean {
  const { feed, head } = state
  const isOurs = feed.origin === core.options.peerId && head.seq <= before.seq && head.hlc > before.hlc
  if (!isOurs || core.surroundings.authority.sealOf(feed) !== Number.POSITIVE_INFINITY) return false
  cutFeed(core, state, lastUntil(core, state, before.hlc) + 1)
  return true
}

/** Whether the same was offered just now, and nothing came since: it came twice, or from one who lacks what was asked for. */
function isAskedFor<Token>(core: Core<Token>, link: LinkState, state: FeedState, { seq }: SignedCheckpoint): boolean {
  const { fill, attempts } = state
  const isSame = fill?.link === link && fill.signed.seq === seq && attempts > 0
  return isSame && core.now.monotonicMs < fill.askedAt + patienceMs(link)
}

/** Whether it is of another branch than ours, by what both say; all that differs may have left the log here. */
function isRevived({ history }: FeedState, { checkpoint }: SignedCheckpoint): boolean {
  const ours = history.pending.at(-1) ?? history.base
  return ours !== null && revives(checkpoint, ours.checkpoint)
}

/** Whether a batch is one that the fill waits for. */
export function isWanted(state: FeedState, seq: number): boolean {
  return state.fill?.wanted.has(seq) === true
}

/** A part of the fill, its signature checked. The caller stores it. */
export function takePart<Token>(core: Core<Token>, state: FeedState, fill: Fill, batch: Batch): FillProgress {
  const { seq } = batch.header
  fill.wanted.deleteRange(seq, seq)
  fill.came.add(seq)
  state.touchedAt = core.now.monotonicMs
  state.attempts = 0
  if (state.tip.seq + 1 >= fill.signed.checkpoint.floor) {
    state.fill = null
    return 'goes on'
  }
  if (fill.wanted.isEmpty) return endFill(core, state, fill)
  if (seq >= fill.askedTo) askForParts(core, state, fill)
  return 'goes on'
}

/** What a feed has of its past when it jumps: what lives below the floor, and all from there up to the checkpoint. */
export function partsOf({ seq, checkpoint: { floor, live } }: SignedCheckpoint): SequenceSet {
  const parts = live.clone()
  parts.addRange(floor, seq - 1)
  return parts
}

/**
 * Whether batches, each continuing the one before, lead from the one below the floor to the checkpoint; null when one is not here. Read
 * one by one: an author may say that there are millions.
 */
export function isChain(
  { seq, checkpoint: { floor, before } }: SignedCheckpoint,
  checkpoint: Batch,
  batchAt: (seq: number) => Batch | null,
): boolean | null {
  let last: Pick<ChainPosition, 'hash' | 'hlc'> = before
  for (let at = floor; at <= seq; at++) {
    const batch = at === seq ? checkpoint : batchAt(at)
    if (batch === null) return null
    if (!equal(batch.header.prev, last.hash) || batch.header.hlc <= last.hlc) return false
    last = { hash: batch.hash, hlc: batch.header.hlc }
  }
  return true
}

/** All is here, or was: the feed jumps, unless what is here isn't what the author had. */
export function endFill<Token>(core: Core<Token>, state: FeedState, fill: Fill): FillProgress {
  // The disk may refuse what is on its way there and take what follows: `committed` comes back to this.
  if (state.isCommitting || core.verified.some((arrival) => arrival.state === state)) return 'goes on'
  const { signed, batch, link } = fill
  const { live, root } = signed.checkpoint
  const hashes = liveHashes(core, state, live)
  const isWhole = isChain(signed, batch, (seq) => storedBatch(core, state, seq))
  if (hashes.length < live.size || isWhole === null) {
    askForGone(core, state, fill)
    return 'goes on'
  }
  if (!equal(rootOf(hashes), root) || !isWhole) {
    state.fill = null
    return 'differs'
  }
  const strays = straysUnder(state, signed)
  if (!strays.isEmpty) {
    // When they are gone it is offered again.
    letStraysGo(core, state, strays)
    return 'goes on'
  }
  state.fill = null
  state.isCompared = false
  state.verified = { seq: signed.seq, hash: batch.hash, hlc: signed.hlc }
  state.tip = state.verified
  if (signed.hlc <= futureFrom(core)) core.clock.observe(signed.hlc)
  core.verified.push({ link, state, batch, place: state.tip })
  goOn(core, link, state)
  core.emit('jumped', { feed: hex(state.feed.id), origin: state.feed.origin, to: signed.seq })
  return 'jumped'
}

/** The offer has brought the feed on, or says that nothing else is needed: what follows is asked for at once. */
function goOn<Token>(core: Core<Token>, link: LinkState, state: FeedState): void {
  state.attempts = 0
  ask(core, link, state)
}

/** What lies beside the chain before it and is no part of what it says that there is. */
export function straysUnder(state: FeedState, signed: SignedCheckpoint): SequenceSet {
  return state.history.retained.within(besideFrom(state), signed.seq - 1).without(partsOf(signed))
}

/** In order; of those that are on the disk. */
function liveHashes<Token>(core: Core<Token>, state: FeedState, live: SequenceSet): Uint8Array[] {
  const hashes: Uint8Array[] = []
  for (let seq = live.next(1); seq !== null;) {
    const read = core.surroundings.batches(state.feed.key, seq, READ_BYTES)
    if (read.length === 0) break
    for (const bytes of read) {
      const at = seqOfBatch(bytes)
      if (live.has(at)) hashes.push(positionOfBatch(bytes).hash)
      seq = live.next(Math.max(at, seq ?? at) + 1)
    }
  }
  return hashes
}

/** Batches that this gateway should hold, and doesn't, are fetched like those that it never had. */
function askForGone<Token>(core: Core<Token>, state: FeedState, fill: Fill): void {
  for (const seq of partsOf(fill.signed).values()) {
    const [bytes] = core.surroundings.batches(state.feed.key, seq, 0)
    if (bytes === undefined || seqOfBatch(bytes) !== seq) fill.wanted.add(seq)
  }
  if (!fill.wanted.isEmpty) askForParts(core, state, fill)
}

function askForParts<Token>(core: Core<Token>, state: FeedState, fill: Fill): void {
  const alias = fill.link.theirAliases.get(state)
  if (alias === undefined) return
  const runs = fill.wanted.runs.slice(0, RUNS_PER_WANT * 2)
  fill.askedTo = runs.at(-1) ?? 0
  fill.askedAt = core.now.monotonicMs
  state.touchedAt = fill.askedAt
  core.say(fill.link, { type: 'want', entries: [[alias, runs[0] ?? 0, 0, runs]] })
}
