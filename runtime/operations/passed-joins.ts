import { utf8, concat } from '../base/bytes.ts'
import { openSealed, sealTo } from '../crypto/hpke.ts'
import { peerIdOf } from '../crypto/identity.ts'
import { isAdmissibleKey, type Verifier } from '../crypto/signature.ts'
import { isLive, type Document } from '../model/document.ts'
import { fieldsOf } from '../model/fields.ts'
import { MESH_COLLECTION, SELF_COLLECTION } from '../model/names.ts'
import type { Log } from '../ports/log.ts'
import type { Change, Documents, Space } from '../ports/store.ts'
import type { Writer, WriteOp } from '../ports/writer.ts'
import { decodeDeterministic, encodeDeterministic } from '../wire/deterministic.ts'
import { MEMBER_PREFIX } from './membership.ts'
import type { JoinRequest } from '../ports/enroller.ts'
import { entriesOf } from './reading.ts'

/**
 * A request to join that reaches a gateway which may not let anyone in (protocol D6): that one passes it on, sealed to the
 * administrators, in `join/<peer id>` of its own `$self`, over whatever links lead to them. What they decide is a document of `$mesh` and
 * comes back in the same way; the joiner asks again until it is there.
 */
export interface PassedJoinsSurroundings {
  readonly store: Documents
  readonly writer: Writer
  readonly meshId: Uint8Array
  readonly peerId: string
  /** X25519, 32 bytes: what is sealed to this gateway is sealed to it. */
  readonly linkSecretKey: Uint8Array
  readonly verifier: Verifier
  readonly isAdministrator: () => boolean
  /** Link keys of the administrators that are not being removed. */
  readonly administratorKeys: () => readonly Uint8Array[]
  readonly members: () => Iterable<string>
  readonly admit: (request: JoinRequest) => Promise<unknown>
  readonly log: Log
  readonly monotonicMs: () => number
}

const PREFIX = 'join/'
/** So many requests of one member wait at once, sealed to so many administrators each. */
const WAITING_MAX = 16
const ADMINISTRATORS_MAX = 4
/** A request that nobody has decided goes after so long; the joiner makes it again. */
const KEEP_MS = 600_000
const MESH: Space = { collection: MESH_COLLECTION, partition: '' }

export class PassedJoins {
  readonly #with: PassedJoinsSurroundings
  /** Members that may have passed something on; null: all, for none was looked at yet. */
  #open: Set<string> | null = null
  /** By its key, when a request of ours was passed on; monotonic milliseconds. */
  readonly #passedAt = new Map<string, number>()

  constructor(surroundings: PassedJoinsSurroundings) {
    this.#with = surroundings
  }

  /** Resolves when it is on the disk; further ones than there may be are not passed on, and come again. */
  async pass(request: JoinRequest): Promise<void> {
    const key = PREFIX + peerIdOf(request.publicKey)
    if (this.#passedAt.has(key) || this.#passedAt.size >= WAITING_MAX) return
    this.#passedAt.set(key, this.#with.monotonicMs())
    const sealed: Uint8Array[] = []
    for (const linkKey of this.#with.administratorKeys().slice(0, ADMINISTRATORS_MAX)) {
      const one = await sealTo(linkKey, this.#binding(this.#with.peerId), encodeRequest(request))
      if (one !== null) sealed.push(one)
    }
    if (sealed.length === 0) return void this.#passedAt.delete(key)
    try {
      await this.#write([{ kind: 'put', key, fields: { sealed } }])
    } catch (error) {
      // The joiner makes it again, and the disk may take it then.
      this.#passedAt.delete(key)
      throw error
    }
    this.#with.log.info('join-passed-on', { peerId: key.slice(PREFIX.length), name: request.name })
  }

  /** What has just changed in the store. */
  learn({ collection, partition, key }: Change): void {
    if (collection === SELF_COLLECTION && key.startsWith(PREFIX)) this.#open?.add(partition)
  }

  /** As an administrator's gateway: decides. As the one that passed requests on: takes away those that are decided or old. */
  async step(): Promise<void> {
    await this.#clean()
    if (!this.#with.isAdministrator()) return
    this.#open ??= new Set(this.#with.members())
    const open = this.#open
    for (const peerId of open) {
      // What comes meanwhile opens it again; what the disk does not take stays open.
      open.delete(peerId)
      try {
        for (const { document } of this.#passedBy(peerId)) await this.#decide(peerId, document)
      } catch (error) {
        open.add(peerId)
        throw error
      }
    }
  }

  async #clean(): Promise<void> {
    const { store, peerId, monotonicMs } = this.#with
    const ops: WriteOp[] = []
    for (const { key } of this.#passedBy(peerId)) {
      const passedAt = this.#passedAt.get(key)
      // Those of before the last start begin to count now.
      if (passedAt === undefined) this.#passedAt.set(key, monotonicMs())
      const isOld = passedAt !== undefined && monotonicMs() > passedAt + KEEP_MS
      if (isOld || store.get(MESH, MEMBER_PREFIX + key.slice(PREFIX.length))) ops.push({ kind: 'delete', key })
    }
    if (ops.length === 0) return
    await this.#write(ops)
    for (const { key } of ops) this.#passedAt.delete(key)
  }

  #passedBy(peerId: string): { readonly key: string; readonly document: Document }[] {
    const passed: { readonly key: string; readonly document: Document }[] = []
    for (const entry of entriesOf(this.#with.store, { collection: SELF_COLLECTION, partition: peerId }, PREFIX)) {
      if (passed.length === WAITING_MAX) break
      if (isLive(entry.document)) passed.push(entry)
    }
    return passed
  }

  async #decide(by: string, document: Document): Promise<void> {
    const { sealed } = fieldsOf(document)
    if (!Array.isArray(sealed)) return
    for (const one of sealed.slice(0, ADMINISTRATORS_MAX)) {
      if (!(one instanceof Uint8Array)) continue
      const opened = await openSealed(this.#with.linkSecretKey, this.#binding(by), one.slice())
      const request = opened && decodeRequest(opened)
      if (request && this.#isProven(request)) return void (await this.#with.admit(request))
    }
  }

  /** By the key that is to be a member: whoever passes a request on can't make one up for another's key. */
  #isProven({ publicKey, handshakeHash, signature }: JoinRequest): boolean {
    return isAdmissibleKey(publicKey) && this.#with.verifier.verify(publicKey, handshakeHash, signature)
  }

  #binding(by: string): { readonly info: Uint8Array; readonly aad: Uint8Array } {
    return { info: concat(utf8('marram1/join'), this.#with.meshId), aad: utf8(by) }
  }

  async #write(ops: readonly WriteOp[]): Promise<void> {
    await this.#with.writer.write(SELF_COLLECTION, this.#with.peerId, ops)
  }
}

function encodeRequest(request: JoinRequest): Uint8Array {
  const { inviteId, secret, publicKey, linkKey, name, handshakeHash, signature } = request
  return encodeDeterministic([inviteId, secret, publicKey, linkKey, name, handshakeHash, signature])
}

function decodeRequest(bytes: Uint8Array): JoinRequest | null {
  const item = decodeDeterministic(bytes)
  if (!item.ok || !Array.isArray(item.value) || item.value.length !== 7) return null
  const [inviteId, secret, publicKey, linkKey, name, handshakeHash, signature] = item.value as unknown[]
  const isWhole =
    isBytes(inviteId, 8) &&
    isBytes(secret, 16) &&
    isBytes(publicKey, 32) &&
    isBytes(linkKey, 32) &&
    isBytes(handshakeHash, 32) &&
    isBytes(signature, 64)
  if (!isWhole || typeof name !== 'string' || name.length > 63) return null
  return { inviteId, secret, publicKey, linkKey, name, handshakeHash, signature }
}

function isBytes(value: unknown, length: number): value is Uint8Array {
  return value instanceof Uint8Array && value.length === length
}
