import { equal, hex, latin1 } from '../base/bytes.ts'
import type { Batch, ChainPosition, Feed } from '../model/batch.ts'
import type { Held, SignedCheckpoint } from '../model/checkpoint.ts'
import { isSystemName, placeOf, SELF_COLLECTION } from '../model/names.ts'
import type { SequenceSet } from '../model/sequences.ts'
import type { KeyValue } from '../ports/store.ts'
import type { Hlc } from '../model/stamp.ts'
import { positionOfBatch, seqOfBatch } from '../wire/batch.ts'
import { isCheckpoint, rootOf } from '../wire/checkpoint.ts'
import { encodeDescriptor } from '../wire/descriptor.ts'
import { encodeDeterministic } from '../wire/deterministic.ts'
import { beaconOf, forgetBeacon } from './beacons.ts'
import type { Core } from './core.ts'
import { storedBatch, suspect } from './damage.ts'
import type { FeedState, SignatureState } from './feeds.ts'
import { noteCut } from './holdings.ts'
import { historyKey, type FeedHistory } from './history.ts'
import { askedIn } from './interest.ts'
import { signedCheckpoint } from './filling.ts'
import { noteHoles } from './mending.ts'
import { futureFrom } from './future.ts'
import { tellProof } from './proofs.ts'
import { namesIn, settle } from './statements.ts'
import { tellOn, tellOnSoon } from './testimonies.ts'
import { reviveTrash } from './trash.ts'

/**
 * What a seal does (protocol D20): of a sealed feed everything from its cut on is void. The cut is the seal's sequence, or
 * the one after what every member asked has confirmed, whichever is greater: what all have confirmed nothing undoes.
 */

/** Voided writes of this gateway itself, to be made again under a new incarnation. */
export const REISSUE_PREFIX = 'sync/reissue/'
/** Voided batches, in case all turn out to have confirmed them; of each branch so many. */
const VOID_PREFIX = 'sync/void/'
const VOID_KEPT = 4_096
const READ_BYTES = 262_144

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
      else letPartsGo(core, state)
      continue
    }
    if (state.isOwn) core.loseIncarnation('its feed was sealed')
    tellProof(core, state)
    if (!state.isCommitting && !core.cutting.has(state)) applySeal(core, state, seal)
  }
}

/** What sealed it counts no more, for it was itself voided: what was taken out comes back, or is fetched. */
function unseal<Token>(core: Core<Token>, state: FeedState): void {
  state.settled = null
  state.branch = null
  state.cut = Number.POSITIVE_INFINITY
  state.isSealFinal = true
  state.isRefused = false
  restoreVoided(core, state)
  core.behind.add(state)
}

/**
 * Parts of a fill stay when the link goes, for it is gone on with. Where nobody is ahead any more, and nothing was asked for or came for as
 * long as a beacon counts, they go: whoever had offered it may be lost, or its store put back, and nobody else would ever show them. Should
 * it be offered again they come again.
 */
function letPartsGo<Token>(core: Core<Token>, state: FeedState): void {
  const { head, history, fill } = state
  // The checkpoint that a feed has jumped by lies ahead of it.
  const from = Math.max(head.seq, history.baseSeq) + 1
  if (fill !== null || state.tip.seq !== head.seq || history.retained.last < from) return
  if (state.isCommitting || core.cutting.has(state)) return
  if (state.touchedAt === 0) state.touchedAt = core.now.monotonicMs
  if (core.now.monotonicMs < state.touchedAt + core.history.beaconStaleMs) return
  const seqs = history.retained.within(from, Number.MAX_SAFE_INTEGER)
  commitCut(core, state, seqs, head, [{ key: historyKey(state.feed), value: historyBelow(core, state, from).encode() }])
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
  state.isSealFinal = isFinal
  const cutBefore = state.cut
  state.cut = Math.max(seal, state.settled + 1)
  if (cutBefore < state.cut) {
    core.emit('settled', { feed: hex(state.feed.id), origin: state.feed.origin, cut: state.cut })
  }
  if (state.isRefused) {
    state.isRefused = false
    core.behind.add(state)
  }
  // What waited for its time may be void now.
  if (cutBefore === Number.POSITIVE_INFINITY) state.deferredUntilMs = 0
  // Parts of a fill may lie beyond the head.
  const last = Math.max(state.tip.seq, state.history.retained.last)
  const doubted = state.isDoubted ? state.tip.seq + 1 : null
  state.isDoubted = false
  const cut = partingOf(core, state, seal, last) ?? doubted ?? state.cut
  if (last >= cut) return cutFeed(core, state, cut)
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

/** What was taken out here may be of the branch that is settled: it goes back as far as it continues. */
function restoreVoided<Token>(core: Core<Token>, state: FeedState): void {
  state.isRestoreDue = state.tip.seq !== state.verified.seq || !isAsideChecked(core, state)
  if (state.isRestoreDue) return
  const branches = voidedOf(core, state)
  const voided = branches.flat().filter((batch) => isOnBranch(state, batch))
  const next = voided.some(({ header }) => header.seq === state.tip.seq + 1 && equal(header.prev, state.tip.hash))
  if (!next) for (const branch of branches) if (jumpBack(core, state, branch)) break
  for (let seq = state.tip.seq + 1; seq < state.cut; seq++) {
    const batch = voided.find(({ header }) => header.seq === seq && equal(header.prev, state.tip.hash))
    // What its author had stamped ahead and takes back has not come yet.
    if (batch === undefined || batch.header.hlc > futureFrom(core)) return
    state.tip = { seq, hash: batch.hash, hlc: batch.header.hlc }
    state.verified = state.tip
    core.verified.push({ link: null, state, batch })
  }
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

function signedNameOf({ hash, signature }: Batch): string {
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
  if (![...state.signatures.values()].includes('asked')) core.sealsAt = core.now.monotonicMs
}

/** What was taken out may have come with a fill: its checkpoint lets the feed jump again, when all that it calls live is here. */
function jumpBack<Token>(core: Core<Token>, state: FeedState, branch: readonly Batch[]): boolean {
  const settled = branch.filter(({ header }) => header.seq < state.cut)
  const hashes = new Map(settled.map(({ header, hash }) => [header.seq, hash]))
  for (const batch of settled.toReversed()) {
    const signed = isCheckpoint(batch.header) ? signedCheckpoint(batch) : null
    if (signed === null || signed.checkpoint.floor <= state.tip.seq + 1 || !isNamed(state, batch)) continue
    if (signed.hlc > futureFrom(core)) continue
    const live = Array.from(signed.checkpoint.live.values(), (seq) => hashes.get(seq) ?? hashAt(core, state, seq))
    if (live.includes(null) || !equal(rootOf(live as Uint8Array[]), signed.checkpoint.root)) continue
    for (const part of settled) {
      const { seq } = part.header
      const isLacking = signed.checkpoint.live.has(seq) && !state.history.retained.has(seq)
      if (isLacking) core.verified.push({ link: null, state, batch: part, place: 'aside' })
    }
    core.verified.push({ link: null, state, batch, place: signed.checkpoint.before })
    state.verified = signed.checkpoint.before
    state.tip = state.verified
    return true
  }
  return false
}

/** Whether it is known to be of the branch that is settled. */
function isNamed({ branch }: FeedState, { header, hash }: Batch): boolean {
  return branch?.get(header.seq) === hex(hash.subarray(0, 8))
}

/** Whether a batch is beyond the cut of its feed, or of another branch than the one that is settled. */
export function isVoid(state: FeedState, batch: Batch): boolean {
  return batch.header.seq >= state.cut || !isOnBranch(state, batch)
}

/** Whether a batch of a sealed feed is of the branch that is settled, as far as that is known. */
function isOnBranch({ branch }: FeedState, { header, hash }: Batch): boolean {
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

function voidPrefix({ feed }: Pick<FeedState, 'feed'>): string {
  return `${VOID_PREFIX}${hex(feed.id)}/`
}

/** Whether everyone asked has confirmed the branch that is here up to `seq`. */
export function isSettled<Token>(core: Core<Token>, state: FeedState, seq: number): boolean {
  if (seq <= 0) return true
  if (state.head.seq < seq) return false
  if (state.settled !== null && state.settled < seq) return false
  // Below the seal nobody has looked for branches yet: a proof may come that they part there.
  if (state.settled !== null && seq >= core.surroundings.authority.sealOf(state.feed)) return true
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
  // What is gone was dead and confirmed by all.
  return ours === null || equal(ours.subarray(0, 8), hash8)
}

function hashAt<Token>(core: Core<Token>, state: FeedState, seq: number): Uint8Array | null {
  if (seq === state.head.seq) return state.head.hash
  const [bytes] = core.surroundings.batches(state.feed.key, seq, 0)
  return bytes === undefined || seqOfBatch(bytes) !== seq ? null : positionOfBatch(bytes).hash
}

/** The feed goes back to where it was before the cut. Own writes that are void are kept to be made again. */
function cutFeed<Token>(core: Core<Token>, state: FeedState, cut: number): void {
  const seqs = state.history.retained.within(cut, Number.MAX_SAFE_INTEGER)
  const history = historyBelow(core, state, cut)
  const to = completeTo(state, history, cut)
  const names = namesFrom(core, state, Math.max(1, Math.min(to, state.head.seq)))
  const head = to < state.head.seq ? positionAt(core, state, history, names, to) : state.head
  const records: KeyValue[] = [{ key: historyKey(state.feed), value: history.encode() }]
  // Parts of a fill beyond the head are of a branch that nobody has proven here: they are fetched again. So is what isn't what it was.
  const voided = [...batchesFrom(core, state, cut)].filter((batch) => {
    return batch.header.seq <= state.head.seq && isCalledSo(names, batch)
  })
  const top = voided.at(-1)
  for (const { header, bytes } of voided.slice(0, VOID_KEPT))
    records.push({ key: `${voidPrefix(state)}${hex((top as Batch).hash.subarray(0, 8))}/${header.seq}`, value: bytes })
  if (state.feed.origin === core.options.peerId) records.push(...voidedBatches(core, state, cut))
  core.verified = core.verified.filter((arrival) => arrival.state !== state)
  state.verified = head
  state.tip = head
  state.fill = null
  commitCut(core, state, seqs, head, records)
}

function commitCut<Token>(
  core: Core<Token>,
  state: FeedState,
  seqs: SequenceSet,
  head: ChainPosition,
  records: readonly KeyValue[],
): void {
  core.cutting.add(state)
  const ticket = core.nextTicket()
  core.committing.set(ticket, { arrivals: [], own: null, cut: { state, seqs, head } })
  core.outputs.push({ type: 'commit', ticket, batches: [], drops: [{ feed: state.feed, seqs, head }], records })
}

/** The cut is on the disk. */
export function feedCut<Token>(core: Core<Token>, state: FeedState, seqs: SequenceSet, head: ChainPosition): void {
  core.cutting.delete(state)
  const cut = Math.max(head.seq + 1, seqs.next(1) ?? 0)
  const history = historyBelow(core, state, cut)
  history.retained.delete(seqs)
  state.history = history
  state.lastUntil.clear()
  state.acked.clear()
  forgetBeacon(core, state)
  tellOnSoon(core, state)
  if (history.pending.length > 0) core.pendingPlaces.add(placeOf(state.feed.descriptor))
  core.keepHistory(state)
  reviveTrash(core, state)
  state.head = head
  // What is void is not lacking, and what just a void checkpoint had declared dead is.
  noteHoles(core, state)
  core.feeds.moved(state)
  noteCut(core, state)
  for (const link of core.links.values()) {
    link.forget(state)
    link.pending.add(state)
  }
  core.behind.add(state)
  // Of a feed that isn't sealed just parts of a fill went.
  if (state.cut === Number.POSITIVE_INFINITY) return
  core.emit('sealed', {
    feed: hex(state.feed.id),
    origin: state.feed.origin,
    from: cut,
    cut: state.cut,
    head: head.seq,
    void: seqs.size,
  })
}

/**
 * What is left of what is known of the feed's past. A void checkpoint that was applied gives way to the one before, which
 * declares less dead and asks for less. What is on its way out of the log is not counted on.
 */
function historyBelow<Token>(core: Core<Token>, state: FeedState, cut: number): FeedHistory {
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

/** What the stored batches from `from` on are called by those that continue them, down from the head. */
function namesFrom<Token>(core: Core<Token>, state: FeedState, from: number): ReadonlyMap<number, Uint8Array> {
  const chain = [...batchesFrom(core, state, from)].filter(({ header }) => header.seq <= state.head.seq)
  return (
    namesIn(chain, state.head, (batch) => {
      return state.signatures.get(signedNameOf(batch)) === 'invalid' ? 'invalid' : 'valid'
    }) ?? new Map()
  )
}

/** False when its header has turned on the card. Of one that nothing here continues nobody can tell. */
function isCalledSo(names: ReadonlyMap<number, Uint8Array>, { header, hash }: Batch): boolean {
  const name = names.get(header.seq)
  return name === undefined || equal(name, hash)
}

/** The batch before a cut, as the chain calls it: whoever has the feed goes on from there, whatever has become of the stored one. */
function positionAt<Token>(
  core: Core<Token>,
  state: FeedState,
  after: FeedHistory,
  names: ReadonlyMap<number, Uint8Array>,
  seq: number,
): ChainPosition {
  if (seq < 1) return { seq: 0, hash: new Uint8Array(32), hlc: 0 }
  const [batch] = batchesFrom(core, state, seq)
  if (batch?.header.seq === seq && isCalledSo(names, batch)) return positionOfBatch(batch.bytes)
  // It is dead, damaged, or there is none.
  const before = [after.applied, after.base].find((signed) => signed?.checkpoint.before.seq === seq)
  if (before) return before.checkpoint.before
  const [next] = batchesFrom(core, state, seq + 1)
  const named = names.get(seq) ?? (next?.header.seq === seq + 1 ? next.header.prev : null)
  return { seq, hash: named ?? new Uint8Array(32), hlc: 0 }
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
    const key = `${REISSUE_PREFIX}${hex(state.feed.id)}/${batch.header.seq}`
    // It was written before now, whatever its stamp says.
    records.push({ key, value: reissueRecord(state.feed, batch.bytes, core.clock.last) })
  }
  return records
}

/** A batch that waits to be made again, as it is stored: before which stamp it was written, and how many of its operations are there again. */
export function reissueRecord({ descriptor }: Feed, bytes: Uint8Array, before: Hlc, done: number = 0): Uint8Array {
  return encodeDeterministic([encodeDescriptor(descriptor), bytes, before, ...(done > 0 ? [done] : [])])
}
