import { equal, hex } from '../base/bytes.ts'
import type { Batch, ChainPosition } from '../model/batch.ts'
import type { SignedCheckpoint } from '../model/checkpoint.ts'
import { isSystemName, placeOf } from '../model/names.ts'
import type { SequenceSet } from '../model/sequences.ts'
import type { KeyValue } from '../ports/store.ts'
import type { Hlc } from '../model/stamp.ts'
import { decodeBatch, seqOfBatch } from '../wire/batch.ts'
import { isCheckpoint } from '../wire/checkpoint.ts'
import { encodeDescriptor } from '../wire/descriptor.ts'
import { encodeDeterministic } from '../wire/deterministic.ts'
import { beaconOf } from './beacons.ts'
import type { Core } from './core.ts'
import type { FeedState } from './feeds.ts'
import { signedCheckpoint } from './filling.ts'

/**
 * What a seal does (protocol D20): of a sealed feed everything from its cut on is void. The cut is the seal's sequence, or
 * the one after what every member asked has confirmed, whichever is greater: what all have confirmed nothing undoes.
 */

/** Voided writes of this gateway itself, to be made again under a new incarnation. */
export const REISSUE_PREFIX = 'sync/reissue/'
/** Voided batches, in case all turn out to have confirmed them; of each feed so many. */
const VOID_PREFIX = 'sync/void/'
const VOID_KEPT = 256
const READ_BYTES = 262_144

/** Looks at every sealed feed again: a seal, a beacon or the feed itself has changed. */
export function applySeals<Token>(core: Core<Token>): void {
  core.sealsAt = core.now.monotonicMs + core.history.beaconMs / 4
  for (const state of core.feeds.values()) {
    const seal = core.surroundings.authority.sealOf(state.feed)
    if (seal === Number.POSITIVE_INFINITY) continue
    if (state.isOwn) core.loseIncarnation('its feed was sealed')
    if (state.isCommitting || core.cutting.has(state)) continue
    const cut = Math.max(seal, settledTo(core, state) + 1)
    const isOver = judge(core, state, cut)
    state.isRefused = false
    // Parts of a fill may lie beyond the head.
    if (isOver && Math.max(state.tip.seq, state.history.retained.last) >= cut) cutFeed(core, state, cut)
  }
}

/**
 * Up to where the feed is taken, and whether what is here beyond the cut is void now. Others may have confirmed more than
 * is confirmed on our branch: then ours goes back, theirs is fetched, and when it is here it is judged in its turn.
 */
function judge<Token>(core: Core<Token>, state: FeedState, cut: number): boolean {
  const claimed = claimedTo(core, state) + 1
  state.cut = cut
  state.voidFrom = cut
  if (claimed <= cut || claimed === state.failedTo) return true
  const isFetched = state.triedTo === claimed && state.head.seq + 1 >= claimed
  if (isFetched) {
    state.failedTo = claimed
    return true
  }
  state.cut = claimed
  state.voidFrom = claimed
  const isBegun = state.triedTo === claimed
  state.triedTo = claimed
  if (isBegun) restoreVoided(core, state, claimed)
  return !isBegun
}

/** What was voided here may be of the branch that others have confirmed since: it is taken back as far as it continues. */
function restoreVoided<Token>(core: Core<Token>, state: FeedState, to: number): void {
  const voided = new Map<number, Batch>()
  for (const { value } of core.surroundings.scanRecords(voidKey(state, ''))) {
    const batch = value === null ? null : decodeBatch(core.options.meshId, value)
    if (batch?.ok === true) voided.set(batch.value.header.seq, batch.value)
  }
  for (let seq = state.tip.seq + 1; seq < to; seq++) {
    const batch = voided.get(seq)
    if (batch === undefined || !equal(batch.header.prev, state.tip.hash)) return
    state.tip = { seq, hash: batch.hash, hlc: batch.header.hlc }
    state.verified = state.tip
    core.verified.push({ link: null, state, batch })
  }
}

function voidKey(state: FeedState, seq: number | string): string {
  return `${VOID_PREFIX}${hex(state.feed.id)}/${seq}`
}

/** The last batch that everyone asked has confirmed on the branch that is here. */
export function settledTo<Token>(core: Core<Token>, state: FeedState): number {
  let settled = state.head.seq
  for (const { origin, since, below } of core.surroundings.authority.asked(state.feed)) {
    const acked = Math.max(below, ackedTo(core, state, origin))
    // Of what was written before its admission nobody asks it.
    if (acked < settled) settled = Math.min(settled, Math.max(acked, lastUntil(core, state, since)))
    if (settled === 0) break
  }
  return settled
}

/** The last batch stamped at or before `hlc`. */
function lastUntil<Token>(core: Core<Token>, state: FeedState, hlc: Hlc): number {
  if (state.head.hlc <= hlc) return state.head.seq
  let low = 0
  let high = state.head.seq
  while (high - low > 1) {
    const middle = (low + high) >> 1
    const [bytes] = core.surroundings.batches(state.feed.key, middle, 0)
    const batch = bytes === undefined ? null : decodeBatch(core.options.meshId, bytes)
    if (batch?.ok === true && batch.value.header.hlc <= hlc) low = Math.max(middle, batch.value.header.seq)
    else high = middle
  }
  return low
}

function ackedTo<Token>(core: Core<Token>, state: FeedState, origin: string): number {
  let acked = 0
  for (const { seq, hash8 } of beaconOf(core, origin)?.acks.get(state.feed.key) ?? []) {
    if (seq <= acked || seq > state.head.seq) continue
    const ours = hashAt(core, state, seq)
    // What is gone was dead and confirmed by all.
    if (ours === null || equal(ours.subarray(0, 8), hash8)) acked = seq
  }
  return acked
}

/** The same on whatever branch: as much as everyone asked says to hold. */
function claimedTo<Token>(core: Core<Token>, state: FeedState): number {
  let claimed = Number.POSITIVE_INFINITY
  for (const { origin, below } of core.surroundings.authority.asked(state.feed)) {
    const acks = beaconOf(core, origin)?.acks.get(state.feed.key) ?? []
    claimed = Math.min(claimed, Math.max(below, ...acks.map(({ seq }) => seq)))
  }
  return Number.isFinite(claimed) ? claimed : 0
}

function hashAt<Token>(core: Core<Token>, state: FeedState, seq: number): Uint8Array | null {
  if (seq === state.head.seq) return state.head.hash
  const [bytes] = core.surroundings.batches(state.feed.key, seq, 0)
  const batch = bytes === undefined || seqOfBatch(bytes) !== seq ? null : decodeBatch(core.options.meshId, bytes)
  return batch?.ok === true ? batch.value.hash : null
}

/** The feed goes back to where it was before the cut. Own writes that are void are kept to be made again. */
function cutFeed<Token>(core: Core<Token>, state: FeedState, cut: number): void {
  const seqs = state.history.retained.within(cut, Number.MAX_SAFE_INTEGER)
  const to = Math.min(cut - 1, completeTo(state, cut))
  const head = to < state.head.seq ? positionAt(core, state, to) : state.head
  const records: KeyValue[] = []
  for (const batch of batchesFrom(core, state, cut)) {
    if (records.length < VOID_KEPT) records.push({ key: voidKey(state, batch.header.seq), value: batch.bytes })
  }
  if (state.feed.origin === core.options.peerId) records.push(...voidedBatches(core, state, cut))
  state.verified = head
  state.tip = head
  state.fill = null
  core.cutting.add(state)
  const ticket = core.nextTicket()
  core.committing.set(ticket, { arrivals: [], own: null, drop: { state, seqs, head } })
  core.outputs.push({ type: 'commit', ticket, batches: [], drops: [{ feed: state.feed, seqs, head }], records })
}

/** The cut is on the disk. */
export function feedCut<Token>(core: Core<Token>, state: FeedState, seqs: SequenceSet, head: ChainPosition): void {
  core.cutting.delete(state)
  const { history } = state
  history.retained.delete(seqs)
  const cut = Math.max(head.seq + 1, seqs.next(1) ?? 0)
  const isVoid = history.applied !== null && history.applied.seq >= cut
  history.cut(cut)
  if (isVoid) for (const signed of checkpointsOf(core, state)) history.add(signed)
  if (history.pending.length > 0) core.pendingPlaces.add(placeOf(state.feed.descriptor))
  core.keepHistory(state)
  state.head = head
  core.feeds.version += 1
  for (const link of core.links.values()) {
    link.forget(state)
    link.pending.add(state)
  }
  core.behind.add(state)
  core.emit('sealed', { feed: hex(state.feed.id), origin: state.feed.origin, cut, head: head.seq, void: seqs.size })
}

function* checkpointsOf<Token>(core: Core<Token>, state: FeedState): Generator<SignedCheckpoint> {
  for (const batch of batchesFrom(core, state, 1)) {
    const signed = isCheckpoint(batch.header) ? signedCheckpoint(batch) : null
    if (signed !== null) yield signed
  }
}

/** As far as nothing is lacking under a checkpoint that is not void: a feed that jumped by a void one goes back behind it. */
function completeTo(state: FeedState, cut: number): number {
  const { applied, base, retained } = state.history
  if (base === null || base.seq < cut) return cut - 1
  const floor = applied !== null && applied.seq < cut ? applied.checkpoint.floor : 1
  return retained.runEnd(floor)
}

function positionAt<Token>(core: Core<Token>, state: FeedState, seq: number): ChainPosition {
  if (seq < 1) return { seq: 0, hash: new Uint8Array(32), hlc: 0 }
  const [bytes] = core.surroundings.batches(state.feed.key, seq, 0)
  const batch = bytes === undefined || seqOfBatch(bytes) !== seq ? null : decodeBatch(core.options.meshId, bytes)
  if (batch?.ok === true) return { seq, hash: batch.value.hash, hlc: batch.value.header.hlc }
  // It is dead, or there is none: the batch at the cut names it.
  const [next] = batchesFrom(core, state, seq + 1)
  const before = [state.history.applied, state.history.base].find((signed) => signed?.checkpoint.before.seq === seq)
  if (before) return before.checkpoint.before
  return { seq, hash: next?.header.seq === seq + 1 ? next.header.prev : new Uint8Array(32), hlc: 0 }
}

function* batchesFrom<Token>(core: Core<Token>, state: FeedState, from: number): Generator<Batch> {
  for (let seq = from; ;) {
    const read = core.surroundings.batches(state.feed.key, seq, READ_BYTES)
    if (read.length === 0) return
    for (const bytes of read) {
      const batch = decodeBatch(core.options.meshId, bytes)
      seq = seqOfBatch(bytes) + 1
      if (batch.ok) yield batch.value
    }
  }
}

/** Own batches from the cut on, each under a key of its own, until reissuing.ts has made them again. */
function voidedBatches<Token>(core: Core<Token>, state: FeedState, cut: number): { key: string; value: Uint8Array }[] {
  const records: { key: string; value: Uint8Array }[] = []
  if (isSystemName(state.feed.descriptor.collection)) return records
  for (const batch of batchesFrom(core, state, cut)) {
    if (isCheckpoint(batch.header)) continue
    const key = `${REISSUE_PREFIX}${hex(state.feed.id)}/${batch.header.seq}`
    records.push({ key, value: encodeDeterministic([encodeDescriptor(state.feed.descriptor), batch.bytes]) })
  }
  return records
}
