import { utf8 } from '../base/bytes.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import type { Random } from '../base/random.ts'
import { sha256Hex } from '../crypto/hash.ts'
import { randomBytes, randomClientId } from '../crypto/identity.ts'
import type { LinkKeyPair } from '../crypto/noise.ts'
import type { RelayLogin } from '../ports/link.ts'
import type { Log } from '../ports/log.ts'
import type { Address } from '../profile/address.ts'
import { BackOff } from '../topology/back-off.ts'
import { openClient, type Client } from './connection.ts'
import type { Enroller } from '../ports/enroller.ts'
import type { LinkTable } from './link-table.ts'
import { drawSession } from './session-number.ts'
import { isOpening, Passage, sessionOf } from './passage.ts'
import { encodePresence, Presence, readPresence, type PresenceState, type PresenceWord } from './presence.ts'
import { inboxFilter, inboxTopic, presenceTopic, readTopic } from './topics.ts'

export interface RelayAddress {
  readonly address: Address
  /** Read for every connection; throws a MarramError with the owner's mistake. */
  readonly login: () => RelayLogin | null
}

export interface RelayOptions {
  readonly mesh: LinkTable
  readonly address: Address
  readonly text: string
  /** Read anew for every connection; null where the relay takes anyone. */
  readonly login: () => RelayLogin | null
  readonly meshId: Uint8Array
  readonly peerId: string
  readonly linkKeys: LinkKeyPair
  readonly chain: () => readonly Uint8Array[]
  readonly enroller: Enroller
  /** Whether newcomers are let in here. */
  readonly mayEnrol: () => boolean
  /** Dialled beside the others. */
  readonly isSought: (peerId: string) => boolean
  readonly random: Random
  readonly log: Log
  readonly monotonicMs: () => number
}

/** Links that each gateway dials over one relay, so that their number grows with the gateways and not with their square. */
const PARTNERS = 3
const LOOK_MS = 1_000
/** Presence is said again after so long for each ten that are there: a relay that forgets is reminded, and not flooded. */
const ANNOUNCE_MS = 15_000
const ANNOUNCE_SHARE = 10
/** Between two answers to those who want to be let in. */
const ANSWER_MS = 200

/**
 * Meets other gateways at a broker that belongs to no gateway (protocol D22). All that the broker needs to do is pass
 * QoS 0 messages: presence is said, not retained, and who newly comes is answered. It learns who sends how much to whom and when, by peer id, nothing of what.
 */
export class Relay {
  readonly #options: RelayOptions
  readonly #backOff: BackOff
  readonly #presence: Presence
  readonly #instance = randomBytes(8)
  readonly #passages = new Map<string, Passage>()
  /** When somebody may be dialled again; monotonic milliseconds. */
  readonly #attempts = new Map<string, { readonly backOff: BackOff; readonly notBefore: number }>()
  #client: Client | null = null
  #timer: NodeJS.Timeout | null = null
  #readyAt: number | null = null
  #announceAt = 0
  #answerAt = 0
  #isStopped = false
  /** Why it is not there, or null. */
  #failure: string | null = null

  constructor(options: RelayOptions) {
    this.#options = options
    this.#backOff = new BackOff(options.random)
    this.#presence = new Presence(options.monotonicMs)
  }

  start(): void {
    this.#wait(0)
  }

  /** For `status.warnings`, or null. */
  get warning(): string | null {
    if (this.#failure === null) return null
    return `relay-not-reached: ${this.#options.text} (${this.#failure}); gateways that can be met only there are out of reach until it is`
  }

  stop(): void {
    this.#isStopped = true
    if (this.#timer) clearTimeout(this.#timer)
    this.#say('gone')
    this.#client?.close()
  }

  #wait(ms: number): void {
    if (this.#isStopped) return
    this.#timer = setTimeout(() => (this.#client ? this.#look() : this.#connect()), ms)
    this.#timer.unref()
  }

  #connect(): void {
    const { address, meshId, peerId } = this.#options
    let login: RelayLogin | null
    try {
      login = this.#options.login()
    } catch (error) {
      return this.#closed(error instanceof Error ? error.message : String(error))
    }
    this.#client = openClient({
      address,
      check: login ? { type: 'authority', ca: login.ca } : { type: 'pin', pin: null },
      login: login && { user: login.user, password: utf8(login.password) },
      clientId: randomClientId(),
      filters: [inboxFilter(meshId, peerId), inboxFilter(meshId, '-')],
      will: { topic: presenceTopic(meshId, peerId), payload: this.#presenceBytes('gone') },
      onReady: () => this.#ready(),
      onMessage: (topic, payload) => this.#receive(topic, payload),
      onClosed: (reason) => this.#closed(reason),
    })
  }

  #ready(): void {
    this.#readyAt = this.#options.monotonicMs()
    this.#failure = null
    this.#options.log.info('relay-up', { address: this.#options.text })
    this.#look()
  }

  #closed(reason: string): void {
    const { log, text, monotonicMs } = this.#options
    const upMs = this.#readyAt === null ? null : monotonicMs() - this.#readyAt
    this.#client = null
    this.#failure = reason
    this.#readyAt = null
    this.#announceAt = 0
    this.#presence.clear()
    for (const passage of this.#passages.values()) passage.end(`the relay is gone: ${reason}`, false)
    if (this.#isStopped) return
    const retryMs = this.#backOff.next(upMs)
    if (upMs === null) log.warn('relay-not-reached', { address: text, reason, retryMs })
    else log.warn('relay-down', { address: text, reason, retryMs })
    if (this.#timer) clearTimeout(this.#timer)
    this.#wait(retryMs)
  }

  /** Says that we are there when it is time, and dials whom we choose and have no link to. */
  #look(): void {
    if (this.#timer) clearTimeout(this.#timer)
    const now = this.#options.monotonicMs()
    if (now >= this.#announceAt) {
      this.#say('there')
      this.#announceAt = now + ANNOUNCE_MS * Math.max(1, this.#presence.size / ANNOUNCE_SHARE)
    }
    for (const peerId of this.#partners(now)) this.#dial(peerId)
    this.#wait(LOOK_MS)
  }

  /** By rendezvous hashing: each has an order of its own, so that the links of all together leave nobody apart. */
  #partners(now: number): readonly string[] {
    const { peerId: own, mesh, isSought } = this.#options
    const isReachable = (peerId: string): boolean => (this.#attempts.get(peerId)?.notBefore ?? 0) <= now
    const rank = (peerId: string): string => sha256Hex(utf8(`${own}>${peerId}`))
    return this.#presence
      .peers()
      .filter((peerId) => isReachable(peerId))
      .map((peerId) => ({ peerId, rank: rank(peerId) }))
      .sort((a, b) => (a.rank < b.rank ? -1 : 1))
      .filter(({ peerId }, i) => i < PARTNERS || isSought(peerId))
      .filter(({ peerId }) => !mesh.isLinkedTo(peerId) && !this.#isDialling(peerId))
      .map(({ peerId }) => peerId)
  }

  #isDialling(peerId: string): boolean {
    for (const key of this.#passages.keys()) if (key.startsWith(peerId)) return true
    return false
  }

  #dial(source: string): void {
    const session = drawSession()
    this.#passage(source, session, true).open()
  }

  #receive(topic: string, payload: Uint8Array): void {
    const { meshId, peerId } = this.#options
    const place = readTopic(meshId, topic)
    if (place === null || place.source === peerId) return
    const presence = readPresence(payload)
    if (presence !== null) return this.#heard(place.source, presence, place.destination === '-')
    const session = sessionOf(payload)
    if (place.destination !== peerId || session === null) return
    const key = keyOf(place.source, session)
    const known = this.#passages.get(key)
    if (known) return known.receive(payload)
    if (!isOpening(payload)) return
    this.#makeRoom()
    this.#passage(place.source, session, false).receive(payload)
  }

  /** Somebody new is answered, to it alone; who began anew or has gone takes its channels with it. */
  #heard(source: string, presence: PresenceWord, isToAll: boolean): void {
    if (presence.state === 'asking') return this.#askedBy(source, isToAll)
    const news = this.#presence.note(source, presence)
    if (news === 'gone' || news === 'anew') {
      for (const [key, passage] of this.#passages)
        if (key.startsWith(source)) passage.end('it has gone from the relay', false)
      this.#attempts.delete(source)
    }
    if (isToAll && (news === 'new' || news === 'anew')) this.#answer(source)
  }

  /** Somebody wants to be let in: whoever can do that says so, however often they ask not more often than now and then. */
  #askedBy(source: string, isToAll: boolean): void {
    const now = this.#options.monotonicMs()
    if (!isToAll || !this.#options.mayEnrol() || now < this.#answerAt) return
    this.#answerAt = now + ANSWER_MS
    this.#answer(source)
  }

  #answer(source: string): void {
    const { meshId, peerId } = this.#options
    this.#client?.publish(inboxTopic(meshId, source, peerId), this.#presenceBytes('there'))
  }

  #passage(source: string, session: number, isDialled: boolean): Passage {
    const { mesh, text, meshId, peerId, linkKeys, chain, enroller, monotonicMs, log } = this.#options
    const key = keyOf(source, session)
    const passage = new Passage({
      mesh,
      relay: text,
      meshId,
      peerId,
      source,
      session,
      isDialled,
      linkKeys,
      chain: chain(),
      enroller,
      send: (frame) => this.#client?.publish(inboxTopic(meshId, source, peerId), frame) ?? false,
      monotonicMs,
      onEnded: (reason, linkedMs) => {
        this.#passages.delete(key)
        log.debug('relay-passage-ended', { peerId: source, reason })
        if (isDialled) this.#postpone(source, linkedMs)
      },
    })
    this.#passages.set(key, passage)
    return passage
  }

  /** Who refuses, or is none of us, is dialled less and less often. */
  #postpone(source: string, linkedMs: number | null): void {
    const { backOff } = this.#attempts.get(source) ?? { backOff: new BackOff(this.#options.random) }
    this.#attempts.delete(source)
    this.#attempts.set(source, { backOff, notBefore: this.#options.monotonicMs() + backOff.next(linkedMs) })
    const [oldest] = this.#attempts.keys()
    if (this.#attempts.size > GATEWAY_LIMITS.relayPeersMax && oldest !== undefined) this.#attempts.delete(oldest)
  }

  /** Of too many handshakes that others began the oldest gives way: whoever floods them shuts nobody out for long. */
  #makeRoom(): void {
    const begun = [...this.#passages.values()].filter(({ isDialled, isLink }) => !isDialled && !isLink)
    if (begun.length >= GATEWAY_LIMITS.relayHandshakesMax) begun[0]?.end('others wanted its place', false)
  }

  #say(state: PresenceState): void {
    const { meshId, peerId } = this.#options
    this.#client?.publish(presenceTopic(meshId, peerId), this.#presenceBytes(state))
  }

  #presenceBytes(state: PresenceState): Uint8Array {
    return encodePresence(state, this.#instance)
  }
}

function keyOf(source: string, session: number): string {
  return `${source}/${session}`
}
