import { Readable } from 'node:stream'
import { BROKER_LIMITS } from '../base/limits.ts'
import { matches } from './topics.ts'

/** A message kept for those who subscribe later. */
export interface RetainedPacket {
  readonly topic: string
  readonly payload: Uint8Array | string
}

/** The last retained message of each topic, bounded in number and bytes. */
export class RetainedMessages<P extends RetainedPacket> {
  readonly #packets = new Map<string, P>()
  #bytes = 0

  get count(): number {
    return this.#packets.size
  }

  /** False when there is no room. Removing (an empty payload) always has. */
  hasRoom(packet: P): boolean {
    const before = this.#packets.get(packet.topic)
    if (!before && packet.payload.length > 0 && this.#packets.size >= BROKER_LIMITS.retainedMax) return false
    return this.#bytes - bytesOf(before) + bytesOf(packet) <= BROKER_LIMITS.retainedBytesMax
  }

  set(packet: P): void {
    this.#bytes -= bytesOf(this.#packets.get(packet.topic))
    if (packet.payload.length === 0) this.#packets.delete(packet.topic)
    else {
      this.#packets.set(packet.topic, packet)
      this.#bytes += bytesOf(packet)
    }
  }

  /** Read as the reader takes them. */
  stream(filters: readonly string[]): Readable {
    return Readable.from(this.#matching(filters))
  }

  *#matching(filters: readonly string[]): Generator<P> {
    for (const filter of filters) {
      for (const packet of this.#packets.values()) if (matches(filter, packet.topic)) yield packet
    }
  }
}

function bytesOf(packet: RetainedPacket | undefined): number {
  return packet === undefined || packet.payload.length === 0 ? 0 : packet.topic.length + packet.payload.length
}
