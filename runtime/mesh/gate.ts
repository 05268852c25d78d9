import { sentenceOf } from '../base/errors.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import { peerIdOf, type DeviceKeys } from '../crypto/identity.ts'
import { createVerifier, type Verifier } from '../crypto/signature.ts'
import { isPeerId } from '../model/names.ts'
import type { FrameGate, FramePeer } from '../ports/broker.ts'
import type { LinkPeer } from '../ports/link.ts'
import type { Log } from '../ports/log.ts'
import { Channel, type RemoteProof } from './channel.ts'
import { answerJoin } from './enrolling.ts'
import type { Enroller } from '../ports/enroller.ts'
import type { LinkTable, Transport } from './link-table.ts'
import { JOIN_USER, knockMessage, readKnock } from './topics.ts'

export interface GateOptions {
  readonly keys: DeviceKeys
  readonly meshId: Uint8Array
  readonly chain: () => readonly Uint8Array[]
  readonly linksMax: number
  readonly enroller: Enroller
  readonly log: Log
}

/** The listening side: what neighbours send to our own broker. */
export class Gate implements FrameGate {
  readonly #mesh: LinkTable
  readonly #options: GateOptions
  readonly #verifier: Verifier = createVerifier(1_024)
  readonly #guests = new Map<FramePeer, Guest>()

  constructor(mesh: LinkTable, options: GateOptions) {
    this.#mesh = mesh
    this.#options = options
  }

  admit({ user, password, clientId }: { user: string; password: Uint8Array; clientId: string }): boolean {
    if (this.#guests.size >= this.#options.linksMax + GATEWAY_LIMITS.enrolmentsAtOnce + GATEWAY_LIMITS.linksMax)
      return false
    if (user === JOIN_USER) return password.length > 0
    const knock = readKnock(password)
    if (!knock || !isPeerId(user) || peerIdOf(knock.publicKey) !== user) return false
    return this.#verifier.verify(knock.publicKey, knockMessage(this.#options.meshId, clientId), knock.signature)
  }

  receive(from: FramePeer, payload: Uint8Array): void {
    let guest = this.#guests.get(from)
    if (!guest) {
      guest = new Guest(this.#mesh, this.#options, from)
      this.#guests.set(from, guest)
    }
    guest.receive(payload)
  }

  gone(from: FramePeer): void {
    this.#guests.get(from)?.end('the connection was closed')
    this.#guests.delete(from)
  }
}

/** One connection at our broker, from its first frame to its end. */
class Guest {
  readonly #mesh: LinkTable
  readonly #options: GateOptions
  readonly #from: FramePeer
  readonly #timer: NodeJS.Timeout
  readonly #channel: Channel
  #peer: LinkPeer | null = null
  #link: number | null = null
  /** It has said JOIN, for which there is one chance with each connection. */
  #hasAsked = false

  constructor(mesh: LinkTable, options: GateOptions, from: FramePeer) {
    this.#mesh = mesh
    this.#options = options
    this.#from = from
    this.#timer = setTimeout(() => this.#refuse('it did not finish its handshake in time'), GATEWAY_LIMITS.enrolmentMs)
    this.#timer.unref()
    this.#channel = new Channel({
      role: 'responder',
      meshId: options.meshId,
      initiatorId: from.source,
      linkKeys: { secretKey: options.keys.linkSecretKey, publicKey: options.keys.linkPublicKey },
      chain: options.chain(),
      judge: (remote) => this.#judge(remote),
    })
  }

  receive(payload: Uint8Array): void {
    const event = this.#channel.receive(payload)
    switch (event.type) {
      case 'reply':
        this.#from.send(event.frame)
        return
      case 'established':
        return this.#established()
      case 'plaintext':
        if (this.#link !== null) this.#mesh.received(this.#link, payload.length, event.bytes)
        else if (this.#from.user === JOIN_USER && !this.#hasAsked) void this.#join(event.bytes)
        return
      case 'failed':
        return this.#refuse(event.reason)
      case 'ignored':
        return
    }
  }

  end(reason: string): void {
    clearTimeout(this.#timer)
    if (this.#link !== null) this.#mesh.lost(this.#link, reason)
    this.#link = null
  }

  /** A joiner has nothing to show yet: it may say JOIN and nothing else. */
  #judge(remote: RemoteProof): string | null {
    if (this.#from.user === JOIN_USER) return remote.chain.length === 0 ? null : 'a joiner has no capability'
    const peer = this.#mesh.judge(remote)
    if (typeof peer === 'string') return peer
    if (peer.peerId !== this.#from.source) return 'its capability belongs to another name'
    this.#peer = peer
    return null
  }

  #established(): void {
    if (this.#from.user === JOIN_USER || !this.#peer) return
    clearTimeout(this.#timer)
    const transport: Transport = { send: (frame) => this.#from.send(frame), close: () => this.#from.disconnect() }
    this.#link = this.#mesh.established(this.#peer, this.#channel, transport, false)
    if (this.#link === null) this.#from.disconnect()
  }

  async #join(bytes: Uint8Array): Promise<void> {
    this.#hasAsked = true
    const { source } = this.#from
    try {
      const answer = await answerJoin(bytes, this.#channel.handshakeHash, source, this.#options.enroller)
      if (answer) this.#from.send(this.#channel.seal(answer))
      else this.#refuse('its request to join is malformed')
    } catch (error) {
      this.#refuse(`its request to join failed: ${sentenceOf(error)}`)
    }
  }

  #refuse(reason: string): void {
    this.#options.log.warn('connection-refused', { source: this.#from.source, reason })
    this.#from.disconnect()
  }
}
