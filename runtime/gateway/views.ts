import { hex } from '../base/bytes.ts'
import type { SystemClock } from '../clock/system.ts'
import type { MeshAuthority } from '../driver/authority.ts'
import { heardOf, heirWarnings, membersOf, missingWarnings } from '../operations/members.ts'
import type { Quarantine } from '../operations/quarantine.ts'
import { kindWarnings } from '../operations/rules.ts'
import type { OperationService } from '../operations/service.ts'
import { peersOf, statusOf, type Observed, type ObservedLink } from '../operations/status.ts'
import type { ClockStatus, MemberView, PeerView, PlaceView, StatusView } from '../ports/operations.ts'
import type { DiskStore } from '../store/disk-store.ts'
import type { Told } from '../sync/timekeeping.ts'
import { VERSION } from '../version.ts'
import type { ClockRecovery } from './clock-recovery.ts'
import type { Clones } from './clones.ts'
import type { Devices } from './devices.ts'
import type { Linking } from './linking.ts'
import type { Members } from './members.ts'
import type { PrivateData } from './private-data.ts'
import type { Replication } from './replication.ts'
import type { Rights } from './rights.ts'
import type { Rotation } from './rotation.ts'
import type { Running } from './running.ts'
import type { Settings } from './settings.ts'

/** The rooms of a gateway that have something to show. */
export interface ViewedRooms {
  readonly clock: SystemClock
  readonly settings: Settings
  readonly store: DiskStore
  readonly authority: MeshAuthority
  readonly members: Members
  readonly rights: Rights
  readonly rotation: Rotation
  readonly linking: Linking
  readonly privateData: PrivateData
  readonly running: Running
  readonly replication: Replication
  readonly clones: Clones
  readonly clockRecovery: ClockRecovery
  readonly devices: Devices
  readonly quarantine: Quarantine
  readonly operations: OperationService
}

const DIVERGED =
  'diverged: "{c}" is not the same here and on gateway {p}, although both hold the same batches and have derived it anew from them; compare "marram verify" of both, and report it'

const NO_CLOCK =
  'no-trusted-clock: neither the network, a clock with a battery nor a neighbour says what time it is, so stamps go on from the last time known; set up NTP, or MARRAM_TRUST_CLOCK=1 where something else keeps the clock right'

/** What the gateway shows of itself and of the others. */
export class Views {
  readonly #rooms: ViewedRooms
  readonly #startedAtMs = performance.now()

  constructor(rooms: ViewedRooms) {
    this.#rooms = rooms
  }

  status(): StatusView {
    return statusOf(this.#observe())
  }

  peers(): readonly PeerView[] {
    return peersOf(this.#observe())
  }

  members(): MemberView[] {
    const { running, members, authority, settings, store } = this.#rooms
    const { trust, wallMs } = running.driver.time
    const { silentAfterMs } = settings.profile.mesh
    const self = { peerId: members.peerId, nowMs: wallMs }
    const heardMs = heardOf(store.heads(), running.driver.view.holdings, self)
    const hearing = { heardMs, nowMs: trust > 0 ? wallMs : null, silentAfterMs }
    const names = this.#names()
    const told = (peerId: string): Omit<PlaceView, 'links'> & { name: string | null } => {
      const { cell, bridge, superPeer } = peerId === members.peerId ? this.#own() : this.#placeOf(peerId)
      return { name: names.get(peerId) ?? null, cell, bridge, superPeer }
    }
    const { membership, removals, rotations } = members
    return membersOf(authority.members.all(), removals.states(), hearing, told, {
      taken: membership.successions(),
      asked: (peerId) => rotations.namedBy(peerId),
    })
  }

  /** As the gateway calls itself where it was heard over a link, else as it was admitted; empty when it is no member. */
  nameOf(peerId: string): string {
    return this.#names().get(peerId) ?? this.#rooms.rights.memberOf(peerId)?.name ?? ''
  }

  warnings(): string[] {
    const { store, running, linking, members, rotation, clones, clockRecovery, replication } = this.#rooms
    const { neighbours } = linking
    const { parsed, profile } = this.#rooms.settings
    const feeds = [...store.heads()].map(({ feed }) => feed)
    const clock = running.driver.time.trust === 0 ? NO_CLOCK : null
    const { departure, enrolment } = members
    const ofRooms = [neighbours.warning, members.warning, departure.warning, enrolment.warning, rotation.warning]
    const standing = [clock, clockRecovery.warning, ...ofRooms]
    const listed = this.members()
    const diverged = running.driver.view.diverged.filter(({ isLasting }) => isLasting)
    return [
      ...parsed.warnings,
      ...clones.warnings,
      ...kindWarnings(profile, feeds),
      ...standing.filter((warning) => warning !== null),
      ...running.mesh.warnings,
      ...missingWarnings(listed),
      ...heirWarnings(listed),
      ...replication.warnings,
      ...diverged.map(({ peerId, collection }) => DIVERGED.replace('{c}', collection).replace('{p}', peerId)),
    ]
  }

  #observe(): Observed {
    const { members, store, linking, running, privateData, rights, operations, devices, quarantine, replication } =
      this.#rooms
    const { name, profile } = this.#rooms.settings
    const { neighbours } = linking
    const { driver, mesh } = running
    const { time, view } = driver
    const figures = new Map(mesh.figures().map((figure) => [figure.link, figure]))
    const links: ObservedLink[] = view.links.flatMap((link) => {
      const figure = figures.get(link.link)
      return figure ? [{ ...link, ...figure, quality: neighbours.topology.qualityOf(link.peerId) }] : []
    })
    return {
      peerId: members.peerId,
      meshId: hex(members.mesh.meshId),
      meshIdBytes: members.mesh.meshId,
      mesh: members.mesh.name,
      name,
      version: VERSION,
      isEnrolled: members.belongs,
      enrolment: members.enrolment.membership.refusal,
      uptimeMs: performance.now() - this.#startedAtMs,
      wallMs: time.wallMs,
      profile: { id: profile.id, revision: profile.revision },
      interest: profile.interest,
      listeners: devices.listeners,
      certificate: devices.certificate,
      clock: {
        class: time.trust,
        source: this.#clockSource(time),
        offsetMs: time.wallMs - this.#rooms.clock.wallMs(),
        hlc: view.clock,
      },
      waitingWrites: view.waitingWrites,
      broker: devices.broker?.status() ?? null,
      collections: operations.summaries(),
      encryption: privateData.observed,
      store,
      links,
      addresses: neighbours.addresses(),
      isReachable: (peerId) => neighbours.isReachable(peerId),
      own: this.#own(),
      placeOf: (peerId) => this.#placeOf(peerId),
      mdns: neighbours.mdnsFigures,
      totals: mesh.totals(),
      others: rights.others(),
      holdings: view.holdings,
      unconfirmed: view.unconfirmed,
      replications: replication.replications(),
      budget: view.budget,
      quarantine: quarantine.list(),
      warnings: this.warnings(),
    }
  }

  /** What gateways call themselves, by peer id: this one, and whoever it has been linked with. */
  #names(): ReadonlyMap<string, string> {
    const { running, members, settings } = this.#rooms
    const heard = running.driver.view.holdings.filter(({ name }) => name !== '')
    return new Map([...heard.map(({ peerId, name }) => [peerId, name] as const), [members.peerId, settings.name]])
  }

  #own(): Observed['own'] {
    const { choice, own } = this.#rooms.linking.neighbours.topology
    const { cell, isSuperPeer: superPeer } = own
    return { cell, bridge: choice.isBridge, superPeer, wanted: choice.wanted.length }
  }

  #placeOf(peerId: string): PlaceView {
    const { topology } = this.#rooms.linking.neighbours
    const record = topology.recordOf(peerId)
    return {
      cell: record?.cell || null,
      links: record?.links.length ?? null,
      bridge: topology.cells.isBridge(peerId),
      superPeer: record?.isSuperPeer ?? false,
    }
  }

  #clockSource({ source }: Told): ClockStatus['source'] {
    return source === 'system' ? (this.#rooms.clock.source ?? 'kept') : source
  }
}
