import { equal, hex } from '../base/bytes.ts'
import type { Batch, ChainPosition, Feed } from '../model/batch.ts'
import type { SignedCheckpoint } from '../model/checkpoint.ts'
import { isSystemName, placeOf } from '../model/names.ts'
import { SequenceSet } from '../model/sequences.ts'
import type { KeyValue } from '../ports/store.ts'
import type { Hlc } from '../model/stamp.ts'
import { positionOfBatch } from '../wire/batch.ts'
import { isCheckpoint } from '../wire/checkpoint.ts'
import { encodeDescriptor } from '../wire/descriptor.ts'
import { encodeDeterministic } from '../wire/deterministic.ts'
import { signatureOf, voidPrefix } from './aside.ts'
import { forgetBeacon } from './beacons.ts'
import { giveCreditBack, type Core, type Cut } from './core.ts'
import { suspect } from './damage.ts'
import type { FeedState } from './feeds.ts'
import { noteCut } from './holdings.ts'
import { historyKey, type FeedHistory } from './history.ts'
import { signedCheckpoint } from './filling.ts'
import { noteHoles } from './mending.ts'
import { askHeadsOf } from './pinging.ts'
import { namesIn } from './statements.ts'
import { tellOnSoon } from './testimonies.ts'
import { reviveTrash } from './trash.ts'

/**
 * A cut (protocol D20): from a sequence on a feed leaves the log, its documents are folded anew, and its past is what it was before.
 */

/** Voided writes of this gateway itself, to be made again under a new incarnation. */
export const REISSUE_PREFIX = 'sync/reissue/'
/** Of each branch that is taken out so many batches are kept aside. */
const VOID_KEPT = 4_096
const READ_BYTES = 262_144

/**
 * The feed goes back to where it was before the cut. Own writes that are void are kept to be made again. False while the signature of what
 * nothing here continues is being checked, for its header may have turned on the card: then it is to be called again.
 */
export function cutFeed<Token>(core: Core<Token>, state: FeedState, cut: number): boolean {
  const history = historyBelow(core, state, cut)
  const found = positionUpTo(core, state, history, completeTo(state, history, cut))
  if (found === null) return false
  const { to, head, names } = found
  const records: KeyValue[] = [{ key: historyKey(state.feed), value: history.encode() }]
  // What came with the void checkpoint by which the feed had jumped goes with it, as others may not have it, and comes back with it. Parts of
  // a fill beyond the head are of a branch that nobody has proven here: they are fetched again. So is what isn't what it was.
  const voided = [...batchesFrom(core, state, to + 1)].filter((batch) => {
    return batch.header.seq <= state.head.seq && isCalledSo(names, batch)
  })
  for (const branch of branchesIn(state, voided)) {
    const top = hex((branch.at(-1) as Batch).hash.subarray(0, 8))
    for (const { header, bytes } of branch.slice(0, VOID_KEPT))
      records.push({ key: `${voidPrefix(state)}${top}/${header.seq}`, value: bytes })
  }
  if (state.feed.origin === core.options.peerId) records.push(...voidedBatches(core, state, cut))
  giveCreditBack(core.verified.filter((arrival) => arrival.state === state))
  core.verified = core.verified.filter((arrival) => arrival.state !== state)
  state.goBack(head)
  commitCut(core, { state, from: cut, head, stays: state.history.retained.within(1, to) }, records)
  return true
}

/**
 * Parts of earlier fills that lie beside the chain may be of another branch. Those that the checkpoint doesn't call live by which the feed
 * is to jump go before that, for then they would be taken for what its author had written there; and all where the chain comes to one that
 * is another batch.
 */
export function letStraysGo<Token>(core: Core<Token>, state: FeedState, strays: SequenceSet): void {
  // What is on its way to the disk comes first.
  if (state.tip.seq !== state.head.seq || state.isCommitting || core.cutting.has(state)) return
  state.fill = null
  letPartsGo(core, state, state.history.retained.without(strays))
}

/** What lies beside the chain leaves, all but `stays`, and what it had changed with it. */
export function letPartsGo<Token>(core: Core<Token>, state: FeedState, stays: SequenceSet): void {
  const from = besideFrom(state)
  const records = [{ key: historyKey(state.feed), value: historyBelow(core, state, from).encode() }]
  commitCut(core, { state, from, head: state.head, stays }, records)
}

/** What is here from there on lies beside the chain: the checkpoint that it goes by may lie ahead of its head, after a cut. */
export function besideFrom({ head, history }: FeedState): number {
  return Math.max(head.seq, history.baseSeq) + 1
}

/**
 * Takes batches out of the log, with `head` as the feed's head from then on; until it is on the disk the feed takes
 * nothing. With them goes what damaged ones above that head had changed: they come again like what was never here, if at all, and another
 * branch may come in their place.
 */
function commitCut<Token>(core: Core<Token>, cut: Cut, records: readonly KeyValue[]): void {
  const { state, head, stays } = cut
  core.cutting.add(state)
  // What overtook the rest there may be void.
  core.stopCompaction(state)
  const seqs = SequenceSet.range(head.seq + 1, Number.MAX_SAFE_INTEGER).without(stays)
  const ticket = core.nextTicket()
  core.committing.set(ticket, { arrivals: [], own: null, cut })
  core.outputs.push({ type: 'commit', ticket, batches: [], drops: [{ feed: state.feed, seqs, head }], records })
}

/** The cut is on the disk. */
export function feedCut<Token>(core: Core<Token>, { state, from, head, stays }: Cut): void {
  core.cutting.delete(state)
  const gone = state.history.retained.without(stays)
  const history = historyBelow(core, state, from)
  history.retained.delete(gone)
  state.history = history
  state.lastUntil.clear()
  state.acked.clear()
  forgetBeacon(core, state)
  tellOnSoon(core, state)
  if (history.pending.length > 0) core.pendingPlaces.add(placeOf(state.feed.descriptor))
  core.keepHistory(state)
  reviveTrash(core, state)
  const isBack = head.seq < state.head.seq
  state.head = head
  // What is void is not lacking, and what just a void checkpoint had declared dead is.
  noteHoles(core, state)
  core.feeds.moved(state)
  noteCut(core, state)
  for (const link of core.links.values()) {
    if (isBack) link.forget(state)
    // Of the branch that counts some may be lacking, and who has it told us of it before.
    if (isBack && link.isGreeted && head.seq < state.cut - 1) askHeadsOf(core, link, [state])
    link.pending.add(state)
  }
  core.behind.add(state)
  const what = { feed: hex(state.feed.id), origin: state.feed.origin, from, head: head.seq, void: gone.size }
  if (state.cut < Number.POSITIVE_INFINITY) core.emit('sealed', { ...what, cut: state.cut })
  // Else it was a branch of our own, or just parts of a fill went.
  else if (isBack) core.emit('branch-cut', what)
}

/**
 * What is left of what is known of the feed's past. A void checkpoint that was applied gives way to the one before, which
 * declares less dead and asks for less. What is on its way out of the log is not counted on.
 */
export function historyBelow<Token>(core: Core<Token>, state: FeedState, cut: number): FeedHistory {
  const history = state.history.clone()
  for (const { drops } of core.committing.values())
    for (const leaving of drops ?? []) if (leaving.state === state) history.retained.delete(leaving.seqs)
  const wasApplied = history.appliedSeq >= cut
  history.cut(cut)
  if (!wasApplied) return history
  const older = [...checkpointsOf(core, state)].filter(({ seq }) => seq < cut)
  const before = older.findLast(({ checkpoint }) => checkpoint.live.without(history.retained).isEmpty)
  if (before) history.apply(before)
  for (const signed of older) history.add(signed)
  return history
}

function* checkpointsOf<Token>(core: Core<Token>, state: FeedState): Generator<SignedCheckpoint> {
  for (const batch of batchesFrom(core, state, 1)) {
    const signed = isCheckpoint(batch.header) ? signedCheckpoint(batch) : null
    if (signed !== null) yield signed
  }
}

/** As far as nothing is lacking under a checkpoint that is not void: a feed that jumped by a void one goes back behind it. */
function completeTo({ history: { baseSeq } }: FeedState, after: FeedHistory, cut: number): number {
  if (baseSeq < cut) return cut - 1
  return Math.min(cut - 1, after.retained.runEnd(after.applied?.checkpoint.floor ?? 1))
}

/** Up to where a feed is whole when it is cut there. */
export function wholeBelow<Token>(core: Core<Token>, state: FeedState, cut: number): number {
  return completeTo(state, historyBelow(core, state, cut), cut)
}

/** What the stored batches from `from` on are called by those that continue them, down from the head; null while that isn't known. */
function namesFrom<Token>(core: Core<Token>, state: FeedState, from: number): ReadonlyMap<number, Uint8Array> | null {
  const chain = [...batchesFrom(core, state, from)].filter(({ header }) => header.seq <= state.head.seq)
  return namesIn(chain, state.head, (batch) => signatureOf(core, state, batch))
}

/** False when its header has turned on the card. */
function isCalledSo(names: ReadonlyMap<number, Uint8Array>, { header, hash }: Batch): boolean {
  const name = names.get(header.seq)
  return name !== undefined && equal(name, hash)
}

/** Where a feed goes back to. */
interface CutPlace {
  /** What is behind it is taken out. */
  readonly to: number
  readonly head: ChainPosition
  readonly names: ReadonlyMap<number, Uint8Array>
}

/**
 * As far as `whole`, or the last batch before of which is known what the chain calls it: what comes behind that is fetched along the chain,
 * whatever has become of the stored ones. Null while it isn't known.
 */
function positionUpTo<Token>(core: Core<Token>, state: FeedState, after: FeedHistory, whole: number): CutPlace | null {
  for (let to = whole; ; to = after.retained.within(1, to - 1).last) {
    const names = namesFrom(core, state, Math.max(1, Math.min(to, state.head.seq)))
    if (names === null) return null
    const head = to < state.head.seq ? positionAt(core, state, after, names, to) : state.head
    if (head !== null) return { to, head, names }
  }
}

/** A batch as the chain calls it; null when nothing tells. */
function positionAt<Token>(
  core: Core<Token>,
  state: FeedState,
  after: FeedHistory,
  names: ReadonlyMap<number, Uint8Array>,
  seq: number,
): ChainPosition | null {
  if (seq < 1) return { seq: 0, hash: new Uint8Array(32), hlc: 0 }
  const [batch] = batchesFrom(core, state, seq)
  if (batch?.header.seq === seq && isCalledSo(names, batch)) return positionOfBatch(batch.bytes)
  // It is dead, damaged, or there is none.
  const before = [after.applied, after.base].find((signed) => signed?.checkpoint.before.seq === seq)
  if (before) return before.checkpoint.before
  const named = names.get(seq)
  return named === undefined ? null : { seq, hash: named, hlc: 0 }
}

/**
 * Of batches of the log in order, those that are known to be of one branch. Over what the feed had when it jumped, and what it jumped by
 * doesn't call live, nothing leads on: it may be of another branch, all of which is dead in this one.
 */
export function branchesIn({ history }: FeedState, batches: readonly Batch[]): (readonly Batch[])[] {
  const { base, baseSeq, preJump, isJumped } = history
  if (preJump >= baseSeq) return batches.length > 0 ? [batches] : []
  // What is dead behind that it had when it jumped before, by what is not applied either.
  const dead = isJumped && base !== null ? lastDead(batches, base) : 0
  return partedAt(batches, Math.max(preJump, dead), base)
}

/** What leads to the end, and what was there before the feed jumped over what follows `last`. */
function partedAt(batches: readonly Batch[], last: number, by: SignedCheckpoint | null): (readonly Batch[])[] {
  const live = by?.checkpoint.live
  if (isLedOn(batches, last) || live?.has(last) === true) return [batches]
  const before = batches.filter(({ header }) => header.seq <= last)
  const after = batches.filter(({ header }) => header.seq > last || live?.has(header.seq) === true)
  return [after, ...pastsIn(before)].filter((branch) => branch.length > 0)
}

/** Of what it had before a jump it may have jumped to some: by a checkpoint of which just this is known. */
function pastsIn(batches: readonly Batch[]): (readonly Batch[])[] {
  for (const batch of batches.toReversed()) {
    const signed = isCheckpoint(batch.header) ? signedCheckpoint(batch) : null
    const last = signed === null ? 0 : lastDead(batches, signed)
    if (last > 0 && !isLedOn(batches, last)) return partedAt(batches, last, signed)
  }
  return [batches]
}

function lastDead(batches: readonly Batch[], { checkpoint: { floor, live } }: SignedCheckpoint): number {
  return batches.findLast(({ header: { seq } }) => seq < floor && !live.has(seq))?.header.seq ?? 0
}

function isLedOn(batches: readonly Batch[], seq: number): boolean {
  const last = batches.find(({ header }) => header.seq === seq)
  const next = batches.find(({ header }) => header.seq === seq + 1)
  return last !== undefined && next !== undefined && equal(next.header.prev, last.hash)
}

export function* batchesFrom<Token>(core: Core<Token>, state: FeedState, from: number): Generator<Batch> {
  for (let seq = from; ;) {
    const read = core.surroundings.batches(state.feed.key, seq, READ_BYTES)
    if (read.length === 0) return
    for (const bytes of read) {
      const batch = core.reading.batch(bytes)
      const isSound = typeof batch !== 'string' && batch.header.seq >= seq && equal(batch.header.feedId, state.feed.id)
      // What a damaged one says of its place is worth nothing.
      const at = isSound ? batch.header.seq : (state.history.retained.next(seq) ?? seq)
      seq = at + 1
      if (isSound) yield batch
      else suspect(core, state, at)
    }
  }
}

/** Own batches from the cut on, each under a key of its own, until reissuing.ts has made them again. */
function voidedBatches<Token>(core: Core<Token>, state: FeedState, cut: number): { key: string; value: Uint8Array }[] {
  const records: { key: string; value: Uint8Array }[] = []
  const { descriptor } = state.feed
  // What members say of themselves and of others is nobody's to say twice, but where just the clock was wrong.
  const ahead = core.surroundings.authority.aheadOf(state.feed)
  const from = isSystemName(descriptor.collection) ? Math.max(cut, ahead) : cut
  if (from === Number.POSITIVE_INFINITY) return records
  for (const batch of batchesFrom(core, state, from)) {
    if (isCheckpoint(batch.header)) continue
    // Other branches may wait there too, which have the same sequences.
    const key = `${REISSUE_PREFIX}${hex(state.feed.id)}/${batch.header.seq}/${hex(batch.hash.subarray(0, 8))}`
    // It was written before now, whatever its stamp says.
    records.push({ key, value: reissueRecord(state.feed, batch.bytes, core.clock.last) })
  }
  return records
}

/** A batch that waits to be made again, as it is stored: before which stamp it was written, and how many of its operations are there again. */
export function reissueRecord({ descriptor }: Feed, bytes: Uint8Array, before: Hlc, done: number = 0): Uint8Array {
  return encodeDeterministic([encodeDescriptor(descriptor), bytes, before, ...(done > 0 ? [done] : [])])
}
