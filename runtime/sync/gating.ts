import { latin1 } from '../base/bytes.ts'
import { deadUnder, revives, type Held, type SignedCheckpoint } from '../model/checkpoint.ts'
import type { Batch } from '../model/batch.ts'
import { placeOf } from '../model/names.ts'
import type { KeyValue } from '../ports/store.ts'
import { isCheckpoint } from '../wire/checkpoint.ts'
import type { Arrival, Core } from './core.ts'
import { signedCheckpoint } from './filling.ts'
import { historyKey, type FeedHistory } from './history.ts'
import type { FeedState } from './feeds.ts'
import { noteHoles } from './mending.ts'
import { noteDeaths, reviveTrash } from './trash.ts'

/**
 * Which checkpoints are applied (protocol D17). A checkpoint is applied when this gateway
 * holds all that its author held when it decided (G1); a feed that jumped counts as far as its head before the jump, until
 * its base is applied too (G2); none is applied that is older than the base (G3). What is applied at once is the greatest
 * set of checkpoints that permit each other. Whether deletes may go just its author decides: what others wait for each sees otherwise.
 */

/** Applies what may be applied in every place where something is pending. */
export function applyCheckpoints<Token>(core: Core<Token>): void {
  if (core.gatedVersion === core.feeds.version) return
  core.gatedVersion = core.feeds.version
  for (const place of core.pendingPlaces) {
    const states = core.feeds.in(place)
    // What a feed holds that is being cut may be void.
    const choice = new Choice(states.filter((state) => !core.cutting.has(state)))
    const found = applicable(core, choice)
    for (const [state, signed] of found) {
      const before = state.history.applied
      state.history.apply(signed)
      // Who lies may revive what it had called dead.
      if (before !== null && revives(signed.checkpoint, before.checkpoint)) reviveTrash(core, state)
      // What is dead now isn't lacking any more.
      state.holes.delete(deadUnder(signed.checkpoint, state.holes))
      core.keepHistory(state)
    }
    if (found.length > 0) noteDeaths(core, place)
    if (states.every(({ history }) => history.pending.length === 0)) core.pendingPlaces.delete(place)
  }
}

/** What may be applied in a place: the checkpoints of each feed that are here, and how many of them are still thought of. */
class Choice {
  readonly of: ReadonlyMap<FeedState, readonly SignedCheckpoint[]>
  readonly counts: Map<FeedState, number> = new Map<FeedState, number>()

  constructor(states: readonly FeedState[]) {
    const candidates = new Map<FeedState, readonly SignedCheckpoint[]>()
    for (const state of states) {
      const { pending } = state.history
      if (pending.length > 0)
        candidates.set(
          state,
          pending.filter(({ seq }) => seq <= state.head.seq),
        )
    }
    for (const [state, { length }] of candidates) this.counts.set(state, length)
    this.of = candidates
  }

  /** The newest that is still thought of, or null. */
  newest(state: FeedState): SignedCheckpoint | null {
    return this.of.get(state)?.[(this.counts.get(state) ?? 0) - 1] ?? null
  }
}

/** The greatest fixpoint: begins with the newest checkpoint of each feed and goes back from those that lack something. */
function applicable<Token>(core: Core<Token>, choice: Choice): [FeedState, SignedCheckpoint][] {
  for (let isChanged = true; isChanged;) {
    isChanged = false
    for (const [state, count] of choice.counts) {
      let left = count
      for (; left > 0; left--) {
        if (isPermitted(core, choice, state, choice.of.get(state)?.[left - 1] as SignedCheckpoint)) break
      }
      if (left === count) continue
      choice.counts.set(state, left)
      isChanged = true
    }
  }
  const found: [FeedState, SignedCheckpoint][] = []
  for (const state of choice.counts.keys()) {
    const newest = choice.newest(state)
    if (newest !== null) found.push([state, newest])
  }
  // In the order in which they were made: one may rely on what another dropped.
  return found.sort(([, a], [, b]) => a.hlc - b.hlc)
}

function isPermitted<Token>(core: Core<Token>, choice: Choice, state: FeedState, signed: SignedCheckpoint): boolean {
  if (state.history.baseSeq > signed.seq) return false
  const { deps } = signed.checkpoint
  // What it waited for last time is most likely what it still waits for.
  const last = state.waitsFor
  if (last !== null && deps.includes(last) && !isMet(core, choice, last)) return false
  state.waitsFor = deps.find((dep) => !isMet(core, choice, dep)) ?? null
  return state.waitsFor === null
}

/** Whether what the author of a checkpoint held of another feed is here too. */
function isMet<Token>(core: Core<Token>, choice: Choice, dep: Held): boolean {
  const key = latin1(dep.feedId)
  const other = core.feeds.get(key)
  // Of a feed that is void from its beginning nothing may ever come here.
  if (other === undefined) return core.surroundings.authority.sealOf({ key, origin: '' }) === 1
  // Of a sealed feed nobody can hold what is void; what others say to hold may come soon, and show that less of it is.
  return countedHead(choice, other) >= (other.isCutSure ? Math.min(dep.seq, other.cut - 1) : dep.seq)
}

function countedHead(choice: Choice, state: FeedState): number {
  const { baseSeq, appliedSeq, preJump } = state.history
  const level = choice.newest(state)?.seq ?? appliedSeq
  return baseSeq > level ? preJump : state.head.seq
}

type Stored = Pick<Arrival, 'state' | 'batch' | 'place'>

/** The records of feeds among whose arrivals are checkpoints, as they are when these and all that is under way are on the disk. */
export function historiesOf<Token>(core: Core<Token>, arrivals: readonly Stored[]): KeyValue[] {
  const histories = new Map<FeedState, FeedHistory>()
  for (const { state, batch } of arrivals) {
    if (isCheckpoint(batch.header) && !histories.has(state)) histories.set(state, state.history.clone())
  }
  if (histories.size === 0) return []
  const underWay = [...core.committing.values()].flatMap((commit): readonly Stored[] => {
    return commit.own === null ? commit.arrivals : [...commit.arrivals, commit.own]
  })
  for (const { state, batch, place } of [...underWay, ...arrivals]) {
    const history = histories.get(state)
    const signed = history && isCheckpoint(batch.header) ? signedCheckpoint(batch) : null
    if (history && signed !== null) addTo(history, signed, place, state.head.seq)
  }
  return [...histories].map(([state, history]) => ({ key: historyKey(state.feed), value: history.encode() }))
}

function addTo(history: FeedHistory, signed: SignedCheckpoint, place: Arrival['place'], headBefore: number): void {
  if (typeof place === 'object') history.jump(signed, headBefore)
  else history.add(signed)
}

/** A checkpoint came to the disk: it waits to be applied. */
export function noteHistory<Token>(
  core: Core<Token>,
  state: FeedState,
  batch: Batch,
  place: Arrival['place'],
  headBefore: number,
): void {
  const signed = isCheckpoint(batch.header) ? signedCheckpoint(batch) : null
  if (signed === null) return
  const { history } = state
  const lost = history.lost
  addTo(history, signed, place, headBefore)
  // It may have jumped over a fork of which nothing was left.
  if (history.isJumped) reviveTrash(core, state)
  const name = placeOf(state.feed.descriptor)
  core.pendingPlaces.add(name)
  if (!lost.has(signed.seq)) return
  // What else is lacking, and what is dead, is known again.
  noteHoles(core, state)
  noteDeaths(core, name, true)
}
