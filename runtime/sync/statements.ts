import { settlementOf, type Chain, type Named, type Settlement } from '../access/branches.ts'
import { equal, fromHex, hex } from '../base/bytes.ts'
import type { Batch, ChainPosition, Feed } from '../model/batch.ts'
import { placeOf, SELF_COLLECTION } from '../model/names.ts'
import type { Hlc } from '../model/stamp.ts'
import type { Value } from '../model/value.ts'
import { isCheckpoint } from '../wire/checkpoint.ts'
import { beaconOf } from './beacons.ts'
import type { Core } from './core.ts'
import type { FeedState, SignatureState } from './feeds.ts'
import { keptSince } from './interest.ts'
import { signatureOf, voidedOf } from './aside.ts'
import { batchesFrom, branchesIn } from './cutting.ts'
import type { Asked } from './types.ts'
import { addInternalWrite } from './writing.ts'

/**
 * What members say to hold of a sealed feed, in documents of their own: `$self/<peer>`, key `held/<feed id>`, one field for
 * each branch, named by its last batch: `[[seq, hash8, hlc], …]` from the seal on, and `since`, the stamp since which it kept the feed then.
 * Nothing said is taken back, and whoever knows the seal says nothing more of what is beyond it: so what all have confirmed is the same for
 * everyone in the end. Who keeps the feed no more goes on being asked by what it said: others have let go of what was void for its sake.
 */
export const HELD_PREFIX = 'held/'
const SINCE = 'since'
/** Batches of a branch that are named; of longer ones every second, fourth… */
const NAMED_MAX = 256
/** What was said and isn't on the disk after so many milliseconds is said again. */
const SAY_MS = 10_000

/** What is settled of a sealed feed, and whether everyone asked has said what it holds; null while it isn't known what we hold ourselves. */
export function settle<Token>(
  core: Core<Token>,
  state: FeedState,
  seal: number,
): { readonly settlement: Settlement; readonly isFinal: boolean } | null {
  const { feed } = state
  // Own documents are nobody's ground for anything that can't be undone.
  if (feed.descriptor.collection === SELF_COLLECTION) {
    return { settlement: { seq: Math.min(seal - 1, state.head.seq), branch: new Map() }, isFinal: true }
  }
  if (state.heldFor !== seal) {
    const held = branchesHere(core, state, seal)
    if (held === null) return null
    state.held = held
    state.heldFor = seal
  }
  say(core, state)
  const asked = askedOf(core, feed)
  const statements = new Map<string, readonly Chain[]>()
  let isFinal = true
  for (const origin of new Set([...asked.map((one) => one.origin), feed.origin, ...whoMaySay(core)])) {
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

/**
 * Whose acknowledgements settle the feed: of those that may write there, who keep it, or have said what they hold of it when they did; of what
 * was written before that nobody asks them.
 */
function askedOf<Token>(core: Core<Token>, feed: Feed): Asked[] {
  return core.surroundings.authority.asked(feed).flatMap((one) => {
    const kept = keptSince(core, one.origin, feed.descriptor)
    const said = saidSince(core, one.origin, feed.id)
    if (kept === null && said === null) return []
    return {
      ...one,
      since: Math.max(one.since, Math.min(kept ?? Number.POSITIVE_INFINITY, said ?? Number.POSITIVE_INFINITY)),
    }
  })
}

/** The stamp since which a member kept the feed when it said what it holds; null when it hasn't. */
function saidSince<Token>(core: Core<Token>, origin: string, feedId: Uint8Array): Hlc | null {
  const document = core.surroundings.document(
    { collection: SELF_COLLECTION, partition: origin },
    HELD_PREFIX + hex(feedId),
  )
  const since = document?.values[document.paths.indexOf(SINCE)]
  return typeof since === 'number' ? since : null
}

/** All that belong: who is not asked may alone know what leads to what all have confirmed, and each counts its own word. */
function whoMaySay<Token>({ feeds, options, surroundings }: Core<Token>): string[] {
  const prefix = placeOf({ collection: SELF_COLLECTION, partition: '' })
  const selves = [...feeds.places()].filter((place) => place.startsWith(prefix))
  const origins = selves.map((place) => place.slice(prefix.length))
  return [options.peerId, ...origins.filter((origin) => !surroundings.authority.isClosed(origin))]
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
  const since = keptSince(core, core.options.peerId, state.feed.descriptor)
  if (since !== null && document?.paths.includes(SINCE) !== true) fields[SINCE] = since
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
    if (typeof seq !== 'number' || !Number.isSafeInteger(seq) || !(hash8 instanceof Uint8Array)) return []
    if (typeof hlc !== 'number' && hlc !== null) return []
    if (seq <= (chain.at(-1)?.seq ?? 0)) return []
    chain.push({ seq, hash8: hex(hash8), hlc })
  }
  return chain
}

/**
 * From the seal on, or just the head when it is before: what is in the log, and what was taken out of it. Null while signatures are
 * being checked.
 */
function branchesHere<Token>(core: Core<Token>, state: FeedState, seal: number): Chain[] | null {
  // What its author itself has voided is nobody's to confirm; but what was acknowledged of a branch may be known by no other name.
  const ahead = core.surroundings.authority.aheadOf(state.feed)
  const end = ahead > seal ? Number.POSITIVE_INFINITY : ahead
  const to = Math.min(state.head.seq, end - 1)
  if (to === 0) return []
  const stored: Batch[] = []
  for (const batch of batchesFrom(core, state, Math.min(seal, to))) {
    if (batch.header.seq > to) break
    stored.push(batch)
  }
  const branches = branchesIn(state, stored)
  const chains = branches.map((branch) => chainFrom(core, state, branch, state.head))
  for (const branch of voidedOf(core, state)) {
    const voided = branch.filter(({ header }) => header.seq >= seal && header.seq < end)
    if (voided.length === 0) continue
    const first = (voided[0] as Batch).header
    const trunk = (branches[0] ?? []).filter(({ header }) => header.seq < first.seq && header.seq >= seal)
    const last = trunk.at(-1)
    // What is stored now may be another branch than that which was taken out.
    const isOne = last?.header.seq === first.seq - 1 && equal(last.hash, first.prev)
    chains.push(chainFrom(core, state, isOne ? [...trunk, ...voided] : voided))
  }
  const known = chains.filter((chain) => chain !== null)
  return known.length < chains.length ? null : known.filter((chain) => chain.length > 0)
}

/** `head`: what the last one is called, where that is known from elsewhere. */
function chainFrom<Token>(
  core: Core<Token>,
  state: FeedState,
  batches: readonly Batch[],
  head: ChainPosition | null = null,
): Chain | null {
  const names = namesIn(batches, head, (batch) => signatureOf(core, state, batch))
  if (names === null) return null
  const known = batches.filter(({ header }) => names.has(header.seq))
  let stride = 1
  while (known.length > stride * NAMED_MAX) stride *= 2
  const chain: Named[] = []
  known.forEach(({ header, hash }, i) => {
    const { seq, prev, hlc } = header
    if (i > 0 && i < known.length - 1 && seq % stride !== 0 && !isCheckpoint(header)) return
    const name = names.get(seq) as Uint8Array
    const isSound = equal(name, hash)
    // One that is gone, being dead, is known by the next.
    const isBeforeKnown = seq === 1 || seq - 1 === chain.at(-1)?.seq
    if (isSound && !isBeforeKnown) chain.push({ seq: seq - 1, hash8: hex(prev.subarray(0, 8)), hlc: null })
    chain.push({ seq, hash8: hex(name.subarray(0, 8)), hlc: isSound ? hlc : null })
  })
  return chain
}

/**
 * By sequence, what the batch that continues it calls it; of what none continues here the signature is checked, which may take a while:
 * null. A header may have turned on the card: said of it is what others can have, and what it says itself of the one before it counts
 * no more.
 */
export function namesIn(
  batches: readonly Batch[],
  head: ChainPosition | null,
  signatureOf: (batch: Batch) => SignatureState,
): Map<number, Uint8Array> | null {
  const names = new Map<number, Uint8Array>(head === null ? [] : [[head.seq, head.hash]])
  let isKnown = true
  for (const batch of batches.toReversed()) {
    const { header, hash } = batch
    const named = names.get(header.seq)
    const signature = named === undefined ? signatureOf(batch) : equal(named, hash) ? 'valid' : 'invalid'
    if (signature === 'asked') isKnown = false
    if (signature !== 'valid') continue
    names.set(header.seq, hash)
    names.set(header.seq - 1, header.prev)
  }
  return isKnown ? names : null
}
