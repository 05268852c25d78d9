/**
 * Watches a stream of MQTT packets and tells when one announces more bytes than allowed [MQTT-2.2.3], as soon as its
 * fixed header has come, so that nobody can make us gather a packet of 256 MB.
 */
export class PacketLengthGuard {
  #bytesMax: number
  /** Bytes of the current packet still to come; its header is being read when 0. */
  #remaining = 0
  #length = 0
  #multiplier = 1
  #headerBytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** For packets that begin from now on. */
  set bytesMax(bytes: number) {
    this.#bytesMax = bytes
  }

  /** False when a packet is too long or its length malformed: the connection must be closed. */
  accept(chunk: Uint8Array): boolean {
    let at = 0
    while (at < chunk.length) {
      if (this.#remaining > 0) {
        const step = Math.min(this.#remaining, chunk.length - at)
        this.#remaining -= step
        at += step
      } else if (!this.#header(chunk[at++] as number)) return false
    }
    return true
  }

  #header(byte: number): boolean {
    this.#headerBytes += 1
    if (this.#headerBytes === 1) return true
    this.#length += (byte & 127) * this.#multiplier
    this.#multiplier *= 128
    if (this.#length > this.#bytesMax) return false
    if (byte & 128) return this.#headerBytes < 5
    this.#remaining = this.#length
    this.#headerBytes = 0
    this.#length = 0
    this.#multiplier = 1
    return true
  }
}
