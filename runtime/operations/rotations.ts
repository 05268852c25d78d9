import { equal } from '../base/bytes.ts'
import { sentenceOf } from '../base/errors.ts'
import { peerIdOf, type DeviceKeys } from '../crypto/identity.ts'
import { createSigner, isAdmissibleKey, type Verifier } from '../crypto/signature.ts'
import type { Capability } from '../model/capability.ts'
import type { Document } from '../model/document.ts'
import { fieldsOf } from '../model/fields.ts'
import { isPeerId, SELF_COLLECTION } from '../model/names.ts'
import type { Log } from '../ports/log.ts'
import type { Change, Documents, Space } from '../ports/store.ts'
import type { Writer } from '../ports/writer.ts'
import { rotationBytes } from '../wire/rotation.ts'
import type { Successor } from './membership.ts'

/**
 * How a gateway's key is replaced (`marram rotate`), in documents of `$self`, which each gateway alone can write in its own
 * partition: the old key asks with `rotate/<new peer id>`; an administrator's gateway admits the new one with the rights of the
 * old; the gateway starts again under the new key and says so with `rotated/<old peer id>`; then the old one is retired.
 */
export interface RotationSurroundings {
  readonly store: Documents
  readonly writer: Writer
  readonly meshId: Uint8Array
  readonly peerId: string
  readonly publicKey: Uint8Array
  /** The peer id that this gateway had before, or null. */
  readonly succeeds: string | null
  readonly verifier: Verifier
  readonly isAdministrator: () => boolean
  /** All that anybody was ever given. */
  readonly members: () => Iterable<Capability>
  /** Whether the member is being removed, or was. */
  readonly isClosed: (peerId: string) => boolean
  /** By peer id, who took its place. */
  readonly successors: () => ReadonlyMap<string, readonly string[]>
  readonly predecessorOf: (peerId: string) => string | null
  /** Throws `not-permitted` where the root's key is needed, and is not here. */
  readonly admit: (capabilities: readonly Capability[], successor: Successor) => Promise<void>
  /** False for this gateway itself, and where the root's key is needed, and is not here. */
  readonly mayRetire: (peerId: string) => boolean
  readonly retire: (peerId: string) => Promise<void>
  readonly log: Log
}

const ASK_PREFIX = 'rotate/'
const DONE_PREFIX = 'rotated/'
/** Of what one key has asked for, so many are looked at: whoever writes more is no gateway. */
const ASKS_MAX = 8

type Asked = Omit<Successor, 'succeeds'>

export class Rotations {
  readonly #with: RotationSurroundings
  /** Members that may wait for something; null: all of them, for none was looked at yet. */
  #open: Set<string> | null = null
  /** What was last wrong with a member's, so that it is said once. */
  readonly #failures = new Map<string, string>()
  #hasSaidSo = false

  constructor(surroundings: RotationSurroundings) {
    this.#with = surroundings
  }

  /** Resolves when it is on the disk that these keys are to take the place of this gateway's. */
  async ask(next: DeviceKeys): Promise<void> {
    const { meshId, publicKey, store } = this.#with
    const key = ASK_PREFIX + peerIdOf(next.publicKey)
    if (store.get(this.#self(), key)) return
    const message = rotationBytes(meshId, publicKey, next.publicKey, next.linkPublicKey)
    const proof = createSigner(next.secretKey).sign(message)
    const fields = { publicKey: next.publicKey, linkKey: next.linkPublicKey, proof }
    await this.#say(key, fields)
  }

  /** Peer ids of keys that a member asked for in the place of its own, by its word alone. */
  namedBy(peerId: string): string[] {
    return this.#asksOf(peerId)
      .map(({ key }) => key.slice(ASK_PREFIX.length))
      .filter(isPeerId)
  }

  /** What has just changed in the store. */
  learn({ collection, partition, key }: Change): void {
    if (collection !== SELF_COLLECTION) return
    if (key.startsWith(ASK_PREFIX)) this.#open?.add(partition)
    if (key.startsWith(DONE_PREFIX)) this.#open?.add(key.slice(DONE_PREFIX.length))
  }

  /** As a gateway with a new key: says that it is used. As an administrator's: admits new keys, retires old ones. */
  async step(): Promise<void> {
    await this.#saySo()
    if (!this.#with.isAdministrator() || this.#open?.size === 0) return
    const members = this.#members()
    const open = this.#open ?? new Set(members.keys())
    this.#open = open
    for (const peerId of open) if (await this.#isSettled(peerId, members)) open.delete(peerId)
  }

  async #saySo(): Promise<void> {
    const { succeeds, store } = this.#with
    if (succeeds === null || this.#hasSaidSo) return
    if (!store.get(this.#self(), DONE_PREFIX + succeeds)) await this.#say(DONE_PREFIX + succeeds, { at: succeeds })
    this.#hasSaidSo = true
  }

  /** What is wrong with one member's holds up no other's. */
  async #isSettled(peerId: string, members: ReadonlyMap<string, readonly Capability[]>): Promise<boolean> {
    try {
      const isSettled = await this.#see(peerId, members)
      this.#failures.delete(peerId)
      return isSettled
    } catch (error) {
      const message = sentenceOf(error)
      if (this.#failures.get(peerId) !== message) this.#with.log.warn('rotation-failed', { peerId, message })
      this.#failures.set(peerId, message)
      return false
    }
  }

  /** False while something is still to be done. */
  async #see(peerId: string, members: ReadonlyMap<string, readonly Capability[]>): Promise<boolean> {
    const { isClosed, successors, predecessorOf, admit } = this.#with
    const capabilities = members.get(peerId)
    if (capabilities === undefined || isClosed(peerId)) return true
    const asked = this.#askedBy(peerId, (capabilities[0] as Capability).subject)
    if (asked.length === 0) return true
    const heirs = (successors().get(peerId) ?? []).filter(
      (heir) => !isClosed(heir) && asked.some(({ publicKey }) => isOf(publicKey, heir)),
    )
    if (heirs.length > 0) return this.#retire(peerId, heirs)
    const next = asked.find(({ publicKey }) => !members.has(peerIdOf(publicKey)))
    if (next === undefined) return true
    // Who has its place from another leaves that one behind first.
    const predecessor = predecessorOf(peerId)
    if (predecessor !== null && !isClosed(predecessor)) return false
    await admit(capabilities, { ...next, succeeds: peerId })
    return false
  }

  async #retire(peerId: string, heirs: readonly string[]): Promise<boolean> {
    const { store, mayRetire, retire } = this.#with
    const isUsed = heirs.some((heir) => store.get(this.#self(heir), DONE_PREFIX + peerId) !== undefined)
    if (!isUsed || !mayRetire(peerId)) return false
    await retire(peerId)
    return true
  }

  #members(): Map<string, Capability[]> {
    const members = new Map<string, Capability[]>()
    for (const capability of this.#with.members()) {
      const peerId = peerIdOf(capability.subject)
      const held = members.get(peerId)
      if (held) held.push(capability)
      else members.set(peerId, [capability])
    }
    return members
  }

  /** Those that are sound, in the order of their keys. */
  #askedBy(peerId: string, publicKey: Uint8Array): Asked[] {
    return this.#asksOf(peerId).flatMap(({ document }) => this.#askedIn(document, publicKey) ?? [])
  }

  #asksOf(peerId: string): { readonly key: string; readonly document: Document }[] {
    return this.#with.store.scan(this.#self(peerId), { prefix: ASK_PREFIX, limit: ASKS_MAX })
  }

  #askedIn(document: Document, by: Uint8Array): Asked | null {
    const { publicKey, linkKey, proof } = fieldsOf(document)
    const isWhole = isBytes(publicKey, 32) && isBytes(linkKey, 32) && isBytes(proof, 64)
    if (!isWhole || equal(publicKey, by) || !isAdmissibleKey(publicKey)) return null
    const message = rotationBytes(this.#with.meshId, by, publicKey, linkKey)
    return this.#with.verifier.verify(publicKey, message, proof) ? { publicKey, linkKey } : null
  }

  #self(peerId: string = this.#with.peerId): Space {
    return { collection: SELF_COLLECTION, partition: peerId }
  }

  async #say(key: string, fields: { readonly [name: string]: string | Uint8Array }): Promise<void> {
    await this.#with.writer.write(SELF_COLLECTION, this.#with.peerId, [{ kind: 'put', key, fields }])
  }
}

function isOf(publicKey: Uint8Array, peerId: string): boolean {
  return peerIdOf(publicKey) === peerId
}

function isBytes(value: unknown, length: number): value is Uint8Array {
  return value instanceof Uint8Array && value.length === length
}
