import { hostname } from 'node:os'
import { join, resolve } from 'node:path'
import type { Keyring } from '../access/keyring.ts'
import { readersOf } from '../access/readers.ts'
import { equal, hex } from '../base/bytes.ts'
import { codeOf, MarramError, sentenceOf } from '../base/errors.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import { createBroker } from '../broker/broker.ts'
import { usersOf } from '../broker/users-file.ts'
import { tlsIdentity, type TlsIdentity } from '../certificates/identity.ts'
import { CHECK_MS, SystemClock, systemProbes } from '../clock/system.ts'
import { peerIdOf } from '../crypto/identity.ts'
import { createSigner, createVerifier, type Signer } from '../crypto/signature.ts'
import { Arrivals } from '../devices/arrivals.ts'
import { Bridge, BRIDGE_COLLECTION } from '../devices/bridge.ts'
import { createDeviceDoor, type DeviceDoor } from '../devices/door.ts'
import { announcedListener } from '../discovery/announcement.ts'
import { Mdns } from '../discovery/mdns.ts'
import { UdpNetwork } from '../discovery/udp.ts'
import { MeshAuthority } from '../driver/authority.ts'
import { Driver } from '../driver/driver.ts'
import { createControlServer } from '../http/server.ts'
import { loadIdentity, loadRootKey, type Identity } from '../identity/identity.ts'
import { loadKeyring, saveKeyring } from '../identity/keyring-file.ts'
import { takeLock, type Lock } from '../identity/lock.ts'
import { checkedProfile, keepProfile, loadProfile } from '../identity/profile-file.ts'
import { readRelayLogin } from '../identity/relay-logins.ts'
import { tlsFileOf } from '../identity/tls-file.ts'
import { Mesh } from '../mesh/mesh.ts'
import { namesOfThisMachine, reachableAddresses } from '../mesh/reachable.ts'
import { mesh8 } from '../mesh/topics.ts'
import { RIGHT_WRITE, type Capability } from '../model/capability.ts'
import type { Place } from '../model/interest.ts'
import { isSystemName } from '../model/names.ts'
import { hlcFromMs } from '../model/stamp.ts'
import { CollectionKeyService } from '../operations/collection-keys.ts'
import type { CollectionRules } from '../operations/documents.ts'
import { Drafts } from '../operations/drafts.ts'
import { isBatchValid } from '../operations/evidence.ts'
import { heardOf, membersOf, missingWarnings } from '../operations/members.ts'
import { Membership } from '../operations/membership.ts'
import { Removals } from '../operations/removals.ts'
import { timeOf } from '../operations/rows.ts'
import { trimSeries, type Retention } from '../operations/retention.ts'
import { kindWarnings, rulesOf } from '../operations/rules.ts'
import { Quarantine } from '../operations/quarantine.ts'
import { OperationService } from '../operations/service.ts'
import { HeldWrites } from '../operations/held-writes.ts'
import { peersOf, statusOf, type Observed, type ObservedLink } from '../operations/status.ts'
import type { Broker } from '../ports/broker.ts'
import type { Space } from '../ports/store.ts'
import type { Log } from '../ports/log.ts'
import type { HeldWrite, MemberView, ClockStatus, Operations, RemovalOptions } from '../ports/operations.ts'
import type { WriteOp, Written } from '../ports/writer.ts'
import { formatAddress } from '../profile/address.ts'
import { fillDefaults, type DeviceProfile } from '../profile/defaults.ts'
import type { ParsedProfile } from '../profile/parse.ts'
import { describeReload } from '../profile/reload.ts'
import type { Credential, ResolvedProfile } from '../profile/resolved.ts'
import { collectionOf, resolveProfile } from '../profile/resolve.ts'
import { encodeBackup } from '../store/backup-format.ts'
import type { DiskStore } from '../store/disk-store.ts'
import { openStore } from '../store/open.ts'
import { examinePlace } from '../store/verify.ts'
import type { Told } from '../sync/timekeeping.ts'
import type { EngineEvent } from '../sync/types.ts'
import { BUILT_MS, VERSION } from '../version.ts'
import { warrantBytes } from '../wire/warrant.ts'

import { Clones } from './clones.ts'
import { Departure } from './departure.ts'
import { Enrolment } from './enrolment.ts'
import { Incarnation } from './incarnation.ts'
import { Knowledge } from './knowledge.ts'
import { Neighbours } from './neighbours.ts'
import { Soundness } from './soundness.ts'
import type { PartitionChange } from '../topology/partition.ts'
import { PROTOCOL_LIMITS } from '../base/limits.ts'

const DIVERGED =
  'diverged: "{c}" is not the same here and on gateway {p}, although both hold the same batches and have derived it anew from them; compare "marram verify" of both, and report it'

const QUIET_EVENTS: ReadonlySet<EngineEvent> = new Set<EngineEvent>([
  'peer-up',
  'peer-down',
  'resync',
  'compacted',
  'jumped',
  'left',
])

/** Builds a gateway from its rooms, starts them in order and stops them in the opposite one. */
export interface GatewayOptions {
  /** The data directory; it must hold an identity. */
  readonly dir: string
  /** Instead of the kept profile: a file, or a value. */
  readonly profilePath?: string
  readonly profile?: DeviceProfile
  /** `PATH=VALUE`, each over one key of the profile for this run. */
  readonly set?: readonly string[]
  readonly log: Log
  /** Instead of the system's. */
  readonly clock?: SystemClock
}

/** How a gateway ended by itself: see the exit codes of `run`. */
export interface Ended {
  readonly code: 'storage-full' | 'storage-io' | null
  readonly reason: string | null
}

const HEALTH_MS = 60_000
const MARK_MS = 3_600_000
const RETENTION_MS = 60_000
const REMOVALS_MS = 2_000
const LOOK_MS = 5_000
/** Keys are looked at whenever something changes; and now and then for what time alone changes. */
const KEYS_MS = 60_000

const NO_CLOCK =
  'no-trusted-clock: neither the network, a clock with a battery nor a neighbour says what time it is, so stamps go on from the last time known; set up NTP, or MARRAM_TRUST_CLOCK=1 where something else keeps the clock right'

/** Messages that others' rules give out are carried so long by who has no rule of its own. */
const CARRIED_MS = 604_800_000
const EVERYTHING: readonly string[] = ['*']
/** A place that only who keeps everything keeps: no collection has such a name. */
const ANYWHERE: Place = { collection: '', partition: '' }

const KEEP_ALL: Retention = { ageMs: null, bytes: null }

/**
 * Opens the gateway in `dir`: everything serves when the promise resolves. Throws `no-identity`, `in-use`, `bad-profile`,
 * `port-in-use`, `storage-damaged`, `storage-full`, `storage-io`.
 */
export async function openGateway(options: GatewayOptions): Promise<Gateway> {
  const identity = loadIdentity(options.dir)
  const lock = takeLock(options.dir)
  try {
    const parsed = options.profile ? checkedProfile(options.profile, 'profile') : loadProfile(choiceOf(options))
    const gateway = new Gateway(options, identity, parsed, lock)
    try {
      await gateway.start()
      return gateway
    } catch (error) {
      await gateway.close()
      throw error
    }
  } catch (error) {
    lock.release()
    throw error
  }
}

/** In a container the host keeps the clock right, and nothing in it says so. */
function isClockTrusted(): boolean {
  return process.env['MARRAM_TRUST_CLOCK'] === '1'
}

function choiceOf({ dir, profilePath, set }: GatewayOptions): { dir: string; path?: string; set?: readonly string[] } {
  return { dir, ...(profilePath !== undefined && { path: profilePath }), ...(set && { set }) }
}

export class Gateway {
  /** Resolves when the gateway has stopped, by `close` or by itself. */
  readonly closed: Promise<Ended>
  readonly #options: GatewayOptions
  readonly #log: Log
  readonly #identity: Identity
  readonly #lock: Lock
  readonly #peerId: string
  readonly #clock: SystemClock
  readonly #verifier = createVerifier()
  readonly #authority: MeshAuthority
  readonly #drafts: Drafts
  readonly #keyring: Keyring
  readonly #startedAt = Date.now()
  readonly #timers: NodeJS.Timeout[] = []
  readonly #writer = {
    // While a new driver takes the place of the old one, writes wait for it; those that the old one gave back go to it.
    write: (collection: string, partition: string, ops: readonly WriteOp[]): Promise<Written> => {
      const write = (): Promise<Written> => this.#driver.write(collection, partition, ops)
      if (this.#isChanging) return this.#isChanging.then(write)
      return write().catch((error: unknown) => {
        if (codeOf(error) !== 'incarnation-lost' || !this.#isChanging) throw error
        return this.#isChanging.then(write)
      })
    },
  }
  #isChanging: Promise<void> | null = null
  /** What it might read when the engine was made. */
  #keptReadable: readonly string[] = EVERYTHING
  #ruled: {
    readonly profile: ResolvedProfile
    readonly readable: readonly string[]
    readonly rules: CollectionRules
  } | null = null
  #parsed: ParsedProfile
  #profile: ResolvedProfile
  readonly #incarnation: Incarnation
  readonly #enrolment: Enrolment
  readonly #clones: Clones
  #store!: DiskStore
  #removals!: Removals
  #keys!: CollectionKeyService
  #held!: HeldWrites
  #knowledge!: Knowledge
  #departure!: Departure
  #driver!: Driver
  #quarantine!: Quarantine
  #operations!: OperationService
  #members!: Membership
  #door!: DeviceDoor
  #bridge: Bridge | null = null
  #arrivals: Arrivals | null = null
  #mesh!: Mesh
  #neighbours!: Neighbours
  #broker: Broker | null = null
  #control: { close(): Promise<void> } | null = null
  #closing: Promise<void> | null = null
  #ended!: (ended: Ended) => void
  #failure: Ended = { code: null, reason: null }
  #listeners: readonly string[] = []
  #tls: TlsIdentity | null = null

  constructor(options: GatewayOptions, identity: Identity, parsed: ParsedProfile, lock: Lock) {
    this.#options = options
    this.#log = options.log
    this.#clock = options.clock ?? new SystemClock({ buildMs: BUILT_MS, probes: systemProbes(isClockTrusted()) })
    this.#identity = identity
    this.#lock = lock
    this.#parsed = parsed
    this.#profile = inForce(parsed)
    this.#peerId = peerIdOf(identity.keys.publicKey)
    this.#drafts = new Drafts(this.#peerId)
    this.#keyring = loadKeyring(options.dir)
    this.#incarnation = new Incarnation(options.dir, options.log)
    this.#clones = new Clones(options.log, (fields) => this.#door?.publishEvent('alert', fields))
    this.#enrolment = new Enrolment({
      dir: options.dir,
      identity,
      name: () => this.#name,
      log: options.log,
      onAdmitted: (chain, addresses) => void this.#admitted(chain, addresses),
    })
    const { meshId, rootPublicKey } = identity.mesh
    this.#authority = new MeshAuthority(meshId, rootPublicKey, identity.keys.publicKey, this.#verifier, (feed) =>
      this.#drafts.isDraft(feed),
    )
    this.closed = new Promise((resolve) => {
      this.#ended = resolve
    })
  }

  get peerId(): string {
    return this.#peerId
  }

  /** What the gateway does for its users. */
  get operations(): Operations {
    return this.#operations
  }

  async start(): Promise<void> {
    await this.#clock.check()
    await this.#openStore()
    this.#incarnation.choose(this.#store, this.#ownNotBefore())
    await this.#keepIncarnation()
    this.#makeMembership()
    this.#neighbours = this.#makeNeighbours()
    this.#startDriver()
    this.#makeServices()
    await this.#openBroker()
    this.#control = await createControlServer({ operations: this.#operations, dir: this.#options.dir, log: this.#log })
    await this.#members.publishOwn(this.#name)
    await this.#keys.step()
    await this.#held.release()
    await this.#door.start(this.#broker as Broker)
    if (this.#bridge) this.#arrivals = this.#startArrivals(this.#bridge, this.#broker as Broker)
    const certificate = this.#tls?.fingerprint
    this.#log.info('ready', { peerId: this.#peerId, listeners: this.#listeners, certificate, version: VERSION })
    for (const warning of this.#warnings()) this.#log.warn('warning', { message: warning })
    this.#every(CHECK_MS, () => this.#clock.check())
    this.#every(HEALTH_MS, () => this.#door.publishHealth())
    this.#every(MARK_MS, () => this.#incarnation.mark(this.#store, this.#driver.view.clock))
    this.#every(RETENTION_MS, () => this.#trimSeries())
    this.#every(LOOK_MS, () => this.#neighbours.look())
    const soundness = new Soundness({
      store: this.#store,
      meshId: this.#identity.mesh.meshId,
      examined: (examined) => this.#driver.examined(examined),
      log: this.#log,
    })
    this.#every(GATEWAY_LIMITS.scrubMs, () => soundness.scrub())
    this.#every(REMOVALS_MS, async () => void (await this.#removals.step()))
    this.#every(KEYS_MS, async () => {
      await this.#keys.step()
      await this.#held.release()
    })
    if (!this.#enrolment.chain) return void this.#enrolment.ask()
    if (!this.#departure.isRemoved) this.#meetOthers()
    await this.#drafts.writeAgain(this.#store, this.#writer)
  }

  /** Reads the profile again and applies what can be applied while running; a broken one changes nothing. */
  async reload(): Promise<void> {
    try {
      await this.#apply(loadProfile(choiceOf(this.#options)))
    } catch (error) {
      this.#log.error('profile-refused', { message: sentenceOf(error) })
    }
  }

  /** Stops in the opposite order; what was acknowledged is on the disk and swept. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    this.#enrolment.stop()
    await this.#control?.close()
    await this.#arrivals?.stop()
    await this.#door?.stop()
    await this.#neighbours?.leave()
    this.#mesh?.closeAll()
    await this.#driver?.close()
    await this.#broker?.close()
    if (this.#store) {
      this.#incarnation.mark(this.#store, this.#driver?.view.clock ?? 0)
      await this.#quarantine?.close()
      await this.#store.close()
    }
    this.#lock.release()
    this.#ended(this.#failure)
  }

  async #openStore(): Promise<void> {
    const { storage } = this.#profile
    this.#store = await openStore({
      dir: join(this.#options.dir, 'data'),
      meshId: this.#identity.mesh.meshId,
      keys: this.#keyring,
      log: this.#log,
      flushesPerSecond: storage.flushesPerSecond,
      reserveFreeBytes: storage.reserveFreeBytes,
      maxBytes: storage.maxBytes,
      onFatal: (error) => this.#fail(error),
    })
    this.#drafts.load(this.#store)
    this.#store.knowOwn((feed) => feed.origin === this.#peerId && this.#incarnation.isOf(feed))
  }

  #startArrivals(bridge: Bridge, broker: Broker): Arrivals {
    const publish: Broker['publish'] = (message) => broker.publish(message)
    return new Arrivals({ store: this.#store, bridge, peerId: this.#peerId, publish, log: this.#log })
  }

  async #trimSeries(): Promise<void> {
    const { trust, wallMs } = this.#driver.time
    const nowMs = trust > 0 ? wallMs : null
    const batches = await trimSeries(this.#store, (name) => this.#retentionOf(name), nowMs)
    if (batches > 0) this.#log.info('series-trimmed', { batches })
  }

  #retentionOf(name: string): Retention {
    const isBridged = name === BRIDGE_COLLECTION && !this.#profile.collections.has(name)
    if (isBridged) return { ageMs: this.#bridge?.keepMs ?? CARRIED_MS, bytes: null }
    return collectionOf(this.#profile, name)?.retain ?? KEEP_ALL
  }

  /** The store is of no more use: stop, and let whoever supervises the process start it anew. */
  #fail(error: MarramError): void {
    this.#log.error('store-failed', { code: error.code, message: error.message })
    const code = error.code === 'storage-full' ? 'storage-full' : 'storage-io'
    this.#failure = { code, reason: error.message }
    void this.close()
  }

  async #keepIncarnation(): Promise<void> {
    await this.#incarnation.keep(this.#store, this.#enrolment.chain ? [] : [this.#drafts.add(this.#incarnation.id)])
  }

  /** Our batches must be stamped after our admission. */
  #ownNotBefore(): number {
    const { chain } = this.#enrolment
    const admitted = chain && this.#authority.admit(chain)
    if (chain === null) return 0
    if (admitted && equal(admitted.capability.subject, this.#identity.keys.publicKey))
      return admitted.capability.notBefore
    throw new MarramError(
      'storage-damaged',
      `Cannot start in "${this.#options.dir}": the key in identity/device.json is not the one that was admitted to the mesh, restore it from a copy or join anew in another directory`,
    )
  }

  /** Who belongs, as documents say it; what they say as soon as they change. */
  #makeMembership(): void {
    const { meshId } = this.#identity.mesh
    this.#departure = new Departure({
      store: this.#store,
      authority: this.#authority,
      meshId,
      peerId: this.#peerId,
      verify: (...signed) => this.#verifier.verify(...signed),
      log: this.#log,
      onRemoved: ({ reason, by }) => {
        this.#door?.publishEvent('alert', { alert: 'removed', reason, by })
        this.#mesh?.closeAll()
        void this.#neighbours?.leave()
      },
    })
    this.#removals = new Removals({
      store: this.#store,
      writer: this.#writer,
      peerId: this.#peerId,
      members: () => new Set([...this.#authority.members.all()].map(({ subject }) => peerIdOf(subject))),
      isRemoved: (origin) => this.#authority.isRemoved(origin),
      isAdministrator: (origin) => this.#authority.isAdministrator(origin),
      isClosed: (origin) => this.#authority.isClosed(origin),
      isSealed: (feed) => this.#authority.sealOf(feed) < Number.POSITIVE_INFINITY,
      keeps: (feed) => this.#rules().keeps(feed.descriptor),
      keepsAll: () => this.#rules().keeps(ANYWHERE),
      warrant: (origin) => this.#rootSigner()?.sign(warrantBytes(meshId, origin)) ?? null,
    })
    this.#knowledge = new Knowledge(this.#store, this.#authority, this.#removals, {
      authorityChanged: () => this.#authorityChanged(),
      closed: (closing) => {
        if (closing.origin === this.#peerId) this.#departure.leave(closing)
        else this.#mesh?.closePeer(closing.origin, 'it was removed from the mesh')
      },
      forked: (proof) => this.#clones.proven(proof),
    })
    this.#knowledge.load()
    this.#departure.load()
    this.#keys = this.#makeKeys()
    this.#keys.load()
    this.#store.subscribe((change) => {
      this.#knowledge.learn(change)
      this.#keys.learn(change)
      if (!isSystemName(change.collection) && this.#isShown(change)) this.#door?.publishChange(change)
    })
  }

  #isShown(space: Space): boolean {
    const rules = this.#rules()
    return rules.keeps(space) && rules.isEncrypted(space.collection) === (space.isEncrypted ?? false)
  }

  #makeKeys(): CollectionKeyService {
    const declared = (): readonly string[] =>
      [...this.#profile.collections].filter(([, { encrypted }]) => encrypted).map(([name]) => name)
    return new CollectionKeyService({
      store: this.#store,
      writer: this.#writer,
      keyring: this.#keyring,
      save: () => saveKeyring(this.#options.dir, this.#keyring),
      meshId: this.#identity.mesh.meshId,
      peerId: this.#peerId,
      linkSecretKey: this.#identity.keys.linkSecretKey,
      declared,
      isDeclared: (name) => this.#profile.collections.get(name)?.encrypted ?? null,
      isAdministrator: () => this.#belongs && this.#authority.isAdministrator(this.#peerId),
      readersOf: (name) => this.#readersOf(name),
      nowMs: () => (this.#driver.time.trust > 0 ? this.#driver.time.wallMs : null),
      onKeys: () => this.#unlock(),
      log: this.#log,
    })
  }

  #readersOf(collection: string): { readonly peerId: string; readonly linkKey: Uint8Array }[] {
    const { trust, wallMs } = this.#driver.time
    const labels = this.#profile.collections.get(collection)?.readers ?? []
    const hlc = trust > 0 ? Math.max(hlcFromMs(wallMs), this.#driver.view.clock) : null
    return readersOf(this.#authority.members.all(), collection, labels, hlc)
      .map(({ subject, linkKey }) => ({ peerId: peerIdOf(subject), linkKey }))
      .filter(({ peerId }) => !this.#authority.isClosed(peerId))
  }

  /** What waited for a key is shown. */
  async #unlock(): Promise<void> {
    for (const { feed, seq } of await this.#store.unlock()) {
      const { collection } = feed.descriptor
      this.#quarantine?.addBatch({ feed: hex(feed.id), origin: feed.origin, collection, seq, why: 'unreadable' })
    }
    this.#driver?.authorityChanged()
    await this.#held?.release()
  }

  /** Who may not write there waits for nothing. */
  async #hold(write: HeldWrite): Promise<void> {
    this.#checkRight(write.collection, this.#rules().partitionOf(write.collection))
    await this.#held.hold(write)
  }

  /** What was written before there was a key. */
  async #writeHeld({ collection, key, fields }: HeldWrite): Promise<void> {
    if (fields !== null) await this.#operations.put(collection, key, fields)
    else if (this.#operations.get(collection, key)) await this.#operations.delete(collection, key)
  }

  async #remove(origin: string, { reason, since, now }: RemovalOptions): Promise<void> {
    const sinceMs = timeOf('since', since)
    if (sinceMs !== null && reason === 'retire')
      throw new MarramError(
        'bad-request',
        `Cannot retire "${origin}" since a time: nothing of a lost gateway is void, revoke it`,
      )
    await this.#removals.remove(origin, {
      reason,
      since: sinceMs === null ? null : hlcFromMs(sinceMs),
      isHasty: now === true,
    })
    await this.#removals.step()
  }

  #rootSigner(): Signer | null {
    const secretKey = loadRootKey(this.#options.dir)
    return secretKey && createSigner(secretKey)
  }

  #startDriver(): void {
    this.#keptReadable = this.#readable
    const { keys, mesh } = this.#identity
    const signer = createSigner(keys.secretKey)
    const { batch } = this.#profile.sync
    this.#driver = new Driver({
      engine: {
        meshId: mesh.meshId,
        peerId: this.#peerId,
        publicKey: keys.publicKey,
        incarnation: this.#incarnation.bytes,
        clockFloor: this.#incarnation.clockFloor,
        notBeforeMs: BUILT_MS,
        name: this.#name,
        version: VERSION,
        batchDelayMs: batch.maxDelayMs,
        batchOpsMax: batch.maxOps,
        interest: this.#profile.interest,
        history: this.#profile.sync.history,
        flow: { priority: this.#profile.sync.priority, budget: this.#profile.sync.budget },
      },
      store: this.#store,
      clock: this.#clock,
      authority: this.#authority,
      keys: {
        of: (feed, epoch) => this.#keyring.of(feed, epoch),
        isEncrypted: (name) => this.#keys.isEncrypted(name),
        current: (feed) => this.#keys.current(feed),
      },
      sign: (message) => signer.sign(message),
      verify: (publicKey, message, signature) => this.#verifier.verify(publicKey, message, signature),
      examine: (place) => examinePlace(this.#store, mesh.meshId, place),
      log: this.#log,
      onEvent: (name, fields) => this.#onEvent(name, fields),
    })
    this.#mesh = new Mesh({
      keys,
      peerId: this.#peerId,
      meshId: mesh.meshId,
      chain: () => this.#enrolment.chain ?? [],
      admit: (chain) => this.#admitLinked(chain),
      farewell: (peerId) => this.#departure.evidenceFor(peerId),
      candidates: this.#neighbours.candidates,
      onRemember: () => this.#neighbours.remember(),
      isReachable: (peerId) => this.#neighbours.isReachable(peerId),
      surplus: () => this.#neighbours.surplus(),
      relays: this.#profile.mesh.relays.map((address) => ({
        address,
        login: () => readRelayLogin(this.#pathOf(this.#profile.mesh.relayLogins), formatAddress(address)),
      })),
      random: Math.random,
      linksMax: this.#profile.mesh.links.max,
      handler: this.#driver,
      enroller: (request) => this.#members.admit(request),
      log: this.#log,
      monotonicMs: () => performance.now(),
    })
    this.#driver.start(this.#mesh)
  }

  #meetOthers(): void {
    this.#neighbours.join(this.#bootstrap())
    this.#mesh.start()
  }

  #makeNeighbours(): Neighbours {
    const { mesh, node } = this.#profile
    const { keys } = this.#identity
    const signer = createSigner(keys.secretKey)
    return new Neighbours({
      meshId: this.#identity.mesh.meshId,
      peerId: this.#peerId,
      publicKey: keys.publicKey,
      sign: (message) => signer.sign(message),
      verify: (...signed) => this.#verifier.verify(...signed),
      isMember: (peerId) => this.#authority.chainOf(peerId).length > 0 && !this.#authority.isClosed(peerId),
      hlc: () => this.#driver.view.clock,
      ownAddresses: () => this.#ownAddresses(),
      send: (peerId, frame) => void this.#mesh.sendTo(peerId, frame),
      onPartition: ({ name, ...fields }) => this.#tellOfPartition(name, fields),
      sources: mesh.discovery,
      links: mesh.links,
      store: this.#store,
      isRemoved: (peerId) => this.#authority.isClosed(peerId),
      onLearned: () => {
        if (this.#belongs) this.#mesh.dial()
      },
      mdns: (onHint) =>
        new Mdns({
          network: new UdpNetwork(this.#log),
          mesh8: mesh8(this.#identity.mesh.meshId),
          peerId: this.#peerId,
          cell: node.cell,
          listener: announcedListener(this.#listeners),
          onHint,
          isSeeking: () => this.#mesh.figures().length < mesh.links.min,
          random: Math.random,
          log: this.#log,
          monotonicMs: () => performance.now(),
        }),
      random: Math.random,
      log: this.#log,
      monotonicMs: () => performance.now(),
    })
  }

  /** Where others can dial this gateway, over one listener. */
  #ownAddresses(): string[] {
    const listener = announcedListener(this.#listeners)
    const reachable = listener === null ? [] : reachableAddresses([formatAddress(listener)])
    return reachable
      .filter((address) => announcedListener([address]) !== null)
      .slice(0, PROTOCOL_LIMITS.addressesPerRecordMax)
  }

  #tellOfPartition(name: PartitionChange['name'], fields: Omit<PartitionChange, 'name'>): void {
    this.#log.warn(name, fields)
    this.#door?.publishEvent(name, fields)
  }

  #admitLinked(chain: readonly Uint8Array[]): Capability | null {
    const admitted = this.#authority.admit(chain)
    if (admitted?.isNew) this.#driver.authorityChanged()
    return admitted?.capability ?? null
  }

  #makeServices(): void {
    this.#quarantine = new Quarantine({
      store: this.#store,
      wallMs: () => this.#clock.wallMs(),
      holdings: () => this.#driver.view.holdings,
      onError: (error) => this.#log.warn('quarantine-not-written', { message: sentenceOf(error) }),
    })
    const { keys, mesh } = this.#identity
    const signer = createSigner(keys.secretKey)
    this.#members = new Membership({
      store: this.#store,
      writer: this.#writer,
      meshId: mesh.meshId,
      meshName: mesh.name,
      rootPublicKey: mesh.rootPublicKey,
      chain: () => this.#enrolment.chain ?? [],
      isAdministrator: () => this.#authority.isAdministrator(this.#peerId),
      publicKey: keys.publicKey,
      sign: (message) => signer.sign(message),
      root: () => this.#rootSigner(),
      wallMs: () => this.#driver.time.wallMs,
      hlc: () => this.#driver.view.clock,
      addresses: () => reachableAddresses(this.#listeners),
      member: (peerId) => this.#memberOf(peerId),
      administrators: () => this.#neighbours.addressesOf((peerId) => this.#authority.isAdministrator(peerId)),
    })
    this.#operations = new OperationService(
      {
        store: this.#store,
        writer: {
          write: async (collection, partition, ops) => {
            this.#checkRight(collection, partition)
            return this.#writer.write(collection, partition, ops)
          },
        },
        confirmer: {
          checkWait: (count, place) => this.#checkWait(count, place),
          confirm: (...wait) => this.#driver.confirm(...wait),
        },
        rules: () => this.#rules(),
        instance: hex(this.#store.instance),
        isValid: (feedKey, seq) => isBatchValid(this.#store, mesh.meshId, this.#verifier, feedKey, seq),
      },
      {
        status: () => statusOf(this.#observe()),
        peers: () => peersOf(this.#observe()),
        members: () => this.#memberViews(),
        backup: () => this.#backup(),
        quarantine: () => this.#quarantine.list(),
        remove: (peerId, options) => this.#remove(peerId, options),
        grant: (peerId, options) => this.#members.grant(peerId, options),
        invite: (options) => this.#members.invite(options),
        profile: () => fillDefaults(this.#parsed.profile),
        setProfile: (profile) => this.#setProfile(profile),
      },
    )
    this.#held = new HeldWrites({
      store: this.#store,
      canWrite: (collection) => this.#keys.canWrite(collection),
      write: (write) => this.#writeHeld(write),
      log: this.#log,
    })
    const { bridge } = this.#profile
    if (bridge.length > 0) this.#bridge = new Bridge(bridge, this.#writer)
    this.#door = createDeviceDoor({
      profile: this.#profile,
      operations: this.#operations,
      bridge: this.#bridge,
      holder: {
        isHolding: (collection) => this.#held.isHolding(collection),
        hold: (write) => this.#hold(write),
      },
      putAside: ({ topic, source, code, message }) =>
        this.#quarantine.add({ kind: 'message', topic, source, why: code, message }),
      log: this.#log,
    })
  }

  async *#backup(): AsyncGenerator<Uint8Array> {
    const meshId = hex(this.#identity.mesh.meshId)
    const snapshot = await this.#store.snapshot()
    const hlc = Math.max(this.#driver.view.clock, this.#incarnation.clockFloor)
    yield* encodeBackup({ meshId, hlc, identity: {} }, snapshot.rows())
  }

  #memberOf(peerId: string): Capability | null {
    if (this.#authority.isClosed(peerId)) return null
    return [...this.#authority.members.all()].find(({ subject }) => peerIdOf(subject) === peerId) ?? null
  }

  /** A write without the right to it would be refused by everyone, and all that comes after it in the same feed. */
  #checkRight(collection: string, partition: string): void {
    if (!this.#belongs) return
    const { publicKey } = this.#identity.keys
    // Whatever the clock says, our stamps are behind our admission.
    const since = Math.min(...this.#authority.members.capabilitiesOf(publicKey).map(({ notBefore }) => notBefore))
    const hlc = Math.max(hlcFromMs(this.#driver.time.wallMs), since + 1)
    if (this.#authority.members.permits(publicKey, RIGHT_WRITE, { collection, partition }, hlc)) return
    const where = partition === '' ? collection : `${collection}/${partition}`
    throw new MarramError(
      'not-permitted',
      `Cannot write "${where}": this gateway has no right to it now, an administrator may give it one with "marram grant"`,
    )
  }

  /** Made anew with the profile or this gateway's rights: asked for with every change of a document. */
  #rules(): CollectionRules {
    const profile = this.#profile
    const readable = this.#readable
    if (this.#ruled?.profile !== profile || this.#ruled.readable !== readable)
      this.#ruled = { profile, readable, rules: rulesOf(profile, readable, this.#encryption) }
    return this.#ruled.rules
  }

  readonly #encryption = {
    isEncrypted: (name: string): boolean => this.#keys.isEncrypted(name),
    hasKey: (name: string): boolean => this.#keyring.has(name),
  }

  /** Patterns of what this gateway may read or pass on. */
  get #readable(): readonly string[] {
    return this.#enrolment.chain ? this.#authority.readable(this.#peerId) : EVERYTHING
  }

  /** Waiting for more gateways than keep it would be for ever. */
  #checkWait(count: number, place: Place): void {
    const others = [...this.#authority.members.all()].map(({ subject }) => peerIdOf(subject))
    const present = new Set(others.filter((peerId) => peerId !== this.#peerId && !this.#authority.isClosed(peerId)))
    const { length } = [...present].filter((peerId) => this.#driver.isKeptBy(peerId, place))
    if (count > length) {
      const keepers = length === present.size ? '' : `, of which ${length} keep "${place.collection}"`
      const sentence = `Cannot wait for ${count} other gateways: the mesh has ${present.size}${keepers}, nothing was written`
      throw new MarramError('bad-request', sentence)
    }
    if (this.#driver.hasRoomToWait) return
    const sentence = 'Cannot wait for other gateways: too many writes wait for them already, nothing was written'
    throw new MarramError('overloaded', sentence)
  }

  async #openBroker(): Promise<void> {
    const { listen, anonymous, maxPacketBytes, sessions } = this.#profile.broker
    if (listen.some(({ protocol }) => protocol === 'mqtts')) this.#tls = await this.#tlsIdentity()
    this.#broker = await createBroker({
      listen,
      tls: this.#tls,
      mesh8: mesh8(this.#identity.mesh.meshId),
      peerId: this.#peerId,
      users: usersOf(this.#pathOf(this.#profile.broker.users), this.#log),
      anonymous,
      maxPacket: maxPacketBytes,
      sessions,
      store: this.#store,
      handler: this.#door,
      // Enrolment makes a new mesh behind the same broker.
      gate: {
        admit: (login) => this.#mesh.gate.admit(login),
        receive: (from, payload) => this.#mesh.gate.receive(from, payload),
        gone: (from) => this.#mesh.gate.gone(from),
      },
      log: this.#log,
    })
    this.#listeners = this.#broker.listeners()
  }

  #tlsIdentity(): Promise<TlsIdentity> {
    return tlsIdentity({
      file: tlsFileOf(this.#options.dir),
      peerId: this.#peerId,
      names: namesOfThisMachine(this.#peerId),
      onDamaged: (reason) => this.#log.error('certificate-made-anew', { reason }),
    })
  }

  /**
   * From now on we write as a member: in a new incarnation, stamped after our admission. What was written before is
   * written again, so that the others get it; nobody would take the drafts themselves.
   */
  async #admitted(chain: readonly Uint8Array[], addresses: readonly string[]): Promise<void> {
    await this.#changeDriver(() => this.#becomeMember(chain, addresses))
    this.#log.info('enrolled', { peerId: this.#peerId, mesh: this.#identity.mesh.name })
    this.#meetOthers()
    await this.#drafts.writeAgain(this.#store, this.#writer)
  }

  async #becomeMember(chain: readonly Uint8Array[], addresses: readonly string[]): Promise<void> {
    this.#mesh.closeAll()
    await this.#driver.close()
    this.#enrolment.accept(chain, addresses)
    this.#incarnation.renew(Math.max(this.#driver.view.clock, this.#ownNotBefore()))
    await this.#keepIncarnation()
    this.#enrolment.save()
    this.#startDriver()
  }

  async #setProfile(profile: unknown): Promise<{ revision: number; restart: readonly string[] }> {
    const parsed = checkedProfile(profile, 'profile')
    keepProfile(this.#options.dir, parsed.profile)
    return { revision: resolveProfile(parsed.profile).revision, restart: await this.#apply(parsed) }
  }

  /** Applies what can be applied while running; returns the keys that need a restart. */
  async #apply(parsed: ParsedProfile): Promise<readonly string[]> {
    const before = this.#profile.interest
    const plan = describeReload(this.#parsed.profile, parsed.profile)
    this.#parsed = parsed
    this.#profile = inForce(parsed)
    this.#door.reload(this.#profile)
    this.#keys.plan()
    if (this.#belongs) this.#neighbours.setBootstrap(this.#bootstrap())
    this.#log.info('profile-applied', { id: this.#profile.id, revision: this.#profile.revision, ...plan })
    if (!isSameSet(before, this.#profile.interest)) await this.#changeDriver(() => this.#keepAnew())
    return plan.restart
  }

  /** What this gateway itself may read or pass on counts with the next engine. */
  #authorityChanged(): void {
    this.#driver?.authorityChanged()
    if (this.#driver) this.#keys.plan()
    const isOther = (): boolean => this.#driver !== undefined && !isSameSet(this.#keptReadable, this.#readable)
    if (isOther()) void this.#changeDriver(async () => (isOther() ? this.#keepAnew() : undefined))
  }

  /** What is kept never changes under way: the neighbours are greeted anew. */
  async #keepAnew(): Promise<void> {
    if (this.#closing) return
    this.#mesh.closeAll()
    await this.#driver.close()
    this.#incarnation.passed(this.#driver.view.clock)
    this.#startDriver()
    if (this.#belongs) this.#neighbours.join(this.#bootstrap())
    this.#log.info('interest-changed', { interest: this.#profile.interest })
  }

  /** One change of the driver after the other; writes wait for its end. */
  #changeDriver(change: () => Promise<void>): Promise<void> {
    const before = this.#isChanging ?? Promise.resolve()
    const changing: Promise<void> = before
      .catch(() => {})
      .then(change)
      .finally(() => {
        if (this.#isChanging === changing) this.#isChanging = null
      })
    this.#isChanging = changing
    return changing
  }

  #onEvent(name: EngineEvent, fields: { readonly [name: string]: unknown }): void {
    if (name === 'farewell') return this.#departure.heard(fields['evidence'] as readonly Uint8Array[])
    const peerId = String(fields['peerId'])
    if (name === 'exchange') return this.#neighbours.hear(peerId, fields['records'] as readonly Uint8Array[])
    if (name === 'peer-up') this.#neighbours.peerUp(peerId)
    if (name === 'peer-down') this.#neighbours.peerDown(peerId)
    this.#log[QUIET_EVENTS.has(name) ? 'info' : 'warn'](name, fields)
    if (name === 'batch-refused') this.#quarantine?.addBatch(fields)
    if (name === 'batch-unreadable') this.#quarantine?.addBatch({ ...fields, why: 'unreadable', detail: fields['why'] })
    if (name === 'incarnation-lost') this.#loseIncarnation(String(fields['why']))
    if (name === 'peer-up' || name === 'peer-down') this.#door?.publishEvent(name, fields)
  }

  /**
   * Somebody else has written as this gateway, or it as somebody else: it goes on under a new incarnation, and what was
   * voided of its writes is written again.
   */
  #loseIncarnation(why: string): void {
    this.#clones.lost(this.#incarnation.id, why)
    const renew = (): void => void this.#changeDriver(() => this.#renewIncarnation(why))
    const waitMs = this.#incarnation.waitMs(performance.now())
    if (waitMs === 0) renew()
    else this.#timers.push(setTimeout(renew, waitMs))
  }

  async #renewIncarnation(why: string): Promise<void> {
    if (this.#closing) return
    this.#incarnation.renewedAt(performance.now())
    this.#mesh.closeAll()
    await this.#driver.close()
    this.#incarnation.renew(this.#driver.view.clock)
    await this.#keepIncarnation()
    this.#startDriver()
    if (!this.#departure.isRemoved) this.#meetOthers()
    this.#log.warn('new-incarnation', { incarnation: this.#incarnation.id, why })
  }

  #observe(): Observed {
    const figures = new Map(this.#mesh.figures().map((figure) => [figure.link, figure]))
    const view = this.#driver.view
    const { time } = this.#driver
    const links: ObservedLink[] = view.links.flatMap((link) => {
      const figure = figures.get(link.link)
      return figure ? [{ ...link, ...figure }] : []
    })
    return {
      peerId: this.#peerId,
      meshId: hex(this.#identity.mesh.meshId),
      meshIdBytes: this.#identity.mesh.meshId,
      mesh: this.#identity.mesh.name,
      name: this.#name,
      version: VERSION,
      isEnrolled: this.#belongs,
      enrolment: this.#enrolment.membership.refusal,
      startedAt: this.#startedAt,
      wallMs: time.wallMs,
      profile: { id: this.#profile.id, revision: this.#profile.revision },
      interest: this.#profile.interest,
      listeners: this.#listeners,
      certificate: this.#tls?.fingerprint ?? null,
      clock: {
        class: time.trust,
        source: this.#clockSource(time),
        offsetMs: time.wallMs - this.#clock.wallMs(),
        hlc: view.clock,
      },
      waitingWrites: view.waitingWrites,
      broker: this.#broker?.status() ?? null,
      collections: this.#operations.summaries(),
      encryption: {
        collections: () => this.#keys.collections(),
        newest: (name) => this.#keys.newest(name),
        hasKey: (name, epoch) => this.#keyring.keyOf(name, epoch) !== null,
        held: (name) => this.#held.countOf(name),
      },
      store: this.#store,
      links,
      addresses: this.#neighbours.addresses(),
      isReachable: (peerId) => this.#neighbours.isReachable(peerId),
      mdns: this.#neighbours.mdnsFigures,
      totals: this.#mesh.totals(),
      members: this.#authority.members.all(),
      holdings: view.holdings,
      unconfirmed: view.unconfirmed,
      budget: view.budget,
      quarantine: this.#quarantine.list(),
      warnings: this.#warnings(),
    }
  }

  #memberViews(): MemberView[] {
    const { trust, wallMs } = this.#driver.time
    const { silentAfterMs } = this.#profile.mesh
    const self = { peerId: this.#peerId, nowMs: wallMs }
    const heardMs = heardOf(this.#store.heads(), this.#driver.view.holdings, self)
    const hearing = { heardMs, nowMs: trust > 0 ? wallMs : null, silentAfterMs }
    return membersOf(this.#authority.members.all(), this.#removals.states(), hearing)
  }

  #warnings(): string[] {
    const feeds = [...this.#store.heads()].map(({ feed }) => feed)
    const clock = this.#driver.time.trust === 0 ? NO_CLOCK : null
    const all = [clock, this.#neighbours.warning, this.#departure.warning, this.#enrolment.warning]
    const missing = missingWarnings(this.#memberViews())
    const standing = all.filter((warning) => warning !== null)
    const diverged = this.#driver.view.diverged.filter(({ isLasting }) => isLasting)
    return [
      ...this.#parsed.warnings,
      ...this.#clones.warnings,
      ...kindWarnings(this.#profile, feeds),
      ...standing,
      ...missing,
      ...diverged.map(({ peerId, collection }) => DIVERGED.replace('{c}', collection).replace('{p}', peerId)),
    ]
  }

  /** The mesh has let this gateway in and not out again. */
  get #belongs(): boolean {
    return this.#enrolment.chain !== null && !this.#departure.isRemoved
  }

  #clockSource({ source }: Told): ClockStatus['source'] {
    return source === 'system' ? (this.#clock.source ?? 'kept') : source
  }

  get #name(): string {
    return (this.#profile.node.name ?? hostname()).slice(0, 63)
  }

  /** What the profile lists, and where it lists nothing, where we were admitted. */
  #bootstrap(): readonly string[] {
    const listed = this.#profile.mesh.bootstrap.map(formatAddress)
    return listed.length > 0 ? listed : this.#enrolment.membership.addresses
  }

  #pathOf({ from, name }: Credential): string {
    return resolve(from === 'cred' ? (process.env['CREDENTIALS_DIRECTORY'] ?? '') : this.#options.dir, name)
  }

  #every(ms: number, act: () => void | Promise<void>): void {
    const run = async (): Promise<void> => {
      try {
        await act()
      } catch (error) {
        this.#log.warn('periodic-task-failed', { message: sentenceOf(error) })
      }
    }
    this.#timers.push(setInterval(() => void run(), ms).unref())
  }
}

function isSameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.every((item) => b.includes(item)) && b.every((item) => a.includes(item))
}

/** Whoever has rules for plain topics keeps what they carry, whatever else it keeps. */
function inForce({ profile }: ParsedProfile): ResolvedProfile {
  const resolved = resolveProfile(profile)
  if (resolved.bridge.length === 0) return resolved
  return { ...resolved, interest: [...resolved.interest, BRIDGE_COLLECTION] }
}
