import { equal, hex, latin1 } from '../base/bytes.ts'
import type { Held } from '../model/checkpoint.ts'
import type { Document } from '../model/document.ts'
import type { Place } from '../model/interest.ts'
import { MESH_COLLECTION, placeOf, SELF_COLLECTION } from '../model/names.ts'
import type { Hlc } from '../model/stamp.ts'
import type { Fields, Value } from '../model/value.ts'
import type { Core } from './core.ts'
import type { FeedState } from './feeds.ts'
import type { Said } from './testimonies.ts'
import { addInternalWrite } from './writing.ts'

/**
 * What every member says of itself to all, in a document of its own (protocol D18, D20):
 *
 *     at                      every batch of mine stamped up to here is within `heads`
 *     heads/n/i               [[collection, partition, incarnation, seq, hash8], …], of former incarnations too
 *     acks/incarnation/n/i    [[feed id, seq, hash8], …]: what I hold of others' feeds that have checkpoints
 *
 * Of n fields, a power of two, a feed's is i, by its id. They may be more than one batch holds: what is new is written first, and `at` with
 * what it takes the place of last, so that whoever has just some of it believes nothing that isn't so.
 * So a delete older than what all writers have said, and all of which is here, can't be followed by anything it kills. Each incarnation
 * says what it holds beside what those before it had said, for a store that was put back knows nothing of that at first.
 */
export const BEACON_KEY = 'beacon'

/** On average: twice as many, under the longest names, are within a value's limit. */
const ENTRIES_PER_FIELD = 64
/** A feed's is told by one byte. */
const FIELDS_MAX = 256
const PEER_HASH_BYTES = 8
/** Of one feed, the last so many that we said, on whatever branch. */
const ACKS_PER_FEED = 16

export interface OwnHead {
  readonly place: string
  readonly incarnation: string
  readonly seq: number
}

export interface Beacon {
  readonly at: Hlc
  readonly heads: readonly OwnHead[]
  /** By feed key. What was said once is never taken back: on another branch it stands beside what is said later. */
  readonly acks: ReadonlyMap<string, readonly Held[]>
}

/** The last beacon of a member, or null. The same object until it says something else. */
export function beaconOf<Token>(core: Core<Token>, origin: string): Beacon | null {
  const known = core.beacons.get(origin)
  if (known !== undefined) return known
  const document = core.surroundings.document({ collection: SELF_COLLECTION, partition: origin }, BEACON_KEY)
  const shown = document === undefined ? null : decodeBeacon(document)
  const beacon = withTold(shown, core.surroundings.authority.testimonies.of(origin))
  core.beacons.set(origin, beacon)
  return beacon
}

/** What others tell of what it said before counts as if it said it still. */
function withTold(shown: Beacon | null, told: readonly Said[]): Beacon | null {
  if (told.length === 0) return shown
  const acks = new Map(shown?.acks)
  for (const [feedKey, held] of told.flatMap((said) => [...said.acks])) {
    const known = acks.get(feedKey) ?? []
    acks.set(feedKey, [...held.filter((one) => !isAmong(known, one)), ...known])
  }
  return { at: shown?.at ?? 0, heads: shown?.heads ?? [], acks }
}

/** Documents have changed: when it is where a member speaks of itself, its beacon may be another. */
export function forgetSaid<Token>(core: Core<Token>, { collection, partition }: Place): void {
  if (collection !== SELF_COLLECTION) return
  core.beacons.delete(partition)
  core.interests.delete(partition)
}

/** The feed has changed on the disk. */
export function forgetBeacon<Token>(core: Core<Token>, { feed, isOwn }: FeedState): void {
  forgetSaid(core, feed.descriptor)
  if (feed.descriptor.collection !== SELF_COLLECTION) return
  // What an incarnation before has said to keep has come, or gone.
  if (feed.origin === core.options.peerId && !isOwn) core.sayInterestAt = core.now.monotonicMs
}

/**
 * Stamps below this can't come any more at `place`: every member that may write there, and every administrator, has said
 * so later, and what they had written until then is here. 0 when somebody has said nothing yet.
 */
export function stableBelow<Token>(core: Core<Token>, place: string, collection: string, partition: string): Hlc {
  let stable = Number.MAX_SAFE_INTEGER
  for (const { origin, since } of core.surroundings.authority.writers({ collection, partition })) {
    if (origin === core.options.peerId) continue
    const beacon = beaconOf(core, origin)
    // Who was admitted later writes later.
    const at = beacon !== null && isHeld(core, origin, place, beacon) ? Math.max(beacon.at, since) : since
    stable = Math.min(stable, at)
  }
  return stable
}

/** Writes our beacon when it is due: at most once in a while, and only when it says something new. */
export function writeBeacon<Token>(core: Core<Token>): void {
  if (core.now.monotonicMs < core.beaconAt) return
  const { beaconMs } = core.history
  core.beaconAt = core.now.monotonicMs + beaconMs
  if (!core.surroundings.authority.isMember()) return
  const acks = spread(`acks/${hex(core.options.incarnation)}`, allAcknowledgements(core))
  // What was written alone is no news until the last beacon is stale: deletes are collected after days.
  const content = JSON.stringify(acks, (_, item: unknown) => (item instanceof Uint8Array ? hex(item) : item))
  if (content === core.beaconSaid && core.now.monotonicMs < core.beaconStaleAt) return
  core.beaconSaid = content
  core.beaconStaleAt = core.now.monotonicMs + core.history.beaconStaleMs
  const news: Fields = { ...spread('heads', ownHeads(core)), ...acks }
  const last: { [path: string]: Value } = { at: beforeUnderWay(core, core.clock.next(core.now.wallMs)) }
  const before = core.surroundings.document({ collection: SELF_COLLECTION, partition: core.options.peerId }, BEACON_KEY)
  before?.paths.forEach((path, i) => {
    if (path !== 'at' && before.values[i] !== null && !(path in news)) last[path] = null
  })
  // Each by itself: together they may be more than a batch holds.
  for (const fields of [...Object.entries(news).map(([path, value]) => ({ [path]: value })), last])
    addInternalWrite(core, SELF_COLLECTION, core.options.peerId, [{ kind: 'put', key: BEACON_KEY, fields }])
}

function ownHeads<Token>(core: Core<Token>): Entry[] {
  const said = [...core.feeds.values()].filter(({ feed, head }) => {
    const isTold = feed.origin === core.options.peerId && feed.descriptor.collection !== SELF_COLLECTION
    return isTold && head.seq > 0 && core.surroundings.authority.isShared(feed)
  })
  return said.map(({ feed, head }) => {
    const { collection, partition, incarnation } = feed.descriptor
    return [feed.id, [collection, partition, incarnation, head.seq, head.hash.slice(0, PEER_HASH_BYTES)]]
  })
}

function allAcknowledgements<Token>(core: Core<Token>): Entry[] {
  const saidBefore = beaconOf(core, core.options.peerId)?.acks ?? new Map<string, readonly Held[]>()
  const feedKeys = new Set([...core.feeds.keys(), ...saidBefore.keys()])
  return [...feedKeys].flatMap((feedKey) => acknowledgementsOf(core, feedKey, saidBefore.get(feedKey) ?? []))
}

/** What is on its way to the disk is not among the heads, which are told when it is there: who writes all the time always has some. */
function beforeUnderWay<Token>(core: Core<Token>, now: Hlc): Hlc {
  let at = now
  for (const { own } of core.committing.values()) if (own) at = Math.min(at, own.batch.header.hlc - 1)
  return at
}

/** What is said of a feed, by its id. */
type Entry = readonly [feedId: Uint8Array, said: Value]

function spread(name: string, entries: readonly Entry[]): Fields {
  let count = 1
  while (count * ENTRIES_PER_FIELD < entries.length && count < FIELDS_MAX) count *= 2
  const fields: { [path: string]: Value[] } = {}
  for (const [feedId, said] of entries) {
    const path = `${name}/${count}/${(feedId[0] as number) % count}`
    ;(fields[path] ??= []).push(said)
  }
  return fields
}

/**
 * What we hold of a feed that has a checkpoint, for nothing is thrown away of it before all have said that they hold it, or
 * that is sealed. While its author is being removed it stays what it was. What we said once we say again, if we hold it or not.
 */
function acknowledgementsOf<Token>(core: Core<Token>, feedKey: string, said: readonly Held[]): Entry[] {
  const state = core.feeds.get(feedKey)
  if (state === undefined) return entriesFor(said)
  const { history, feed, head } = state
  const { authority } = core.surroundings
  const isSealed = authority.sealOf(feed) < Number.POSITIVE_INFINITY
  if (state.isOwn || feed.descriptor.collection === SELF_COLLECTION) return []
  const now: Held = { feedId: feed.id, seq: head.seq, hash8: head.hash.slice(0, PEER_HASH_BYTES) }
  // Of one branch what is said later includes the earlier, unless our store was put back.
  const earlier = said.filter(({ seq, hash8 }) => {
    return isSealed ? seq !== now.seq || !equal(hash8, now.hash8) : seq > now.seq
  })
  const isAsked = history.newestUpTo(Number.POSITIVE_INFINITY) > 0 || isSealed
  const isFrozen = authority.isClosed(feed.origin) && !isSealed
  const all = isFrozen ? said : isAsked && head.seq > 0 ? [...earlier, now] : earlier
  return entriesFor(all.slice(-ACKS_PER_FEED))
}

function entriesFor(held: readonly Held[]): Entry[] {
  return held.map(({ feedId, seq, hash8 }) => [feedId, [feedId, seq, hash8]])
}

/** Everything that the beacon lists of `place`, and of the members' collection, is here. */
function isHeld<Token>(core: Core<Token>, origin: string, place: string, beacon: Beacon): boolean {
  const members = placeOf({ collection: MESH_COLLECTION, partition: '' })
  for (const head of beacon.heads) {
    if (head.place !== place && head.place !== members) continue
    const state = core.feeds.in(head.place).find(({ feed }) => {
      return feed.origin === origin && latin1(feed.descriptor.incarnation) === head.incarnation
    })
    // Of what is void since nobody has more.
    if (state === undefined || state.head.seq < Math.min(head.seq, state.cut - 1)) return false
  }
  return true
}

/** What a beacon says; null when it says nothing. */
export function decodeBeacon(document: Document): Beacon | null {
  const fields = new Map<string, Value>()
  document.paths.forEach((path, i) => fields.set(path, document.values[i] as Value))
  const at = fields.get('at')
  if (typeof at !== 'number') return null
  const heads: OwnHead[] = []
  for (const entry of entriesOf(fields, 'heads')) {
    const [collection, partition, incarnation, seq] = entry
    if (typeof collection !== 'string' || typeof partition !== 'string' || typeof seq !== 'number') continue
    if (!(incarnation instanceof Uint8Array)) continue
    heads.push({ place: placeOf({ collection, partition }), incarnation: latin1(incarnation), seq })
  }
  return { at, heads, acks: acksIn(fields) }
}

function isAmong(held: readonly Held[], { seq, hash8 }: Held): boolean {
  return held.some((one) => one.seq === seq && equal(one.hash8, hash8))
}

/** By feed key, what fields of a beacon say to hold, once each: copies of a card say again what they read of each other. */
export function acksIn(fields: ReadonlyMap<string, Value>): Map<string, readonly Held[]> {
  const acks = new Map<string, readonly Held[]>()
  for (const [feedId, seq, hash8] of entriesOf(fields, 'acks')) {
    if (!(feedId instanceof Uint8Array) || !(hash8 instanceof Uint8Array)) continue
    if (typeof seq !== 'number' || !Number.isSafeInteger(seq)) continue
    const held = acks.get(latin1(feedId)) ?? []
    const one = { feedId, seq, hash8 }
    if (!isAmong(held, one)) acks.set(latin1(feedId), [...held, one])
  }
  return acks
}

function* entriesOf(fields: ReadonlyMap<string, Value>, name: string): Generator<readonly Value[]> {
  for (const [path, entries] of fields) {
    if (!path.startsWith(`${name}/`) || !Array.isArray(entries)) continue
    for (const entry of entries as readonly Value[]) if (Array.isArray(entry)) yield entry as readonly Value[]
  }
}
