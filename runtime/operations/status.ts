import { numberOfEpoch } from '../crypto/epoch-key.ts'
import { msOfHlc } from '../model/stamp.ts'
import type { ClockStatus, LagView, PeerView, PlaceView, QuarantineEntry, StatusView } from '../ports/operations.ts'
import type { ReplicationView } from '../ports/replication.ts'
import type { BrokerStatus } from '../ports/broker.ts'
import type { AddressSource, DiscoveryFigures } from '../ports/discovery.ts'
import type { Documents, Log, StorageStatus } from '../ports/store.ts'
import type { Summary } from './documents.ts'
import { lagOf, type Behind } from './evidence.ts'

/** What `status` and `peers` are made of, as the rooms know it at this moment. */
export interface Observed {
  readonly peerId: string
  readonly meshId: string
  readonly mesh: string
  readonly meshIdBytes: Uint8Array
  readonly name: string
  readonly version: string
  readonly isEnrolled: boolean
  readonly enrolment: string | null
  /** Since the start, whatever became of the clock. */
  readonly uptimeMs: number
  /** Unix milliseconds. */
  readonly wallMs: number
  readonly profile: { readonly id: string; readonly revision: number }
  readonly interest: readonly string[]
  readonly listeners: readonly string[]
  readonly certificate: string | null
  readonly clock: Omit<ClockStatus, 'aheadMs'> & { readonly hlc: number }
  readonly waitingWrites: number
  readonly broker: BrokerStatus | null
  readonly collections: ReadonlyMap<string, Summary>
  readonly encryption: ObservedEncryption
  readonly store: Documents & Log & { status(): StorageStatus }
  readonly links: readonly ObservedLink[]
  readonly addresses: readonly ObservedAddress[]
  /** Whether there is a way to it over links that are up. */
  readonly isReachable: (peerId: string) => boolean
  readonly own: Omit<PlaceView, 'links'> & { readonly wanted: number }
  readonly placeOf: (peerId: string) => PlaceView
  readonly mdns: DiscoveryFigures | null
  /** What of it is spent; null without a budget. */
  readonly budget: ObservedBudget | null
  readonly totals: { readonly bytesSent: number; readonly bytesReceived: number }
  /** The names of the other members that are not being removed, by peer id. */
  readonly others: ReadonlyMap<string, string>
  /** What is known of neighbours' disks, linked or not. */
  readonly holdings: readonly ObservedHolding[]
  /** What no other gateway is known to have. */
  readonly unconfirmed: readonly Behind[]
  readonly replications: readonly ReplicationView[]
  readonly quarantine: readonly QuarantineEntry[]
  readonly warnings: readonly string[]
}

export interface ObservedEncryption {
  /** Encrypted collections, as far as they are known. */
  collections(): readonly string[]
  /** The epoch that is written with there, see crypto/epoch-key.ts. */
  newest(collection: string): number | null
  hasKey(collection: string, epoch: number): boolean
  /** What devices wrote there, which waits for the key. */
  held(collection: string): number
}

export interface ObservedLink {
  readonly peerId: string
  readonly name: string
  readonly version: string
  readonly latencyMs: number | null
  readonly quality: number | null
  readonly isGreeted: boolean
  readonly relay: string | null
  /** Unix milliseconds. */
  readonly since: number
  readonly bytesSent: number
  readonly bytesReceived: number
}

/** Null is no limit; milliseconds. */
export interface ObservedBudget {
  readonly bytesPerSecond: number | null
  readonly bytesPerDay: number | null
  readonly sentToday: number
  readonly dayEndsMs: number
}

export interface ObservedAddress {
  readonly address: string
  readonly peerIds: readonly string[]
  readonly from: readonly AddressSource[]
}

export interface ObservedHolding {
  readonly peerId: string
  /** As it called itself when it was linked last, or empty. */
  readonly name: string
  readonly version: string
  /** Unix milliseconds. */
  readonly heardAt: number
  readonly lag: readonly Behind[]
}

const NO_LAG: LagView = { batches: 0, bytes: 0, seconds: 0 }

export function statusOf(seen: Observed): StatusView {
  const storage = seen.store.status()
  const { queuedMessages = 0, queuedBytes = 0 } = seen.broker ?? {}
  const linked = new Set(seen.links.filter(({ isGreeted }) => isGreeted).map(({ peerId }) => peerId))
  const lags = seen.holdings.filter(({ peerId }) => linked.has(peerId)).map(({ lag }) => lagView(seen, lag))
  return {
    peerId: seen.peerId,
    meshId: seen.meshId,
    mesh: seen.mesh,
    name: seen.name,
    state: storage.isFull ? 'storage-full' : seen.broker ? 'running' : 'offline',
    enrolled: seen.isEnrolled,
    enrolment: seen.enrolment,
    version: seen.version,
    uptime: Math.round(seen.uptimeMs / 1_000),
    profile: seen.profile,
    interest: seen.interest,
    listeners: seen.listeners,
    certificate: seen.certificate,
    collections: Object.fromEntries([...seen.collections].filter(([, { count }]) => count > 0)),
    encryption: encryptionOf(seen),
    cell: seen.own.cell,
    bridge: seen.own.bridge,
    superPeer: seen.own.superPeer,
    links: { up: linked.size, wanted: seen.own.wanted, ...seen.totals, budget: budgetOf(seen.budget) },
    discovery: { addresses: countsOf(seen.addresses), mdns: seen.mdns },
    lag: lags.reduce((worst, lag) => (lag.batches > worst.batches ? lag : worst), NO_LAG),
    conflicts: seen.store.conflicts().length,
    quarantine: {
      batches: seen.quarantine.filter(({ kind }) => kind === 'batch').length,
      messages: seen.quarantine.filter(({ kind }) => kind === 'message').length,
    },
    queue: {
      writes: seen.waitingWrites,
      messages: queuedMessages,
      messageBytes: queuedBytes,
      unconfirmed: lagView(seen, seen.unconfirmed),
    },
    replications: seen.replications,
    clock: clockOf(seen),
    storage,
    memory: { rss: process.memoryUsage.rss() },
    warnings: seen.warnings,
  }
}

function encryptionOf({ encryption, store }: Observed): StatusView['encryption'] {
  const waiting = new Map(encryption.collections().map((name) => [name, 0]))
  for (const { feed, locked } of store.heads()) {
    const { collection, encrypted } = feed.descriptor
    if (encrypted) waiting.set(collection, (waiting.get(collection) ?? 0) + (locked?.size ?? 0))
  }
  const views = [...waiting].map(([name, count]) => {
    const epoch = encryption.newest(name)
    const readable = epoch !== null && encryption.hasKey(name, epoch)
    return [
      name,
      { epoch: epoch === null ? null : numberOfEpoch(epoch), readable, waiting: count, held: encryption.held(name) },
    ] as const
  })
  return Object.fromEntries(views.sort(([a], [b]) => (a < b ? -1 : 1)))
}

function budgetOf(budget: ObservedBudget | null): StatusView['links']['budget'] {
  if (budget === null) return null
  const { bytesPerSecond, bytesPerDay, sentToday, dayEndsMs } = budget
  return { bytesPerSecond, bytesPerDay, sentToday, dayEndsIn: Math.ceil(dayEndsMs / 1_000) }
}

function clockOf({ clock: { class: trust, source, offsetMs, hlc }, wallMs }: Observed): ClockStatus {
  return { class: trust, source, offsetMs: Math.round(offsetMs), aheadMs: Math.max(0, msOfHlc(hlc) - wallMs) }
}

function countsOf(addresses: readonly ObservedAddress[]): StatusView['discovery']['addresses'] {
  const counts: { [source in AddressSource]?: number } = {}
  for (const { from } of addresses) for (const source of from) counts[source] = (counts[source] ?? 0) + 1
  return counts
}

/** Linked neighbours first, then the members that are known and not linked, by name. */
export function peersOf(seen: Observed): PeerView[] {
  const holdings = new Map(seen.holdings.map((holding) => [holding.peerId, holding]))
  const linked = new Map(seen.links.map((link) => [link.peerId, linkedPeer(seen, link, holdings.get(link.peerId))]))
  const others: PeerView[] = []
  for (const [peerId, name] of seen.others) {
    if (!linked.has(peerId)) others.push(knownPeer(seen, peerId, name, holdings.get(peerId)))
  }
  return [...linked.values(), ...others.sort((a, b) => (a.name < b.name ? -1 : 1))]
}

function linkedPeer(seen: Observed, link: ObservedLink, holding: ObservedHolding | undefined): PeerView {
  return {
    peerId: link.peerId,
    name: link.name,
    ...seen.placeOf(link.peerId),
    state: 'up',
    reachable: true,
    quality: link.quality,
    latencyMs: link.latencyMs === null ? null : Math.round(link.latencyMs * 10) / 10,
    // Until it has greeted, what it has is what it had when it was here last.
    lag: holding === undefined ? null : lagView(seen, holding.lag),
    lastContact: lastContactOf(holding),
    version: link.version === '' ? null : link.version,
    link: {
      bytesSent: link.bytesSent,
      bytesReceived: link.bytesReceived,
      since: new Date(link.since).toISOString(),
      relay: link.relay,
    },
    addresses: addressesOf(seen, link.peerId),
  }
}

function knownPeer(seen: Observed, peerId: string, name: string, holding: ObservedHolding | undefined): PeerView {
  return {
    peerId,
    name: holding?.name || name,
    ...seen.placeOf(peerId),
    state: 'known',
    reachable: seen.isReachable(peerId),
    quality: null,
    latencyMs: null,
    lag: holding === undefined ? null : lagView(seen, holding.lag),
    lastContact: lastContactOf(holding),
    version: holding === undefined || holding.version === '' ? null : holding.version,
    link: null,
    addresses: addressesOf(seen, peerId),
  }
}

function addressesOf({ addresses }: Observed, peerId: string): PeerView['addresses'] {
  return addresses.filter((known) => known.peerIds.includes(peerId)).map(({ address, from }) => ({ address, from }))
}

function lastContactOf(holding: ObservedHolding | undefined): string | null {
  return holding === undefined || holding.heardAt === 0 ? null : new Date(holding.heardAt).toISOString()
}

function lagView({ store, meshIdBytes, wallMs }: Observed, lag: readonly Behind[]): LagView {
  return lagOf(store, meshIdBytes, lag, wallMs)
}
