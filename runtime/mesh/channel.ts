import { concat, equal, utf8 } from '../base/bytes.ts'
import { fail, ok, type Result } from '../base/result.ts'
import { createHandshake, type Handshake, type LinkKeyPair } from '../crypto/noise.ts'
import { createSession, type Session } from '../crypto/session.ts'
import { decodeDeterministic, encodeDeterministic } from '../wire/deterministic.ts'

/**
 * A secure channel over frames that anyone may read, drop or forge: Noise XX, then sealed frames (protocol D21). Without
 * I/O. The same on both sides of an MQTT connection.
 *
 *   handshake frame = [0x00, step 0..2, session u32, Noise message]
 *   sealed frame    = [0x01, session u32, counter u48, ciphertext, tag 16]
 *
 * The session number is drawn by the initiator. The prologue binds protocol, mesh and initiator; the responder proves
 * itself by its chain of capabilities, whose link key must be its Noise static key.
 */
export interface ChannelOptions {
  readonly role: 'initiator' | 'responder'
  readonly meshId: Uint8Array
  /** Peer id of the side that began. */
  readonly initiatorId: string
  readonly linkKeys: LinkKeyPair
  /** Our own capabilities, leaf first; empty for a joiner. */
  readonly chain: readonly Uint8Array[]
  /** Judges the other side once its static key and chain are known: a reason to refuse it, or null. */
  readonly judge: (remote: RemoteProof) => string | null
  /** For the initiator. */
  readonly session?: number
}

export interface RemoteProof {
  readonly linkKey: Uint8Array
  readonly chain: readonly Uint8Array[]
}

/** What became of a frame. */
export type ChannelEvent =
  | { readonly type: 'reply'; readonly frame: Uint8Array; readonly isEstablished: boolean }
  | { readonly type: 'established' }
  | { readonly type: 'plaintext'; readonly bytes: Uint8Array }
  /** Forged, replayed or out of turn: nothing changed. */
  | { readonly type: 'ignored' }
  | { readonly type: 'failed'; readonly reason: string }

const HANDSHAKE = 0
const HANDSHAKE_HEADER = 6
const CHAIN_MAX = 2

export class Channel {
  readonly #options: ChannelOptions
  readonly #handshake: Handshake
  #id: number
  #step = 0
  #session: Session | null = null

  constructor(options: ChannelOptions) {
    this.#options = options
    this.#id = options.session ?? 0
    const prologue = concat(utf8('marram1'), options.meshId, utf8(options.initiatorId))
    this.#handshake = createHandshake({ role: options.role, prologue, staticKeys: options.linkKeys })
  }

  get isEstablished(): boolean {
    return this.#session !== null
  }

  /** What a JOIN's signature covers. */
  get handshakeHash(): Uint8Array {
    return this.#handshake.handshakeHash
  }

  /** The initiator's first frame. */
  open(): Uint8Array {
    return this.#frame(this.#handshake.write(new Uint8Array(0)) ?? new Uint8Array(0))
  }

  seal(plaintext: Uint8Array): Uint8Array {
    if (!this.#session) throw new Error('Assertion failed: the channel is established')
    return this.#session.seal(plaintext)
  }

  receive(frame: Uint8Array): ChannelEvent {
    if (frame[0] !== HANDSHAKE) return this.#receiveSealed(frame)
    if (this.#session || frame.length < HANDSHAKE_HEADER || frame[1] !== this.#step) return { type: 'ignored' }
    const id = new DataView(frame.buffer, frame.byteOffset).getUint32(2)
    if (this.#step > 0 && id !== this.#id) return { type: 'ignored' }
    this.#id = id
    return this.#receiveHandshake(frame.subarray(HANDSHAKE_HEADER))
  }

  #receiveSealed(frame: Uint8Array): ChannelEvent {
    const bytes = this.#session?.open(frame)
    return bytes ? { type: 'plaintext', bytes } : { type: 'ignored' }
  }

  #receiveHandshake(message: Uint8Array): ChannelEvent {
    const payload = this.#handshake.read(message)
    if (!payload) return { type: 'failed', reason: 'the handshake failed: wrong mesh, or a forged message' }
    this.#step += 1
    if (this.#step > 1) {
      const reason = this.#judge(payload)
      if (reason) return { type: 'failed', reason }
    }
    if (this.#handshake.isComplete) return this.#establish()
    const reply = this.#handshake.write(encodeDeterministic(this.#options.chain))
    if (!reply) return { type: 'failed', reason: 'the handshake failed: a key of small order' }
    const frame = this.#frame(reply)
    if (this.#handshake.isComplete) this.#establish()
    return { type: 'reply', frame, isEstablished: this.isEstablished }
  }

  #judge(payload: Uint8Array): string | null {
    const chain = decodeChain(payload)
    const linkKey = this.#handshake.remoteStatic
    if (!chain.ok || !linkKey) return 'it sent malformed capabilities'
    return this.#options.judge({ linkKey, chain: chain.value })
  }

  #establish(): ChannelEvent {
    const { send, receive } = this.#handshake.split()
    this.#session = createSession({ id: this.#id, send, receive })
    return { type: 'established' }
  }

  /** Counts the step of a message that goes out. */
  #frame(message: Uint8Array): Uint8Array {
    const header = new Uint8Array(HANDSHAKE_HEADER)
    header[0] = HANDSHAKE
    header[1] = this.#step
    new DataView(header.buffer).setUint32(2, this.#id)
    this.#step += 1
    return concat(header, message)
  }
}

function decodeChain(payload: Uint8Array): Result<readonly Uint8Array[]> {
  const item = decodeDeterministic(payload)
  if (!item.ok) return item
  const links: unknown = item.value
  if (!Array.isArray(links) || links.length > CHAIN_MAX)
    return fail('bad-request', 'a chain has at most two capabilities')
  if (!links.every((link) => link instanceof Uint8Array))
    return fail('bad-request', 'a capability must be a byte string')
  return ok((links as Uint8Array[]).map((link) => link.slice()))
}

/** Whether a capability's link key is the key that was proven in the handshake. */
export function isProvenBy(linkKey: Uint8Array, remote: RemoteProof): boolean {
  return equal(linkKey, remote.linkKey)
}
