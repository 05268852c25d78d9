import type { Keyring } from '../access/keyring.ts'
import { hex } from '../base/bytes.ts'
import { sentenceOf } from '../base/errors.ts'
import type { SystemClock } from '../clock/system.ts'
import { peerIdOf } from '../crypto/identity.ts'
import { createSigner, createVerifier } from '../crypto/signature.ts'
import { MeshAuthority } from '../driver/authority.ts'
import { Driver } from '../driver/driver.ts'
import type { Identity } from '../identity/identity.ts'
import { reachableAddresses } from '../mesh/reachable.ts'
import type { Feed } from '../model/batch.ts'
import { isSystemName } from '../model/names.ts'
import { Drafts } from '../operations/drafts.ts'
import { isBatchValid } from '../operations/evidence.ts'
import { Quarantine } from '../operations/quarantine.ts'
import { OperationService } from '../operations/service.ts'
import type { Log } from '../ports/log.ts'
import type { HeldWrite } from '../ports/operations.ts'
import type { Change } from '../ports/store.ts'
import { fillDefaults } from '../profile/defaults.ts'
import type { ResolvedProfile } from '../profile/resolved.ts'
import { encodeBackup } from '../store/backup-format.ts'
import type { DiskStore } from '../store/disk-store.ts'
import { examinePlace } from '../store/verify.ts'
import { BUILT_MS, VERSION } from '../version.ts'
import { ClockRecovery } from './clock-recovery.ts'
import { Clones } from './clones.ts'
import { Devices } from './devices.ts'
import { EngineEvents } from './engine-events.ts'
import { Enrolment } from './enrolment.ts'
import { Incarnation } from './incarnation.ts'
import { Linking } from './linking.ts'
import { Members } from './members.ts'
import { PrivateData } from './private-data.ts'
import { Replication } from './replication.ts'
import { Rights } from './rights.ts'
import { Rotation } from './rotation.ts'
import { Running } from './running.ts'
import type { Settings } from './settings.ts'
import { Succession } from './succession.ts'
import { Time } from './time.ts'
import { Trimming } from './trimming.ts'
import { Views } from './views.ts'

/** What the rooms rest on, and whom they tell that the gateway is to end. */
export interface RoomsOptions {
  readonly dir: string
  readonly identity: Identity
  readonly settings: Settings
  readonly clock: SystemClock
  readonly store: DiskStore
  readonly keyring: Keyring
  /** What the gateway rests on is not on the disk. */
  readonly onFailed: (error: unknown) => void
  /** See RotationOptions. */
  readonly onKeysAdmitted: () => void
  readonly log: Log
}

/** The rooms of a gateway and the doors between them: what each is made of, whom it asks and whom it tells. Nothing runs yet. */
export class Rooms {
  readonly settings: Settings
  readonly clock: SystemClock
  readonly store: DiskStore
  readonly log: Log
  readonly peerId: string
  readonly drafts: Drafts
  readonly incarnation: Incarnation
  readonly authority: MeshAuthority
  readonly clones: Clones
  readonly running: Running
  readonly time: Time
  readonly enrolment: Enrolment
  readonly rights: Rights
  readonly privateData: PrivateData
  readonly members: Members
  readonly quarantine: Quarantine
  readonly operations: OperationService
  readonly devices: Devices
  readonly linking: Linking
  readonly succession: Succession
  readonly clockRecovery: ClockRecovery
  readonly rotation: Rotation
  readonly replication: Replication
  readonly trimming: Trimming
  readonly views: Views
  readonly #options: RoomsOptions
  readonly #identity: Identity
  readonly #verifier = createVerifier()

  /** Throws `storage-damaged`. */
  constructor(options: RoomsOptions) {
    const { dir, identity, settings, clock, store, log } = options
    this.#options = options
    this.#identity = identity
    this.settings = settings
    this.clock = clock
    this.store = store
    this.log = log
    this.peerId = peerIdOf(identity.keys.publicKey)
    this.drafts = new Drafts(this.peerId, log)
    this.drafts.load(store)
    this.incarnation = new Incarnation(dir, log)
    store.knowOwn((feed) => feed.origin === this.peerId && this.incarnation.isOf(feed))
    this.authority = this.#makeAuthority()
    this.clones = new Clones(log, (fields) => this.devices.door.publishEvent('alert', fields))
    this.running = this.#makeRunning()
    this.time = new Time(this.running)
    this.enrolment = this.#makeEnrolment()
    this.rights = this.#makeRights()
    this.privateData = this.#makePrivateData()
    this.members = this.#makeMembers()
    this.quarantine = this.#makeQuarantine()
    this.operations = this.#makeOperations()
    this.devices = this.#makeDevices()
    // Who was removed is known before neighbours are recalled, and our admission before an incarnation is chosen.
    this.members.load()
    this.incarnation.choose(store, this.members.ownNotBefore)
    this.linking = this.#makeLinking()
    this.succession = this.#makeSuccession()
    this.clockRecovery = this.#makeClockRecovery()
    this.rotation = this.#makeRotation()
    this.replication = this.#makeReplication()
    this.trimming = this.#makeTrimming()
    this.views = new Views(this)
  }

  /** What has just changed in the store. */
  changed(change: Change): void {
    this.members.learn(change)
    this.privateData.learn(change)
    if (!isSystemName(change.collection) && this.rights.isShown(change)) this.devices.door.publishChange(change)
  }

  /** What follows the profile while the gateway runs. */
  async profileApplied(before: ResolvedProfile): Promise<void> {
    const { profile } = this.settings
    this.devices.door.reload(profile)
    this.privateData.plan()
    void this.trimming.trim()
    this.linking.profileChanged()
    await this.succession.interestChanged(before.interest, profile.interest)
  }

  #makeAuthority(): MeshAuthority {
    const { keys, mesh } = this.#identity
    const isDraft = (feed: Feed): boolean => this.drafts.isDraft(feed)
    return new MeshAuthority(mesh.meshId, mesh.rootPublicKey, keys.publicKey, this.#verifier, isDraft)
  }

  #makeRunning(): Running {
    return new Running({
      makeDriver: () => this.#makeDriver(),
      makeMesh: (driver) => this.linking.makeMesh(driver),
      others: () => this.rights.others(),
      onFailed: this.#options.onFailed,
    })
  }

  #makeEnrolment(): Enrolment {
    return new Enrolment({
      dir: this.#options.dir,
      identity: this.#identity,
      name: () => this.settings.name,
      places: () => this.linking.places,
      relays: () => this.linking.relays,
      log: this.log,
      onAdmitted: (chain, addresses) => void this.succession.admitted(chain, addresses),
    })
  }

  #makeQuarantine(): Quarantine {
    return new Quarantine({
      store: this.store,
      wallMs: () => this.clock.wallMs(),
      holdings: () => this.running.driver.view.holdings,
      onError: (error) => this.log.warn('quarantine-not-written', { message: sentenceOf(error) }),
    })
  }

  #makeRights(): Rights {
    return new Rights({
      authority: this.authority,
      publicKey: this.#identity.keys.publicKey,
      profile: () => this.settings.profile,
      encryption: {
        isEncrypted: (name) => this.privateData.isEncrypted(name),
        hasKey: (name) => this.privateData.hasKey(name),
      },
      isEnrolled: () => this.enrolment.chain !== null,
      belongs: () => this.members.belongs,
      time: this.time,
    })
  }

  #makePrivateData(): PrivateData {
    return new PrivateData({
      dir: this.#options.dir,
      store: this.store,
      keyring: this.#options.keyring,
      identity: this.#identity,
      peerId: this.peerId,
      authority: this.authority,
      writer: this.running,
      profile: () => this.settings.profile,
      isAdministrator: () => this.members.isAdministrator,
      time: this.time,
      checkRight: (name) => this.rights.checkWrite(name, this.rights.rules().partitionOf(name)),
      write: (write) => this.#writeHeld(write),
      quarantine: () => this.quarantine,
      onUnlocked: () => {
        if (this.running.isStarted) this.running.driver.authorityChanged()
      },
      log: this.log,
    })
  }

  async #writeHeld({ collection, key, fields }: HeldWrite): Promise<void> {
    if (fields !== null) await this.operations.put(collection, key, fields)
    else if (this.operations.get(collection, key)) await this.operations.delete(collection, key)
  }

  #makeMembers(): Members {
    return new Members({
      dir: this.#options.dir,
      store: this.store,
      identity: this.#identity,
      authority: this.authority,
      verifier: this.#verifier,
      enrolment: this.enrolment,
      rights: this.rights,
      writer: this.running,
      time: this.time,
      addresses: () => reachableAddresses(this.devices.listeners),
      administrators: () => this.linking.neighbours.addressesOf((peerId) => this.authority.isAdministrator(peerId)),
      onChanged: () => this.#authorityChanged(),
      onRemoved: (reason, by) => {
        this.devices.door.publishEvent('alert', { alert: 'removed', reason, by })
        // What was learned before a restart: nobody is linked with yet.
        if (!this.running.isStarted) return
        this.running.closeLinks()
        void this.linking.neighbours.leave()
      },
      onClosed: (peerId) => {
        if (this.running.isStarted) this.running.mesh.closePeer(peerId, 'it was removed from the mesh')
      },
      onEnded: (peerId) => {
        if (peerId === this.peerId) this.devices.door.publishEvent('alert', { alert: 'membership-ended' })
        else this.running.mesh.closePeer(peerId, 'its membership has ended')
      },
      onForked: (proof) => this.clones.proven(proof),
      log: this.log,
    })
  }

  #makeOperations(): OperationService {
    const { meshId } = this.#identity.mesh
    return new OperationService(
      {
        store: this.store,
        writer: {
          write: async (collection, partition, ops) => {
            this.rights.checkWrite(collection, partition)
            return this.running.write(collection, partition, ops)
          },
        },
        confirmer: this.running,
        rules: () => this.rights.rules(),
        wallMs: () => this.time.wallMs,
        instance: hex(this.store.instance),
        isValid: (feedKey, seq) => isBatchValid(this.store, meshId, this.#verifier, feedKey, seq),
      },
      {
        status: () => this.views.status(),
        peers: () => this.views.peers(),
        members: () => this.views.members(),
        backup: () => this.#backup(),
        quarantine: () => this.quarantine.list(),
        replications: () => this.replication.replications(),
        replicate: (collection, target) => this.replication.replicate(collection, target),
        stopReplicating: (collection, target) => this.replication.stopReplicating(collection, target),
        remove: (peerId, options) => this.members.remove(peerId, options),
        grant: (peerId, options) => this.members.membership.grant(peerId, options),
        invite: (options) => this.members.membership.invite(options),
        revokeInvite: (id) => this.members.membership.withdraw(id),
        rotate: () => this.rotation.ask(),
        profile: () => fillDefaults(this.settings.parsed.profile),
        setProfile: (profile) => this.settings.keep(profile),
      },
    )
  }

  #makeDevices(): Devices {
    return new Devices({
      dir: this.#options.dir,
      peerId: this.peerId,
      meshId: this.#identity.mesh.meshId,
      profile: this.settings.profile,
      usersFile: this.settings.usersFile,
      store: this.store,
      operations: this.operations,
      writer: this.running,
      holder: this.privateData,
      quarantine: this.quarantine,
      // Another engine has other links, behind the same broker.
      gate: {
        admit: (login) => this.running.mesh.gate.admit(login),
        receive: (from, payload) => this.running.mesh.gate.receive(from, payload),
        gone: (from) => this.running.mesh.gate.gone(from),
      },
      log: this.log,
    })
  }

  #makeLinking(): Linking {
    return new Linking({
      identity: this.#identity,
      authority: this.authority,
      verifier: this.#verifier,
      members: this.members,
      running: this.running,
      store: this.store,
      profile: () => this.settings.profile,
      listeners: () => this.devices.listeners,
      isSought: (peerId) => this.replication.isSought(peerId),
      relayLoginsFile: () => this.settings.relayLoginsFile,
      tell: (name, fields) => this.devices.door.publishEvent(name, fields),
      log: this.log,
    })
  }

  #makeDriver(): Driver {
    this.succession.begun()
    this.members.engineBegins()
    const { keys, mesh } = this.#identity
    const signer = createSigner(keys.secretKey)
    const events = new EngineEvents(this)
    const { batch, history, priority, budget } = this.settings.profile.sync
    return new Driver({
      engine: {
        meshId: mesh.meshId,
        peerId: this.peerId,
        publicKey: keys.publicKey,
        incarnation: this.incarnation.bytes,
        clockFloor: this.incarnation.clockFloor,
        notBeforeMs: BUILT_MS,
        name: this.settings.name,
        version: VERSION,
        batchDelayMs: batch.maxDelayMs,
        batchOpsMax: batch.maxOps,
        interest: this.settings.profile.interest,
        history,
        flow: { priority, budget },
      },
      store: this.store,
      clock: this.clock,
      authority: this.authority,
      keys: this.privateData.keys,
      sign: (message) => signer.sign(message),
      verify: (publicKey, message, signature) => this.#verifier.verify(publicKey, message, signature),
      examine: (place) => examinePlace(this.store, mesh.meshId, place),
      log: this.log,
      onEvent: (name, fields) => events.handle(name, fields),
    })
  }

  #authorityChanged(): void {
    if (!this.running.isStarted) return
    this.running.driver.authorityChanged()
    this.privateData.plan()
    this.succession.rightsChanged()
  }

  #makeSuccession(): Succession {
    return new Succession({
      identity: this.#identity,
      store: this.store,
      running: this.running,
      incarnation: this.incarnation,
      drafts: this.drafts,
      members: this.members,
      rights: this.rights,
      clones: this.clones,
      interest: () => this.settings.profile.interest,
      onReplaced: () => this.linking.meet(),
      log: this.log,
    })
  }

  #makeClockRecovery(): ClockRecovery {
    return new ClockRecovery({
      store: this.store,
      running: this.running,
      incarnation: this.incarnation,
      notBefore: () => this.members.ownNotBefore,
      keepIncarnation: () => this.succession.keepIncarnation(),
      onSetBack: () => {
        this.devices.door.publishEvent('alert', { alert: 'clock-set-back' })
        this.linking.meet()
      },
      log: this.log,
    })
  }

  #makeRotation(): Rotation {
    const { rotations, membership } = this.members
    return new Rotation({
      dir: this.#options.dir,
      authority: this.authority,
      rotations,
      membership,
      belongs: () => this.members.belongs,
      isClockRight: () => !this.time.isAhead,
      isHandedOver: () => this.#isHandedOver(),
      isClosed: (peerId) => this.authority.isClosed(peerId),
      onAdmitted: this.#options.onKeysAdmitted,
      log: this.log,
      monotonicMs: () => performance.now(),
    })
  }

  /** Of what is kept under whatever keys, the next engine sees to it that others get it. */
  #isHandedOver(): boolean {
    const rules = this.rights.rules()
    return this.running.driver.view.unconfirmed.every(({ feedKey }) => {
      const feed = this.store.head(feedKey)?.feed
      return feed === undefined || feed.origin !== this.peerId || rules.keeps(feed.descriptor)
    })
  }

  #makeReplication(): Replication {
    return new Replication({
      store: this.store,
      meshId: this.#identity.mesh.meshId,
      peerId: this.peerId,
      driver: () => this.running.driver,
      rules: () => this.rights.rules(),
      belongs: () => this.members.belongs,
      isKnown: (peerId) => this.authority.chainOf(peerId).length > 0,
      successorOf: (peerId) => this.members.heirOf(peerId),
      isMember: (peerId) => this.members.isMember(peerId),
      nameOf: (peerId) => this.views.nameOf(peerId),
      addressesOf: (peerId) =>
        this.linking.neighbours.addresses().flatMap((known) => (known.peerIds.includes(peerId) ? known.address : [])),
      isReachable: (peerId) => this.linking.neighbours.isReachable(peerId),
      roomBytes: () => this.#roomBytes,
      onSought: () => this.linking.dial(),
      tell: (name, fields) => this.devices.door.publishEvent(name, fields),
      log: this.log,
      monotonicMs: () => performance.now(),
    })
  }

  /** What the store may take on its disk in all. */
  get #roomBytes(): number {
    const { bytes, freeBytes } = this.store.status()
    const { maxBytes, reserveFreeBytes } = this.settings.profile.storage
    return Math.min(maxBytes, bytes + (freeBytes ?? 0) - reserveFreeBytes)
  }

  #makeTrimming(): Trimming {
    return new Trimming({
      store: this.store,
      profile: () => this.settings.profile,
      bridgedMs: () => this.devices.keepMs,
      time: this.time,
      hold: () => this.replication.hold(),
      onDropped: (drops) => this.replication.dropped(drops),
      log: this.log,
    })
  }

  async *#backup(): AsyncGenerator<Uint8Array> {
    const meshId = hex(this.#identity.mesh.meshId)
    const snapshot = await this.store.snapshot()
    const hlc = Math.max(this.time.hlc, this.incarnation.clockFloor)
    yield* encodeBackup({ meshId, hlc, identity: {} }, snapshot.rows())
  }
}
