import { utf8 } from '../base/bytes.ts'
import { sentenceOf } from '../base/errors.ts'
import { peerIdOf, randomBytes, randomClientId } from '../crypto/identity.ts'
import type { RelayLogin } from '../ports/link.ts'
import { openClient, type Client } from './connection.ts'
import { JoinCall, type JoinOptions, type JoinOutcome } from './enrolling.ts'
import { sessionOf } from './passage.ts'
import { encodePresence, readPresence } from './presence.ts'
import type { RelayAddress } from './relay.ts'
import { drawSession } from './session-number.ts'
import { inboxFilter, inboxTopic, presenceTopic, readTopic } from './topics.ts'

/** How long is waited for somebody who may let newcomers in; how many that say so are asked, and how many of them at once. */
const ASKING_MS = 5_000
const ASKED_MAX = 64
const ASKED_AT_ONCE = 8

/**
 * Enrolment over a relay (protocol D6, D22), for a gateway to which no member has a way: it says that it wants to be let in, those
 * who can do that answer, and it joins with the first that proves to be a member of its mesh. The relay learns who asks whom.
 */
export function enrolOver({ address, login }: RelayAddress, options: JoinOptions): Promise<JoinOutcome> {
  return new Promise((resolve) => {
    let read: RelayLogin | null
    try {
      read = login()
    } catch (error) {
      return resolve({ type: 'unreachable', reason: sentenceOf(error) })
    }
    new RelayEnrolment(options, resolve, (asking) =>
      openClient({
        address,
        check: read ? { type: 'authority', ca: read.ca } : { type: 'pin', pin: null },
        login: read && { user: read.user, password: utf8(read.password) },
        clientId: randomClientId(),
        filters: [inboxFilter(options.invite.meshId, asking.peerId)],
        onReady: () => asking.ready(),
        onMessage: (topic, payload) => asking.receive(topic, payload),
        onClosed: (reason) => asking.closed(reason),
      }),
    )
  })
}

class RelayEnrolment {
  readonly peerId: string
  readonly #options: JoinOptions
  readonly #resolve: (outcome: JoinOutcome) => void
  readonly #client: Client
  /** Who said that they may let newcomers in, and of those who are still to be asked: anybody at a relay may say so. */
  readonly #found = new Set<string>()
  readonly #waiting: string[] = []
  /** By whom they are with. */
  readonly #calls = new Map<string, { readonly session: number; readonly call: JoinCall }>()
  #timer: NodeJS.Timeout | null = null
  /** Nobody else is waited for. */
  #isLate = false
  #isOver = false
  #outcome: JoinOutcome = { type: 'unreachable', reason: 'nobody at the relay can let newcomers in' }

  constructor(options: JoinOptions, resolve: (outcome: JoinOutcome) => void, open: (asking: RelayEnrolment) => Client) {
    this.#options = options
    this.#resolve = resolve
    this.peerId = peerIdOf(options.keys.publicKey)
    this.#client = open(this)
    options.signal?.addEventListener('abort', this.#giveUp)
  }

  ready(): void {
    const topic = presenceTopic(this.#options.invite.meshId, this.peerId)
    this.#client.publish(topic, encodePresence('asking', randomBytes(8)))
    this.#timer = setTimeout(() => {
      this.#isLate = true
      this.#next()
    }, ASKING_MS)
  }

  receive(topic: string, payload: Uint8Array): void {
    const { meshId } = this.#options.invite
    const place = readTopic(meshId, topic)
    if (place === null || place.destination !== this.peerId) return
    const { source } = place
    if (readPresence(payload)?.state === 'there') return this.#heard(source)
    const known = this.#calls.get(source)
    if (known && sessionOf(payload) === known.session) known.call.receive(payload)
  }

  readonly #giveUp = (): void => this.closed('given up')

  closed(reason: string): void {
    this.#end({ type: 'unreachable', reason })
  }

  #heard(source: string): void {
    if (this.#found.has(source) || this.#found.size >= ASKED_MAX) return
    this.#found.add(source)
    this.#waiting.push(source)
    this.#next()
  }

  #next(): void {
    if (this.#isOver || this.#calls.size >= ASKED_AT_ONCE) return
    const source = this.#waiting.shift()
    if (source === undefined) return void (this.#isLate && this.#calls.size === 0 && this.#end(this.#outcome))
    const { meshId } = this.#options.invite
    const session = drawSession()
    const call = new JoinCall(
      this.#options,
      (frame) => void this.#client.publish(inboxTopic(meshId, source, this.peerId), frame),
      (outcome) => this.#answered(source, outcome),
      session,
    )
    this.#calls.set(source, { session, call })
    call.open()
  }

  #answered(source: string, outcome: JoinOutcome): void {
    this.#calls.delete(source)
    if (outcome.type === 'admitted') return this.#end(outcome)
    // Of those that may let newcomers in one may know less than the next.
    if (this.#outcome.type !== 'refused') this.#outcome = outcome
    this.#next()
  }

  #end(outcome: JoinOutcome): void {
    if (this.#isOver) return
    this.#isOver = true
    if (this.#timer) clearTimeout(this.#timer)
    this.#options.signal?.removeEventListener('abort', this.#giveUp)
    this.#resolve(outcome)
    for (const { call } of this.#calls.values()) call.fail('the relay is gone')
    this.#client.close()
  }
}
