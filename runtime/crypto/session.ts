import { open, seal } from './aead.ts'
import { nonceBytes } from './noise.ts'

/**
 * Frames of a link after its handshake (protocol D21): `[0x01, session u32, counter u48, ciphertext, tag 16]`, 27 bytes
 * more than the plaintext. The counter is the nonce; the header is authenticated. Frames may be lost or come out of order
 * within a window of 64; a frame is opened once. Keys change every 2^20 frames (Noise 11.3 REKEY), on both sides by the
 * counter, so it needs no message.
 */
export interface Session {
  seal(plaintext: Uint8Array): Uint8Array
  /** Null for a frame that is forged, of another session, opened before, or too old. */
  open(frame: Uint8Array): Uint8Array | null
}

export const SESSION_OVERHEAD = 27
const FRAME_TYPE = 1
const HEADER = 11
const WINDOW = 64n
const REKEY_SHIFT = 20

export function createSession(options: {
  readonly id: number
  readonly send: Uint8Array
  readonly receive: Uint8Array
}): Session {
  const sending = new KeySchedule(options.send)
  const receiving = new KeySchedule(options.receive)
  const window = new ReplayWindow()
  let counter = 0
  return {
    seal(plaintext) {
      const header = headerOf(options.id, counter)
      const sealed = seal(sending.at(counter), nonceBytes(counter), header, plaintext)
      sending.note(counter)
      counter += 1
      const frame = new Uint8Array(HEADER + sealed.length)
      frame.set(header)
      frame.set(sealed, HEADER)
      return frame
    },
    open(frame) {
      const received = counterOf(frame, options.id)
      if (received === null || !window.isNew(received)) return null
      const key = receiving.at(received)
      const plaintext = open(key, nonceBytes(received), frame.subarray(0, HEADER), frame.subarray(HEADER))
      if (!plaintext) return null
      // Only what is authentic may move the window and the keys.
      window.note(received)
      receiving.note(received)
      return plaintext
    },
  }
}

function headerOf(session: number, counter: number): Uint8Array {
  const header = new Uint8Array(HEADER)
  const view = new DataView(header.buffer)
  header[0] = FRAME_TYPE
  view.setUint32(1, session)
  view.setUint16(5, Math.floor(counter / 2 ** 32))
  view.setUint32(7, counter % 2 ** 32)
  return header
}

function counterOf(frame: Uint8Array, session: number): number | null {
  if (frame.length < SESSION_OVERHEAD || frame[0] !== FRAME_TYPE) return null
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength)
  if (view.getUint32(1) !== session) return null
  return view.getUint16(5) * 2 ** 32 + view.getUint32(7)
}

/** The key in force at a counter; the one before is kept for frames that come late. */
class KeySchedule {
  #epoch = 0
  #key: Uint8Array
  #before: Uint8Array | null = null
  #next: Uint8Array | null = null

  constructor(key: Uint8Array) {
    this.#key = key
  }

  /** Changes nothing that a forged counter could spoil. */
  at(counter: number): Uint8Array {
    const epoch = epochOf(counter)
    if (epoch === this.#epoch - 1 && this.#before) return this.#before
    if (epoch !== this.#epoch + 1) return this.#key
    this.#next ??= rekeyed(this.#key)
    return this.#next
  }

  /** A frame of this counter was made, or opened and found authentic. */
  note(counter: number): void {
    if (epochOf(counter) !== this.#epoch + 1 || !this.#next) return
    this.#before = this.#key
    this.#key = this.#next
    this.#next = null
    this.#epoch += 1
  }
}

function epochOf(counter: number): number {
  return Math.floor(counter / 2 ** REKEY_SHIFT)
}

/** Noise 4.2 REKEY: the first 32 bytes of zeros sealed under the greatest nonce. */
function rekeyed(key: Uint8Array): Uint8Array {
  const nonce = new Uint8Array(12).fill(0xff, 4)
  return seal(key, nonce, new Uint8Array(0), new Uint8Array(32)).slice(0, 32)
}

class ReplayWindow {
  #highest = -1
  #seen = 0n

  isNew(counter: number): boolean {
    if (counter > this.#highest) return true
    const age = BigInt(this.#highest - counter)
    return age < WINDOW && (this.#seen & (1n << age)) === 0n
  }

  note(counter: number): void {
    if (counter > this.#highest) {
      const step = BigInt(counter - this.#highest)
      this.#seen = step >= WINDOW ? 1n : ((this.#seen << step) | 1n) & ((1n << WINDOW) - 1n)
      this.#highest = counter
    } else this.#seen |= 1n << BigInt(this.#highest - counter)
  }
}
