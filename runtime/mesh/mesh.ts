import type { Random } from '../base/random.ts'
import { peerIdOf, randomClientId, type DeviceKeys } from '../crypto/identity.ts'
import type { LinkKeyPair } from '../crypto/noise.ts'
import { createSigner, type Signer } from '../crypto/signature.ts'
import type { Capability } from '../model/capability.ts'
import type { FrameGate } from '../ports/broker.ts'
import type { LinkHandler, LinkPeer, Links } from '../ports/link.ts'
import type { Log } from '../ports/log.ts'
import type { Candidates } from '../topology/candidates.ts'
import type { Shape } from '../topology/topology.ts'
import { formatAddress } from '../profile/address.ts'
import { encodeMessages, type Message } from '../wire/message.ts'
import { isProvenBy, type Channel, type RemoteProof } from './channel.ts'
import { Dialler } from './dialler.ts'
import type { Enroller } from '../ports/enroller.ts'
import { Gate } from './gate.ts'
import { Relay, type RelayAddress } from './relay.ts'
import { IS_SELF, type LinkTable, type Transport } from './link-table.ts'
import { knockMessage, knockPassword } from './topics.ts'

/** Links to other gateways: dialled through their brokers, and taken at ours. */
export interface MeshOptions {
  readonly keys: DeviceKeys
  readonly peerId: string
  readonly meshId: Uint8Array
  /** Our own chain, leaf first; empty while we aren't admitted. */
  readonly chain: () => readonly Uint8Array[]
  /** The capability a chain proves, or null when it leads nowhere or is no longer good. Remembers what it learns. */
  readonly admit: (chain: readonly Uint8Array[]) => Capability | null
  /** Whether all that the member was given has ended, as far as the time is known. */
  readonly hasEnded: (capability: Capability) => boolean
  /** What proves to a member that it was removed; null when it wasn't. */
  readonly farewell: (peerId: string) => readonly Uint8Array[] | null
  readonly candidates: Candidates
  /** See DiallerOptions. */
  readonly onRemember: () => void
  /** Which links are wanted, and which can be spared. */
  readonly shape: Shape
  /** Third parties' brokers to meet others at. */
  readonly relays: readonly RelayAddress[]
  readonly random: Random
  readonly linksMax: number
  readonly handler: LinkHandler
  readonly enroller: Enroller
  /** Whether newcomers are let in here, which others are told where they can't know it. */
  readonly mayEnrol: () => boolean
  readonly log: Log
  readonly monotonicMs: () => number
}

export interface LinkFigures {
  readonly link: number
  readonly peerId: string
  readonly isDialled: boolean
  /** The relay that it goes through; null when it is direct. */
  readonly relay: string | null
  readonly bytesSent: number
  readonly bytesReceived: number
  /** Unix milliseconds. */
  readonly since: number
}

/** Somebody who was removed is told so, at most so often, and has so long to read it; milliseconds. */
const FAREWELL_MS = 60_000
const FAREWELL_READ_MS = 1_000
/** Whoever finds no place here may come again after so long. */
const FULL_MS = 30_000

interface Link {
  readonly link: number
  readonly peer: LinkPeer
  readonly channel: Channel
  readonly transport: Transport
  readonly isDialled: boolean
  readonly since: number
  bytesSent: number
  bytesReceived: number
}

export class Mesh implements Links, LinkTable {
  readonly gate: FrameGate
  readonly #options: MeshOptions
  readonly #signer: Signer
  readonly #links = new Map<number, Link>()
  readonly #linkByPeer = new Map<string, Link>()
  readonly #dialler: Dialler
  readonly #relays: readonly Relay[]
  /** When removed members were last told so; monotonic milliseconds. */
  readonly #farewells = new Map<string, number>()
  #numbers = 0
  #isClosed = false
  #bytesSent = 0
  #bytesReceived = 0

  constructor(options: MeshOptions) {
    this.#options = options
    this.#signer = createSigner(options.keys.secretKey)
    this.gate = new Gate(this, options)
    this.#dialler = this.#makeDialler()
    this.#relays = options.relays.map((relay) => this.#makeRelay(relay))
  }

  /** Meets others at the relays; addresses are dialled as they are learned. */
  start(): void {
    for (const relay of this.#relays) relay.start()
  }

  /** Dials what is due; also to be called when addresses were learned. */
  dial(): void {
    this.#dialler.poll()
  }

  /** What keeps relays from being reached. */
  get warnings(): readonly string[] {
    return this.#relays.flatMap(({ warning }) => warning ?? [])
  }

  figures(): readonly LinkFigures[] {
    return [...this.#links.values()].map(({ link, peer, transport, isDialled, bytesSent, bytesReceived, since }) => ({
      link,
      peerId: peer.peerId,
      isDialled,
      relay: transport.relay ?? null,
      bytesSent,
      bytesReceived,
      since,
    }))
  }

  /** Bytes over all links since start, with their headers. */
  totals(): { readonly bytesSent: number; readonly bytesReceived: number } {
    return { bytesSent: this.#bytesSent, bytesReceived: this.#bytesReceived }
  }

  send(link: number, bytes: Uint8Array): boolean {
    const entry = this.#links.get(link)
    if (!entry) return false
    const frame = entry.channel.seal(bytes)
    if (!entry.transport.send(frame)) {
      this.close(link, 'it takes no more bytes')
      return false
    }
    entry.bytesSent += frame.length
    this.#bytesSent += frame.length
    return true
  }

  /** Over the link with that peer; see `send`. */
  sendTo(peerId: string, bytes: Uint8Array): boolean {
    const entry = this.#linkByPeer.get(peerId)
    return entry !== undefined && this.send(entry.link, bytes)
  }

  close(link: number, reason: string): void {
    const entry = this.#links.get(link)
    if (!entry) return
    this.#options.log.info('link-closed', { peerId: entry.peer.peerId, reason })
    this.#remove(entry, reason)
    entry.transport.close()
  }

  closeAll(): void {
    this.#isClosed = true
    this.#dialler.stop()
    for (const relay of this.#relays) relay.stop()
    for (const link of this.#links.keys()) this.close(link, 'the gateway is stopping')
  }

  isLinkedTo(peerId: string): boolean {
    return this.#linkByPeer.has(peerId)
  }

  /** Whether the link with that peer came about because this gateway dialled. */
  isDialled(peerId: string): boolean {
    return this.#linkByPeer.get(peerId)?.isDialled ?? false
  }

  /** A reason to refuse the proof of the other side, or the peer it proves. */
  judge(remote: RemoteProof): LinkPeer | string {
    const capability = this.#options.admit(remote.chain)
    if (!capability) return 'it is no member of this mesh'
    if (!isProvenBy(capability.linkKey, remote)) return 'its capability belongs to another key'
    const peerId = peerIdOf(capability.subject)
    if (peerId === this.#options.peerId) return IS_SELF
    if (this.#options.hasEnded(capability)) return 'its membership has ended'
    const toldAt = this.#farewells.get(peerId) ?? Number.NEGATIVE_INFINITY
    if (this.#options.monotonicMs() - toldAt < FAREWELL_MS) return 'it was removed from the mesh'
    return { peerId, publicKey: capability.subject, chain: remote.chain, capability, name: capability.name }
  }

  /**
   * An authenticated connection becomes the link to its peer, or is refused because there is one already. Of a direct
   * connection and one through a relay the direct one stays; of two alike the one that the smaller peer id dialled; of two
   * in the same direction the newer one.
   */
  established(peer: LinkPeer, channel: Channel, transport: Transport, isDialled: boolean): number | null {
    if (this.#isClosed) return null
    const evidence = this.#options.farewell(peer.peerId)
    if (evidence !== null) return this.#bidFarewell(peer, channel, transport, evidence)
    const other = this.#linkByPeer.get(peer.peerId)
    if (other && !this.#isBetter(peer.peerId, transport, isDialled, other)) return null
    if (!other && this.#links.size >= this.#options.linksMax && !this.#makeRoomFor(peer.peerId)) {
      this.#options.log.warn('link-refused', {
        peerId: peer.peerId,
        reason: `there are ${this.#links.size} links already`,
      })
      return isDialled || isRelayed(transport) ? null : this.#turnAway(peer, channel, transport)
    }
    if (other) this.close(other.link, 'another connection to the same gateway replaces it')
    const entry: Link = {
      link: ++this.#numbers,
      peer,
      channel,
      transport,
      isDialled,
      since: Date.now(),
      bytesSent: 0,
      bytesReceived: 0,
    }
    this.#links.set(entry.link, entry)
    this.#linkByPeer.set(peer.peerId, entry)
    this.#options.log.info('link-up', {
      peerId: peer.peerId,
      name: peer.name,
      dialled: isDialled,
      relay: transport.relay,
    })
    this.#options.handler.up(entry.link, peer)
    return entry.link
  }

  received(link: number, frameBytes: number, bytes: Uint8Array): void {
    const entry = this.#links.get(link)
    if (!entry) return
    entry.bytesReceived += frameBytes
    this.#bytesReceived += frameBytes
    this.#options.handler.frame(link, bytes)
  }

  /** The connection under a link ended. */
  lost(link: number, reason: string): void {
    const entry = this.#links.get(link)
    if (!entry) return
    this.#options.log.info('link-down', { peerId: entry.peer.peerId, reason })
    this.#remove(entry, reason)
  }

  /** Links with a member that was removed end. */
  closePeer(peerId: string, reason: string): void {
    const entry = this.#linkByPeer.get(peerId)
    if (entry) this.close(entry.link, reason)
  }

  /** For one whom nobody else reaches, or whom this gateway needs, a link that can be spared gives way. */
  #makeRoomFor(peerId: string): boolean {
    const spared = this.#options.shape.makeRoomFor(peerId)
    if (spared === null) return false
    this.closePeer(spared, 'its place is for a gateway that needs it more')
    return this.#links.size < this.#options.linksMax
  }

  /** There is no place for it: it is told where others are. */
  #turnAway({ peerId }: LinkPeer, channel: Channel, transport: Transport): number {
    const addresses = this.#options.shape.referralsFor(peerId)
    return this.#sayGoodbye(channel, transport, { reason: 'full', retryAfterMs: FULL_MS, addresses })
  }

  /** It becomes no link: nothing that it says is read. */
  #bidFarewell(peer: LinkPeer, channel: Channel, transport: Transport, evidence: readonly Uint8Array[]): number {
    this.#options.log.warn('removed-member-refused', { peerId: peer.peerId, name: peer.name })
    this.#farewells.set(peer.peerId, this.#options.monotonicMs())
    return this.#sayGoodbye(channel, transport, { reason: 'removed', retryAfterMs: 0, evidence })
  }

  #sayGoodbye(channel: Channel, transport: Transport, bye: Omit<Extract<Message, { type: 'bye' }>, 'type'>): number {
    transport.send(channel.seal(encodeMessages([{ type: 'bye', ...bye }])))
    setTimeout(() => transport.close(), FAREWELL_READ_MS).unref()
    return ++this.#numbers
  }

  #remove(entry: Link, reason: string): void {
    this.#links.delete(entry.link)
    if (this.#linkByPeer.get(entry.peer.peerId) === entry) this.#linkByPeer.delete(entry.peer.peerId)
    this.#options.handler.down(entry.link, reason)
  }

  #isBetter(peerId: string, transport: Transport, isDialled: boolean, other: Link): boolean {
    if (isRelayed(transport) !== isRelayed(other.transport)) return !isRelayed(transport)
    return other.isDialled === isDialled || this.#isPreferred(peerId, isDialled)
  }

  #isPreferred(peerId: string, isDialled: boolean): boolean {
    const dialledBy = isDialled ? this.#options.peerId : peerId
    const otherwise = isDialled ? peerId : this.#options.peerId
    return dialledBy < otherwise
  }

  get #directlyLinked(): ReadonlySet<string> {
    const direct = [...this.#linkByPeer].filter(([, { transport }]) => transport.relay === undefined)
    return new Set(direct.map(([peerId]) => peerId))
  }

  get #linkKeys(): LinkKeyPair {
    const { linkSecretKey, linkPublicKey } = this.#options.keys
    return { secretKey: linkSecretKey, publicKey: linkPublicKey }
  }

  #makeRelay({ address, login }: RelayAddress): Relay {
    const { meshId, peerId, chain, enroller, mayEnrol, shape, random, log, monotonicMs } = this.#options
    return new Relay({
      mesh: this,
      address,
      text: formatAddress(address),
      login,
      meshId,
      peerId,
      linkKeys: this.#linkKeys,
      chain,
      enroller,
      mayEnrol,
      isSought: (other) => shape.isSought(other),
      random,
      log,
      monotonicMs,
    })
  }

  #makeDialler(): Dialler {
    const { keys, meshId, peerId, chain, candidates, shape, onRemember, log, monotonicMs } = this.#options
    return new Dialler({
      mesh: this,
      candidates,
      links: () => ({
        linked: this.#directlyLinked,
        isReachable: (other) => shape.isReachable(other),
        wanted: shape.wanted,
      }),
      onRemember,
      meshId,
      peerId,
      linkKeys: this.#linkKeys,
      chain,
      login: () => {
        const clientId = randomClientId()
        const signature = this.#signer.sign(knockMessage(meshId, clientId))
        return { user: peerId, password: knockPassword(keys.publicKey, signature), clientId }
      },
      log,
      monotonicMs,
    })
  }
}

function isRelayed(transport: Transport): boolean {
  return transport.relay !== undefined
}
