import { Readable } from 'node:stream'
import { BROKER_LIMITS } from '../base/limits.ts'
import { matches } from './topics.ts'
import type { Change } from './writer.ts'

/** A message kept for those who subscribe later. */
export interface RetainedPacket {
  readonly topic: string
  readonly payload: Uint8Array | string
}

/** The last retained message of each topic, bounded in number and bytes with those that are on their way to the disk. */
export class RetainedMessages<P extends RetainedPacket> {
  readonly #packets = new Map<string, P>()
  #bytes = 0
  /** Places taken: of topics that are not here yet, and bytes. */
  #reserved = 0
  #reservedBytes = 0

  get count(): number {
    return this.#packets.size
  }

  /** Takes a place, until the message is set or what was to become of it is undone; null without room. Removing always has. */
  reserve(packet: P): Pick<Change, 'apply' | 'undo'> | null {
    const before = this.#packets.get(packet.topic)
    const bytes = bytesOf(packet)
    const places = before || bytes === 0 ? 0 : 1
    const isFull = this.#packets.size + this.#reserved + places > BROKER_LIMITS.retainedMax
    const bytesThen = this.#bytes + this.#reservedBytes - bytesOf(before) + bytes
    if ((places > 0 && isFull) || (bytes > 0 && bytesThen > BROKER_LIMITS.retainedBytesMax)) return null
    this.#reserved += places
    this.#reservedBytes += bytes
    const undo = (): void => {
      this.#reserved -= places
      this.#reservedBytes -= bytes
    }
    return {
      undo,
      apply: () => {
        undo()
        this.set(packet)
      },
    }
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
      // Dashboards name hundreds of topics at once, each of them whole.
      const named = /[+#]/.test(filter) ? this.#packets.values() : [this.#packets.get(filter)]
      for (const packet of named) if (packet && matches(filter, packet.topic)) yield packet
    }
  }
}

function bytesOf(packet: RetainedPacket | undefined): number {
  return packet === undefined || packet.payload.length === 0 ? 0 : packet.topic.length + packet.payload.length
}
