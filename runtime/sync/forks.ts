import { equal, hex } from '../base/bytes.ts'
import type { Batch } from '../model/batch.ts'
import { SELF_COLLECTION } from '../model/names.ts'
import type { SequenceSet } from '../model/sequences.ts'
import { isCheckpoint } from '../wire/checkpoint.ts'
import { encodeProof } from '../wire/proof.ts'
import type { Core } from './core.ts'
import { storedBatch, suspect } from './damage.ts'
import type { FeedState } from './feeds.ts'
import { signedCheckpoint } from './filling.ts'
import type { LinkState } from './link.ts'
import { addInternalWrite } from './writing.ts'

/**
 * Finding where two branches of a feed part (protocol D19). When a neighbour's chain doesn't fit ours we ask for single
 * batches of it, the last first, then farther and farther back, then halving, until we hold two signed headers with one
 * sequence whose forerunners are the same. That is the proof; we say it to all in our own document, and everyone draws the
 * same conclusion from it. Where the past is gone, the earliest two that can be had are proof enough.
 *
 * Of an own feed the first such batch is enough: somebody writes with our key and our incarnation, be it an older state of
 * this store that went on or a copy of the card. This gateway goes on under a new incarnation.
 */
export interface Probe {
  link: LinkState
  /** Our batches are theirs up to here, as far as is known; here they differ. */
  low: number
  high: number
  /** Their batch `high`. */
  theirs: Batch | null
  /** What was asked for last, and when; monotonic milliseconds. */
  asked: number
  askedAt: number
  /** How far back the next step goes, until some batch was the same. */
  step: number
  /** Where their past is pruned: what they may have of it. Null when it is all there, or something that differs was found among ours. */
  among: SequenceSet | null
}

export const FORK_PREFIX = 'fork/'
const PROBE_MS = 10_000

/**
 * A neighbour's chain differs from ours: its batch `seq` is another than ours, or continues another. `among`: one of these that both have
 * differs, which may lie beside our chain.
 */
export function suspectFork<Token>(
  core: Core<Token>,
  link: LinkState,
  state: FeedState,
  seq: number,
  among: SequenceSet | null = null,
): void {
  if (state.probe !== null) return
  const seal = core.surroundings.authority.sealOf(state.feed)
  // Of what is sealed already only an earlier parting is news.
  const before = among?.within(1, Math.min(seq, seal - 1)) ?? null
  state.isCompared = before?.isEmpty === true
  if (before === null ? seal < seq : before.isEmpty) return
  core.emit('fork', { feed: hex(state.feed.id), origin: state.feed.origin, seq, peerId: link.peerId })
  const first = before === null ? Math.min(seq, state.tip.seq + 1) : firstAmong(state, before)
  if (first < 1) return
  state.probe = { link, low: 0, high: first, theirs: null, asked: 0, askedAt: 0, step: 1, among: before }
  core.probing.add(state)
  askProbe(core, state, state.probe, first)
}

/** Asks a neighbour for one batch of our own feed that it holds and we don't know. */
export function probeOwn<Token>(core: Core<Token>, link: LinkState, state: FeedState, seq: number): void {
  if (state.probe !== null) return
  state.probe = { link, low: 0, high: seq, theirs: null, asked: seq, askedAt: 0, step: 1, among: null }
  core.probing.add(state)
  askProbe(core, state, state.probe, seq)
}

/** What was asked for doesn't come: it is lost, or gone from there as it is dead. */
export function retryProbes<Token>(core: Core<Token>): void {
  for (const state of core.probing) {
    const { probe } = state
    if (probe === null) core.probing.delete(state)
    else if (core.now.monotonicMs >= probe.askedAt + PROBE_MS) retryProbe(core, state, probe)
  }
}

export function probeDeadline<Token>(core: Core<Token>): number {
  let deadline = Number.POSITIVE_INFINITY
  for (const { probe } of core.probing) if (probe !== null) deadline = Math.min(deadline, probe.askedAt + PROBE_MS)
  return deadline
}

function retryProbe<Token>(core: Core<Token>, state: FeedState, probe: Probe): void {
  const others = [...core.links.values()].filter((link) => link.isGreeted && link.theirAliases.has(state))
  const isGone = !others.includes(probe.link)
  const next = isGone ? (others.find(({ peerId }) => peerId === probe.link.peerId) ?? others[0]) : probe.link
  // What was found is not looked for again when the neighbour comes back, who may go again before all of it is found.
  if (next === undefined && probe.theirs !== null) {
    probe.askedAt = core.now.monotonicMs
    return
  }
  if (next === undefined || state.isOwn) {
    state.probe = null
    return
  }
  probe.link = next
  if (!isGone) return passOver(core, state, probe)
  // Whoever is asked now may have another branch, also under the same name: only when it has what differed its past is that branch's.
  if (probe.theirs === null) beginAnew(probe)
  askProbe(core, state, probe, probe.high)
}

/** Nothing is known of where the branch that is looked through parts from ours. */
function beginAnew(probe: Probe): void {
  probe.low = 0
  probe.step = 1
}

/** The neighbour doesn't have what was asked for. */
function passOver<Token>(core: Core<Token>, state: FeedState, probe: Probe): void {
  probe.low = Math.max(probe.low, probe.asked)
  narrow(core, state, probe)
}

/**
 * Whoever is asked for a batch that has gone as dead offers the checkpoint that it serves the feed from. True when this is one, and goes
 * on with the next: to wait for each such batch would take longer than some links last.
 */
export function isGoneThere<Token>(core: Core<Token>, state: FeedState, link: LinkState, batch: Batch): boolean {
  const { probe } = state
  if (probe?.link !== link || state.isOwn || !isCheckpoint(batch.header)) return false
  const { floor, live } = signedCheckpoint(batch)?.checkpoint ?? {}
  if (floor === undefined || probe.asked >= floor || live?.has(probe.asked) === true) return false
  passOver(core, state, probe)
  return true
}

/** Whether a batch that we hold already, or that is our own, was asked for as evidence. */
export function isProbed({ probe }: FeedState, link: LinkState, batch: Batch): boolean {
  return probe !== null && probe.link === link && probe.asked === batch.header.seq
}

/** A batch that was asked for, before its signature is checked: false when it is ours and proves nothing. */
export function differsFromOurs<Token>(core: Core<Token>, state: FeedState, batch: Batch): boolean {
  const { probe } = state
  if (probe !== null && probe.theirs !== null && equal(probe.theirs.hash, batch.hash)) {
    narrow(core, state, probe)
    return false
  }
  const { seq, prev } = batch.header
  // The next one, which continues another than our last.
  const isOtherNext = !state.isOwn && seq === state.tip.seq + 1 && !equal(prev, state.tip.hash)
  if (isOtherNext || rivalOf(core, state, batch) !== null) return true
  if (state.isOwn) return seq > state.tip.seq
  // Ours, or gone from here as dead: the branches part later.
  if (probe !== null) {
    probe.low = Math.max(probe.low, seq)
    narrow(core, state, probe)
  }
  return false
}

/** Our batch that can't be of one branch with theirs: that of its number, or else the one before or behind it. */
function rivalOf<Token>(core: Core<Token>, state: FeedState, { header, hash }: Batch): Batch | null {
  const same = storedBatch(core, state, header.seq)
  if (same !== null) return equal(same.hash, hash) ? null : same
  const before = storedBatch(core, state, header.seq - 1)
  if (before !== null && !equal(before.hash, header.prev)) return before
  const after = storedBatch(core, state, header.seq + 1)
  return after === null || equal(after.header.prev, hash) ? null : after
}

/** Their batch, its signature checked, differs from ours. */
export function takeEvidence<Token>(core: Core<Token>, state: FeedState, batch: Batch): void {
  const { probe } = state
  // What comes twice was looked at before.
  if (probe === null || batch.header.seq !== probe.asked) return
  if (state.isOwn) {
    state.probe = null
    core.loseIncarnation(`somebody else wrote batch ${batch.header.seq} of this gateway's feed`)
    return
  }
  const isOfChain = batch.header.seq <= state.tip.seq + 1
  // A third branch, or the first that is known of this one.
  if (probe.theirs === null ? isOfChain : batch.header.seq === probe.high) beginAnew(probe)
  if (isOfChain) probe.among = null
  probe.high = batch.header.seq
  probe.theirs = batch
  narrow(core, state, probe)
}

function narrow<Token>(core: Core<Token>, state: FeedState, probe: Probe): void {
  const { theirs, among } = probe
  if (theirs === null && among !== null) {
    const next = nextAmong(state, among, probe.asked)
    if (next > 0) return askProbe(core, state, probe, next)
    state.isCompared = true
  }
  const isNarrow = probe.high - probe.low <= 1 || among !== null
  // Also where whoever is asked now doesn't have it: who has it may be lost, and nobody else could prove the fork then.
  if (theirs !== null && (isNarrow || isParting(core, state, theirs))) return prove(core, state, theirs)
  if (isNarrow) {
    // Nothing of theirs that differs could be had: when the feed is asked for again it will be seen.
    state.probe = null
    core.behind.add(state)
    return
  }
  if (probe.low > 0) return askProbe(core, state, probe, Math.floor((probe.low + probe.high) / 2))
  probe.step *= 2
  askProbe(core, state, probe, Math.max(1, probe.high - probe.step))
}

/**
 * One of the batches that they have differs, the later ones rather, but those up to our end before any that lie beside our chain: these
 * may have come from them.
 */
function firstAmong(state: FeedState, among: SequenceSet): number {
  return among.within(1, state.tip.seq + 1).last || among.last
}

/** 0 when that was all. */
function nextAmong(state: FeedState, among: SequenceSet, asked: number): number {
  const next = state.tip.seq + 1
  if (asked > next) return among.within(next + 1, asked - 1).last
  return among.within(1, asked - 1).last || among.within(next + 1, Number.MAX_SAFE_INTEGER).last
}

/** Their batch differs from ours, and the ones before are the same. */
function isParting<Token>(core: Core<Token>, state: FeedState, { header }: Batch): boolean {
  if (header.seq > state.tip.seq) return false
  if (header.seq === 1) return true
  const before = storedBatch(core, state, header.seq - 1)
  return before === null || equal(before.hash, header.prev)
}

function prove<Token>(core: Core<Token>, state: FeedState, theirs: Batch): void {
  state.probe = null
  const ours = rivalOf(core, state, theirs)
  if (ours === null) return
  const [first, second] = ours.header.seq <= theirs.header.seq ? [ours, theirs] : [theirs, ours]
  // A header that turned on the disk looks like another branch, but its signature doesn't verify: then this proves nothing.
  suspect(core, state, ours.header.seq)
  const { seq } = theirs.header
  core.emit('fork', { feed: hex(state.feed.id), origin: state.feed.origin, seq, isProven: true })
  const proof = encodeProof(state.feed, first, second)
  addInternalWrite(core, SELF_COLLECTION, core.options.peerId, [
    { kind: 'put', key: FORK_PREFIX + hex(state.feed.id), fields: { proof } },
  ])
}

function askProbe<Token>(core: Core<Token>, state: FeedState, probe: Probe, seq: number): void {
  probe.asked = seq
  probe.askedAt = core.now.monotonicMs
  sayProbe(core, probe.link, state, seq)
}

function sayProbe<Token>(core: Core<Token>, link: LinkState, state: FeedState, seq: number): void {
  const alias = link.theirAliases.get(state)
  if (alias !== undefined) core.say(link, { type: 'want', entries: [[alias, seq, 0, [seq, seq]]] })
}
