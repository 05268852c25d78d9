import { PROTOCOL_LIMITS } from '../base/limits.ts'
import { createSigner, type Verifier } from '../crypto/signature.ts'
import { announcedListener } from '../discovery/announcement.ts'
import { Mdns } from '../discovery/mdns.ts'
import { UdpNetwork } from '../discovery/udp.ts'
import type { MeshAuthority } from '../driver/authority.ts'
import type { Driver } from '../driver/driver.ts'
import type { Identity } from '../identity/identity.ts'
import { readRelayLogin } from '../identity/relay-logins.ts'
import { Mesh } from '../mesh/mesh.ts'
import { reachableAddresses, subnetCell } from '../mesh/reachable.ts'
import type { RelayAddress } from '../mesh/relay.ts'
import { mesh8 } from '../mesh/topics.ts'
import type { Discovery, Hint } from '../ports/discovery.ts'
import type { Log } from '../ports/log.ts'
import { formatAddress } from '../profile/address.ts'
import type { ResolvedProfile } from '../profile/resolved.ts'
import type { DiskStore } from '../store/disk-store.ts'
import type { PartitionChange } from '../topology/partition.ts'
import type { Members } from './members.ts'
import { Neighbours } from './neighbours.ts'
import type { Running } from './running.ts'

export interface LinkingOptions {
  readonly identity: Identity
  readonly authority: MeshAuthority
  readonly verifier: Verifier
  readonly members: Members
  readonly running: Running
  readonly store: DiskStore
  readonly profile: () => ResolvedProfile
  /** Where the broker listens, as URLs. */
  readonly listeners: () => readonly string[]
  /** Whether a link of our own with it is to stand. */
  readonly isSought: (peerId: string) => boolean
  readonly relayLoginsFile: () => string
  /** Tells devices and whoever else listens. */
  readonly tell: (name: string, fields: object) => void
  readonly log: Log
}

/** How this gateway and others come together: where they are looked for, whom it links with, over what. */
export class Linking {
  readonly neighbours: Neighbours
  readonly #options: LinkingOptions
  /** The profile's, as it was at the start. */
  readonly #givenCell: string | null

  constructor(options: LinkingOptions) {
    this.#options = options
    this.#givenCell = options.profile().node.cell
    this.neighbours = this.#makeNeighbours()
  }

  /** As a member: from now on others are looked for and linked with; to be called for each new engine. */
  meet(): void {
    const { members, running } = this.#options
    if (!members.belongs) return
    this.neighbours.join(this.#bootstrap, this.#admittedAt)
    running.mesh.start()
  }

  /** As none yet: looks for members, and is found by nobody. */
  seek(): void {
    this.neighbours.seek()
  }

  /** Where members may be, for one who wants to join: as the profile says, and as was heard. */
  get places(): readonly string[] {
    return [...this.#bootstrap, ...this.neighbours.addresses().map(({ address }) => address)]
  }

  dial(): void {
    if (this.#options.members.belongs) this.#options.running.mesh.dial()
  }

  /** The profile may name others to begin with than before. */
  profileChanged(): void {
    if (this.#options.members.belongs) this.neighbours.setBootstrap(this.#bootstrap)
  }

  /** Brokers of others, where gateways meet that have no way to each other. */
  get relays(): readonly RelayAddress[] {
    const { profile, relayLoginsFile } = this.#options
    return profile().mesh.relays.map((address) => ({
      address,
      login: () => readRelayLogin(relayLoginsFile(), formatAddress(address)),
    }))
  }

  makeMesh(handler: Driver): Mesh {
    const { identity, members, profile, log } = this.#options
    const { mesh } = profile()
    return new Mesh({
      keys: identity.keys,
      peerId: members.peerId,
      meshId: identity.mesh.meshId,
      chain: () => members.enrolment.chain ?? [],
      admit: (chain) => members.admit(chain),
      hasEnded: (capability) => members.hasEnded(capability),
      farewell: (peerId) => members.departure.evidenceFor(peerId),
      candidates: this.neighbours.candidates,
      onRemember: () => this.neighbours.remember(),
      shape: this.neighbours,
      relays: this.relays,
      random: Math.random,
      linksMax: mesh.links.max,
      handler,
      enroller: (request) => members.membership.admit(request),
      mayEnrol: () => members.isAdministrator,
      log,
      monotonicMs: () => performance.now(),
    })
  }

  #makeNeighbours(): Neighbours {
    const { identity, authority, verifier, members, running, store, profile, isSought, log } = this.#options
    const { mesh, sync } = profile()
    const { keys } = identity
    const isMetered = sync.budget.bytesPerSecond !== null || sync.budget.bytesPerDay !== null
    const signer = createSigner(keys.secretKey)
    return new Neighbours({
      meshId: identity.mesh.meshId,
      peerId: members.peerId,
      publicKey: keys.publicKey,
      sign: (message) => signer.sign(message),
      verify: (...signed) => verifier.verify(...signed),
      isMember: (peerId) => members.isMember(peerId),
      hlc: () => running.driver.view.clock,
      own: () => ({ addresses: this.#ownAddresses(), cell: this.#cell, isSuperPeer: mesh.superPeer, isMetered }),
      measures: () => running.measures(),
      close: (peerId, reason) => running.mesh.closePeer(peerId, reason),
      send: (peerId, frame) => running.send(peerId, frame),
      onPartition: (change) => this.#tellOfPartition(change),
      sources: mesh.discovery,
      links: mesh.links,
      store,
      isRemoved: (peerId) => authority.isClosed(peerId),
      isSought,
      onLearned: () => this.dial(),
      mdns: (onHint, isAnnounced) => this.#makeMdns(onHint, isAnnounced),
      random: Math.random,
      log,
      monotonicMs: () => performance.now(),
    })
  }

  #makeMdns(onHint: (hint: Hint) => void, isAnnounced: boolean): Discovery {
    const { identity, members, running, profile, log } = this.#options
    const { min } = profile().mesh.links
    return new Mdns({
      network: new UdpNetwork(log),
      mesh8: mesh8(identity.mesh.meshId),
      peerId: members.peerId,
      cell: this.#cell,
      listener: isAnnounced ? announcedListener(this.#options.listeners()) : null,
      onHint,
      isSeeking: () => running.mesh.figures().length < min,
      random: Math.random,
      log,
      monotonicMs: () => performance.now(),
    })
  }

  #tellOfPartition({ name, ...fields }: PartitionChange): void {
    this.#options.log.warn(name, fields)
    this.#options.tell(name, fields)
  }

  /** The profile's, or else the network's that this machine is in. */
  get #cell(): string {
    return this.#givenCell ?? subnetCell(announcedListener(this.#options.listeners()))
  }

  /** Where others can dial this gateway, over one listener. */
  #ownAddresses(): string[] {
    const listener = announcedListener(this.#options.listeners())
    const reachable = listener === null ? [] : reachableAddresses([formatAddress(listener)])
    return reachable
      .filter((address) => announcedListener([address]) !== null)
      .slice(0, PROTOCOL_LIMITS.addressesPerRecordMax)
  }

  get #bootstrap(): readonly string[] {
    return this.#options.profile().mesh.bootstrap.map(formatAddress)
  }

  /** Where the profile names nobody to begin with. */
  get #admittedAt(): readonly string[] {
    const { profile, members } = this.#options
    return profile().mesh.bootstrap.length > 0 ? [] : members.enrolment.membership.addresses
  }
}
