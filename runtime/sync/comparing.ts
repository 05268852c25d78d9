import { concat, equal, utf8 } from '../base/bytes.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import { sha256 } from '../crypto/hash.ts'
import { FEED_KIND_STATE } from '../model/batch.ts'
import { deadUnder } from '../model/checkpoint.ts'
import type { Place } from '../model/interest.ts'
import { placeOf } from '../model/names.ts'
import type { CellsEntry } from '../wire/message.ts'
import { forgetSaid } from './beacons.ts'
import type { Core } from './core.ts'
import { suspect } from './damage.ts'
import type { FeedState } from './feeds.ts'
import type { LinkState } from './link.ts'
import { holesOf } from './mending.ts'
import { letAllGo } from './trash.ts'
import type { Examined } from './types.ts'

/**
 * Silent divergence: gateways that hold the same batches of a collection and partition and yet show something else, for a card has
 * changed a document or a program has merged wrongly. Now and then neighbours tell each other digests of places: of their feeds' heads
 * and checkpoints, and where these are equal of the batches that live and of the documents' cells must be too. Which side is wrong
 * each finds by itself: state is a pure fold of the log, so both derive the place anew from their batches, whose hashes are checked.
 */

const DIGEST_BYTES = 8
const NO_DIGEST = new Uint8Array()
const CONTEXT = utf8('marram1/cells')

/** With a life sign, when it is time: the next places, and first of all those in doubt. */
export function compareIfDue<Token>(core: Core<Token>, link: LinkState): void {
  if (core.now.monotonicMs < link.compareAt || link.version !== core.options.version) return
  link.compareAt = core.now.monotonicMs + core.history.compareMs
  const entries = placesToCompare(core, link).flatMap((place) => {
    const states = restingAt(core, link, place)
    return states === null ? [] : [digestsOf(core, states)]
  })
  if (entries.length > 0) core.say(link, { type: 'cells', entries })
}

function placesToCompare<Token>(core: Core<Token>, link: LinkState): string[] {
  const all = [...core.feeds.places()]
  const from = link.comparedTo >= all.length ? 0 : link.comparedTo
  link.comparedTo = from + GATEWAY_LIMITS.placesComparedMax
  const next = [...link.doubts.keys(), ...all.slice(from, link.comparedTo)]
  return [...new Set(next)].slice(0, GATEWAY_LIMITS.placesComparedMax)
}

/**
 * The feeds of a place that can be compared there, at least one, in order of their ids. Null where something is under way, or nothing
 * can be asked: what is not whole here is different by right.
 */
function restingAt<Token>(core: Core<Token>, link: LinkState, place: string): FeedState[] | null {
  const states = core.feeds.in(place).filter(({ head }) => head.seq > 0)
  if (states.length === 0 || !states.every((state) => link.keeps(state) && isAtRest(core, state))) return null
  // Documents may still show what is on its way out.
  if (core.leaving.some(({ feed }) => placeOf(feed.descriptor) === place)) return null
  return states.sort((a, b) => (a.feed.key < b.feed.key ? -1 : 1))
}

function digestsOf<Token>(core: Core<Token>, states: readonly FeedState[]): CellsEntry {
  const { collection, partition } = (states[0] as FeedState).feed.descriptor
  const where = { collection, partition }
  const cells = digest([core.surroundings.cells(where)])
  const entry = [collection, partition, positionsOf(states), digest(states.map(liveBytes)), cells] as const
  if (!states.some(({ feed }) => feed.descriptor.encrypted) || states.some((state) => isLocked(core, state)))
    return entry
  return [...entry, digest([core.surroundings.cells({ ...where, isEncrypted: true })])]
}

/** Some of it can't be read here. */
function isLocked<Token>(core: Core<Token>, { feed }: FeedState): boolean {
  return core.surroundings.head(feed.key)?.locked?.isEmpty === false
}

function isAtRest<Token>(core: Core<Token>, state: FeedState): boolean {
  const { feed, head, history, holes, fill, settled, cut, isCutSure } = state
  if (feed.descriptor.kind !== FEED_KIND_STATE || !core.surroundings.authority.isShared(feed)) return false
  const isMoving = state.isCommitting || state.isRewinding || core.cutting.has(state) || fill !== null
  const isWhole = settled === null || (isCutSure && head.seq >= cut - 1)
  return !isMoving && !history.isJumped && holes.isEmpty && isWhole && history.retained.last <= head.seq
}

function positionsOf(states: readonly FeedState[]): Uint8Array {
  return digest(states.map(positionBytes))
}

/** Where a feed stands: its head and the checkpoint that is applied. */
function positionBytes({ feed, head, history }: FeedState): Uint8Array {
  return concat(feed.id, numbers([head.seq, history.appliedSeq]), head.hash)
}

/** Of a sealed feed gateways may keep different parts of what is dead. */
function liveBytes({ feed, history: { applied, retained }, settled }: FeedState): Uint8Array {
  if (settled !== null) return feed.id
  const live = applied === null ? retained : retained.without(deadUnder(applied.checkpoint, retained))
  return concat(feed.id, numbers(live.runs))
}

function numbers(values: readonly number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 8))
  values.forEach((value, i) => view.setFloat64(i * 8, value))
  return new Uint8Array(view.buffer)
}

function digest(parts: readonly Uint8Array[]): Uint8Array {
  return sha256(CONTEXT, ...parts).slice(0, DIGEST_BYTES)
}

/** What a neighbour says of its places; what differs twice, while both stand where they stood, is no matter of what is under way. */
export function receiveCells<Token>(core: Core<Token>, link: LinkState, entries: readonly CellsEntry[]): void {
  if (link.version !== core.options.version) return
  for (const entry of entries.slice(0, GATEWAY_LIMITS.placesComparedMax)) compareWith(core, link, entry)
}

function compareWith<Token>(core: Core<Token>, link: LinkState, entry: CellsEntry): void {
  const [collection, partition, heads, live, cells, encrypted] = entry
  const place = placeOf({ collection, partition })
  const states = restingAt(core, link, place)
  // Documents are read only where they can be compared.
  if (states === null || !equal(positionsOf(states), heads)) return void link.doubts.delete(place)
  const ours = digestsOf(core, states)
  const doubt = link.doubts.get(place)
  link.doubts.delete(place)
  // Who can't read what is encrypted says nothing of it.
  const isEqual = ours[5] === undefined || encrypted === undefined || equal(ours[5], encrypted)
  if (equal(ours[3], live) && equal(ours[4], cells) && isEqual)
    return void core.diverged.delete(`${link.peerId} ${place}`)
  if (doubt === undefined || !equal(doubt, heads)) {
    // With the next life sign it hears of it, and tells its own again.
    link.doubts.set(place, heads.slice())
    link.compareAt = core.now.monotonicMs
    return
  }
  diverged(core, link, { collection, partition }, !equal(ours[3], live))
}

/** A place that shows something else than a neighbour's, with the same batches. */
export interface Divergence {
  readonly peerId: string
  readonly collection: string
  readonly partition: string
  /** It stayed after both had derived it anew. */
  isLasting: boolean
}

function diverged<Token>(
  core: Core<Token>,
  { peerId }: LinkState,
  where: { readonly collection: string; readonly partition: string },
  isOfLog: boolean,
): void {
  const place = placeOf(where)
  const name = `${peerId} ${place}`
  const known = core.diverged.get(name)
  if (known === undefined) {
    core.emit('diverged', { peerId, ...where, what: isOfLog ? 'batches' : 'documents' })
    core.diverged.set(name, { peerId, ...where, isLasting: false })
    for (const [oldest] of core.diverged)
      if (core.diverged.size > GATEWAY_LIMITS.divergedMax) core.diverged.delete(oldest)
  } else if (!core.examining.has(place)) {
    known.isLasting = true
    // With the same live batches it is what is dead that shows: that of a branch, perhaps, of which nothing was left to prove it by.
    if (!isOfLog) letAllGo(core, place)
  }
  if (isOfLog) for (const state of core.feeds.in(place)) lookForHoles(core, state)
  examineAgain(core, where)
}

/** Has the documents of a place derived anew from their batches, unless that was done a moment ago. */
export function examineAgain<Token>(core: Core<Token>, { collection, partition }: Place): void {
  const place = placeOf({ collection, partition })
  const examinedAt = core.examinedAt.get(place) ?? Number.NEGATIVE_INFINITY
  if (core.examining.has(place) || core.now.monotonicMs < examinedAt + core.history.compareMs) return
  core.examining.add(place)
  core.outputs.push({ type: 'examine', collection, partition })
}

function lookForHoles<Token>(core: Core<Token>, state: FeedState): void {
  state.holes = holesOf(state)
  if (state.holes.isEmpty) return
  core.holed.add(state)
  core.mendAt = core.now.monotonicMs
}

/** A place was derived anew from its batches, or some of it was read again: of damaged batches the log is mended. */
export function noteExamined<Token>(core: Core<Token>, { collection, partition, documents, damaged }: Examined): void {
  const place = placeOf({ collection, partition })
  if (core.examining.delete(place)) core.examinedAt.set(place, core.now.monotonicMs)
  forgetSaid(core, { collection, partition })
  for (const { feedKey, seq } of damaged) {
    const state = core.feeds.get(feedKey)
    if (state) suspect(core, state, seq)
  }
  if (documents > 0) core.emit('documents-mended', { collection, partition, documents })
  // Who was in doubt hears soon that it is equal again.
  for (const link of core.links.values()) {
    if (!core.diverged.has(`${link.peerId} ${place}`)) continue
    link.doubts.set(place, NO_DIGEST)
    link.compareAt = core.now.monotonicMs
  }
}
