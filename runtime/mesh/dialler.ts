import { GATEWAY_LIMITS } from '../base/limits.ts'
import type { LinkKeyPair } from '../crypto/noise.ts'
import type { LinkPeer } from '../ports/link.ts'
import type { Log } from '../ports/log.ts'
import { parseAddress, type Address } from '../profile/address.ts'
import type { Candidates, LinkState } from '../topology/candidates.ts'
import { Channel, type RemoteProof } from './channel.ts'
import { openConnection, type Connection } from './connection.ts'
import { IS_SELF, type LinkTable } from './link-table.ts'
import { drawSession } from './session-number.ts'
import { inboxFilter, inboxTopic } from './topics.ts'

export interface DiallerOptions {
  readonly mesh: LinkTable
  readonly candidates: Candidates
  readonly links: () => LinkState
  /** A link over a hint came about, at an address that was not remembered yet. */
  readonly onRemember: () => void
  readonly meshId: Uint8Array
  readonly peerId: string
  readonly linkKeys: LinkKeyPair
  readonly chain: () => readonly Uint8Array[]
  readonly login: () => { readonly user: string; readonly password: Uint8Array; readonly clientId: string }
  readonly log: Log
  readonly monotonicMs: () => number
}

const WAIT_MS_MAX = 60_000

/** Dials what the candidates say is due: one attempt at a time for each address, and the only owner of their retries. */
export class Dialler {
  readonly #options: DiallerOptions
  readonly #attempts = new Map<string, Attempt>()
  #timer: NodeJS.Timeout | null = null
  #isStopped = false

  constructor(options: DiallerOptions) {
    this.#options = options
  }

  /** To be called when addresses were learned or links came or went. */
  poll(): void {
    if (this.#isStopped) return
    if (this.#timer) clearTimeout(this.#timer)
    const { candidates, links, monotonicMs } = this.#options
    for (const address of candidates.due(monotonicMs(), links())) this.#dial(address)
    const wait = Math.min(Math.max(0, candidates.deadline - monotonicMs()), WAIT_MS_MAX)
    this.#timer = setTimeout(() => this.poll(), wait).unref()
  }

  /** Addresses that are dialled no more; links that came about stay. */
  stop(): void {
    this.#isStopped = true
    if (this.#timer) clearTimeout(this.#timer)
    for (const attempt of this.#attempts.values()) attempt.close('the gateway is stopping')
  }

  #dial(text: string): void {
    if (this.#attempts.has(text)) return
    const address = parseAddress(text)
    if (!address.ok) {
      this.#options.log.warn('address-refused', { message: address.error.message })
      return this.#options.candidates.ended(text, { peerId: null, linkedMs: null }, this.#options.monotonicMs())
    }
    const attempt = new Attempt(this.#options, address.value, text, (ended) => this.#ended(text, ended))
    this.#attempts.set(text, attempt)
  }

  #ended(address: string, { peerId, linkedMs, reason }: Ended): void {
    this.#attempts.delete(address)
    this.#options.candidates.ended(address, { peerId, linkedMs }, this.#options.monotonicMs())
    this.#options.log.debug('dial-ended', { address, reason })
    this.poll()
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
  readonly #text: string
  readonly #ended: (ended: Ended) => void
  readonly #channel: Channel
  readonly #connection: Connection
  readonly #deadline: NodeJS.Timeout
  #peer: LinkPeer | null = null
  #peerId: string | null = null
  #link: number | null = null
  #linkedAt = 0
  #reason: string | null = null

  constructor(options: DiallerOptions, address: Address, text: string, ended: (ended: Ended) => void) {
    this.#options = options
    this.#text = text
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
      address,
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
    if (peer === IS_SELF) this.#peerId = this.#options.peerId
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
      const level = event.reason === IS_SELF ? 'debug' : 'warn'
      this.#options.log[level]('dial-refused', { address: this.#text, reason: event.reason })
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
    if (this.#link === null) return this.close('there is a link to this gateway already, or there are too many')
    const { candidates, mesh, onRemember } = this.#options
    if (mesh.isLinkedTo(this.#peer.peerId) && candidates.worked(this.#text, this.#peer.peerId)) onRemember()
  }

  #closed(reason: string): void {
    clearTimeout(this.#deadline)
    const why = this.#reason ?? reason
    const linkedMs = this.#link === null ? null : this.#options.monotonicMs() - this.#linkedAt
    if (this.#link !== null) this.#options.mesh.lost(this.#link, why)
    this.#ended({ peerId: this.#peerId, linkedMs, reason: why })
  }
}
