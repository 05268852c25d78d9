import { join } from 'node:path'
import { codeOf, MarramError, sentenceOf, type ErrorCode } from '../base/errors.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import { CHECK_MS, SystemClock, systemProbes } from '../clock/system.ts'
import { peerIdOf } from '../crypto/identity.ts'
import { createControlServer, type ControlServer } from '../http/server.ts'
import type { Identity } from '../identity/identity.ts'
import { loadKeyring } from '../identity/keyring-file.ts'
import type { Lock } from '../identity/lock.ts'
import { loadStoreKey } from '../identity/store-key.ts'
import type { Log } from '../ports/log.ts'
import type { Operations } from '../ports/operations.ts'
import type { ParsedProfile } from '../profile/parse.ts'
import type { DiskStore } from '../store/disk-store.ts'
import { openStore } from '../store/open.ts'
import { BUILT_MS, VERSION } from '../version.ts'
import { PeriodicTasks } from './periodic.ts'
import { Rooms } from './rooms.ts'
import { Settings } from './settings.ts'
import { Soundness } from './soundness.ts'

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

/** Opens a gateway's store, starts its rooms in order and stops them in the opposite one. */
export class Gateway {
  /** Resolves when the gateway has stopped, by `close` or by itself. */
  readonly closed: Promise<Ended>
  readonly peerId: string
  readonly #options: GatewayOptions
  readonly #log: Log
  readonly #clock: SystemClock
  readonly #settings: Settings
  readonly #tasks: PeriodicTasks
  #store: DiskStore | null = null
  #rooms: Rooms | null = null
  #control: ControlServer | null = null
  #starting: Promise<void> = Promise.resolve()
  #closing: Promise<void> | null = null
  #ended!: (ended: Ended) => void
  #failure: Ended = { code: null, reason: null }

  constructor(options: GatewayOptions) {
    this.#options = options
    this.#log = options.log
    this.peerId = peerIdOf(options.identity.keys.publicKey)
    this.#clock = options.clock ?? new SystemClock({ buildMs: BUILT_MS, probes: systemProbes(isClockTrusted()) })
    this.#settings = new Settings({
      ...options,
      onApplied: async (before) => this.#rooms?.profileApplied(before),
    })
    this.#tasks = new PeriodicTasks(options.log)
    this.closed = new Promise((resolve) => {
      this.#ended = resolve
    })
  }

  /** What the gateway does for its users, once it has started. */
  get operations(): Operations {
    return (this.#rooms as Rooms).operations
  }

  start(): Promise<void> {
    this.#starting = this.#start()
    return this.#starting
  }

  async #start(): Promise<void> {
    await this.#clock.check()
    const rooms = await this.#openRooms()
    const { running, members, enrolment, succession, privateData, devices, linking, drafts, store } = rooms
    await succession.keepIncarnation()
    privateData.load()
    store.subscribe((change) => rooms.changed(change))
    running.start()
    await devices.open()
    const { operations } = rooms
    this.#control = await createControlServer({ operations, dir: this.#options.dir, log: this.#log })
    await members.membership.publishOwn(this.#settings.name)
    await privateData.step()
    await devices.start()
    const { listeners, certificate } = devices
    this.#log.info('ready', { peerId: this.peerId, listeners, certificate, version: VERSION })
    for (const warning of rooms.views.warnings()) this.#log.warn('warning', { message: warning })
    this.#keepUp(rooms)
    if (!enrolment.chain) {
      linking.seek()
      return void enrolment.ask()
    }
    linking.meet()
    await drafts.writeAgain(store, running)
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
    const rooms = this.#rooms
    const steps: readonly (() => unknown)[] = [
      () => this.#tasks.stop(),
      () => rooms?.enrolment.stop(),
      () => rooms?.succession.stop(),
      () => this.#control?.close(),
      () => rooms?.operations.endWatches(),
      () => rooms?.devices.stop(),
      () => rooms?.running.endWrites(),
      () => rooms?.rotation.finish(),
      () => rooms?.linking.neighbours.leave(),
      () => rooms?.running.close(),
      () => rooms?.devices.close(),
      () => rooms && mark(rooms),
      () => rooms?.quarantine.close(),
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

  async #openRooms(): Promise<Rooms> {
    const { dir, identity, log } = this.#options
    const { storage } = this.#settings.profile
    const keyring = loadKeyring(dir)
    const store = await openStore({
      dir: join(dir, 'data'),
      meshId: identity.mesh.meshId,
      keys: keyring,
      encryptionKey: loadStoreKey(dir, storage),
      mayEncrypt: true,
      log,
      flushesPerSecond: storage.flushesPerSecond,
      reserveFreeBytes: storage.reserveFreeBytes,
      maxBytes: storage.maxBytes,
      onFatal: (error) => this.#fail(error),
    })
    this.#store = store
    this.#rooms = new Rooms({
      dir,
      identity,
      settings: this.#settings,
      clock: this.#clock,
      store,
      keyring,
      onFailed: (error) => this.#fail(new MarramError(codeOf(error), sentenceOf(error), { cause: error })),
      onKeysAdmitted: () => this.#beginAgain(),
      log,
    })
    return this.#rooms
  }

  /** What is to be done now and then. */
  #keepUp(rooms: Rooms): void {
    const tasks = this.#tasks
    const { members, trimming, store, running } = rooms
    const soundness = new Soundness({
      store,
      meshId: members.mesh.meshId,
      examined: (examined) => running.driver.examined(examined),
      log: this.#log,
    })
    tasks.every(CHECK_MS, () => this.#clock.check())
    tasks.every(HEALTH_MS, () => rooms.devices.door.publishHealth())
    tasks.every(MARK_MS, () => mark(rooms))
    tasks.every(RETENTION_MS, () => trimming.trim())
    void trimming.trim()
    tasks.every(LOOK_MS, () => rooms.linking.neighbours.look())
    tasks.every(LOOK_MS, () => rooms.clockRecovery.step())
    tasks.every(LOOK_MS, () => members.grantAnew())
    tasks.every(LOOK_MS, () => members.lookAtEnds())
    tasks.every(LOOK_MS, () => rooms.replication.look())
    tasks.every(GATEWAY_LIMITS.scrubMs, () => soundness.scrub())
    tasks.every(REMOVALS_MS, async () => void (await members.removals.step()))
    tasks.every(REMOVALS_MS, () => rooms.rotation.step())
    tasks.every(REMOVALS_MS, () => members.passedJoins.step())
    tasks.every(KEYS_MS, () => rooms.privateData.step())
  }

  /** The store is of no more use: stop, and let whoever supervises the process start it anew. */
  #fail(error: MarramError): void {
    this.#log.error('store-failed', { code: error.code, message: error.message })
    const code = error.code === 'storage-full' ? 'storage-full' : 'storage-io'
    this.#failure = { code, reason: error.message }
    void this.close()
  }

  /** Under other keys. What ends it already counts, whatever comes of the step that was under way. */
  #beginAgain(): void {
    if (this.#closing) return
    this.#failure = { code: null, reason: KEYS_REPLACED }
    void this.close()
  }
}

/** Nothing was given out before an engine ran. */
function mark({ running, incarnation, store, time }: Rooms): void {
  if (running.isStarted) incarnation.mark(store, time.hlc)
}
