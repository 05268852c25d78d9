import { join } from 'node:path'
import { hex } from '../base/bytes.ts'
import { codeOf, MarramError, sentenceOf, type ErrorCode } from '../base/errors.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import { CHECK_MS, SystemClock, systemProbes } from '../clock/system.ts'
import { peerIdOf } from '../crypto/identity.ts'
import { createSigner, createVerifier } from '../crypto/signature.ts'
import type { DeviceDoor } from '../devices/door.ts'
import { MeshAuthority } from '../driver/authority.ts'
import { Driver } from '../driver/driver.ts'
import { createControlServer } from '../http/server.ts'
import type { Identity } from '../identity/identity.ts'
import type { Lock } from '../identity/lock.ts'
import { loadStoreKey } from '../identity/store-key.ts'
import { reachableAddresses } from '../mesh/reachable.ts'
import { isSystemName } from '../model/names.ts'
import { Drafts } from '../operations/drafts.ts'
import { isBatchValid } from '../operations/evidence.ts'
import { Quarantine } from '../operations/quarantine.ts'
import { OperationService } from '../operations/service.ts'
import type { Log } from '../ports/log.ts'
import type { HeldWrite, Operations } from '../ports/operations.ts'
import type { Change } from '../ports/store.ts'
import { fillDefaults } from '../profile/defaults.ts'
import type { ParsedProfile } from '../profile/parse.ts'
import type { ResolvedProfile } from '../profile/resolved.ts'
import { encodeBackup } from '../store/backup-format.ts'
import type { DiskStore } from '../store/disk-store.ts'
import { openStore } from '../store/open.ts'
import { examinePlace } from '../store/verify.ts'
import type { EngineEvent } from '../sync/types.ts'
import { BUILT_MS, VERSION } from '../version.ts'
import { ClockRecovery } from './clock-recovery.ts'
import { Clones } from './clones.ts'
import { Devices } from './devices.ts'
import { Enrolment } from './enrolment.ts'
import { Incarnation } from './incarnation.ts'
import { Linking } from './linking.ts'
import { Members } from './members.ts'
import { PeriodicTasks } from './periodic.ts'
import { PrivateData } from './private-data.ts'
import { Replication } from './replication.ts'
import { Rights } from './rights.ts'
import { Rotation } from './rotation.ts'
import { Running } from './running.ts'
import { Settings } from './settings.ts'
import { Soundness } from './soundness.ts'
import { Succession } from './succession.ts'
import { Time } from './time.ts'
import { Trimming } from './trimming.ts'
import { Views } from './views.ts'

const QUIET_EVENTS: ReadonlySet<EngineEvent> = new Set<EngineEvent>([
  'peer-up',
  'peer-down',
  'resync',
  'compacted',
  'jumped',
  'left',
])

export interface GatewayOptions {
  /** The data directory. */
  readonly dir: string
  readonly identity: Identity
  readonly parsed: ParsedProfile
  /** Throws `bad-profile`. */
  readonly readAgain: () => ParsedProfile
  /** `PATH=VALUE` over whatever profile, as long as this one runs. */
  readonly set: readonly string[]
  /** Released when the gateway has stopped. */
  readonly lock: Lock
  readonly log: Log
  /** Instead of the system's. */
  readonly clock?: SystemClock
}

/** How a gateway ended by itself: see the exit codes of `run`. */
export interface Ended {
  readonly code: ErrorCode | null
  readonly reason: string | null
}

/** The reason of one that begins again under other keys. */
export const KEYS_REPLACED = 'keys-replaced'

const HEALTH_MS = 60_000
const MARK_MS = 3_600_000
const RETENTION_MS = 60_000
const REMOVALS_MS = 2_000
const LOOK_MS = 5_000
/** Keys are looked at whenever something changes; and now and then for what time alone changes. */
const KEYS_MS = 60_000

/** In a container the host keeps the clock right, and nothing in it says so. */
function isClockTrusted(): boolean {
  return process.env['MARRAM_TRUST_CLOCK'] === '1'
}

/** Builds a gateway from its rooms, starts them in order and stops them in the opposite one. */
export class Gateway {
  /** Resolves when the gateway has stopped, by `close` or by itself. */
  readonly closed: Promise<Ended>
  readonly #options: GatewayOptions
  readonly #log: Log
  readonly #identity: Identity
  readonly #peerId: string
  readonly #clock: SystemClock
  readonly #settings: Settings
  readonly #verifier = createVerifier()
  readonly #authority: MeshAuthority
  readonly #drafts: Drafts
  readonly #incarnation: Incarnation
  readonly #enrolment: Enrolment
  readonly #clones: Clones
  readonly #running: Running
  readonly #time: Time
  #linking!: Linking
  #succession!: Succession
  #clockRecovery!: ClockRecovery
  readonly #members: Members
  readonly #rights: Rights
  readonly #privateData: PrivateData
  readonly #tasks: PeriodicTasks
  #store!: DiskStore
  #replication!: Replication
  #trimming!: Trimming
  #quarantine: Quarantine | null = null
  #operations!: OperationService
  #views!: Views
  #devices: Devices | null = null
  #rotation!: Rotation
  #control: { close(): Promise<void> } | null = null
  #starting: Promise<void> = Promise.resolve()
  #closing: Promise<void> | null = null
  #ended!: (ended: Ended) => void
  #failure: Ended = { code: null, reason: null }

  constructor(options: GatewayOptions) {
    const { identity } = options
    this.#options = options
    this.#log = options.log
    this.#clock = options.clock ?? new SystemClock({ buildMs: BUILT_MS, probes: systemProbes(isClockTrusted()) })
    this.#identity = identity
    this.#settings = new Settings({ ...options, onApplied: (before) => this.#profileApplied(before) })
    this.#peerId = peerIdOf(identity.keys.publicKey)
    this.#drafts = new Drafts(this.#peerId, options.log)
    this.#incarnation = new Incarnation(options.dir, options.log)
    this.#clones = new Clones(options.log, (fields) => this.#devices?.door.publishEvent('alert', fields))
    this.#tasks = new PeriodicTasks(options.log)
    this.#enrolment = new Enrolment({
      dir: options.dir,
      identity,
      name: () => this.#settings.name,
      places: () => this.#linking.places,
      relays: () => this.#linking.relays,
      log: options.log,
      onAdmitted: (chain, addresses) => void this.#succession.admitted(chain, addresses),
    })
    const { meshId, rootPublicKey } = identity.mesh
    this.#authority = new MeshAuthority(meshId, rootPublicKey, identity.keys.publicKey, this.#verifier, (feed) =>
      this.#drafts.isDraft(feed),
    )
    this.#running = new Running({
      makeDriver: () => this.#makeDriver(),
      makeMesh: (driver) => this.#linking.makeMesh(driver),
      others: () => this.#rights.others(),
      onFailed: (error) => this.#fail(new MarramError(codeOf(error), sentenceOf(error), { cause: error })),
    })
    this.#time = new Time(this.#running)
    this.#rights = this.#makeRights()
    this.#members = this.#makeMembers()
    this.#privateData = this.#makePrivateData()
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

  start(): Promise<void> {
    this.#starting = this.#start()
    return this.#starting
  }

  async #start(): Promise<void> {
    await this.#clock.check()
    await this.#openStore()
    this.#members.load(this.#store)
    this.#incarnation.choose(this.#store, this.#members.ownNotBefore)
    this.#succession = this.#makeSuccession()
    await this.#succession.keepIncarnation()
    this.#privateData.load(this.#store)
    this.#rotation = this.#makeRotation()
    this.#store.subscribe((change) => this.#changed(change))
    this.#linking = this.#makeLinking()
    this.#clockRecovery = this.#makeClockRecovery()
    this.#replication = this.#makeReplication()
    this.#trimming = this.#makeTrimming()
    this.#running.start()
    const devices = this.#makeServices()
    await devices.open()
    this.#control = await createControlServer({ operations: this.#operations, dir: this.#options.dir, log: this.#log })
    await this.#members.membership.publishOwn(this.#settings.name)
    await this.#privateData.step()
    await devices.start()
    const { listeners, certificate } = devices
    this.#log.info('ready', { peerId: this.#peerId, listeners, certificate, version: VERSION })
    for (const warning of this.#views.warnings()) this.#log.warn('warning', { message: warning })
    this.#keepUp(devices.door)
    if (!this.#enrolment.chain) {
      this.#linking.seek()
      return void this.#enrolment.ask()
    }
    this.#linking.meet()
    await this.#drafts.writeAgain(this.#store, this.#running)
  }

  /** Reads the profile again and applies what can be applied while running; a broken one changes nothing, nor does any while it stops. */
  async reload(): Promise<void> {
    if (this.#closing) return
    try {
      await this.#settings.reload()
    } catch (error) {
      this.#log.error('profile-refused', { message: sentenceOf(error) })
    }
  }

  /** Stops in the opposite order; what was acknowledged is on the disk and swept. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  /** What fails of it keeps nothing else from being closed. */
  async #close(): Promise<void> {
    await this.#starting.catch(() => {})
    const steps: readonly (() => unknown)[] = [
      () => this.#tasks.stop(),
      () => this.#enrolment.stop(),
      () => this.#succession?.stop(),
      () => this.#control?.close(),
      () => this.#devices?.stop(),
      () => this.#running.endWrites(),
      () => this.#rotation?.finish(),
      () => this.#linking?.neighbours.leave(),
      () => this.#running.close(),
      () => this.#devices?.close(),
      () => this.#mark(),
      () => this.#quarantine?.close(),
      () => this.#store?.close(),
      () => this.#options.lock.release(),
    ]
    for (const step of steps) {
      try {
        await step()
      } catch (error) {
        this.#log.error('stop-incomplete', { message: sentenceOf(error) })
      }
    }
    this.#ended(this.#failure)
  }

  /** What is to be done now and then. */
  #keepUp(door: DeviceDoor): void {
    const tasks = this.#tasks
    const members = this.#members
    const soundness = new Soundness({
      store: this.#store,
      meshId: this.#identity.mesh.meshId,
      examined: (examined) => this.#running.driver.examined(examined),
      log: this.#log,
    })
    tasks.every(CHECK_MS, () => this.#clock.check())
    tasks.every(HEALTH_MS, () => door.publishHealth())
    tasks.every(MARK_MS, () => this.#mark())
    tasks.every(RETENTION_MS, () => this.#trimming.trim())
    void this.#trimming.trim()
    tasks.every(LOOK_MS, () => this.#linking.neighbours.look())
    tasks.every(LOOK_MS, () => this.#clockRecovery.step())
    tasks.every(LOOK_MS, () => members.grantAnew())
    tasks.every(LOOK_MS, () => members.lookAtEnds())
    tasks.every(LOOK_MS, () => this.#replication.look())
    tasks.every(GATEWAY_LIMITS.scrubMs, () => soundness.scrub())
    tasks.every(REMOVALS_MS, async () => void (await members.removals.step()))
    tasks.every(REMOVALS_MS, () => this.#rotation.step())
    tasks.every(REMOVALS_MS, () => members.passedJoins.step())
    tasks.every(KEYS_MS, () => this.#privateData.step())
  }

  #mark(): void {
    if (this.#running.isStarted) this.#incarnation.mark(this.#store, this.#time.hlc)
  }

  async #openStore(): Promise<void> {
    const { storage } = this.#settings.profile
    this.#store = await openStore({
      dir: join(this.#options.dir, 'data'),
      meshId: this.#identity.mesh.meshId,
      keys: this.#privateData.keyring,
      encryptionKey: loadStoreKey(this.#options.dir, storage),
      mayEncrypt: true,
      log: this.#log,
      flushesPerSecond: storage.flushesPerSecond,
      reserveFreeBytes: storage.reserveFreeBytes,
      maxBytes: storage.maxBytes,
      onFatal: (error) => this.#fail(error),
    })
    this.#drafts.load(this.#store)
    this.#store.knowOwn((feed) => feed.origin === this.#peerId && this.#incarnation.isOf(feed))
  }

  #changed(change: Change): void {
    this.#members.learn(change)
    this.#privateData.learn(change)
    if (!isSystemName(change.collection) && this.#rights.isShown(change)) this.#devices?.door.publishChange(change)
  }

  /** The store is of no more use: stop, and let whoever supervises the process start it anew. */
  #fail(error: MarramError): void {
    this.#log.error('store-failed', { code: error.code, message: error.message })
    const code = error.code === 'storage-full' ? 'storage-full' : 'storage-io'
    this.#failure = { code, reason: error.message }
    void this.close()
  }

  #makeRights(): Rights {
    return new Rights({
      authority: this.#authority,
      publicKey: this.#identity.keys.publicKey,
      profile: () => this.#settings.profile,
      encryption: {
        isEncrypted: (name) => this.#privateData.isEncrypted(name),
        hasKey: (name) => this.#privateData.hasKey(name),
      },
      isEnrolled: () => this.#enrolment.chain !== null,
      belongs: () => this.#members.belongs,
      time: this.#time,
    })
  }

  #makeMembers(): Members {
    return new Members({
      dir: this.#options.dir,
      identity: this.#identity,
      authority: this.#authority,
      verifier: this.#verifier,
      enrolment: this.#enrolment,
      rights: this.#rights,
      writer: this.#running,
      time: this.#time,
      addresses: () => reachableAddresses(this.#devices?.listeners ?? []),
      administrators: () => this.#linking.neighbours.addressesOf((peerId) => this.#authority.isAdministrator(peerId)),
      onChanged: () => this.#authorityChanged(),
      onRemoved: (reason, by) => {
        this.#devices?.door.publishEvent('alert', { alert: 'removed', reason, by })
        this.#running.closeLinks()
        void this.#linking?.neighbours.leave()
      },
      onClosed: (peerId) => {
        if (this.#running.isStarted) this.#running.mesh.closePeer(peerId, 'it was removed from the mesh')
      },
      onEnded: (peerId) => {
        if (peerId === this.#peerId) this.#devices?.door.publishEvent('alert', { alert: 'membership-ended' })
        else this.#running.mesh.closePeer(peerId, 'its membership has ended')
      },
      onForked: (proof) => this.#clones.proven(proof),
      log: this.#log,
    })
  }

  #makeRotation(): Rotation {
    const { rotations, membership } = this.#members
    return new Rotation({
      dir: this.#options.dir,
      authority: this.#authority,
      rotations,
      membership,
      belongs: () => this.#members.belongs,
      isClockRight: () => !this.#time.isAhead,
      isHandedOver: () => this.#isHandedOver(),
      isClosed: (peerId) => this.#authority.isClosed(peerId),
      onAdmitted: () => {
        // What ends it already counts, whatever comes of the step that was under way.
        if (this.#closing) return
        this.#failure = { code: null, reason: KEYS_REPLACED }
        void this.close()
      },
      log: this.#log,
      monotonicMs: () => performance.now(),
    })
  }

  /** Of what is kept under whatever keys, the next engine sees to it that others get it. */
  #isHandedOver(): boolean {
    const rules = this.#rights.rules()
    return this.#running.driver.view.unconfirmed.every(({ feedKey }) => {
      const feed = this.#store.head(feedKey)?.feed
      return feed === undefined || feed.origin !== this.#peerId || rules.keeps(feed.descriptor)
    })
  }

  #makePrivateData(): PrivateData {
    return new PrivateData({
      dir: this.#options.dir,
      identity: this.#identity,
      peerId: this.#peerId,
      authority: this.#authority,
      writer: this.#running,
      profile: () => this.#settings.profile,
      isAdministrator: () => this.#members.isAdministrator,
      time: this.#time,
      checkRight: (name) => this.#rights.checkWrite(name, this.#rights.rules().partitionOf(name)),
      write: (write) => this.#writeHeld(write),
      quarantine: () => this.#quarantine,
      onUnlocked: () => {
        if (this.#running.isStarted) this.#running.driver.authorityChanged()
      },
      log: this.#log,
    })
  }

  async #writeHeld({ collection, key, fields }: HeldWrite): Promise<void> {
    if (fields !== null) await this.#operations.put(collection, key, fields)
    else if (this.#operations.get(collection, key)) await this.#operations.delete(collection, key)
  }

  #makeDriver(): Driver {
    this.#succession.begun()
    this.#members.engineBegins()
    const { keys, mesh } = this.#identity
    const signer = createSigner(keys.secretKey)
    const { batch, history, priority, budget } = this.#settings.profile.sync
    return new Driver({
      engine: {
        meshId: mesh.meshId,
        peerId: this.#peerId,
        publicKey: keys.publicKey,
        incarnation: this.#incarnation.bytes,
        clockFloor: this.#incarnation.clockFloor,
        notBeforeMs: BUILT_MS,
        name: this.#settings.name,
        version: VERSION,
        batchDelayMs: batch.maxDelayMs,
        batchOpsMax: batch.maxOps,
        interest: this.#settings.profile.interest,
        history,
        flow: { priority, budget },
      },
      store: this.#store,
      clock: this.#clock,
      authority: this.#authority,
      keys: this.#privateData.keys,
      sign: (message) => signer.sign(message),
      verify: (publicKey, message, signature) => this.#verifier.verify(publicKey, message, signature),
      examine: (place) => examinePlace(this.#store, mesh.meshId, place),
      log: this.#log,
      onEvent: (name, fields) => this.#onEvent(name, fields),
    })
  }

  #makeLinking(): Linking {
    return new Linking({
      identity: this.#identity,
      authority: this.#authority,
      verifier: this.#verifier,
      members: this.#members,
      running: this.#running,
      store: this.#store,
      profile: () => this.#settings.profile,
      listeners: () => this.#devices?.listeners ?? [],
      isSought: (peerId) => this.#replication.isSought(peerId),
      relayLoginsFile: () => this.#settings.relayLoginsFile,
      tell: (name, fields) => this.#devices?.door.publishEvent(name, fields),
      log: this.#log,
    })
  }

  #makeSuccession(): Succession {
    return new Succession({
      identity: this.#identity,
      store: this.#store,
      running: this.#running,
      incarnation: this.#incarnation,
      drafts: this.#drafts,
      members: this.#members,
      rights: this.#rights,
      clones: this.#clones,
      interest: () => this.#settings.profile.interest,
      onReplaced: () => this.#linking.meet(),
      log: this.#log,
    })
  }

  #makeReplication(): Replication {
    return new Replication({
      store: this.#store,
      meshId: this.#identity.mesh.meshId,
      peerId: this.#peerId,
      driver: () => this.#running.driver,
      rules: () => this.#rights.rules(),
      belongs: () => this.#members.belongs,
      isKnown: (peerId) => this.#authority.chainOf(peerId).length > 0,
      successorOf: (peerId) => this.#members.heirOf(peerId),
      isMember: (peerId) => this.#members.isMember(peerId),
      nameOf: (peerId) => this.#views.nameOf(peerId),
      addressesOf: (peerId) =>
        this.#linking.neighbours.addresses().flatMap((known) => (known.peerIds.includes(peerId) ? known.address : [])),
      isReachable: (peerId) => this.#linking.neighbours.isReachable(peerId),
      roomBytes: () => this.#roomBytes,
      onSought: () => this.#linking.dial(),
      tell: (name, fields) => this.#devices?.door.publishEvent(name, fields),
      log: this.#log,
      monotonicMs: () => performance.now(),
    })
  }

  #makeTrimming(): Trimming {
    return new Trimming({
      store: this.#store,
      profile: () => this.#settings.profile,
      bridgedMs: () => this.#devices?.keepMs ?? null,
      time: this.#time,
      hold: () => this.#replication.hold(),
      onDropped: (drops) => this.#replication.dropped(drops),
      log: this.#log,
    })
  }

  /** What the store may take on its disk in all. */
  get #roomBytes(): number {
    const { bytes, freeBytes } = this.#store.status()
    const { maxBytes, reserveFreeBytes } = this.#settings.profile.storage
    return Math.min(maxBytes, bytes + (freeBytes ?? 0) - reserveFreeBytes)
  }

  /** What users and devices meet. */
  #makeServices(): Devices {
    const quarantine = new Quarantine({
      store: this.#store,
      wallMs: () => this.#clock.wallMs(),
      holdings: () => this.#running.driver.view.holdings,
      onError: (error) => this.#log.warn('quarantine-not-written', { message: sentenceOf(error) }),
    })
    this.#quarantine = quarantine
    const { meshId } = this.#identity.mesh
    const { membership } = this.#members
    this.#operations = new OperationService(
      {
        store: this.#store,
        writer: {
          write: async (collection, partition, ops) => {
            this.#rights.checkWrite(collection, partition)
            return this.#running.write(collection, partition, ops)
          },
        },
        confirmer: this.#running,
        rules: () => this.#rights.rules(),
        instance: hex(this.#store.instance),
        isValid: (feedKey, seq) => isBatchValid(this.#store, meshId, this.#verifier, feedKey, seq),
      },
      {
        status: () => this.#views.status(),
        peers: () => this.#views.peers(),
        members: () => this.#views.members(),
        backup: () => this.#backup(),
        quarantine: () => quarantine.list(),
        replications: () => this.#replication.replications(),
        replicate: (collection, target) => this.#replication.replicate(collection, target),
        stopReplicating: (collection, target) => this.#replication.stopReplicating(collection, target),
        remove: (peerId, options) => this.#members.remove(peerId, options),
        grant: (peerId, options) => membership.grant(peerId, options),
        invite: (options) => membership.invite(options),
        revokeInvite: (id) => membership.withdraw(id),
        rotate: () => this.#rotation.ask(),
        profile: () => fillDefaults(this.#settings.parsed.profile),
        setProfile: (profile) => this.#settings.keep(profile),
      },
    )
    this.#devices = new Devices({
      dir: this.#options.dir,
      peerId: this.#peerId,
      meshId,
      profile: this.#settings.profile,
      usersFile: this.#settings.usersFile,
      store: this.#store,
      operations: this.#operations,
      writer: this.#running,
      holder: this.#privateData,
      quarantine,
      // Another engine has other links, behind the same broker.
      gate: {
        admit: (login) => this.#running.mesh.gate.admit(login),
        receive: (from, payload) => this.#running.mesh.gate.receive(from, payload),
        gone: (from) => this.#running.mesh.gate.gone(from),
      },
      log: this.#log,
    })
    this.#views = this.#makeViews(this.#devices, quarantine)
    return this.#devices
  }

  #makeViews(devices: Devices, quarantine: Quarantine): Views {
    return new Views({
      clock: this.#clock,
      settings: this.#settings,
      store: this.#store,
      authority: this.#authority,
      members: this.#members,
      rights: this.#rights,
      rotation: this.#rotation,
      neighbours: this.#linking.neighbours,
      privateData: this.#privateData,
      running: this.#running,
      replication: this.#replication,
      clones: this.#clones,
      clockRecovery: this.#clockRecovery,
      operations: this.#operations,
      devices,
      quarantine,
    })
  }

  async *#backup(): AsyncGenerator<Uint8Array> {
    const meshId = hex(this.#identity.mesh.meshId)
    const snapshot = await this.#store.snapshot()
    const hlc = Math.max(this.#time.hlc, this.#incarnation.clockFloor)
    yield* encodeBackup({ meshId, hlc, identity: {} }, snapshot.rows())
  }

  /** What follows the profile while the gateway runs. */
  async #profileApplied(before: ResolvedProfile): Promise<void> {
    const { profile } = this.#settings
    this.#devices?.door.reload(profile)
    this.#privateData.plan()
    void this.#trimming.trim()
    this.#linking.profileChanged()
    await this.#succession.interestChanged(before.interest, profile.interest)
  }

  #authorityChanged(): void {
    if (!this.#running.isStarted) return
    this.#running.driver.authorityChanged()
    this.#privateData.plan()
    this.#succession.rightsChanged()
  }

  #onEvent(name: EngineEvent, fields: { readonly [name: string]: unknown }): void {
    if (name === 'farewell') return this.#members.departure.heard(fields['evidence'] as readonly Uint8Array[])
    const peerId = String(fields['peerId'])
    if (name === 'exchange') return this.#linking.neighbours.hear(peerId, fields['records'] as readonly Uint8Array[])
    const isDialled = this.#running.mesh.isDialled(peerId)
    if (name === 'referral')
      return this.#linking.neighbours.referred(peerId, isDialled, fields['addresses'] as readonly string[])
    if (name === 'peer-up') {
      this.#linking.neighbours.peerUp(peerId, isDialled)
      this.#replication.heard(peerId, String(fields['name']))
    }
    if (name === 'peer-down') this.#linking.neighbours.peerDown(peerId)
    this.#log[QUIET_EVENTS.has(name) ? 'info' : 'warn'](name, fields)
    if (name === 'batch-refused') this.#quarantine?.addBatch(fields)
    if (name === 'batch-unreadable') this.#quarantine?.addBatch({ ...fields, why: 'unreadable', detail: fields['why'] })
    if (name === 'reissue-refused') this.#quarantine?.addBatch(fields)
    if (name === 'incarnation-lost') this.#succession.lost(String(fields['why']))
    if (name === 'peer-up' || name === 'peer-down') this.#devices?.door.publishEvent(name, fields)
  }

  #makeClockRecovery(): ClockRecovery {
    return new ClockRecovery({
      store: this.#store,
      running: this.#running,
      incarnation: this.#incarnation,
      notBefore: () => this.#members.ownNotBefore,
      keepIncarnation: () => this.#succession.keepIncarnation(),
      onSetBack: () => {
        this.#devices?.door.publishEvent('alert', { alert: 'clock-set-back' })
        this.#linking.meet()
      },
      log: this.#log,
    })
  }
}
