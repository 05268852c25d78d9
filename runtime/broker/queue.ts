import type { PubrelPacket } from 'aedes'
import type { RoutedPacket } from './clients.ts'

/** A message that sessions wait for. All of them share it. */
export interface KeptMessage {
  readonly number: number
  readonly packet: RoutedPacket
  readonly bytes: number
  /** How many sessions wait for it: with none it is forgotten. */
  sessions: number
}

interface Entry {
  readonly message: KeptMessage
  /** The packet identifier it was sent with last; undefined while it waits. */
  messageId: number | undefined
  /** Sent under the same identifier before. */
  isAgain: boolean
  /** Received by the client (PUBREC): this is sent in its place. */
  release: PubrelPacket | null
}

export type QueuedPacket = (RoutedPacket & { messageId: number | undefined }) | PubrelPacket

export interface QueueLimits {
  /** Messages and bytes for one session; further messages are dropped and counted. */
  readonly maxQueued: number
  readonly maxQueuedBytes: number
}

const MESSAGE_IDS = 65_535

/**
 * What one session has not acknowledged, in order, by aedes's names of the packets and by packet identifiers. Places are
 * taken before a message is on the disk, so that many on their way at once keep to the limits.
 */
export class Queue {
  readonly #entries = new Map<string, Entry>()
  readonly #byMessageId = new Map<number, Entry>()
  #count = 0
  #bytes = 0

  get count(): number {
    return this.#count
  }

  get bytes(): number {
    return this.#bytes
  }

  /** False when there is no room left for the message. */
  reserve(bytes: number, { maxQueued, maxQueuedBytes }: QueueLimits): boolean {
    if (this.#count >= maxQueued || this.#bytes + bytes > maxQueuedBytes) return false
    this.#count += 1
    this.#bytes += bytes
    return true
  }

  unreserve(bytes: number): void {
    this.#count -= 1
    this.#bytes -= bytes
  }

  /** Into the place reserved for it. */
  add(message: KeptMessage): void {
    this.#entries.set(nameOf(message.packet), { message, messageId: undefined, isAgain: false, release: null })
  }

  has(packet: RoutedPacket): boolean {
    return this.#entries.has(nameOf(packet))
  }

  /** True for a message that was never sent on any connection. */
  isUnsent(packet: RoutedPacket): boolean {
    const entry = this.#entries.get(nameOf(packet))
    return entry !== undefined && entry.messageId === undefined
  }

  isAgain(messageId: number): boolean {
    return this.#byMessageId.get(messageId)?.isAgain ?? false
  }

  /**
   * The packet identifier to send the message with: the one it had before, else the one wanted or the next that is free
   * [MQTT-2.3.1-2]. Undefined when there is no such message, or when all identifiers are in use.
   */
  assign(packet: RoutedPacket, wanted: number): number | undefined {
    const entry = this.#entries.get(nameOf(packet))
    if (!entry) return undefined
    entry.isAgain = entry.messageId !== undefined
    if (entry.messageId !== undefined) return entry.messageId
    const messageId = this.freeId(wanted)
    if (messageId === undefined) return undefined
    entry.messageId = messageId
    this.#byMessageId.set(messageId, entry)
    return messageId
  }

  /** The identifier that is wanted, or the next one that no message here was sent with; undefined when all are in use. */
  freeId(wanted: number): number | undefined {
    if (this.#byMessageId.size === MESSAGE_IDS) return undefined
    let messageId = wanted
    while (this.#byMessageId.has(messageId)) messageId = nextId(messageId)
    return messageId
  }

  release(packet: PubrelPacket & { messageId: number }): void {
    const entry = this.#byMessageId.get(packet.messageId)
    if (entry) entry.release = { cmd: 'pubrel', messageId: packet.messageId }
  }

  /** What was removed, as it would have been sent; undefined when nothing was sent under the identifier. */
  remove(messageId: number): { readonly message: KeptMessage; readonly packet: QueuedPacket } | undefined {
    const entry = this.#byMessageId.get(messageId)
    if (!entry) return undefined
    this.#byMessageId.delete(messageId)
    this.#entries.delete(nameOf(entry.message.packet))
    this.unreserve(entry.message.bytes)
    return { message: entry.message, packet: packetOf(entry) }
  }

  /** As they are to be sent, in order; those as well that come while they are read. */
  *packets(): Generator<QueuedPacket> {
    for (const entry of this.#entries.values()) yield packetOf(entry)
  }

  /** Those that were never sent on any connection, in order. */
  unsent(): RoutedPacket[] {
    const waiting = [...this.#entries.values()].filter(({ messageId }) => messageId === undefined)
    return waiting.map(({ message }) => message.packet)
  }

  messages(): KeptMessage[] {
    return Array.from(this.#entries.values(), ({ message }) => message)
  }
}

export function nextId(messageId: number): number {
  return (messageId % MESSAGE_IDS) + 1
}

function packetOf({ message, messageId, release }: Entry): QueuedPacket {
  return release ?? { ...message.packet, messageId }
}

function nameOf({ brokerId, brokerCounter }: RoutedPacket): string {
  return `${brokerId}/${brokerCounter}`
}
