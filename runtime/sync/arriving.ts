import { equal, hex } from '../base/bytes.ts'
import { FEED_KIND_SERIES, LOCKED, type Batch, type ChainPosition, type Content, type Feed } from '../model/batch.ts'
import { isSeries } from '../model/rows.ts'
import { SequenceSet } from '../model/sequences.ts'
import { msOfHlc } from '../model/stamp.ts'
import { isCheckpoint } from '../wire/checkpoint.ts'
import { TIMES, type Arrival, type Core } from './core.ts'
import { besideFrom, letStraysGo } from './cutting.ts'
import { receiveCheck, refuseBytes, refuseDamaged } from './damage.ts'
import { inTimeOf, keepEarly } from './early.ts'
import type { FeedState } from './feeds.ts'
import { beginFill, isWanted, partsOf, signedCheckpoint, takePart } from './filling.ts'
import { noteSent } from './holdings.ts'
import type { LinkState } from './link.ts'
import { differsFromOurs, isGoneThere, isProbed, suspectFork, takeEvidence } from './forks.ts'
import { takeMissing } from './mending.ts'
import { futureFrom, isFuture } from './future.ts'
import { ask, chooseOne, considerFeed, prune } from './pulling.ts'
import { hashAt, receiveSignature } from './aside.ts'
import { isVoid } from './sealing.ts'

/**
 * What becomes of a batch between its link and the disk (SPEC, "States of a feed × events", order of checks): looked at, verified, and let in where its place in the
 * chain, its author's rights and its time allow it.
 */

/** Highest `minReader` that this version may fold; later batches are stored and forwarded, and change nothing here. */
const READER_VERSION = 1
const BAD_SIGNATURE = 'its signature does not verify'

/** Takes one batch as far as its signature (protocol D12, steps 1 to 7). */
export function receiveBatch<Token>(core: Core<Token>, link: LinkState, bytes: Uint8Array): void {
  link.receivedBytes += bytes.length
  link.brought += 1
  const batch = core.reading.batch(bytes)
  if (typeof batch === 'string') return refuseBytes(core, link, bytes, batch)
  const state = core.feeds.getById(batch.header.feedId)
  const why = state ? refusal(core, link, state, batch) : 'unknown feed'
  if (why !== null || !state) {
    link.consumedBytes += bytes.length
    link.isAckDue = true
    return
  }
  // Who sends what is of no use gets no more time for what it was asked for.
  link.broughtAt = core.now.monotonicMs
  const arrival = arrivalOf(link, state, batch)
  const ticket = core.nextTicket()
  if (arrival.place !== 'aside' && arrival.isOffer !== true && arrival.isEvidence !== true) {
    state.tip = { seq: batch.header.seq, hash: batch.hash, hlc: batch.header.hlc }
    state.broughtBy = link
  }
  // Whoever offers may lack what is asked for then.
  if (arrival.isOffer !== true) {
    state.touchedAt = core.now.monotonicMs
    state.attempts = 0
  }
  core.verifying.set(ticket, arrival)
  core.outputs.push({ type: 'verify', ticket, feed: state.feed, batch })
}

/** Ahead of the chain only what belongs to a fill is taken. */
function arrivalOf(link: LinkState, state: FeedState, batch: Batch): Arrival {
  const { seq } = batch.header
  if (isProbed(state, link, batch)) return { link, state, batch, isEvidence: true }
  if (state.holes.has(seq)) return { link, state, batch, place: 'aside', isMissing: true }
  if (seq === state.tip.seq + 1) return { link, state, batch }
  if (isFirstLeft(link, state, seq)) return { link, state, batch, place: positionOf(batch) }
  return isWanted(state, seq) ? { link, state, batch, place: 'aside' } : { link, state, batch, isOffer: true }
}

/** The first batch of a series that the neighbour has: what came before it went by retention, so there is no gap to fill. */
function isFirstLeft(link: LinkState, state: FeedState, seq: number): boolean {
  if (!isSeries(state.feed) || seq !== link.peerLow(state)) return false
  return seq > state.tip.seq + 1 && state.tip.seq === state.verified.seq
}

function positionOf({ header, hash }: Batch): ChainPosition {
  return { seq: header.seq, hash, hlc: header.hlc }
}

/** Why a batch isn't taken now, or null; says what the sender should know. */
function refusal<Token>(core: Core<Token>, link: LinkState, state: FeedState, batch: Batch): string | null {
  const { header } = batch
  const heldThere = heldBySender(link, state, batch)
  link.owed.add(state)
  link.notePromise(state, heldThere)
  link.notePeerHead(state, heldThere)
  if (isProbed(state, link, batch)) {
    return differsFromOurs(core, state, batch) ? null : 'no evidence'
  }
  if (isGoneThere(core, state, link, batch)) return 'no evidence'
  noteSent(link, state, heldThere)
  if (state.holes.has(header.seq)) return null
  if (isVoid(state, batch)) {
    nack(core, link, state, header.seq, 'sealed', 0)
    return 'sealed'
  }
  // What a checkpoint of another branch calls live may have been dead in ours, and be gone.
  const isGone = header.seq <= state.verified.seq && isWanted(state, header.seq)
  if (header.seq <= state.tip.seq && !isGone) {
    if (state.parent === link) chooseOne(core, link, state)
    else if (state.second !== link) prune(core, link, state)
    return 'held already'
  }
  if (state.isOwn) return 'own feed'
  if (state.isRewinding || core.cutting.has(state)) return 'the disk is not ready for it'
  const isNext = header.seq === state.tip.seq + 1
  const isOffer = isCheckpoint(header) && state.parent === link
  if (!isNext && !isOffer && !isWanted(state, header.seq) && !isFirstLeft(link, state, header.seq)) {
    if (state.parent === link) ask(core, link, state)
    return 'gap'
  }
  if (isNext && (!equal(header.prev, state.tip.hash) || header.hlc <= state.tip.hlc)) {
    suspectFork(core, link, state, header.seq)
    return refuse(core, link, state, header.seq, 'fork')
  }
  return null
}

/**
 * Whether its author may write at its stamp, and its time has come. A feed that isn't so waits, perhaps for long: only what its author
 * signed says that, for a header may have turned on the sender's disk, or be somebody's work.
 */
function isInTime<Token>(core: Core<Token>, arrival: Arrival): boolean {
  const { link, state, batch } = arrival
  if (!isPermitted(core, arrival)) return false
  if (isFuture(core, state.feed, batch.header.hlc)) {
    defer(core, link, state, batch)
    return false
  }
  // Whatever waits is of another branch.
  state.deferredUntilMs = 0
  return true
}

function isPermitted<Token>(core: Core<Token>, { link, state, batch: { header } }: Arrival): boolean {
  if (core.surroundings.authority.permits(state.feed, header.hlc)) return true
  refuse(core, link, state, header.seq, 'not-permitted')
  return false
}

/** A checkpoint to fill the feed by; what else is held of it others may have, whatever is before its time. */
function takeOffer<Token>(core: Core<Token>, arrival: Arrival): void {
  const { link, state, batch } = arrival
  // Meanwhile its link may be gone: nobody would bring the rest, and what came would stay for that. Or it was sealed.
  const isGone = core.links.get(link.link) !== link || isVoid(state, batch)
  if (isGone || state.isRewinding || core.cutting.has(state) || !isPermitted(core, arrival)) return
  const checkpoint = inTimeOf(core, link, state, batch)
  if (checkpoint !== null) {
    if (beginFill(core, link, state, checkpoint) === 'differs') differs(core, link, state, checkpoint)
  } else if (keepEarly(link, state, batch)) {
    state.parent = null
    tellFuture(core, link, state, batch, dueMsOf(batch))
    considerFeed(core, state)
  } else defer(core, link, state, batch)
}

/** Up to where the sender of a batch has the feed. A checkpoint may be ahead of its head, after a cut, but not what is before its floor. */
function heldBySender(link: LinkState, state: FeedState, batch: Batch): number {
  const { seq } = batch.header
  if (!isCheckpoint(batch.header) || link.peerHead(state) >= seq) return seq
  return Math.min(seq, signedCheckpoint(batch)?.checkpoint.before.seq ?? 0)
}

function refuse<Token>(
  core: Core<Token>,
  link: LinkState,
  state: FeedState,
  seq: number,
  code: 'fork' | 'not-permitted',
): string {
  state.isRefused = true
  state.parent = null
  // A fork is looked into until it is proven and the feed sealed: a proof may be lost on its way to the disk.
  if (code === 'fork') core.behind.add(state)
  else core.behind.delete(state)
  nack(core, link, state, seq, code, 0)
  const { feed } = state
  core.emit('batch-refused', {
    feed: hex(feed.id),
    origin: feed.origin,
    collection: feed.descriptor.collection,
    peerId: link.peerId,
    seq,
    why: code,
  })
  return code
}

/**
 * Not rejected: the feed waits here until the batch's time has come, so all gateways end in the same state. Of many whose times come one
 * after another each would be asked for with all behind it: the more there are, the longer it waits beyond that, so that several are due.
 */
function defer<Token>(core: Core<Token>, link: LinkState, state: FeedState, batch: Batch): void {
  if (state.deferredUntilMs === 0) state.deferredBy.clear()
  state.deferredBy.add(link)
  const pauseMs = state.deferrals === 0 ? 0 : Math.min(TIMES.askMs * 2 ** (state.deferrals - 1), TIMES.askMsMax)
  state.deferredUntilMs = Math.max(dueMsOf(batch), core.now.wallMs + pauseMs)
  state.deferrals += 1
  state.parent = null
  core.behind.add(state)
  tellFuture(core, link, state, batch, state.deferredUntilMs)
}

/** When it is not from the future any more, in Unix milliseconds. */
function dueMsOf({ header }: Batch): number {
  return msOfHlc(header.hlc) - TIMES.futureMs
}

function tellFuture<Token>(core: Core<Token>, link: LinkState, state: FeedState, batch: Batch, dueMs: number): void {
  // Whole milliseconds from 0, whatever the clock shows: it may have a fraction, and be beyond LAST_MS itself.
  const retryAfterMs = Math.max(0, Math.ceil(dueMs - core.now.wallMs))
  const { seq } = batch.header
  nack(core, link, state, seq, 'future', retryAfterMs)
  core.emit('batch-deferred', { feed: hex(state.feed.id), origin: state.feed.origin, seq, retryAfterMs })
}

function nack<Token>(
  core: Core<Token>,
  link: LinkState,
  state: FeedState,
  seq: number,
  code: 'fork' | 'not-permitted' | 'future' | 'sealed',
  retryAfterMs: number,
): void {
  const alias = link.theirAliases.get(state)
  if (alias !== undefined) core.say(link, { type: 'nack', alias, seq, code, retryAfterMs })
}

/** The answer to a `verify`: a batch that follows the last verified one may go to the disk. */
export function receiveVerdict<Token>(core: Core<Token>, ticket: number, isValid: boolean): void {
  const arrival = core.verifying.get(ticket)
  if (!arrival) {
    if (!receiveCheck(core, ticket, isValid)) receiveSignature(core, ticket, isValid)
    return
  }
  core.verifying.delete(ticket)
  const { link, state, batch } = arrival
  const { header } = batch
  // An earlier batch of the feed was invalid or the disk refused it: this one is asked for again.
  if (arrival.isEvidence === true) {
    link.consumedBytes += batch.bytes.length
    link.isAckDue = true
    if (isValid) return takeEvidence(core, state, batch)
    return refuseDamaged(core, link, state, header.seq, BAD_SIGNATURE)
  }
  if (isValid && arrival.isOffer === true) {
    link.consumedBytes += batch.bytes.length
    link.isAckDue = true
    return takeOffer(core, arrival)
  }
  // Its feed may have been sealed while the signature was checked.
  const isTaken = isValid && !isVoid(state, batch)
  if (isValid && arrival.isMissing === true && takeMissing(core, state, batch)) {
    core.verified.push(arrival)
    return
  }
  const { fill } = state
  const isPart = isTaken && arrival.place === 'aside' && fill?.wanted.has(header.seq) === true
  if (isPart && isFuture(core, state.feed, header.hlc)) {
    // The time has become known since: its checkpoint waits like one that is offered now, and others are asked for what comes before.
    state.fill = null
    takeOffer(core, { link: fill.link, state, batch: fill.batch })
  } else if (isPart && isPermitted(core, arrival)) {
    core.verified.push(arrival)
    return fillOn(core, link, state, batch)
  }
  const isNext = header.seq === state.verified.seq + 1 && equal(header.prev, state.verified.hash)
  const isFirst = typeof arrival.place === 'object' && header.seq > state.verified.seq
  const isOfChain = isTaken && !state.isRewinding && (isFirst || (isNext && arrival.place === undefined))
  if (isOfChain && !(isInTime(core, arrival) && isPlaceFree(core, state, batch))) state.tip = state.verified
  else if (isOfChain) {
    state.verified = positionOf(batch)
    if (header.hlc <= futureFrom(core)) core.clock.observe(header.hlc)
    core.verified.push(arrival)
    return fillOn(core, link, state, batch)
  }
  link.consumedBytes += batch.bytes.length
  link.isAckDue = true
  if (isValid) return
  state.rewindTip()
  refuseDamaged(core, link, state, header.seq, BAD_SIGNATURE)
}

/** A batch that was taken may be one that a fill waits for, whether it came along the chain or beside it. */
export function fillOn<Token>(core: Core<Token>, link: LinkState, state: FeedState, batch: Batch): void {
  const { fill } = state
  if (fill !== null && takePart(core, state, fill, batch) === 'differs') differs(core, link, state, fill.batch)
}

/** What its author says that there is isn't what is held here: there are two branches. */
function differs<Token>(core: Core<Token>, link: LinkState, state: FeedState, checkpoint: Batch): void {
  // What it says that there is is there for sure; what was behind our end where they parted, if it has not left.
  const signed = signedCheckpoint(checkpoint)
  const among = signed === null ? new SequenceSet() : partsOf(signed)
  among.add(state.tip.seq + 1)
  state.isDoubted = state.settled !== null
  suspectFork(core, link, state, among.last, among)
  refuse(core, link, state, checkpoint.header.seq, 'fork')
}

/**
 * False where a part of a fill lies that is another batch, of another branch: what that has changed would stay when it is written over. The
 * parts go first, and the batch is asked for again.
 */
function isPlaceFree<Token>(core: Core<Token>, state: FeedState, { header, hash }: Batch): boolean {
  const { retained } = state.history
  const there = retained.has(header.seq) ? hashAt(core, state, header.seq) : null
  if (there === null || equal(there, hash)) return true
  state.tip = state.verified
  letStraysGo(core, state, retained.within(besideFrom(state), Number.MAX_SAFE_INTEGER))
  core.behind.add(state)
  return false
}

/** What a batch changes; null stores and forwards it without showing it. A malformed body changes nothing, everywhere. */
export function contentOf<Token>(core: Core<Token>, { state, batch }: Pick<Arrival, 'state' | 'batch'>): Content {
  const { header } = batch
  const { feed } = state
  if (isCheckpoint(header)) return null
  if (header.minReader > READER_VERSION || feed.descriptor.kind > FEED_KIND_SERIES) return null
  const ops = core.opsOf(feed, batch)
  if (ops.ok) return ops.value
  if (ops.error.code === 'no-key') return LOCKED
  if (feed.descriptor.encrypted) tellUnreadable(core, feed, header.seq, ops.error.message)
  return null
}

/** It is its author's and stays, and changes nothing for anyone who has the key. */
function tellUnreadable<Token>(core: Core<Token>, { id, origin, descriptor }: Feed, seq: number, why: string): void {
  core.emit('batch-unreadable', { feed: hex(id), origin, collection: descriptor.collection, seq, why })
}
