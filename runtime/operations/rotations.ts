import { equal } from '../base/bytes.ts'
import { peerIdOf, type DeviceKeys } from '../crypto/identity.ts'
import { createSigner, isAdmissibleKey, type Verifier } from '../crypto/signature.ts'
import type { Capability } from '../model/capability.ts'
import type { Document } from '../model/document.ts'
import { fieldsOf } from '../model/fields.ts'
import { SELF_COLLECTION } from '../model/names.ts'
import type { Documents, Space } from '../ports/store.ts'
import type { Writer } from '../ports/writer.ts'
import { rotationBytes } from '../wire/rotation.ts'
import type { Successor } from './membership.ts'
import { entriesOf } from './reading.ts'

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
  readonly members: () => Iterable<Capability>
  /** Whether the member is being removed, or was. */
  readonly isClosed: (peerId: string) => boolean
  /** By peer id, who took its place. */
  readonly successors: () => ReadonlyMap<string, string>
  /** False where the root's key is needed, and is not here. */
  readonly admit: (capabilities: readonly Capability[], successor: Successor) => Promise<boolean>
  readonly retire: (peerId: string) => Promise<void>
}

const ASK_PREFIX = 'rotate/'
const DONE_PREFIX = 'rotated/'

export class Rotations {
  readonly #with: RotationSurroundings

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

  /** As a gateway with a new key: says that it is used. As an administrator's: admits new keys, retires old ones. */
  async step(): Promise<void> {
    const { succeeds, isAdministrator, store } = this.#with
    if (succeeds !== null && !store.get(this.#self(), DONE_PREFIX + succeeds))
      await this.#say(DONE_PREFIX + succeeds, { at: succeeds })
    if (!isAdministrator()) return
    for (const [peerId, capabilities] of this.#members()) await this.#see(peerId, capabilities)
  }

  async #see(peerId: string, capabilities: readonly Capability[]): Promise<void> {
    const { store, successors, retire, admit } = this.#with
    const successor = successors().get(peerId)
    if (successor === undefined) {
      const asked = this.#askedBy(peerId, (capabilities[0] as Capability).subject)
      if (asked !== null) await admit(capabilities, asked)
    } else if (store.get(this.#self(successor), DONE_PREFIX + peerId)) await retire(peerId)
  }

  /** By peer id, those that are not being removed. */
  #members(): Map<string, Capability[]> {
    const members = new Map<string, Capability[]>()
    for (const capability of this.#with.members()) {
      const peerId = peerIdOf(capability.subject)
      if (this.#with.isClosed(peerId)) continue
      members.set(peerId, [...(members.get(peerId) ?? []), capability])
    }
    return members
  }

  /** The first that is sound: a key has one successor. */
  #askedBy(peerId: string, publicKey: Uint8Array): Successor | null {
    for (const { document } of entriesOf(this.#with.store, this.#self(peerId), ASK_PREFIX)) {
      const successor = this.#successorIn(document, publicKey)
      if (successor !== null) return { ...successor, succeeds: peerId }
    }
    return null
  }

  #successorIn(document: Document, by: Uint8Array): Omit<Successor, 'succeeds'> | null {
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

function isBytes(value: unknown, length: number): value is Uint8Array {
  return value instanceof Uint8Array && value.length === length
}
