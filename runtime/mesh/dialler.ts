import { GATEWAY_LIMITS } from '../base/limits.ts'
import type { Random } from '../base/random.ts'
import type { LinkKeyPair } from '../crypto/noise.ts'
import type { LinkPeer } from '../ports/link.ts'
import type { Log } from '../ports/log.ts'
import type { Address } from '../profile/address.ts'
import { BackOff } from './back-off.ts'
import { Channel, type RemoteProof } from './channel.ts'
import { openConnection, type Connection } from './connection.ts'
import type { LinkTable } from './link-table.ts'
import { drawSession } from './session-number.ts'
import { inboxFilter, inboxTopic } from './topics.ts'

export interface DiallerOptions {
  readonly mesh: LinkTable
  readonly address: Address
  /** The address as configured. */
  readonly text: string
  readonly meshId: Uint8Array
  readonly peerId: string
  readonly linkKeys: LinkKeyPair
  readonly chain: () => readonly Uint8Array[]
  readonly login: () => { readonly user: string; readonly password: Uint8Array; readonly clientId: string }
  readonly random: Random
  readonly log: Log
  readonly monotonicMs: () => number
}

/** How often to look whether an address whose peer is linked otherwise, or that is our own, should be dialled again. */
const PARKED_MS = 5_000

/** Keeps one address dialled: one attempt at a time, and the only owner of its retries. */
export class Dialler {
  readonly #options: DiallerOptions
  readonly #backOff: BackOff
  #timer: NodeJS.Timeout | null = null
  #attempt: Attempt | null = null
  #isStopped = false
  /** Who answered there last: while it is linked otherwise, there is nothing to dial for. */
  #peerId: string | null = null

  constructor(options: DiallerOptions) {
    this.#options = options
    this.#backOff = new BackOff(options.random)
  }

  start(): void {
    this.#wait(0)
  }

  stop(): void {
    this.#isStopped = true
    if (this.#timer) clearTimeout(this.#timer)
    this.#attempt?.close('the address is dialled no more')
  }

  #wait(ms: number): void {
    if (this.#isStopped) return
    this.#timer = setTimeout(() => this.#dial(), ms)
    this.#timer.unref()
  }

  #dial(): void {
    if (this.#peerId !== null && this.#options.mesh.isLinkedTo(this.#peerId)) return this.#wait(PARKED_MS)
    this.#attempt = new Attempt(this.#options, (ended) => this.#ended(ended))
  }

  #ended({ peerId, linkedMs, reason }: Ended): void {
    this.#attempt = null
    if (peerId !== null) this.#peerId = peerId
    const isSelf = peerId === this.#options.peerId
    const wait = isSelf ? PARKED_MS * 12 : this.#backOff.next(linkedMs)
    this.#options.log.debug('dial-ended', { address: this.#options.text, reason, retryMs: wait })
    this.#wait(wait)
  }
}

interface Ended {
  readonly peerId: string | null
  /** How long the link was up; null when none came about. */
  readonly linkedMs: number | null
  readonly reason: string
}

/** One connection attempt, from the first packet to the end of the link it became. */
class Attempt {
  readonly #options: DiallerOptions
  readonly #ended: (ended: Ended) => void
  readonly #channel: Channel
  readonly #connection: Connection
  readonly #deadline: NodeJS.Timeout
  #peer: LinkPeer | null = null
  #peerId: string | null = null
  #link: number | null = null
  #linkedAt = 0
  #reason: string | null = null

  constructor(options: DiallerOptions, ended: (ended: Ended) => void) {
    this.#options = options
    this.#ended = ended
    const { meshId, peerId, linkKeys } = options
    this.#channel = new Channel({
      role: 'initiator',
      meshId,
      initiatorId: peerId,
      linkKeys,
      chain: options.chain(),
      judge: (remote) => this.#judge(remote),
      session: drawSession(),
    })
    this.#deadline = setTimeout(() => this.close('the handshake took too long'), GATEWAY_LIMITS.enrolmentMs)
    this.#deadline.unref()
    this.#connection = openConnection({
      address: options.address,
      pin: null,
      ...options.login(),
      inbox: inboxFilter(meshId, peerId),
      outbox: inboxTopic(meshId, 'broker', peerId),
      onReady: () => this.#connection.send(this.#channel.open()),
      onFrame: (payload) => this.#receive(payload),
      onClosed: (reason) => this.#closed(reason),
    })
  }

  close(reason: string): void {
    this.#reason ??= reason
    this.#connection.close()
  }

  #judge(remote: RemoteProof): string | null {
    const peer = this.#options.mesh.judge(remote)
    if (typeof peer === 'string') return peer
    this.#peer = peer
    this.#peerId = peer.peerId
    return null
  }

  #receive(payload: Uint8Array): void {
    const event = this.#channel.receive(payload)
    if (event.type === 'reply') {
      this.#connection.send(event.frame)
      if (event.isEstablished) this.#established()
    } else if (event.type === 'plaintext') {
      if (this.#link !== null) this.#options.mesh.received(this.#link, payload.length, event.bytes)
    } else if (event.type === 'failed') {
      this.#options.log.warn('dial-refused', { address: this.#options.text, reason: event.reason })
      this.close(event.reason)
    }
  }

  #established(): void {
    clearTimeout(this.#deadline)
    if (!this.#peer) return
    const transport = {
      send: (frame: Uint8Array) => this.#connection.send(frame),
      close: () => this.#connection.close(),
    }
    this.#link = this.#options.mesh.established(this.#peer, this.#channel, transport, true)
    this.#linkedAt = this.#options.monotonicMs()
    if (this.#link === null) this.close('there is a link to this gateway already')
  }

  #closed(reason: string): void {
    clearTimeout(this.#deadline)
    const why = this.#reason ?? reason
    const linkedMs = this.#link === null ? null : this.#options.monotonicMs() - this.#linkedAt
    if (this.#link !== null) this.#options.mesh.lost(this.#link, why)
    this.#ended({ peerId: this.#peerId, linkedMs, reason: why })
  }
}
