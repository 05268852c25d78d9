import { equal } from '../base/bytes.ts'
import { PROTOCOL_LIMITS } from '../base/limits.ts'
import { OP_DELETE, OP_LINK, type Batch, type ChainPosition, type Ops, type Shape } from '../model/batch.ts'
import { deadUnder, FLAG_CHECKPOINT, type Checkpoint, type Held } from '../model/checkpoint.ts'
import { cellsOfOp, writeOf, type Source } from '../model/document.ts'
import { placeOf } from '../model/names.ts'
import { isSeries } from '../model/rows.ts'
import { SequenceSet } from '../model/sequences.ts'
import { spaceOf } from '../model/spaces.ts'
import { hlcFromMs, msOfHlc, type Hlc } from '../model/stamp.ts'
import { encodeCheckpoint, isCheckpoint, rootOf } from '../wire/checkpoint.ts'
import { stableBelow } from './beacons.ts'
import { examineAgain } from './comparing.ts'
import type { Core } from './core.ts'
import { suspect } from './damage.ts'
import type { FeedState } from './feeds.ts'
import { copyParts, isKilledBy, livesOf, mayKeepDead, OpsCopy, type OpLife, type Tombstone } from './liveness.ts'
import { futureFrom } from './future.ts'
import { isSettled } from './sealing.ts'
import { writeInternal } from './writing.ts'

/**
 * An author's compaction of an own feed (protocol D16, D18): reads its batches in slices, finds which still count, tells
 * those operations again of which most of the batch is dead, and signs a checkpoint that says what lives. Everything it
 * finds dead stays dead whatever comes meanwhile, so nothing need stand still for it.
 */

/** Bytes of batches that one turn reads, and the pause until the next, in milliseconds. */
const SLICE_BYTES = 65_536
const SLICE_MS = 20
/** Operations that one compaction tells again, and tombstones that it examines; the rest waits for the next. */
const COPIES_MAX = PROTOCOL_LIMITS.opsPerBatchMax
const TOMBSTONES_MAX = 10_000

interface Examined {
  readonly batch: Batch
  readonly ops: Ops
  readonly source: Source
  /** Null when the batch counts whatever its operations are. */
  readonly lives: readonly OpLife[] | null
  readonly hash: Uint8Array
}

export class Compaction {
  readonly state: FeedState
  readonly floor: number
  readonly before: ChainPosition
  /** Batches stamped later are not looked at yet: what overtook them may still be taken back. */
  readonly settledBelow: Hlc
  readonly stableBelow: Hlc
  /** Declared dead before, and still in the log. */
  readonly dead: SequenceSet
  nextAt = 0
  /** Where the scan goes on: first the own feed, then, for tombstones, all feeds of the place. `last` was read last, if anything was. */
  scan: { readonly state: FeedState; readonly to: number; seq: number; last: Batch | null }
  readonly rest: FeedState[] = []
  isSearching = false
  readonly examined: Examined[] = []
  /** Header hashes of batches that are kept unexamined. */
  readonly kept: Map<number, Uint8Array> = new Map<number, Uint8Array>()
  deadBytes = 0
  keptBytes = 0
  readonly tombstones: Map<string, Tombstone[]> = new Map<string, Tombstone[]>()
  tombstoneCount = 0
  examinedTombstones = 0
  /** Among what is kept unexamined are tombstones. */
  keepsTombstones = false
  /** Tombstones that something retained still needs. */
  readonly needed: Set<Tombstone> = new Set<Tombstone>()

  constructor(state: FeedState, settledBelow: Hlc, stable: Hlc) {
    this.state = state
    this.floor = state.head.seq + 1
    this.before = state.head
    this.settledBelow = settledBelow
    this.stableBelow = stable
    const last = state.history.pending.at(-1) ?? state.history.applied
    this.dead = last === null ? new SequenceSet() : deadUnder(last.checkpoint, state.history.retained)
    this.scan = { state, to: state.head.seq, seq: 1, last: null }
  }
}

/** Begins a compaction when one is worth while, or does the next slice of the one under way. */
export function compact<Token>(core: Core<Token>): void {
  if (core.compaction === null) {
    if (core.now.monotonicMs < core.compactAt) return
    core.compactAt = core.now.monotonicMs + core.history.intervalMs
    core.compaction = nextCompaction(core)
  }
  const compaction = core.compaction
  if (compaction === null || core.now.monotonicMs < compaction.nextAt) return
  compaction.nextAt = core.now.monotonicMs + SLICE_MS
  const progress = readSlice(core, compaction)
  // Signatures may still be checked; when one doesn't verify, this compaction comes to nothing (damage.ts).
  if (progress === 'more' || (progress === 'done' && isChecking(core, compaction))) return
  core.compaction = null
  if (progress === 'damaged') return
  finish(core, compaction)
}

export function compactDeadline<Token>(core: Core<Token>): number {
  return core.compaction?.nextAt ?? core.compactAt
}

function nextCompaction<Token>(core: Core<Token>): Compaction | null {
  for (const state of core.feeds.values()) {
    // Rows never overtake each other: each gateway keeps as many of a series as it likes.
    if (!state.isOwn || isSeries(state.feed) || !isDue(core, state)) continue
    // What its last checkpoint declares dead is to stay dead.
    if (isCheckpointUnderWay(core, state)) continue
    // Who knows only its own of a place can't say what counts there.
    if (!core.scope.covers(state.feed.descriptor)) continue
    const { collection, partition } = state.feed.descriptor
    const place = placeOf(state.feed.descriptor)
    // A feed that jumped may hide what its unapplied base relied on (G4); what is lacking isn't dead.
    if (core.feeds.in(place).some(({ history, holes }) => history.isJumped || !holes.isEmpty)) continue
    if (isVoidThere(core, place)) continue
    // What was stamped ahead, and taken when nobody knew the time, will be void.
    if (core.feeds.in(place).some(({ head }) => head.hlc > futureFrom(core))) continue
    const { pruneGraceMs, tombstoneGraceMs } = core.history
    const nowMs = core.now.trust > 0 ? core.now.wallMs : msOfHlc(core.clock.last)
    const stable = isPlaceSettled(core, place)
      ? Math.min(stableBelow(core, place, collection, partition), hlcFromMs(nowMs - tombstoneGraceMs))
      : 0
    state.history.compactedAt = core.now.monotonicMs
    return new Compaction(state, hlcFromMs(nowMs - pruneGraceMs), stable)
  }
  return null
}

function isCheckpointUnderWay<Token>(core: Core<Token>, state: FeedState): boolean {
  return [...core.committing.values()].some(({ own }) => own?.state === state && isCheckpoint(own.batch.header))
}

/** Something void is still shown there, and would be taken for what has overtaken the rest. */
function isVoidThere<Token>(core: Core<Token>, place: string): boolean {
  return core.feeds.in(place).some((state) => {
    const { feed, settled, cut, history } = state
    const isUnapplied = settled === null && core.surroundings.authority.sealOf(feed) < Number.POSITIVE_INFINITY
    return core.cutting.has(state) || isUnapplied || history.retained.last >= cut
  })
}

/** What all have confirmed of a forked feed may still come, with stamps of any age; and who has not confirmed what left here may show it. */
function isPlaceSettled<Token>(core: Core<Token>, place: string): boolean {
  return core.feeds.in(place).every((feed) => isWhole(core, feed) && isRestSettled(core, feed))
}

/** What will ever be settled of a sealed feed is known and here. */
function isWhole<Token>(core: Core<Token>, { feed, settled, isSealFinal, head, cut }: FeedState): boolean {
  if (settled === null) return core.surroundings.authority.sealOf(feed) === Number.POSITIVE_INFINITY
  return isSealFinal && head.seq >= cut - 1
}

/** What left the log as dead, or never came, is dead for good: whoever knew it knows what it was overtaken by. */
function isRestSettled<Token>(core: Core<Token>, state: FeedState): boolean {
  return isSettled(core, state, Math.min(state.history.leftBy, state.cut - 1))
}

/** When the feed has doubled since the last time; and now and then for the sake of its tombstones. */
function isDue<Token>(core: Core<Token>, state: FeedState): boolean {
  const { minBytes, intervalMs, tombstoneMs } = core.history
  const { history, head } = state
  const sinceLast = core.now.monotonicMs - history.compactedAt
  if (head.seq === 0 || sinceLast < intervalMs) return false
  const bytes = core.surroundings.head(state.feed.key)?.bytes ?? 0
  if (head.seq >= history.compactedSeq && bytes >= Math.max(minBytes, 2 * history.keptBytes)) return true
  // What deletes wait for comes from others: they are looked at whether or not anything was written here.
  return history.hasTombstones && sinceLast >= tombstoneMs
}

/** Nothing that is damaged may be taken for dead, be told again as it reads now, or hide what a delete kills. */
function readSlice<Token>(core: Core<Token>, compaction: Compaction): 'more' | 'done' | 'damaged' {
  const { scan } = compaction
  const read = scan.seq > scan.to ? [] : core.surroundings.batches(scan.state.feed.key, scan.seq, SLICE_BYTES)
  for (const bytes of read) {
    const batch = nextBatch(core, scan, bytes)
    if (batch === null) return 'damaged'
    scan.seq = batch.header.seq + 1
    if (batch.header.seq > scan.to) break
    if (compaction.isSearching) search(core, compaction, scan.state, batch)
    else if (!examine(core, compaction, batch)) return 'damaged'
  }
  if (read.length > 0 && scan.seq <= scan.to) return 'more'
  vouchFor(core, scan)
  if (!compaction.isSearching) {
    compaction.isSearching = true
    const place = placeOf(compaction.state.feed.descriptor)
    if (compaction.tombstoneCount > 0) compaction.rest.push(...core.feeds.in(place))
  }
  const next = compaction.rest.pop()
  if (next === undefined) return 'done'
  compaction.scan = { state: next, to: Number.MAX_SAFE_INTEGER, seq: 1, last: null }
  return 'more'
}

/**
 * Null when it is not what should be there. A header may have turned too, and what it says of its body is still true: each is vouched
 * for by the batch that continues it, and the last of a run by its signature.
 */
function nextBatch<Token>(core: Core<Token>, scan: Compaction['scan'], bytes: Uint8Array): Batch | null {
  const { state, seq, to, last } = scan
  const batch = core.reading.batch(bytes)
  const expected = state.history.retained.next(seq)
  const isSound = typeof batch !== 'string' && equal(batch.header.feedId, state.feed.id)
  // Others may have left the log, or come to it, in this moment.
  const isInPlace = isSound && (batch.header.seq === expected || core.isDropping || expected === null || expected > to)
  if (!isInPlace) {
    if (expected !== null) suspect(core, state, expected)
    return null
  }
  if (last?.header.seq !== batch.header.seq - 1) vouchFor(core, scan)
  else if (!equal(last.hash, batch.header.prev)) {
    suspect(core, state, last.header.seq)
    suspect(core, state, batch.header.seq)
    return null
  }
  scan.last = batch
  return batch
}

/** Nothing continues the batch that was read last. */
function vouchFor<Token>(core: Core<Token>, scan: Compaction['scan']): void {
  const { state, last } = scan
  scan.last = null
  if (last !== null && !equal(last.hash, state.head.hash)) suspect(core, state, last.header.seq)
}

function isChecking<Token>(core: Core<Token>, { state }: Compaction): boolean {
  const states = core.feeds.in(placeOf(state.feed.descriptor))
  for (const check of core.checking.values()) if (states.includes(check.state)) return true
  return false
}

/** False when documents don't show what the batch says: a card has changed them, and they tell nothing of what is dead. */
function examine<Token>(core: Core<Token>, compaction: Compaction, batch: Batch): boolean {
  const { header } = batch
  const { feed } = compaction.state
  // The checkpoint that is being made takes the place of every earlier one, and what was declared dead is not revived.
  if (isCheckpoint(header) || compaction.dead.has(header.seq)) return true
  const ops = core.opsOf(feed, batch)
  // Its own author could read it when it was made: what is here now is damaged, and others hold it whole.
  if (!ops.ok || header.minReader > 1) return keep(compaction, batch)
  if (header.hlc >= compaction.settledBelow) {
    compaction.keepsTombstones ||= mayKeepDead(ops.value)
    return keep(compaction, batch)
  }
  const source: Source = { feed, seq: header.seq, hlc: header.hlc, lsn: 0 }
  const place = spaceOf(feed)
  const lives = livesOf(ops.value, source, {
    document: (key) => core.surroundings.document(place, key),
    isInChain: ({ feed, seq }) => seq <= (core.feeds.get(feed.key)?.head.seq ?? 0),
  })
  if (lives === null) return keep(compaction, batch)
  if (lives.some(({ parts }) => parts.some(({ isLost }) => isLost))) {
    examineAgain(core, place)
    return false
  }
  compaction.examined.push({ batch, ops: ops.value, source, lives, hash: batch.hash })
  for (const { parts } of lives) for (const { tombstone } of parts) if (tombstone) consider(compaction, tombstone)
  return true
}

function keep(compaction: Compaction, batch: Batch): true {
  compaction.kept.set(batch.header.seq, batch.hash)
  compaction.keptBytes += batch.bytes.length
  return true
}

/** A tombstone that is older than everything that can still come may go, unless something is found that it kills. */
function consider(compaction: Compaction, tombstone: Tombstone): void {
  compaction.examinedTombstones += 1
  if (tombstone.writtenAt >= compaction.stableBelow || compaction.tombstoneCount >= TOMBSTONES_MAX) {
    compaction.needed.add(tombstone)
    return
  }
  compaction.tombstoneCount += 1
  const others = compaction.tombstones.get(tombstone.key)
  if (others) others.push(tombstone)
  else compaction.tombstones.set(tombstone.key, [tombstone])
}

/** Looks in a batch of any feed of the place for what the tombstones keep dead. */
function search<Token>(core: Core<Token>, compaction: Compaction, state: FeedState, batch: Batch): void {
  const { header } = batch
  const ops = core.opsOf(state.feed, batch)
  // Nobody can say here what it holds, for want of its key or of a later version.
  if (!ops.ok && (ops.error.code === 'no-key' || header.minReader > 1)) return keepAll(compaction)
  if (!ops.ok || !ops.value.docs.some((key) => compaction.tombstones.has(key))) return
  const source: Source = { feed: state.feed, seq: header.seq, hlc: header.hlc, lsn: 0 }
  let at = 0
  for (let index = 0; index < ops.value.opDocs.length; index++) {
    const shape = ops.value.shapes[ops.value.opShapes[index] as number] as Shape
    const from = at
    at += shape.paths.length
    const candidates = compaction.tombstones.get(ops.value.docs[ops.value.opDocs[index] as number] as string)
    if (candidates === undefined || shape.kind > OP_LINK) continue
    const write = writeOf(source, ops.value.stamps?.[index] ?? null, index)
    const cells =
      shape.kind === OP_DELETE ? [[null, null, write] as const] : cellsOfOp(shape, ops.value.values, from, write)
    for (const [cell, value, stamp] of cells) {
      for (const tombstone of candidates) {
        if (isKilledBy(tombstone, cell, stamp, value === null)) compaction.needed.add(tombstone)
      }
    }
  }
}

function keepAll({ tombstones, needed }: Compaction): void {
  for (const candidates of tombstones.values()) for (const tombstone of candidates) needed.add(tombstone)
}

/** Signs what was found. */
function finish<Token>(core: Core<Token>, compaction: Compaction): void {
  // Something may have left meanwhile, or never come, that the deletes were not held against.
  if (!isPlaceSettled(core, placeOf(compaction.state.feed.descriptor))) keepAll(compaction)
  const { state, floor, before, examined, kept, needed } = compaction
  const counts = ({ isLive, tombstone }: OpLife['parts'][number]): boolean =>
    isLive && (tombstone === null || needed.has(tombstone))
  const live = new Map(kept)
  const copies = new OpsCopy(true)
  let { keptBytes, deadBytes } = compaction
  for (const { batch, ops, source, lives, hash } of examined) {
    const counted = (lives ?? []).filter(({ parts }) => parts.some(counts))
    const isMostlyDead = counted.length * 2 < ops.opDocs.length && copies.size + counted.length <= COPIES_MAX
    if (counted.length === 0 || isMostlyDead) {
      deadBytes += batch.bytes.length
      if (lives !== null) copyParts(ops, source, lives, counts, copies)
    } else {
      keptBytes += batch.bytes.length
      live.set(batch.header.seq, hash)
    }
  }
  const { history } = state
  history.keptBytes = keptBytes
  history.compactedSeq = floor
  history.hasTombstones = compaction.keepsTombstones || compaction.examinedTombstones > 0
  core.keepHistory(state)
  const isJumped = core.feeds.in(placeOf(state.feed.descriptor)).some((other) => other.history.isJumped)
  const deps = depsOf(core, state)
  if (isJumped || isVoidThere(core, placeOf(state.feed.descriptor)) || deadBytes < 512 + deps.length * 64) return
  if (copies.size > 0 && !writeInternal(core, state, copies)) return
  const seqs = [...live.keys()].sort((a, b) => a - b)
  const checkpoint: Checkpoint = {
    floor,
    live: SequenceSet.of(seqs),
    root: rootOf(seqs.map((seq) => live.get(seq) as Uint8Array)),
    before,
    deps,
    dropsTombstones: needed.size < compaction.examinedTombstones,
  }
  if (!writeInternal(core, state, { body: encodeCheckpoint(checkpoint), flags: FLAG_CHECKPOINT })) return
  history.hasTombstones = compaction.keepsTombstones || needed.size > 0
  const { collection, partition } = state.feed.descriptor
  core.emit('compacted', {
    collection,
    partition,
    live: seqs.length,
    deadBytes,
    again: copies.size,
    dropsTombstones: checkpoint.dropsTombstones,
  })
}

/** What this gateway holds of the other feeds there: whoever applies the checkpoint must hold as much. */
function depsOf<Token>(core: Core<Token>, own: FeedState): Held[] {
  const deps: Held[] = []
  for (const state of core.feeds.in(placeOf(own.feed.descriptor))) {
    if (state === own || state.head.seq === 0 || !core.surroundings.authority.isShared(state.feed)) continue
    deps.push({ feedId: state.feed.id, seq: state.head.seq, hash8: state.head.hash.slice(0, 8) })
  }
  return deps
}
