import { peerIdOf } from '../crypto/identity.ts'
import type { Capability } from '../model/capability.ts'
import { msOfHlc } from '../model/stamp.ts'
import type { LagView, PeerView, StatusView } from '../ports/operations.ts'
import type { ClockClass } from '../ports/clock.ts'
import type { BrokerStatus } from '../ports/broker.ts'
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
  /** Unix milliseconds. */
  readonly startedAt: number
  readonly wallMs: number
  readonly profile: { readonly id: string; readonly revision: number }
  readonly listeners: readonly string[]
  readonly certificate: string | null
  readonly clock: { readonly class: ClockClass; readonly hlc: number }
  readonly waitingWrites: number
  readonly broker: BrokerStatus | null
  readonly collections: ReadonlyMap<string, Summary>
  readonly store: Documents & Log & { status(): StorageStatus }
  readonly links: readonly ObservedLink[]
  readonly totals: { readonly bytesSent: number; readonly bytesReceived: number }
  readonly members: Iterable<Capability>
  readonly lastContactByPeer: ReadonlyMap<string, number>
  readonly warnings: readonly string[]
}

export interface ObservedLink {
  readonly peerId: string
  readonly name: string
  readonly version: string
  readonly latencyMs: number | null
  readonly isGreeted: boolean
  readonly lag: readonly Behind[]
  /** Unix milliseconds. */
  readonly since: number
  readonly bytesSent: number
  readonly bytesReceived: number
}

const NO_LAG: LagView = { batches: 0, bytes: 0, seconds: 0 }

export function statusOf(seen: Observed): StatusView {
  const storage = seen.store.status()
  const { queuedMessages = 0, queuedBytes = 0 } = seen.broker ?? {}
  const lags = seen.links.map((link) => lagOf(seen.store, seen.meshIdBytes, link.lag, seen.wallMs))
  return {
    peerId: seen.peerId,
    meshId: seen.meshId,
    mesh: seen.mesh,
    name: seen.name,
    state: storage.isFull ? 'storage-full' : seen.broker ? 'running' : 'offline',
    enrolled: seen.isEnrolled,
    enrolment: seen.enrolment,
    version: seen.version,
    uptime: Math.round((Date.now() - seen.startedAt) / 1_000),
    profile: seen.profile,
    listeners: seen.listeners,
    certificate: seen.certificate,
    collections: Object.fromEntries([...seen.collections].filter(([, { count }]) => count > 0)),
    links: { up: seen.links.filter(({ isGreeted }) => isGreeted).length, ...seen.totals },
    lag: lags.reduce((worst, lag) => (lag.batches > worst.batches ? lag : worst), NO_LAG),
    conflicts: seen.store.conflicts().length,
    queue: { writes: seen.waitingWrites, messages: queuedMessages, messageBytes: queuedBytes },
    clock: { class: seen.clock.class, aheadMs: Math.max(0, msOfHlc(seen.clock.hlc) - seen.wallMs) },
    storage,
    memory: { rss: process.memoryUsage.rss() },
    warnings: seen.warnings,
  }
}

/** Linked neighbours first, then the members that are known and not linked, by name. */
export function peersOf(seen: Observed): PeerView[] {
  const linked = new Map(seen.links.map((link) => [link.peerId, linkedPeer(seen, link)]))
  const others: PeerView[] = []
  for (const capability of seen.members) {
    const peerId = peerIdOf(capability.subject)
    if (peerId === seen.peerId || linked.has(peerId)) continue
    others.push(knownPeer(peerId, capability.name, seen.lastContactByPeer.get(peerId)))
  }
  return [...linked.values(), ...others.sort((a, b) => (a.name < b.name ? -1 : 1))]
}

function linkedPeer(seen: Observed, link: ObservedLink): PeerView {
  return {
    peerId: link.peerId,
    name: link.name,
    cell: null,
    state: 'up',
    latencyMs: link.latencyMs === null ? null : Math.round(link.latencyMs * 10) / 10,
    lag: lagOf(seen.store, seen.meshIdBytes, link.lag, seen.wallMs),
    lastContact: new Date(seen.wallMs).toISOString(),
    version: link.version === '' ? null : link.version,
    link: { bytesSent: link.bytesSent, bytesReceived: link.bytesReceived, since: new Date(link.since).toISOString() },
  }
}

function knownPeer(peerId: string, name: string, lastContact: number | undefined): PeerView {
  return {
    peerId,
    name,
    cell: null,
    state: 'known',
    latencyMs: null,
    lag: null,
    lastContact: lastContact === undefined ? null : new Date(lastContact).toISOString(),
    version: null,
    link: null,
  }
}
