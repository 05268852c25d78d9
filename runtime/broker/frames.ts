import type { PublishPacket } from 'aedes'
import { BROKER_LIMITS, GATEWAY_LIMITS, PROTOCOL_LIMITS } from '../base/limits.ts'
import { isPeerId } from '../model/names.ts'
import type { FrameGate, FramePeer } from '../ports/broker.ts'
import type { BrokerClient, GatewayLogin, Refusal } from './clients.ts'
import { JOIN_USER } from './users.ts'

/**
 * Frames of neighbours pass through the broker without being routed: what a neighbour publishes to our inbox goes to the
 * gate, what we say goes to that one connection (protocol D22).
 */
export interface FrameRoom {
  readonly mesh8: string
  readonly peerId: string
  readonly gate: FrameGate
}

/** Topic and header of MQTT around a frame. */
const AROUND_FRAME_BYTES = 1_024

export class Neighbours {
  readonly #room: FrameRoom
  readonly #connections = new Set<FrameConnection>()

  constructor(room: FrameRoom) {
    this.#room = room
  }

  /** The gate alone decides about a neighbour's login; what it may send is bounded from its next packet on. */
  admit(client: BrokerClient, user: string, password: Uint8Array): GatewayLogin | Refusal {
    const isJoiner = user === JOIN_USER
    if (!client.clean) return { returnCode: 5, reason: 'a gateway must ask for a clean session' }
    if (isJoiner && this.#joiners() >= GATEWAY_LIMITS.enrolmentsAtOnce)
      return { returnCode: 3, reason: 'enough others are joining' }
    if (!this.#room.gate.admit({ user, password, clientId: client.id }))
      return { returnCode: 5, reason: 'the gate refused it' }
    const frames = new FrameConnection(this.#room, client, user)
    this.#connections.add(frames)
    client.lengths.bytesMax = isJoiner
      ? BROKER_LIMITS.joinFrameBytesMax + AROUND_FRAME_BYTES
      : GATEWAY_LIMITS.neighbourPacketBytesMax
    return { kind: 'gateway', user, frames }
  }

  /** To be called when its connection has ended. */
  gone(frames: FrameConnection): void {
    if (this.#connections.delete(frames)) frames.gone()
  }

  #joiners(): number {
    let count = 0
    for (const { user } of this.#connections) if (user === JOIN_USER) count += 1
    return count
  }
}

/** One neighbour's connection. */
export class FrameConnection implements FramePeer {
  readonly user: string
  source: string
  readonly #room: FrameRoom
  readonly #client: BrokerClient
  readonly #timer: NodeJS.Timeout
  /** Bytes given to aedes that have not reached the socket. */
  #handedBytes = 0

  constructor(room: FrameRoom, client: BrokerClient, user: string) {
    this.#room = room
    this.#client = client
    this.user = user
    this.source = user === JOIN_USER ? '' : user
    // Somebody who joins has so long for all of it, a neighbour for its first frame.
    this.#timer = setTimeout(() => this.disconnect(), GATEWAY_LIMITS.enrolmentMs)
    this.#timer.unref()
  }

  /** False when it isn't a frame that this neighbour may send: its connection is to be closed. */
  receive({ topic, qos, retain, payload }: PublishPacket): boolean {
    const [marram, sync, mesh, destination, source, ...rest] = topic.split('/')
    const { mesh8, peerId, gate } = this.#room
    const isInbox = marram === 'marram' && sync === 'sync' && mesh === mesh8 && rest.length === 0
    if (!isInbox || source === undefined || (destination !== peerId && destination !== 'broker')) return false
    const isJoiner = this.user === JOIN_USER
    const bytesMax = isJoiner ? BROKER_LIMITS.joinFrameBytesMax : PROTOCOL_LIMITS.frameBytesMax
    if (qos !== 0 || retain || !this.#mayBe(source) || payload.length > bytesMax) return false
    this.source = source
    if (!isJoiner) clearTimeout(this.#timer)
    gate.receive(this, typeof payload === 'string' ? Buffer.from(payload) : new Uint8Array(payload))
    return true
  }

  mayReceive(filter: string): boolean {
    const [marram, sync, mesh, inbox, last, ...rest] = filter.split('/')
    const isInbox =
      marram === 'marram' && sync === 'sync' && mesh === this.#room.mesh8 && last === '+' && rest.length === 0
    return isInbox && inbox !== undefined && this.#mayBe(inbox)
  }

  send(payload: Uint8Array): boolean {
    const { closed, conn } = this.#client
    if (closed || conn.writableLength + this.#handedBytes > BROKER_LIMITS.frameBytesWaitingMax) return false
    const { mesh8, peerId } = this.#room
    const topic = `marram/sync/${mesh8}/${this.source}/${peerId}`
    const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
    this.#handedBytes += bytes.length
    setImmediate(() => (this.#handedBytes -= bytes.length))
    this.#client.publish({ cmd: 'publish', topic, payload: bytes, qos: 0, retain: false, dup: false }, () => {})
    return true
  }

  disconnect(): void {
    this.#client.close()
  }

  gone(): void {
    clearTimeout(this.#timer)
    this.#room.gate.gone(this)
  }

  /** A neighbour is who it logged in as; a joiner keeps to the first name it uses. */
  #mayBe(name: string): boolean {
    if (this.user !== JOIN_USER) return name === this.user
    return isPeerId(name) && (this.source === '' || this.source === name)
  }
}
