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
import { credentialPath } from '../identity/credential.ts'
import type { Identity } from '../identity/identity.ts'
import type { Lock } from '../identity/lock.ts'
import { gatewayName } from '../identity/name.ts'
import { checkedProfile, keepProfile } from '../identity/profile-file.ts'
import { loadStoreKey } from '../identity/store-key.ts'
import { reachableAddresses } from '../mesh/reachable.ts'
import { BRIDGE_COLLECTION, isSystemName } from '../model/names.ts'
import { hlcFromMs, type Hlc } from '../model/stamp.ts'
import { Drafts } from '../operations/drafts.ts'
import { isBatchValid } from '../operations/evidence.ts'
import { Quarantine } from '../operations/quarantine.ts'
import { OperationService } from '../operations/service.ts'
import type { Log } from '../ports/log.ts'
import type { HeldWrite, Operations } from '../ports/operations.ts'
import type { Change } from '../ports/store.ts'
import { fillDefaults } from '../profile/defaults.ts'
import type { ParsedProfile } from '../profile/parse.ts'
import { describeReload } from '../profile/reload.ts'
import { resolveProfile } from '../profile/resolve.ts'
import type { Credential, ResolvedProfile } from '../profile/resolved.ts'
import { encodeBackup } from '../store/backup-format.ts'
import type { DiskStore } from '../store/disk-store.ts'
import { openStore } from '../store/open.ts'
import { examinePlace } from '../store/verify.ts'
import { LET_PASS_MS } from '../sync/overrun.ts'
import type { EngineEvent } from '../sync/types.ts'
import { BUILT_MS, VERSION } from '../version.ts'
import { ClockRecovery } from './clock-recovery.ts'
import { Clones } from './clones.ts'
import { Devices } from './devices.ts'
import { Enrolment } from './enrolment.ts'
import { Incarnation } from './incarnation.ts'
import { Linking } from './linking.ts'
import { Members } from './members.ts'
import { PrivateData } from './private-data.ts'
import { Replication } from './replication.ts'
import { Rights } from './rights.ts'
import { Rotation } from './rotation.ts'
import { Running } from './running.ts'
import { Soundness } from './soundness.ts'
import { Succession } from './succession.ts'
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
  /** As its profile said at the start: links greet by it once. */
  readonly #name: string
  readonly #clock: SystemClock
  readonly #verifier = createVerifier()
  readonly #authority: MeshAuthority
  readonly #drafts: Drafts
  readonly #incarnation: Incarnation
  readonly #enrolment: Enrolment
  readonly #clones: Clones
  readonly #running: Running
  #linking!: Linking
  #succession!: Succession
  #clockRecovery!: ClockRecovery
  readonly #members: Members
  readonly #rights: Rights
  readonly #privateData: PrivateData
  readonly #timers: NodeJS.Timeout[] = []
  #parsed: ParsedProfile
  #profile: ResolvedProfile
  #store!: DiskStore
  #replication!: Replication
  #trimming!: Trimming
  #quarantine: Quarantine | null = null
  #operations!: OperationService
  #views!: Views
  #devices: Devices | null = null
  #rotation!: Rotation
  #control: { close(): Promise<void> } | null = null
  #closing: Promise<void> | null = null
  #ended!: (ended: Ended) => void
  #failure: Ended = { code: null, reason: null }

  constructor(options: GatewayOptions) {
    const { identity, parsed } = options
    this.#options = options
    this.#log = options.log
    this.#clock = options.clock ?? new SystemClock({ buildMs: BUILT_MS, probes: systemProbes(isClockTrusted()) })
    this.#identity = identity
    this.#parsed = parsed
    this.#profile = inForce(parsed)
    this.#peerId = peerIdOf(identity.keys.publicKey)
    this.#name = gatewayName(this.#profile.node)
    this.#drafts = new Drafts(this.#peerId)
    this.#incarnation = new Incarnation(options.dir, options.log)
    this.#clones = new Clones(options.log, (fields) => this.#devices?.door.publishEvent('alert', fields))
    this.#enrolment = new Enrolment({
      dir: options.dir,
      identity,
      name: () => this.#name,
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

  async start(): Promise<void> {
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
    await this.#members.membership.publishOwn(this.#name)
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
      await this.#apply(this.#options.readAgain())
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
    this.#succession?.stop()
    await this.#control?.close()
    await this.#devices?.stop()
    this.#running.endWrites()
    await this.#rotation?.finish()
    await this.#linking?.neighbours.leave()
    this.#running.closeLinks()
    await this.#running.close()
    await this.#devices?.close()
    if (this.#store) {
      this.#incarnation.mark(this.#store, this.#running.isStarted ? this.#running.driver.view.clock : 0)
      await this.#quarantine?.close()
      await this.#store.close()
    }
    this.#options.lock.release()
    this.#ended(this.#failure)
  }

  /** What is to be done now and then. */
  #keepUp(door: DeviceDoor): void {
    const { members, store, running } = { members: this.#members, store: this.#store, running: this.#running }
    const soundness = new Soundness({
      store,
      meshId: this.#identity.mesh.meshId,
      examined: (examined) => running.driver.examined(examined),
      log: this.#log,
    })
    this.#every(CHECK_MS, () => this.#clock.check())
    this.#every(HEALTH_MS, () => door.publishHealth())
    this.#every(MARK_MS, () => this.#incarnation.mark(store, running.driver.view.clock))
    this.#every(RETENTION_MS, () => this.#trimming.trim())
    void this.#trimming.trim()
    this.#every(LOOK_MS, () => this.#linking.neighbours.look())
    this.#every(LOOK_MS, () => this.#clockRecovery.step())
    this.#every(LOOK_MS, () => this.#grantAnew())
    this.#every(LOOK_MS, () => members.lookAtEnds())
    this.#every(LOOK_MS, () => this.#replication.look())
    this.#every(GATEWAY_LIMITS.scrubMs, () => soundness.scrub())
    this.#every(REMOVALS_MS, async () => void (await members.removals.step()))
    this.#every(REMOVALS_MS, () => this.#rotation.step())
    this.#every(REMOVALS_MS, () => members.passedJoins.step())
    this.#every(KEYS_MS, () => this.#privateData.step())
  }

  async #openStore(): Promise<void> {
    const { storage } = this.#profile
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
      profile: () => this.#profile,
      encryption: {
        isEncrypted: (name) => this.#privateData.isEncrypted(name),
        hasKey: (name) => this.#privateData.hasKey(name),
      },
      isEnrolled: () => this.#enrolment.chain !== null,
      belongs: () => this.#members.belongs,
      wallMs: () => this.#running.driver.time.wallMs,
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
      wallMs: () => this.#running.driver.time.wallMs,
      hlc: () => this.#running.driver.view.clock,
      trustedHlc: () => this.#believedHlc,
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
      isClockRight: () => !this.#running.driver.view.isClockAhead,
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
      profile: () => this.#profile,
      isAdministrator: () => this.#members.isAdministrator,
      nowMs: () => this.#trustedNow?.wallMs ?? null,
      passed: () => ({ passed: this.#passedHlc, isNow: this.#trustedNow !== null }),
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

  /** Null while the time is not to be believed. */
  get #trustedNow(): { readonly wallMs: number; readonly hlc: Hlc } | null {
    const { time } = this.#running.driver
    return time.trust > 0 ? { wallMs: time.wallMs, hlc: this.#passedHlc } : null
  }

  /** It is later than this, as far as is known. */
  get #passedHlc(): Hlc {
    const { time, view } = this.#running.driver
    return Math.max(hlcFromMs(time.wallMs), view.clock)
  }

  get #believedHlc(): Hlc | null {
    const now = this.#running.isStarted ? this.#trustedNow : null
    return now && hlcFromMs(now.wallMs)
  }

  #makeDriver(): Driver {
    this.#succession.begun()
    this.#members.engineBegins()
    const { keys, mesh } = this.#identity
    const signer = createSigner(keys.secretKey)
    const { batch, history, priority, budget } = this.#profile.sync
    return new Driver({
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
      profile: () => this.#profile,
      listeners: () => this.#devices?.listeners ?? [],
      isSought: (peerId) => this.#replication.isSought(peerId),
      relayLoginsFile: () => this.#pathOf(this.#profile.mesh.relayLogins),
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
      interest: () => this.#profile.interest,
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
      profile: () => this.#profile,
      bridgedMs: () => this.#devices?.keepMs ?? null,
      wallMs: () => this.#trustedNow?.wallMs ?? null,
      hold: () => this.#replication.hold(),
      onDropped: (drops) => this.#replication.dropped(drops),
      log: this.#log,
    })
  }

  /** What the store may take on its disk in all. */
  get #roomBytes(): number {
    const { bytes, freeBytes } = this.#store.status()
    const { maxBytes, reserveFreeBytes } = this.#profile.storage
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
        profile: () => fillDefaults(this.#parsed.profile),
        setProfile: (profile) => this.#setProfile(profile),
      },
    )
    this.#views = this.#makeViews(quarantine)
    this.#devices = new Devices({
      dir: this.#options.dir,
      peerId: this.#peerId,
      meshId,
      profile: this.#profile,
      usersFile: this.#pathOf(this.#profile.broker.users),
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
    return this.#devices
  }

  #makeViews(quarantine: Quarantine): Views {
    const rooms = {
      clock: this.#clock,
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
      quarantine,
    }
    return new Views(rooms, () => ({
      name: this.#name,
      parsed: this.#parsed,
      profile: this.#profile,
      devices: this.#devices as Devices,
    }))
  }

  async *#backup(): AsyncGenerator<Uint8Array> {
    const meshId = hex(this.#identity.mesh.meshId)
    const snapshot = await this.#store.snapshot()
    const hlc = Math.max(this.#running.driver.view.clock, this.#incarnation.clockFloor)
    yield* encodeBackup({ meshId, hlc, identity: {} }, snapshot.rows())
  }

  async #setProfile(profile: unknown): Promise<{ revision: number; restart: readonly string[] }> {
    const parsed = checkedProfile(profile, 'profile')
    // What was set for this run alone is not kept, but goes on while it lasts.
    const forRun = checkedProfile(parsed.profile, 'profile', this.#options.set)
    keepProfile(this.#options.dir, parsed.profile)
    return { revision: resolveProfile(parsed.profile).revision, restart: await this.#apply(forRun) }
  }

  /** Applies what can be applied while running; returns the keys that need a restart. */
  async #apply(parsed: ParsedProfile): Promise<readonly string[]> {
    const before = this.#profile.interest
    const plan = describeReload(this.#parsed.profile, parsed.profile)
    this.#parsed = parsed
    this.#profile = inForce(parsed)
    this.#devices?.door.reload(this.#profile)
    this.#privateData.plan()
    void this.#trimming.trim()
    this.#linking.profileChanged()
    this.#log.info('profile-applied', { id: this.#profile.id, revision: this.#profile.revision, ...plan })
    await this.#succession.interestChanged(before, this.#profile.interest)
    return plan.restart
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

  /** Whom it admitted while its clock was ahead. */
  async #grantAnew(): Promise<void> {
    const now = this.#trustedNow
    if (now === null || this.#running.driver.view.isClockAhead) return
    await this.#members.membership.grantAnew(Math.max(now.hlc, hlcFromMs(now.wallMs + LET_PASS_MS)))
  }

  #pathOf(credential: Credential): string {
    return credentialPath(this.#options.dir, credential)
  }

  /** One run at a time: what takes longer than its turn misses the next. */
  #every(ms: number, act: () => void | Promise<void>): void {
    let isRunning = false
    const run = async (): Promise<void> => {
      if (isRunning) return
      isRunning = true
      try {
        await act()
      } catch (error) {
        this.#log.warn('periodic-task-failed', { message: sentenceOf(error) })
      }
      isRunning = false
    }
    this.#timers.push(setInterval(() => void run(), ms).unref())
  }
}

/** Whoever has rules for plain topics keeps what they carry, whatever else it keeps. */
function inForce({ profile }: ParsedProfile): ResolvedProfile {
  const resolved = resolveProfile(profile)
  if (resolved.bridge.length === 0 || resolved.interest.includes('*')) return resolved
  return { ...resolved, interest: [...resolved.interest, BRIDGE_COLLECTION] }
}
