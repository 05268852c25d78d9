import { CLIENT_LIMITS, SUPER_CLIENT_LIMITS } from '../base/limits.ts'
import { createBroker } from '../broker/broker.ts'
import { usersOf } from '../broker/users-file.ts'
import { type TlsIdentity, tlsIdentity } from '../certificates/identity.ts'
import { Arrivals } from '../devices/arrivals.ts'
import { Bridge } from '../devices/bridge.ts'
import { createDeviceDoor, type DeviceDoor } from '../devices/door.ts'
import { tlsFileOf } from '../identity/tls-file.ts'
import { namesOfThisMachine } from '../mesh/reachable.ts'
import { mesh8 } from '../mesh/topics.ts'
import type { Quarantine } from '../operations/quarantine.ts'
import type { Broker, FrameGate } from '../ports/broker.ts'
import type { Log } from '../ports/log.ts'
import type { Holder, Operations } from '../ports/operations.ts'
import type { Writer } from '../ports/writer.ts'
import type { ResolvedProfile } from '../profile/resolved.ts'
import type { DiskStore } from '../store/disk-store.ts'

export interface DevicesOptions {
  readonly dir: string
  readonly peerId: string
  readonly meshId: Uint8Array
  readonly profile: ResolvedProfile
  readonly usersFile: string
  readonly store: DiskStore
  readonly operations: Operations
  readonly writer: Writer
  readonly holder: Holder
  readonly quarantine: Quarantine
  readonly gate: FrameGate
  readonly log: Log
}

/** What MQTT clients meet: the broker, the door behind it, and the rules that carry plain topics to other gateways. */
export class Devices {
  readonly #options: DevicesOptions
  readonly #door: DeviceDoor
  readonly #bridge: Bridge | null
  #tls: TlsIdentity | null = null
  #broker: Broker | null = null
  #arrivals: Arrivals | null = null

  constructor(options: DevicesOptions) {
    this.#options = options
    const { profile, operations, writer, holder, quarantine, log } = options
    this.#bridge = profile.bridge.length > 0 ? new Bridge(profile.bridge, writer) : null
    this.#door = createDeviceDoor({
      profile,
      operations,
      bridge: this.#bridge,
      holder,
      putAside: ({ topic, source, code, message }) =>
        quarantine.add({ kind: 'message', topic, source, why: code, message }),
      log,
    })
  }

  get door(): DeviceDoor {
    return this.#door
  }

  /** Null before it is open. */
  get broker(): Broker | null {
    return this.#broker
  }

  /** Its addresses, as URLs; empty before it is open. */
  get listeners(): readonly string[] {
    return this.#broker?.listeners() ?? []
  }

  /** The SHA-256 fingerprint of its certificate; null without a listener that has one. */
  get certificate(): string | null {
    return this.#tls?.fingerprint ?? null
  }

  /** How long bridged messages are kept, in milliseconds; null without a rule of its own. */
  get keepMs(): number | null {
    return this.#bridge?.keepMs ?? null
  }

  /** Devices can connect when it resolves; what they say is taken from `start` on. Throws `port-in-use`. */
  async open(): Promise<void> {
    const { peerId, meshId, profile, usersFile, store, gate, log } = this.#options
    const { listen, anonymous, maxPacketBytes, sessions } = profile.broker
    if (listen.some(({ protocol }) => protocol === 'mqtts')) this.#tls = await this.#tlsIdentity()
    this.#broker = await createBroker({
      listen,
      tls: this.#tls,
      mesh8: mesh8(meshId),
      peerId,
      users: usersOf(usersFile, log),
      anonymous,
      maxPacket: maxPacketBytes,
      sessions,
      clients: profile.mesh.superPeer ? SUPER_CLIENT_LIMITS : CLIENT_LIMITS,
      store,
      handler: this.#door,
      gate,
      log,
    })
  }

  async start(): Promise<void> {
    const { store, peerId, log } = this.#options
    const broker = this.#broker as Broker
    await this.#door.start(broker)
    if (this.#bridge === null) return
    const publish: Broker['publish'] = (message) => broker.publish(message)
    this.#arrivals = new Arrivals({ store, bridge: this.#bridge, peerId, publish, log })
  }

  /** What was taken is written; the broker itself goes on until `close`. */
  async stop(): Promise<void> {
    await this.#arrivals?.stop()
    await this.#door.stop()
  }

  async close(): Promise<void> {
    await this.#broker?.close()
  }

  #tlsIdentity(): Promise<TlsIdentity> {
    const { dir, peerId, log } = this.#options
    return tlsIdentity({
      file: tlsFileOf(dir),
      peerId,
      names: namesOfThisMachine(peerId),
      onDamaged: (reason) => log.error('certificate-made-anew', { reason }),
    })
  }
}
