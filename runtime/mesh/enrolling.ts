import { equal } from '../base/bytes.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import { isAdmissibleKey, createSigner, createVerifier } from '../crypto/signature.ts'
import { peerIdOf, randomClientId, type DeviceKeys } from '../crypto/identity.ts'
import { RIGHT_ADMIN } from '../model/capability.ts'
import type { Enroller } from '../ports/enroller.ts'
import { parseAddress, type Address } from '../profile/address.ts'
import { verifyChain } from '../wire/capability.ts'
import type { Invite } from '../wire/invite.ts'
import { decodeMessages, encodeMessages } from '../wire/message.ts'
import { Channel, isProvenBy, type RemoteProof } from './channel.ts'
import { openConnection } from './connection.ts'
import { drawSession } from './session-number.ts'
import { inboxFilter, inboxTopic, JOIN_USER } from './topics.ts'

/** Enrolment (protocol D6): a joiner shows an invite's secret to a member that has proven itself first. */

/** The answering side: the reply to the one message a joiner may send, or null when it is no sound JOIN. */
export async function answerJoin(
  bytes: Uint8Array,
  handshakeHash: Uint8Array,
  source: string,
  enroller: Enroller,
): Promise<Uint8Array | null> {
  const messages = decodeMessages(bytes)
  const [join] = messages.ok ? messages.value : []
  if (join?.type !== 'join' || peerIdOf(join.publicKey) !== source || !isAdmissibleKey(join.publicKey)) return null
  if (!createVerifier(1).verify(join.publicKey, handshakeHash, join.signature)) return null
  const answer = await enroller({ ...join, handshakeHash })
  if ('refusal' in answer) {
    const { refusal: reason, addresses } = answer
    return encodeMessages([{ type: 'bye', reason, retryAfterMs: 0, ...(addresses && { addresses }) }])
  }
  return encodeMessages([{ type: 'grant', chain: answer.chain, addresses: answer.addresses }])
}

export type JoinOutcome =
  | { readonly type: 'admitted'; readonly chain: readonly Uint8Array[]; readonly addresses: readonly string[] }
  /** Final: an administrator of the mesh said no. */
  | { readonly type: 'refused'; readonly reason: 'used' | 'expired' | 'unknown' }
  /** Nobody who could admit us was reached; to be tried again. */
  | {
      readonly type: 'unreachable'
      readonly reason: string
      /** Where somebody who can is said to be. */
      readonly addresses?: readonly string[]
    }

export interface JoinOptions {
  readonly invite: Invite
  /** Where members may be beside what the invite says, as `mqtt://host:port`. */
  readonly places?: readonly string[]
  readonly keys: DeviceKeys
  readonly name: string
  /** Ends all attempts. */
  readonly signal?: AbortSignal
}

/** Tries the invite's addresses one after the other, then those that members who can't admit anyone have named. */
export async function enrol(options: JoinOptions): Promise<JoinOutcome> {
  let outcome: JoinOutcome = { type: 'unreachable', reason: 'the invite names no address that can be dialled' }
  const addresses = new Set([...options.invite.addresses, ...(options.places ?? [])])
  // A set that grows while it is walked is walked to its end.
  for (const text of addresses) {
    if (options.signal?.aborted) break
    const address = parseAddress(text)
    if (!address.ok) continue
    outcome = await enrolAt(options, address.value)
    if (outcome.type !== 'unreachable') return outcome
    for (const named of outcome.addresses ?? []) if (addresses.size < ADDRESSES_MAX) addresses.add(named)
  }
  return outcome
}

/** The first that has let us in; or else the first that refused us, for another may know more; or else why none was reached. */
export function firstDecided(attempts: readonly Promise<JoinOutcome>[]): Promise<JoinOutcome> {
  return new Promise((resolve) => {
    for (const attempt of attempts) void attempt.then((outcome) => outcome.type === 'admitted' && resolve(outcome))
    void Promise.all(attempts).then((outcomes) => {
      const refused = outcomes.find(({ type }) => type === 'refused')
      const reasons = outcomes.flatMap((outcome) => (outcome.type === 'unreachable' ? outcome.reason : []))
      resolve(refused ?? { type: 'unreachable', reason: reasons.join('; ') })
    })
  })
}

const ADDRESSES_MAX = 32

function enrolAt(options: JoinOptions, address: Address): Promise<JoinOutcome> {
  const { keys, invite } = options
  const peerId = peerIdOf(keys.publicKey)
  return new Promise((resolve) => {
    const request = new JoinCall(
      options,
      (frame) => connection.send(frame),
      (outcome) => {
        // First: closing ends with an outcome of its own.
        resolve(outcome)
        connection.close()
      },
    )
    const connection = openConnection({
      address,
      pin: null,
      user: JOIN_USER,
      password: invite.inviteId,
      clientId: randomClientId(),
      inbox: inboxFilter(invite.meshId, peerId),
      outbox: inboxTopic(invite.meshId, 'broker', peerId),
      onReady: () => request.open(),
      onFrame: (payload) => request.receive(payload),
      onClosed: (reason) => request.fail(reason),
    })
  })
}

/** A joiner's talk with one gateway, over whatever carries frames. */
export class JoinCall {
  readonly #options: JoinOptions
  readonly #send: (frame: Uint8Array) => void
  readonly #onOutcome: (outcome: JoinOutcome) => void
  readonly #channel: Channel
  readonly #deadline: NodeJS.Timeout
  /** The other side may let newcomers in: it alone knows who may not. */
  #isAdministrators = false
  #isOver = false

  /** `onOutcome`: once. */
  constructor(
    options: JoinOptions,
    send: (frame: Uint8Array) => void,
    onOutcome: (outcome: JoinOutcome) => void,
    session: number = drawSession(),
  ) {
    this.#options = options
    this.#send = send
    this.#onOutcome = onOutcome
    const { keys, invite } = options
    this.#channel = new Channel({
      role: 'initiator',
      meshId: invite.meshId,
      initiatorId: peerIdOf(keys.publicKey),
      linkKeys: { secretKey: keys.linkSecretKey, publicKey: keys.linkPublicKey },
      chain: [],
      judge: (remote) => this.#judge(remote),
      session,
    })
    this.#deadline = setTimeout(() => this.fail('no answer in time'), GATEWAY_LIMITS.enrolmentMs)
    options.signal?.addEventListener('abort', this.#giveUp)
  }

  open(): void {
    this.#send(this.#channel.open())
  }

  receive(payload: Uint8Array): void {
    const event = this.#channel.receive(payload)
    if (event.type === 'reply') {
      this.#send(event.frame)
      if (event.isEstablished) this.#send(this.#channel.seal(this.#request()))
    } else if (event.type === 'failed') this.fail(event.reason)
    else if (event.type === 'plaintext') this.#answer(event.bytes)
  }

  fail(reason: string): void {
    this.#end({ type: 'unreachable', reason })
  }

  readonly #giveUp = (): void => this.fail('given up')

  /** Nothing of the invite leaves before the other side has proven to be a member of the invite's mesh. */
  #judge(remote: RemoteProof): string | null {
    const { meshId, rootPublicKey } = this.#options.invite
    const capability = verifyChain(meshId, rootPublicKey, remote.chain, createVerifier(4))
    if (!capability.ok) return `it is no member of the mesh: ${capability.error.message}`
    this.#isAdministrators = capability.value.grants.some(({ rights }) => (rights & RIGHT_ADMIN) !== 0)
    return isProvenBy(capability.value.linkKey, remote) ? null : 'its capability belongs to another key'
  }

  #request(): Uint8Array {
    const { keys, invite, name } = this.#options
    return encodeMessages([
      {
        type: 'join',
        inviteId: invite.inviteId,
        secret: invite.secret,
        publicKey: keys.publicKey,
        linkKey: keys.linkPublicKey,
        name,
        signature: createSigner(keys.secretKey).sign(this.#channel.handshakeHash),
      },
    ])
  }

  #answer(bytes: Uint8Array): void {
    const messages = decodeMessages(bytes)
    const [message] = messages.ok ? messages.value : []
    if (message?.type === 'grant') return this.#granted(message.chain, message.addresses)
    if (message?.type !== 'bye') return this.#end({ type: 'unreachable', reason: 'it answered something else' })
    const { reason, addresses = [] } = message
    const isRefusal = reason === 'used' || reason === 'expired' || reason === 'unknown'
    if (isRefusal && this.#isAdministrators) return this.#end({ type: 'refused', reason })
    this.#end({
      type: 'unreachable',
      reason: 'it may not admit anyone, or has not heard of this invite yet',
      addresses,
    })
  }

  #granted(chain: readonly Uint8Array[], addresses: readonly string[]): void {
    const { invite, keys } = this.#options
    const capability = verifyChain(invite.meshId, invite.rootPublicKey, chain, createVerifier(4))
    const isOurs =
      capability.ok &&
      equal(capability.value.subject, keys.publicKey) &&
      equal(capability.value.linkKey, keys.linkPublicKey)
    if (isOurs) this.#end({ type: 'admitted', chain: chain.map((link) => link.slice()), addresses })
    else this.#end({ type: 'unreachable', reason: 'what it granted is not for this gateway' })
  }

  #end(outcome: JoinOutcome): void {
    if (this.#isOver) return
    this.#isOver = true
    clearTimeout(this.#deadline)
    this.#options.signal?.removeEventListener('abort', this.#giveUp)
    this.#onOutcome(outcome)
  }
}
