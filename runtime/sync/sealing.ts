import { equal, hex } from '../base/bytes.ts'
import type { Batch } from '../model/batch.ts'
import type { Held } from '../model/checkpoint.ts'
import { SELF_COLLECTION } from '../model/names.ts'
import type { Hlc } from '../model/stamp.ts'
import { positionOfBatch } from '../wire/batch.ts'
import { hashAt, isOnBranch, restoreVoided, signatureOf } from './aside.ts'
import { beaconOf } from './beacons.ts'
import { TIMES, type Core } from './core.ts'
import { besideFrom, cutFeed, letPartsGo } from './cutting.ts'
import { storedBatch, suspect } from './damage.ts'
import type { FeedState, SignatureState } from './feeds.ts'
import { askedIn } from './interest.ts'
import { holesOf } from './mending.ts'
import { tellProof } from './proofs.ts'
import { settle } from './statements.ts'
import { tellOn } from './testimonies.ts'

/**
 * What a seal does (protocol D20): of a sealed feed everything from its cut on is void. The cut is the seal's sequence, or
 * the one after what every member asked has confirmed, whichever is greater: what all have confirmed nothing undoes.
 */

/** Looks at every sealed feed again: a seal, what a member says to hold, or the feed itself has changed. */
export function applySeals<Token>(core: Core<Token>): void {
  core.sealsAt = core.now.monotonicMs + core.history.beaconMs / 4
  const states = [...core.feeds.values()]
  // What members say in their own documents first: the others are settled by it.
  const isSelf = ({ feed }: FeedState): boolean => feed.descriptor.collection === SELF_COLLECTION
  for (const state of [...states.filter(isSelf), ...states.filter((one) => !isSelf(one))]) {
    const seal = core.surroundings.authority.sealOf(state.feed)
    if (seal === Number.POSITIVE_INFINITY) {
      if (state.settled !== null) unseal(core, state)
      else if (state.isRestoreDue && !core.cutting.has(state)) restoreVoided(core, state)
      else {
        // What this gateway wrote beside what it had written is cut without a seal.
        tellOn(core, state)
        letOldPartsGo(core, state)
      }
      continue
    }
    if (state.isOwn) core.loseIncarnation('its feed was sealed')
    tellProof(core, state)
    if (!state.isCommitting && !core.cutting.has(state)) applySeal(core, state, seal)
    else core.sealsAt = Math.min(core.sealsAt, core.now.monotonicMs + TIMES.refusedMs)
    letOldPartsGo(core, state)
  }
}

/** A feed that is heard of first may be sealed since long: what is void of it is not asked for, nor taken and then said to be held. */
export function heedSeal<Token>(core: Core<Token>, state: FeedState): void {
  const seal = core.surroundings.authority.sealOf(state.feed)
  if (seal < Number.POSITIVE_INFINITY) applySeal(core, state, seal)
}

/** What sealed it counts no more, for it was itself voided: what was taken out comes back, or is fetched. */
function unseal<Token>(core: Core<Token>, state: FeedState): void {
  state.settled = null
  state.branch = null
  state.cut = Number.POSITIVE_INFINITY
  state.isSealFinal = true
  state.isCutSure = true
  // When it is sealed again, be it at the same place, more may be here.
  state.heldFor = Number.POSITIVE_INFINITY
  state.isRefused = false
  restoreVoided(core, state)
  core.behind.add(state)
}

/**
 * Parts of a fill stay when the link goes, for it is gone on with. Where nobody is ahead any more, and nothing was asked for or came for as
 * long as a beacon counts, they go: whoever had offered it may be lost, or its store put back, and nobody else would ever show them. Should
 * it be offered again they come again.
 */
function letOldPartsGo<Token>(core: Core<Token>, state: FeedState): void {
  const { head, history, fill } = state
  const from = besideFrom(state)
  if (fill !== null || state.tip.seq !== head.seq || history.retained.last < from) return
  if (state.isCommitting || core.cutting.has(state)) return
  if (state.touchedAt === 0) state.touchedAt = core.now.monotonicMs
  if (core.now.monotonicMs < state.touchedAt + core.history.beaconStaleMs) return
  letPartsGo(core, state, history.retained.within(1, from - 1))
}

/** A member said something: what is settled of sealed feeds is looked at soon. */
export function noteStatement<Token>(core: Core<Token>): void {
  core.sealsAt = Math.min(core.sealsAt, core.now.monotonicMs + core.history.beaconMs / 60)
}

/** What is here and void is taken out; what is settled and was taken out before comes back, or is fetched. */
function applySeal<Token>(core: Core<Token>, state: FeedState, seal: number): void {
  const found = settle(core, state, seal)
  if (found === null) return
  const { isFinal, settlement } = found
  // What its author itself has voided stays so, whoever has confirmed it: nobody else would ever have it.
  const ahead = core.surroundings.authority.aheadOf(state.feed)
  state.branch = settlement.branch
  state.settled = Math.min(settlement.seq, ahead - 1)
  const cutBefore = state.cut
  state.cut = Math.max(seal, state.settled + 1)
  state.isSealFinal = isFinal
  if (state.cut !== cutBefore) state.cutAt = core.now.monotonicMs
  const isSure = isFinal || core.now.monotonicMs >= state.cutAt + core.history.beaconMs
  // What checkpoints of other feeds wait for may be void now, for good.
  if (state.cut !== cutBefore || isSure !== state.isCutSure) core.gatedVersion = -1
  state.isCutSure = isSure
  if (cutBefore < state.cut) {
    core.emit('settled', { feed: hex(state.feed.id), origin: state.feed.origin, cut: state.cut })
    // More of what neighbours have told of counts now.
    core.behind.add(state)
  }
  if (state.isRefused) {
    state.isRefused = false
    core.behind.add(state)
  }
  // What waited for its time may be void now.
  if (state.cut < cutBefore) state.deferredUntilMs = 0
  // And what is fetched beside the chain leads nowhere then.
  if (state.fill !== null && isVoid(state, state.fill.batch)) state.fill = null
  // Parts of a fill may lie beyond the head.
  const last = Math.max(state.tip.seq, state.history.retained.last)
  const doubted = state.isDoubted ? state.tip.seq + 1 : null
  state.isDoubted = false
  const cut = partingOf(core, state, seal, last) ?? doubted ?? state.cut
  if (last >= cut) {
    if (!cutFeed(core, state, cut)) state.isDoubted = doubted !== null
    return
  }
  tellOn(core, state)
  if (state.tip.seq < state.settled || cutBefore < state.cut || state.isRestoreDue) restoreVoided(core, state)
}

/** The first batch that is of another branch than the one that is settled; null when none is. */
function partingOf<Token>(core: Core<Token>, state: FeedState, seal: number, last: number): number | null {
  // Where the branches parted farther back than could be proven not even the head need be of it: then nothing is known to be.
  const named = state.head.seq < seal ? state.branch?.get(state.head.seq) : undefined
  if (named !== undefined && named !== hex(state.head.hash.subarray(0, 8))) return 1
  let from = seal
  for (const [seq, hash8] of state.branch ?? []) {
    if (seq > last) return null
    const ours = seq < seal ? null : hashAt(core, state, seq)
    if (ours === null || hex(ours.subarray(0, 8)) === hash8) {
      from = Math.max(from, seq + 1)
      continue
    }
    const signature = seq === state.head.seq ? 'valid' : storedSignature(core, state, seq)
    if (signature === 'asked') return null
    if (signature === 'valid') return from
  }
  return null
}

/** Of a stored batch that isn't what it should be: a header that has turned on the card is no other branch, but damage. */
function storedSignature<Token>(core: Core<Token>, state: FeedState, seq: number): SignatureState {
  const batch = storedBatch(core, state, seq)
  const signature = batch === null ? 'invalid' : signatureOf(core, state, batch)
  if (signature === 'invalid') suspect(core, state, seq)
  return signature
}

/** Whether a batch is beyond the cut of its feed, or of another branch than the one that is settled. */
export function isVoid(state: FeedState, batch: Batch): boolean {
  return batch.header.seq >= state.cut || !isOnBranch(state, batch)
}

/** Whether everyone asked has confirmed the branch that is here up to `seq`. */
export function isSettled<Token>(core: Core<Token>, state: FeedState, seq: number): boolean {
  if (seq <= 0) return true
  if (state.head.seq < seq) return false
  if (state.settled !== null && seq >= core.surroundings.authority.sealOf(state.feed)) return seq <= state.settled
  // Below the seal it is as without one: nobody has looked for branches there yet, and a proof may come that they part there.
  return core.surroundings.authority.asked(state.feed).every((one) => {
    if (one.below >= seq || ackedTo(core, state, one.origin) >= seq) return true
    // Nor is anybody asked of what was written before its admission.
    const asked = askedIn(core, state.feed, one)
    return asked === null || lastUntil(core, state, asked.since) >= seq
  })
}

/** The last batch stamped at or before `hlc`: once a later one is here, that is for good. */
export function lastUntil<Token>(core: Core<Token>, state: FeedState, hlc: Hlc): number {
  if (hlc === 0 || state.head.hlc <= hlc) return hlc === 0 ? 0 : state.head.seq
  const known = state.lastUntil.get(hlc)
  if (known !== undefined) return known
  let low = 0
  let high = state.head.seq
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    const [bytes] = core.surroundings.batches(state.feed.key, middle, 0)
    const position = bytes === undefined ? null : positionOfBatch(bytes)
    if (position !== null && position.hlc <= hlc) low = Math.max(middle, position.seq)
    else high = middle
  }
  state.lastUntil.set(hlc, low)
  return low
}

function ackedTo<Token>(core: Core<Token>, state: FeedState, origin: string): number {
  const beacon = beaconOf(core, origin)
  const said = beacon?.acks.get(state.feed.key)
  if (beacon === null || said === undefined) return 0
  const known = state.acked.get(origin)
  // What it said of batches that were not here yet may count by now.
  if (known?.beacon === beacon && (known.isWhole || known.head === state.head.seq)) return known.seq
  let seq = 0
  for (const ack of said) if (ack.seq > seq && isOfOurBranch(core, state, ack)) seq = ack.seq
  const isWhole = said.every((ack) => ack.seq <= state.head.seq)
  state.acked.set(origin, { beacon, head: state.head.seq, isWhole, seq })
  return seq
}

function isOfOurBranch<Token>(core: Core<Token>, state: FeedState, { seq, hash8 }: Held): boolean {
  if (seq > state.head.seq) return false
  const ours = hashAt(core, state, seq)
  if (ours !== null) return equal(ours.subarray(0, 8), hash8)
  // What is gone was dead and confirmed by all, but for what is just lacking.
  return !core.holed.has(state) || !holesOf(state).has(seq)
}
