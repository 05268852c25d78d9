import { PROTOCOL_LIMITS } from '../base/limits.ts'
import { isPeerId } from '../model/names.ts'
import type { FrameGate, FramePeer } from '../ports/broker.ts'
import type { BrokerClient } from './clients.ts'

/**
 * Frames of neighbours pass through the broker without being routed: what a neighbour publishes to our inbox goes to the
 * gate, what we say goes to that one connection (protocol D22).
 */
export interface FrameRoom {
  readonly mesh8: string
  readonly peerId: string
  readonly gate: FrameGate
}

const BUFFERED_BYTES_MAX = 4_194_304
const JOIN_FRAME_BYTES_MAX = 8_192
const JOIN_MS = 10_000

/** One neighbour's connection. */
export class FrameConnection implements FramePeer {
  readonly user: string
  source = ''
  readonly #room: FrameRoom
  readonly #client: BrokerClient
  readonly #timer: NodeJS.Timeout | null

  constructor(room: FrameRoom, client: BrokerClient, user: string) {
    this.#room = room
    this.#client = client
    this.user = user
    this.#timer = client.login?.kind === 'joiner' ? setTimeout(() => this.disconnect(), JOIN_MS) : null
    this.#timer?.unref()
  }

  /** False when the topic isn't one that this neighbour may publish to: the connection is to be closed. */
  receive(topic: string, payload: Uint8Array): boolean {
    const [marram, sync, mesh, destination, source, ...rest] = topic.split('/')
    const { mesh8, peerId, gate } = this.#room
    const isInbox = marram === 'marram' && sync === 'sync' && mesh === mesh8 && rest.length === 0
    if (!isInbox || !source || (destination !== peerId && destination !== 'broker')) return false
    if (!this.#mayBe(source) || payload.length > this.#bytesMax) return false
    this.source = source
    gate.receive(this, new Uint8Array(payload))
    return true
  }

  mayReceive(filter: string): boolean {
    const [marram, sync, mesh, inbox, last, ...rest] = filter.split('/')
    const isInbox =
      marram === 'marram' && sync === 'sync' && mesh === this.#room.mesh8 && last === '+' && rest.length === 0
    return isInbox && inbox !== undefined && this.#mayBe(inbox)
  }

  send(payload: Uint8Array): boolean {
    if (this.#client.closed || this.#client.conn.writableLength > BUFFERED_BYTES_MAX) return false
    const { mesh8, peerId } = this.#room
    const topic = `marram/sync/${mesh8}/${this.source}/${peerId}`
    const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
    this.#client.publish({ cmd: 'publish', topic, payload: bytes, qos: 0, retain: false, dup: false }, () => {})
    return true
  }

  disconnect(): void {
    this.#client.close()
  }

  gone(): void {
    if (this.#timer) clearTimeout(this.#timer)
    this.#room.gate.gone(this)
  }

  /** A neighbour is who it logged in as; a joiner keeps to the first name it uses. */
  #mayBe(name: string): boolean {
    if (this.#client.login?.kind === 'neighbour') return name === this.user
    return isPeerId(name) && (this.source === '' || this.source === name)
  }

  get #bytesMax(): number {
    return this.#client.login?.kind === 'joiner' ? JOIN_FRAME_BYTES_MAX : PROTOCOL_LIMITS.frameBytesMax
  }
}
