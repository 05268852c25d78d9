import { deadUnder } from '../model/checkpoint.ts'
import { placeOf } from '../model/names.ts'
import { SequenceSet } from '../model/sequences.ts'
import type { Hlc } from '../model/stamp.ts'
import { isCheckpoint } from '../wire/checkpoint.ts'
import { TIMES, type Core } from './core.ts'
import type { FeedState } from './feeds.ts'
import { mayKeepDead } from './liveness.ts'
import { isSettled } from './sealing.ts'

/**
 * How dead batches leave the log (protocol D16, D20). They stay until their checkpoint can't be voided any more, because
 * everyone asked has confirmed it, or until they take too much room. What a delete keeps dead leaves before the delete does: of
 * all that died at one look at a place, batches of values go first, some with each commit, and when nothing is left but batches
 * with deletes and removals these go together. The checkpoints that declared them dead say nothing of that order: a feed that
 * jumped knows only the last.
 */

/** Batches that one commit drops: each is read once more, to know which documents it touched. */
const DROP_AT_ONCE = 256
/** Of batches with deletes, which may keep each other's values dead; of more than that the oldest first. */
const DROP_TOGETHER = 1_024
/** Looks at one place that are kept apart; later ones count as one. */
const LOOKS_MAX = 64

/** What a checkpoint of one feed declared dead, and what of it is in the log. */
export interface Death {
  readonly state: FeedState
  /** Sequence and stamp of the checkpoint. */
  by: number
  hlc: Hlc
  /** Not read yet. */
  readonly seqs: SequenceSet
  /** Read: those with deletes or removals, with their stamps. */
  readonly tombstones: Map<number, Hlc>
  /** It can't be voided any more, or there is no room for it. */
  mayGo: boolean
}

/** What was found dead in a place at one time; deaths that were found together may rest on each other. */
export interface Look {
  readonly atMs: number
  readonly deaths: Death[]
}

/**
 * A checkpoint was applied there, or took the place of a void one: finds what is dead by it. `isBack`: it had been applied before, and was
 * damaged; what died by it may be what deletes keep dead that were found dead since.
 */
export function noteDeaths<Token>(core: Core<Token>, place: string, isBack: boolean = false): void {
  const looks = core.trash.get(place) ?? []
  const found: Death[] = []
  for (const state of core.feeds.in(place)) {
    const seqs = trashOf(state)
    for (const death of deathsOf(looks, state)) {
      seqs.delete(death.seqs)
      for (const seq of death.tombstones.keys()) seqs.deleteRange(seq, seq)
    }
    const { applied } = state.history
    if (applied === null || seqs.isEmpty) continue
    found.push({ state, by: applied.seq, hlc: applied.hlc, seqs, tombstones: new Map(), mayGo: false })
  }
  if (found.length === 0) return
  core.trash.set(place, looks)
  const [first] = looks
  const last = looks.at(-1)
  const isRecent = last !== undefined && core.now.monotonicMs < last.atMs + settleMs(core)
  if (isBack && first !== undefined) for (const death of found) join(first, death)
  else if (last !== undefined && (isRecent || looks.length >= LOOKS_MAX)) for (const death of found) join(last, death)
  else looks.push({ atMs: core.now.monotonicMs, deaths: found })
}

function join({ deaths }: Look, death: Death): void {
  const same = deaths.find(({ state, mayGo }) => state === death.state && !mayGo)
  if (same === undefined) {
    deaths.push(death)
    return
  }
  same.by = death.by
  same.hlc = death.hlc
  same.seqs.addAll(death.seqs)
}

/** The feed was cut, or jumped, or goes by a checkpoint of another branch: what just a former one had declared dead is alive. */
export function reviveTrash<Token>(core: Core<Token>, state: FeedState): void {
  const place = placeOf(state.feed.descriptor)
  const dead = trashOf(state)
  const by = state.history.appliedSeq
  for (const death of deathsOf(core.trash.get(place) ?? [], state)) {
    death.seqs.delete(death.seqs.without(dead))
    for (const seq of death.tombstones.keys()) if (!dead.has(seq)) death.tombstones.delete(seq)
    death.by = Math.min(death.by, by)
  }
  noteDeaths(core, place)
}

/** What is dead under the applied checkpoint and still stored, but for what lives by the one that the feed jumped by over an unproven fork. */
function trashOf({ history: { applied, base, retained } }: FeedState): SequenceSet {
  const dead = applied === null ? new SequenceSet() : deadUnder(applied.checkpoint, retained)
  return base === null ? dead : dead.without(base.checkpoint.live)
}

function settleMs<Token>(core: Core<Token>): number {
  return core.history.beaconMs / 8
}

/** Finds which of what is dead may leave. */
export function settleTrash<Token>(core: Core<Token>): void {
  if (core.trash.size === 0 || core.now.monotonicMs < core.settleAt) return
  core.settleAt = core.now.monotonicMs + settleMs(core)
  const waiting: Death[] = []
  let bytes = 0
  for (const looks of core.trash.values()) {
    for (const death of looks.flatMap(({ deaths }) => deaths)) {
      if (!death.mayGo && isSettled(core, death.state, death.by)) letGo(core, death)
      if (!death.mayGo) waiting.push(death)
      bytes += bytesOf(core, death)
    }
  }
  waiting.sort((a, b) => a.hlc - b.hlc)
  for (const death of waiting) {
    if (bytes <= core.history.trashBytesMax) return
    bytes -= bytesOf(core, death)
    letGoEarly(core, death)
  }
}

/** What is dead in a place leaves, whoever has confirmed it. */
export function letAllGo<Token>(core: Core<Token>, place: string): void {
  for (const { deaths } of core.trash.get(place) ?? [])
    for (const death of deaths) if (!death.mayGo) letGoEarly(core, death)
}

/** Before all have confirmed that it is dead. */
function letGoEarly<Token>(core: Core<Token>, death: Death): void {
  const { history } = death.state
  history.leftBy = Math.max(history.leftBy, death.by)
  letGo(core, death)
}

function letGo<Token>(core: Core<Token>, death: Death): void {
  death.mayGo = true
  core.dropAt = Math.min(core.dropAt, core.now.monotonicMs)
}

/** Of what is not on its way out, by the average of the feed's batches. */
function bytesOf<Token>(core: Core<Token>, { state, seqs, tombstones, mayGo }: Death): number {
  const bytes = core.surroundings.head(state.feed.key)?.bytes ?? 0
  const count = tombstones.size + (mayGo ? 0 : seqs.size)
  return (bytes * count) / Math.max(1, state.history.retained.size)
}

/** Lets dead batches leave the log, some with each commit. */
export function dropDead<Token>(core: Core<Token>): void {
  if (core.isDropping || core.now.monotonicMs < core.dropAt) return
  core.dropAt = Number.POSITIVE_INFINITY
  for (const [place, looks] of core.trash) {
    // A cut may take away the checkpoint by which they are dead: which still are is known when it is on the disk.
    if (core.feeds.in(place).some((state) => core.cutting.has(state))) {
      core.dropAt = core.now.monotonicMs + TIMES.refusedMs
      continue
    }
    // What a damaged checkpoint had declared dead is known when that is back, and stays until then.
    const isKnown = core.feeds.in(place).every(({ history }) => history.lost.isEmpty)
    const drops = valuesToDrop(core, looks) ?? (isKnown ? tombstonesToDrop(looks) : null)
    if (looks.length === 0) core.trash.delete(place)
    if (drops === null) continue
    // Nothing but deletes in what was read: the rest is read in the next turn.
    core.dropAt = core.now.monotonicMs
    if (drops.length > 0) drop(core, drops)
    return
  }
}

export function dropDeadline<Token>({ isDropping, dropAt }: Core<Token>): number {
  return isDropping ? Number.POSITIVE_INFINITY : dropAt
}

type Part = { readonly state: FeedState; readonly seqs: SequenceSet }

function drop<Token>(core: Core<Token>, parts: readonly Part[]): void {
  core.isDropping = true
  const ticket = core.nextTicket()
  core.committing.set(ticket, { arrivals: [], own: null, drops: parts })
  const drops = parts.map(({ state, seqs }) => ({ feed: state.feed, seqs }))
  core.outputs.push({ type: 'commit', ticket, batches: [], drops, records: [] })
}

/** Some batches without deletes; null when all is read that may go. */
function valuesToDrop<Token>(core: Core<Token>, looks: readonly Look[]): readonly Part[] | null {
  const death = looks.flatMap(({ deaths }) => deaths).find(({ mayGo, seqs }) => mayGo && !seqs.isEmpty)
  if (death === undefined) return null
  const { state, tombstones } = death
  const seqs = new SequenceSet()
  let read = 0
  for (const seq of death.seqs.values()) {
    if (read === DROP_AT_ONCE) break
    read += 1
    const hlc = tombstoneHlc(core, death, seq)
    if (hlc === null) seqs.add(seq)
    else tombstones.set(seq, hlc)
  }
  for (const seq of tombstones.keys()) death.seqs.deleteRange(seq, seq)
  return seqs.isEmpty ? [] : [{ state, seqs }]
}

/** The stamp of a batch that deletes or removes something, else null. */
function tombstoneHlc<Token>(core: Core<Token>, { state, hlc }: Death, seq: number): Hlc | null {
  const [bytes] = core.surroundings.batches(state.feed.key, seq, 0)
  const batch = bytes === undefined ? null : core.reading.batch(bytes)
  // A damaged one is not mended any more; it may have deleted something.
  if (typeof batch === 'string') return hlc
  if (batch === null || batch.header.seq !== seq || isCheckpoint(batch.header)) return null
  const ops = core.opsOf(state.feed, batch)
  // Nor can we say that of one that is locked.
  if (!ops.ok && ops.error.code === 'no-key') return batch.header.hlc
  return ops.ok && mayKeepDead(ops.value) ? batch.header.hlc : null
}

/**
 * Of the earliest look, when nothing else is left of it, everything that deletes: two batches may keep dead what the other one
 * holds. Null when there is nothing that may go.
 */
function tombstonesToDrop(looks: Look[]): readonly Part[] | null {
  for (let look = looks[0]; look !== undefined; look = looks[0]) {
    const left = look.deaths.filter(({ seqs, tombstones }) => !seqs.isEmpty || tombstones.size > 0)
    if (left.length > 0) return left.every(({ mayGo, seqs }) => mayGo && seqs.isEmpty) ? partsOf(left) : null
    looks.shift()
  }
  return null
}

/** What is older is never kept dead by a batch that isn't, but for what was told again. */
function partsOf(deaths: readonly Death[]): readonly Part[] {
  const all = deaths.flatMap(({ state, tombstones }) => [...tombstones].map(([seq, hlc]) => ({ state, seq, hlc })))
  const parts = new Map<FeedState, SequenceSet>()
  for (const { state, seq } of all.sort((a, b) => a.hlc - b.hlc).slice(0, DROP_TOGETHER)) {
    const seqs = parts.get(state) ?? new SequenceSet()
    parts.set(state, seqs)
    seqs.add(seq)
  }
  return [...parts].map(([state, seqs]) => ({ state, seqs }))
}

/** A drop is on the disk. */
export function dropped<Token>(core: Core<Token>, parts: readonly Part[]): void {
  core.isDropping = false
  for (const { state, seqs } of parts) {
    state.history.retained.delete(seqs)
    for (const death of deathsOf(core.trash.get(placeOf(state.feed.descriptor)) ?? [], state)) {
      death.seqs.delete(seqs)
      for (const seq of seqs.values()) death.tombstones.delete(seq)
    }
  }
}

/** The disk refused it. */
export function dropFailed<Token>(core: Core<Token>): void {
  core.isDropping = false
  core.dropAt = core.now.monotonicMs + TIMES.refusedMs
}

function* deathsOf(looks: readonly Look[], state: FeedState): Generator<Death> {
  for (const { deaths } of looks) for (const death of deaths) if (death.state === state) yield death
}
