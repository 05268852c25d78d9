import { settlementOf, type Chain, type Named, type Settlement } from '../access/branches.ts'
import { equal, fromHex, hex } from '../base/bytes.ts'
import type { Batch, ChainPosition } from '../model/batch.ts'
import { SELF_COLLECTION } from '../model/names.ts'
import type { Value } from '../model/value.ts'
import { isCheckpoint } from '../wire/checkpoint.ts'
import { beaconOf } from './beacons.ts'
import type { Core } from './core.ts'
import type { FeedState } from './feeds.ts'
import { askedOf } from './interest.ts'
import { batchesFrom, voidedOf } from './sealing.ts'
import { addInternalWrite } from './writing.ts'

/**
 * What members say to hold of a sealed feed, in documents of their own: `$self/<peer>`, key `held/<feed id>`, one field for
 * each branch, named by its last batch: `[[seq, hash8, hlc], …]` from the seal on. Nothing said is taken back, and whoever
 * knows the seal says nothing more of what is beyond it: so what all have confirmed is the same for everyone in the end.
 */
export const HELD_PREFIX = 'held/'
/** Batches of a branch that are named; of longer ones every second, fourth… */
const NAMED_MAX = 256
/** What was said and isn't on the disk after so many milliseconds is said again. */
const SAY_MS = 10_000

/** What is settled of a sealed feed, and whether everyone asked has said what it holds. */
export function settle<Token>(
  core: Core<Token>,
  state: FeedState,
  seal: number,
): { readonly settlement: Settlement; readonly isFinal: boolean } {
  const { feed } = state
  // Own documents are nobody's ground for anything that can't be undone.
  if (feed.descriptor.collection === SELF_COLLECTION) {
    return { settlement: { seq: Math.min(seal - 1, state.head.seq), branch: new Map() }, isFinal: true }
  }
  if (state.heldFor !== seal) {
    state.held = branchesHere(core, state, seal)
    state.heldFor = seal
  }
  say(core, state)
  const asked = askedOf(core, feed)
  const statements = new Map<string, readonly Chain[]>()
  let isFinal = true
  for (const origin of new Set([...asked.map((one) => one.origin), feed.origin, core.options.peerId])) {
    const said = saidBy(core, origin, feed.id)
    if (said.length === 0 && asked.some((one) => one.origin === origin)) isFinal = false
    statements.set(origin, [
      ...said,
      ...(origin === core.options.peerId ? state.held : []),
      ...acknowledged(core, origin, feed.key),
    ])
  }
  return { settlement: settlementOf(seal, statements, asked), isFinal }
}

/** Says what we hold, unless it is said already. */
function say<Token>(core: Core<Token>, state: FeedState): void {
  if (!core.surroundings.authority.isMember() || core.isIncarnationLost) return
  if (core.now.monotonicMs < state.sayAt) return
  const key = HELD_PREFIX + hex(state.feed.id)
  const place = { collection: SELF_COLLECTION, partition: core.options.peerId }
  const document = core.surroundings.document(place, key)
  const fields: { [path: string]: Value } = {}
  for (const chain of state.held.length > 0 ? state.held : [[]]) {
    const name = chain.at(-1)?.hash8 ?? 'none'
    const at = document?.paths.indexOf(name) ?? -1
    const said = at < 0 ? null : chainOf(document?.values[at] as Value)
    const isSaid = said !== null && (said[0]?.seq ?? 0) <= (chain[0]?.seq ?? 0)
    if (!isSaid) fields[name] = chain.map(({ seq, hash8, hlc }) => [seq, fromHex(hash8), hlc])
  }
  if (Object.keys(fields).length === 0) return
  state.sayAt = core.now.monotonicMs + SAY_MS
  addInternalWrite(core, SELF_COLLECTION, core.options.peerId, [{ kind: 'put', key, fields }])
}

/** The branches that a member says to hold, or has said, as others tell. */
function saidBy<Token>(core: Core<Token>, origin: string, feedId: Uint8Array): Chain[] {
  const place = { collection: SELF_COLLECTION, partition: origin }
  const key = HELD_PREFIX + hex(feedId)
  const told = core.surroundings.authority.testimonies.of(origin).flatMap(({ held }) => held.get(key) ?? [])
  return [...(core.surroundings.document(place, key)?.values ?? []).map(chainOf), ...told]
}

/** What it acknowledged before anybody knew of the fork. */
function acknowledged<Token>(core: Core<Token>, origin: string, feedKey: string): Chain[] {
  const acks = beaconOf(core, origin)?.acks.get(feedKey) ?? []
  return acks.map(({ seq, hash8 }) => [{ seq, hash8: hex(hash8), hlc: null }])
}

/** What isn't well formed is nothing said. */
export function chainOf(value: Value): Chain {
  if (!Array.isArray(value)) return []
  const chain: Named[] = []
  for (const entry of value as readonly Value[]) {
    const [seq, hash8, hlc] = Array.isArray(entry) ? (entry as readonly Value[]) : []
    if (typeof seq !== 'number' || !(hash8 instanceof Uint8Array)) return []
    if (typeof hlc !== 'number' && hlc !== null) return []
    if (seq <= (chain.at(-1)?.seq ?? 0)) return []
    chain.push({ seq, hash8: hex(hash8), hlc })
  }
  return chain
}

/** From the seal on, or just the head when it is before: what is in the log, and what was taken out of it. */
function branchesHere<Token>(core: Core<Token>, state: FeedState, seal: number): Chain[] {
  // What its author itself has voided is nobody's to confirm.
  const ahead = core.surroundings.authority.aheadOf(state.feed)
  const to = Math.min(state.head.seq, ahead - 1)
  if (to === 0) return []
  const stored: Batch[] = []
  for (const batch of batchesFrom(core, state, Math.min(seal, to))) {
    if (batch.header.seq > to) break
    stored.push(batch)
  }
  const chains = [chainFrom(stored, state.head)]
  for (const branch of voidedOf(core, state)) {
    const voided = branch.filter(({ header }) => header.seq < ahead)
    if (voided.length === 0) continue
    const first = (voided[0] as Batch).header
    const trunk = stored.filter(({ header }) => header.seq < first.seq && header.seq >= seal)
    const last = trunk.at(-1)
    // What is stored now may be another branch than that which was taken out.
    const isOne = last?.header.seq === first.seq - 1 && equal(last.hash, first.prev)
    chains.push(chainFrom(isOne ? [...trunk, ...voided] : voided))
  }
  return chains.filter((chain) => chain.length > 0)
}

/** `head`: what the last one is called, where that is known from elsewhere. */
function chainFrom(batches: readonly Batch[], head: ChainPosition | null = null): Chain {
  let stride = 1
  while (batches.length > stride * NAMED_MAX) stride *= 2
  const named = batches.filter(({ header }, i) => {
    return i === 0 || i === batches.length - 1 || header.seq % stride === 0 || isCheckpoint(header)
  })
  const chain: Named[] = []
  const names = namesIn(batches, head)
  for (const { header, hash } of named) {
    // One that is gone, being dead, is known by the next.
    const isBeforeKnown = header.seq === 1 || header.seq - 1 === chain.at(-1)?.seq
    if (!isBeforeKnown) chain.push({ seq: header.seq - 1, hash8: hex(header.prev.subarray(0, 8)), hlc: null })
    const name = names.get(header.seq) ?? hash
    chain.push({
      seq: header.seq,
      hash8: hex(name.subarray(0, 8)),
      hlc: equal(name, hash) ? header.hlc : null,
    })
  }
  return chain
}

/**
 * By sequence, what the batch that continues it calls it. A header may have turned on the card: said of it is what others can have, and
 * what it says itself of the one before it counts no more.
 */
export function namesIn(batches: readonly Batch[], head: ChainPosition | null): Map<number, Uint8Array> {
  const names = new Map<number, Uint8Array>(head === null ? [] : [[head.seq, head.hash]])
  for (const { header, hash } of batches.toReversed()) {
    const named = names.get(header.seq)
    if (named === undefined || equal(named, hash)) names.set(header.seq - 1, header.prev)
  }
  return names
}
