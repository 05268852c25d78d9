import { GATEWAY_LIMITS } from '../base/limits.ts'
import type { LinkKeyPair } from '../crypto/noise.ts'
import type { LinkPeer } from '../ports/link.ts'
import { encodeMessages } from '../wire/message.ts'
import { Channel, type RemoteProof } from './channel.ts'
import { answerJoin } from './enrolling.ts'
import type { Enroller } from '../ports/enroller.ts'
import type { LinkTable } from './link-table.ts'

export interface PassageOptions {
  readonly mesh: LinkTable
  /** Its address. */
  readonly relay: string
  readonly meshId: Uint8Array
  /** This gateway, and who is at the other end by its topic. */
  readonly peerId: string
  readonly source: string
  /** Drawn by who dials. */
  readonly session: number
  readonly isDialled: boolean
  readonly linkKeys: LinkKeyPair
  readonly chain: readonly Uint8Array[]
  /** Lets in who has dialled and has nothing to show yet but an invite. */
  readonly enroller: Enroller
  /** False when the relay takes no more bytes. */
  readonly send: (frame: Uint8Array) => boolean
  readonly monotonicMs: () => number
  /** Once. `linkedMs`: how long it was a link; null when it became none. */
  readonly onEnded: (reason: string, linkedMs: number | null) => void
}

const SESSION_AT = { handshake: 2, sealed: 1 } as const
const HANDSHAKE = 0

/** One channel to one gateway through a relay, from its first frame to the end of the link that it becomes. */
export class Passage {
  readonly #options: PassageOptions
  readonly #channel: Channel
  readonly #deadline: NodeJS.Timeout
  #peer: LinkPeer | null = null
  /** It may say JOIN, once, and nothing else. */
  #isJoiner = false
  #link: number | null = null
  #linkedAt = 0
  #isEnded = false

  constructor(options: PassageOptions) {
    this.#options = options
    const { meshId, peerId, source, session, isDialled, linkKeys, chain } = options
    this.#channel = new Channel({
      role: isDialled ? 'initiator' : 'responder',
      meshId,
      initiatorId: isDialled ? peerId : source,
      linkKeys,
      chain,
      judge: (remote) => this.#judge(remote),
      ...(isDialled && { session }),
    })
    this.#deadline = setTimeout(() => this.end('the handshake took too long'), GATEWAY_LIMITS.enrolmentMs)
    this.#deadline.unref()
  }

  get isDialled(): boolean {
    return this.#options.isDialled
  }

  get isLink(): boolean {
    return this.#link !== null
  }

  /** Says the first word. */
  open(): void {
    this.#options.send(this.#channel.open())
  }

  receive(frame: Uint8Array): void {
    if (this.#isEnded) return
    const event = this.#channel.receive(frame)
    if (event.type === 'reply') {
      this.#options.send(event.frame)
      if (event.isEstablished) this.#established()
    } else if (event.type === 'established') {
      this.#established()
    } else if (event.type === 'plaintext') {
      if (this.#link !== null) this.#options.mesh.received(this.#link, frame.length, event.bytes)
      else if (this.#isJoiner) void this.#join(event.bytes)
    } else if (event.type === 'failed') {
      this.end(event.reason)
    }
  }

  /** `isHeard`: the other side can be told, and would not notice by itself. */
  end(reason: string, isHeard = true): void {
    if (this.#isEnded) return
    this.#isEnded = true
    if (isHeard && this.#channel.isEstablished)
      this.#options.send(this.#channel.seal(encodeMessages([{ type: 'bye', reason: 'closed', retryAfterMs: 0 }])))
    clearTimeout(this.#deadline)
    const link = this.#link
    if (link !== null) this.#options.mesh.lost(link, reason)
    this.#options.onEnded(reason, link === null ? null : this.#options.monotonicMs() - this.#linkedAt)
  }

  async #join(bytes: Uint8Array): Promise<void> {
    const { source, enroller, send } = this.#options
    this.#isJoiner = false
    const answer = await answerJoin(bytes, this.#channel.handshakeHash, source, enroller).catch(() => null)
    if (this.#isEnded) return
    if (answer) send(this.#channel.seal(answer))
    this.end(answer ? 'it has been answered' : 'its request to join failed', false)
  }

  #judge(remote: RemoteProof): string | null {
    this.#isJoiner = !this.#options.isDialled && remote.chain.length === 0
    if (this.#isJoiner) return null
    const peer = this.#options.mesh.judge(remote)
    if (typeof peer === 'string') return peer
    if (peer.peerId !== this.#options.source) return 'its capability belongs to another name'
    this.#peer = peer
    return null
  }

  #established(): void {
    if (!this.#peer) return
    clearTimeout(this.#deadline)
    const { mesh, relay, send, isDialled } = this.#options
    const transport = { send, close: () => this.end('closed by us'), relay }
    this.#link = mesh.established(this.#peer, this.#channel, transport, isDialled)
    this.#linkedAt = this.#options.monotonicMs()
    if (this.#link === null) this.end('there is a link to this gateway already')
  }
}

/** What tells frames of one channel from those of another between the same two gateways; null when it is no frame. */
export function sessionOf(frame: Uint8Array): number | null {
  const at = frame[0] === HANDSHAKE ? SESSION_AT.handshake : SESSION_AT.sealed
  if (frame.length < at + 4) return null
  return new DataView(frame.buffer, frame.byteOffset).getUint32(at)
}

/** Whether it is the first word of somebody who dials. */
export function isOpening(frame: Uint8Array): boolean {
  return frame[0] === HANDSHAKE && frame[1] === 0
}
