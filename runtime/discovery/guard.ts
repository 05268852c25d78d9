import { DISCOVERY_LIMITS } from '../base/limits.ts'
import { Bucket } from '../base/bucket.ts'

/**
 * Decides which packets are decoded at all. Whoever is on the network may send anything, and a small packet whose header
 * claims many records costs the decoder a tenth of a second (dns-packet 5.6.1): so size, counts and rates are looked at
 * first, and whether it can be about us.
 */
export class Guard {
  readonly #needles: readonly Buffer[]
  readonly #all = new Bucket(DISCOVERY_LIMITS.packetsPerSecond, DISCOVERY_LIMITS.packetsAtOnce)
  readonly #bySource = new Map<string, Bucket>()

  /** `labels`: what a packet must name at least one of. */
  constructor(labels: readonly string[]) {
    this.#needles = labels.map((label) => Buffer.from(label))
  }

  accepts(packet: Buffer, source: string, nowMs: number): boolean {
    return isSound(packet) && this.#isOurs(packet) && this.#bucketOf(source).take(nowMs) && this.#all.take(nowMs)
  }

  /** A name stands in full where it is first used, whatever is compressed after it (RFC 1035 4.1.4). */
  #isOurs(packet: Buffer): boolean {
    return this.#needles.some((needle) => packet.includes(needle))
  }

  /** Of too many sources the one that was first goes: it begins anew with a full bucket, which the common one bounds. */
  #bucketOf(source: string): Bucket {
    let bucket = this.#bySource.get(source)
    if (bucket) return bucket
    const [first] = this.#bySource.keys()
    if (first !== undefined && this.#bySource.size >= DISCOVERY_LIMITS.sourcesMax) this.#bySource.delete(first)
    bucket = new Bucket(DISCOVERY_LIMITS.packetsPerSourceSecond, DISCOVERY_LIMITS.packetsPerSourceAtOnce)
    this.#bySource.set(source, bucket)
    return bucket
  }
}

const HEADER_BYTES = 12

function isSound(packet: Buffer): boolean {
  if (packet.length < HEADER_BYTES || packet.length > DISCOVERY_LIMITS.packetBytesMax) return false
  const questions = packet.readUInt16BE(4)
  const records = packet.readUInt16BE(6) + packet.readUInt16BE(8) + packet.readUInt16BE(10)
  return questions <= DISCOVERY_LIMITS.questionsMax && records <= DISCOVERY_LIMITS.recordsMax
}

/** By the bit QR (RFC 1035 4.1.1). */
export function isResponse(packet: Buffer): boolean {
  return ((packet[2] ?? 0) & 0x80) !== 0
}
