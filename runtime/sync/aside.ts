import { equal, hex, latin1 } from '../base/bytes.ts'
import type { Batch, Feed } from '../model/batch.ts'
import { positionOfBatch, seqOfBatch } from '../wire/batch.ts'
import { isCheckpoint, rootOf } from '../wire/checkpoint.ts'
import { TIMES, type Core } from './core.ts'
import { letStraysGo } from './cutting.ts'
import { storedBatch } from './damage.ts'
import type { FeedState, SignatureState } from './feeds.ts'
import { isChain, partsOf, signedCheckpoint, straysUnder } from './filling.ts'
import { futureFrom } from './future.ts'

/**
 * What was taken out of a sealed feed is kept aside, in case all turn out to have confirmed it (protocol D20): then it comes back, as far
 * as it is still what its author signed.
 */

/** Voided batches, by feed, branch and sequence. */
const VOID_PREFIX = 'sync/void/'

/**
 * What was taken out here may be of the branch that is settled: it goes back as far as it continues. What was taken out in several parts
 * comes back in as many, each when the one that it rests on is on the disk.
 */
export function restoreVoided<Token>(core: Core<Token>, state: FeedState): void {
  state.isRestoreDue = state.tip.seq !== state.head.seq || !isAsideChecked(core, state)
  if (!state.isRestoreDue) bringBack(core, state)
  if (state.tip.seq === state.head.seq) return forgetBack(core, state)
  state.isRestoreDue = true
  core.sealsAt = Math.min(core.sealsAt, core.now.monotonicMs + TIMES.refusedMs)
}

function bringBack<Token>(core: Core<Token>, state: FeedState): void {
  const branches = voidedOf(core, state)
  const voided = branches.flat().filter((batch) => isOnBranch(state, batch))
  const next = voided.some(({ header }) => header.seq === state.tip.seq + 1 && equal(header.prev, state.tip.hash))
  if (!next) for (const branch of branches) if (jumpBack(core, state, branch)) break
  for (let seq = state.tip.seq + 1; seq < state.cut; seq++) {
    const batch = voided.find(({ header }) => header.seq === seq && equal(header.prev, state.tip.hash))
    if (batch === undefined) return
    // What its author had stamped ahead and takes back has not come yet.
    if (batch.header.hlc > futureFrom(core)) {
      state.isRestoreDue = true
      return
    }
    state.tip = { seq, hash: batch.hash, hlc: batch.header.hlc }
    state.verified = state.tip
    core.verified.push({ link: null, state, batch })
  }
}

/** What is in the log again is not kept aside any longer. The disk takes this before a cut by which it would be, and may refuse it. */
function forgetBack<Token>(core: Core<Token>, state: FeedState): void {
  const back = core.surroundings.scanRecords(voidPrefix(state)).filter(({ value }) => {
    const batch = value === null ? 'it is gone' : core.reading.batch(value)
    if (typeof batch === 'string' || batch.header.seq > state.head.seq) return false
    const there = hashAt(core, state, batch.header.seq)
    return there !== null && equal(there, batch.hash)
  })
  if (back.length === 0) return
  const ticket = core.nextTicket()
  core.committing.set(ticket, { arrivals: [], own: null })
  core.outputs.push({ type: 'commit', ticket, batches: [], records: back.map(({ key }) => ({ key, value: null })) })
}

/**
 * A seal may have counted no more, and what comes back not been on the disk, when the power went. What this gateway wrote itself it writes
 * again, also what was cut without a seal.
 */
export function isRestoreLeft<Token>(core: Core<Token>, { feed }: FeedState): boolean {
  return feed.origin !== core.options.peerId && voidedRecords(core, feed).length > 0
}

/** What is to come back has to be what its author signed. */
function isAsideChecked<Token>(core: Core<Token>, state: FeedState): boolean {
  let isKnown = true
  for (const batch of voidedOf(core, state).flat()) {
    if (batch.header.seq >= state.cut || !isOnBranch(state, batch)) continue
    if (signatureOf(core, state, batch) === 'asked') isKnown = false
  }
  return isKnown
}

/** A header or a signature may have turned on the card since the batch came: whether it is still signed, asked for when that isn't known. */
export function signatureOf<Token>(core: Core<Token>, state: FeedState, batch: Batch): SignatureState {
  const name = signedNameOf(batch)
  const known = state.signatures.get(name)
  if (known !== undefined) return known
  state.signatures.set(name, 'asked')
  const ticket = core.nextTicket()
  core.rechecking.set(ticket, { state, name })
  core.outputs.push({ type: 'verify', ticket, feed: state.feed, batch })
  return 'asked'
}

/** By what a batch is known together with its signature, in `FeedState.signatures`. */
export function signedNameOf({ hash, signature }: Batch): string {
  return latin1(hash) + latin1(signature)
}

/** The answer to a `verify` that `signatureOf` asked for: what is damaged is fetched like what was never here. */
export function receiveSignature<Token>(core: Core<Token>, ticket: number, isValid: boolean): void {
  const check = core.rechecking.get(ticket)
  if (check === undefined) return
  core.rechecking.delete(ticket)
  const { state, name } = check
  state.signatures.set(name, isValid ? 'valid' : 'invalid')
  if (!isValid) core.behind.add(state)
  if (!isBeingRechecked(core, state)) core.sealsAt = core.now.monotonicMs
}

/** Answers come in about the order in which they were asked for, so whichever is still to come is found soon. */
function isBeingRechecked<Token>({ rechecking }: Core<Token>, state: FeedState): boolean {
  for (const check of rechecking.values()) if (check.state === state) return true
  return false
}

/** What was taken out may have come with a fill: its checkpoint lets the feed jump again, when all is here that a fill asks for. */
function jumpBack<Token>(core: Core<Token>, state: FeedState, branch: readonly Batch[]): boolean {
  const settled = branch.filter(({ header }) => header.seq < state.cut)
  const aside = new Map(settled.map((batch) => [batch.header.seq, batch]))
  for (const batch of settled.toReversed()) {
    const signed = isCheckpoint(batch.header) ? signedCheckpoint(batch) : null
    if (signed === null || signed.checkpoint.floor <= state.tip.seq + 1 || !isNamed(core, state, batch)) continue
    if (signed.hlc > futureFrom(core)) continue
    const { live, root } = signed.checkpoint
    const hashes = Array.from(live.values(), (seq) => aside.get(seq)?.hash ?? hashAt(core, state, seq))
    if (hashes.includes(null) || !equal(rootOf(hashes as Uint8Array[]), root)) continue
    if (isChain(signed, batch, (seq) => aside.get(seq) ?? storedBatch(core, state, seq)) !== true) continue
    const strays = straysUnder(state, signed)
    if (!strays.isEmpty) {
      letStraysGo(core, state, strays)
      state.isRestoreDue = true
      return true
    }
    const lacking = partsOf(signed).without(state.history.retained)
    for (const part of settled)
      if (lacking.has(part.header.seq)) core.verified.push({ link: null, state, batch: part, place: 'aside' })
    state.verified = { seq: signed.seq, hash: batch.hash, hlc: signed.hlc }
    state.tip = state.verified
    core.verified.push({ link: null, state, batch, place: state.tip })
    return true
  }
  return false
}

/** Whether it is known to be of the branch that is settled. Where no seal counts any more, or just its author's own, there is but one. */
function isNamed<Token>({ surroundings }: Core<Token>, { feed, branch }: FeedState, { header, hash }: Batch): boolean {
  const ahead = surroundings.authority.aheadOf(feed)
  const isOnlyAhead = surroundings.authority.sealOf(feed) === ahead && header.seq < ahead
  return branch === null || isOnlyAhead || branch.get(header.seq) === hex(hash.subarray(0, 8))
}

/** Whether a batch of a sealed feed is of the branch that is settled, as far as that is known. */
export function isOnBranch({ branch }: FeedState, { header, hash }: Batch): boolean {
  const expected = branch?.get(header.seq)
  return expected === undefined || expected === hex(hash.subarray(0, 8))
}

/** The branches that were taken out, each in order. */
export function voidedOf<Token>(core: Core<Token>, state: FeedState): Batch[][] {
  const branches = new Map<string, Batch[]>()
  for (const { key, value } of core.surroundings.scanRecords(voidPrefix(state))) {
    const batch = value === null ? 'it is gone' : core.reading.batch(value)
    if (typeof batch === 'string') continue
    if (state.signatures.get(signedNameOf(batch)) === 'invalid') {
      core.removeRecord(key)
      continue
    }
    const top = key.slice(voidPrefix(state).length).split('/')[0] as string
    branches.set(top, [...(branches.get(top) ?? []), batch])
  }
  return [...branches.values()].map((branch) => branch.sort((x, y) => x.header.seq - y.header.seq))
}

/** Keys of what was taken out of a feed. */
export function voidedRecords<Token>(core: Core<Token>, feed: Feed): string[] {
  return core.surroundings.scanRecords(voidPrefix({ feed })).map(({ key }) => key)
}

/** Of the keys under which a feed's voided batches are kept: behind it stand the branch and the sequence. */
export function voidPrefix({ feed }: Pick<FeedState, 'feed'>): string {
  return `${VOID_PREFIX}${hex(feed.id)}/`
}

/** What the stored batch of that sequence is called; null when it is gone. */
export function hashAt<Token>(core: Core<Token>, state: FeedState, seq: number): Uint8Array | null {
  if (seq === state.head.seq) return state.head.hash
  const [bytes] = core.surroundings.batches(state.feed.key, seq, 0)
  return bytes === undefined || seqOfBatch(bytes) !== seq ? null : positionOfBatch(bytes).hash
}
