import type { Keyring } from '../access/keyring.ts'
import { readersOf } from '../access/readers.ts'
import { hex } from '../base/bytes.ts'
import { peerIdOf } from '../crypto/identity.ts'
import type { MeshAuthority } from '../driver/authority.ts'
import type { Identity } from '../identity/identity.ts'
import { saveKeyring } from '../identity/keyring-file.ts'
import { CollectionKeyService, type Reader } from '../operations/collection-keys.ts'
import { HeldWrites } from '../operations/held-writes.ts'
import type { Quarantine } from '../operations/quarantine.ts'
import type { EncryptionRules } from '../operations/rules.ts'
import type { ObservedEncryption } from '../operations/status.ts'
import type { Log } from '../ports/log.ts'
import type { HeldWrite, Holder } from '../ports/operations.ts'
import type { Change } from '../ports/store.ts'
import type { Writer } from '../ports/writer.ts'
import type { ResolvedProfile } from '../profile/resolved.ts'
import type { DiskStore } from '../store/disk-store.ts'
import type { CollectionKeys } from '../sync/types.ts'
import type { Time } from './time.ts'

export interface PrivateDataOptions {
  readonly dir: string
  readonly store: DiskStore
  readonly keyring: Keyring
  readonly identity: Identity
  readonly peerId: string
  readonly authority: MeshAuthority
  readonly writer: Writer
  readonly profile: () => ResolvedProfile
  readonly isAdministrator: () => boolean
  readonly time: Time
  /** Throws `not-permitted` where this gateway may not write the collection. */
  readonly checkRight: (collection: string) => void
  /** Writes what waited for its key, as if it were said now. */
  readonly write: (write: HeldWrite) => Promise<void>
  readonly quarantine: () => Quarantine | null
  /** What can be read is more than it was. */
  readonly onUnlocked: () => void
  readonly log: Log
}

/** Encrypted collections of this gateway: their keys, who else gets them, and what waits for one (protocol D28). */
export class PrivateData implements Holder, EncryptionRules {
  readonly #options: PrivateDataOptions
  readonly #keys: CollectionKeyService
  readonly #held: HeldWrites

  constructor(options: PrivateDataOptions) {
    const { dir, store, keyring, identity, peerId, writer, profile, isAdministrator, time, write, log } = options
    this.#options = options
    this.#keys = new CollectionKeyService({
      store,
      writer,
      keyring,
      save: () => saveKeyring(dir, keyring),
      meshId: identity.mesh.meshId,
      peerId,
      linkSecretKey: identity.keys.linkSecretKey,
      declared: () => [...profile().collections].filter(([, { encrypted }]) => encrypted).map(([name]) => name),
      isDeclared: (name) => profile().collections.get(name)?.encrypted ?? null,
      isAdministrator,
      readersOf: (name) => this.#readersOf(name),
      nowMs: () => time.trustedMs,
      onKeys: () => this.#unlock(),
      log,
    })
    this.#held = new HeldWrites({ store, canWrite: (name) => this.#keys.canWrite(name), write, log })
  }

  /** What the store says of keys; before the engine is made. */
  load(): void {
    this.#keys.load()
  }

  /** As the engine asks for them. */
  get keys(): CollectionKeys {
    return {
      of: (feed, epoch) => this.#options.keyring.of(feed, epoch),
      isEncrypted: (name) => this.#keys.isEncrypted(name),
      current: (feed) => this.#keys.current(feed),
    }
  }

  get observed(): ObservedEncryption {
    return {
      collections: () => this.#keys.collections(),
      newest: (name) => this.#keys.newest(name),
      hasKey: (name, epoch) => this.#options.keyring.keyOf(name, epoch) !== null,
      held: (name) => this.#held.countOf(name),
    }
  }

  isEncrypted(name: string): boolean {
    return this.#keys.isEncrypted(name)
  }

  hasKey(name: string): boolean {
    return this.#options.keyring.has(name)
  }

  isHolding(name: string): boolean {
    return this.#held.isHolding(name)
  }

  /** Who may not write there waits for nothing. */
  async hold(write: HeldWrite): Promise<void> {
    this.#options.checkRight(write.collection)
    await this.#held.hold(write)
  }

  /** What has just changed in the store. */
  learn(change: Change): void {
    this.#keys.learn(change)
  }

  /** The profile or the members are not what they were. */
  plan(): void {
    this.#keys.plan()
  }

  /** What is due: keys handed on or made anew, and what waited for one written. */
  async step(): Promise<void> {
    await this.#keys.step()
    await this.#held.release()
  }

  #readersOf(collection: string): Reader[] {
    const { authority, profile, time } = this.#options
    const labels = profile().collections.get(collection)?.readers ?? []
    return readersOf(authority.members.all(), collection, labels, {
      passed: time.passedHlc,
      isNow: time.trustedMs !== null,
    })
      .map(({ subject, linkKey }) => ({ peerId: peerIdOf(subject), linkKey }))
      .filter(({ peerId }) => !authority.isClosed(peerId))
  }

  /** What waited for a key is shown. */
  async #unlock(): Promise<void> {
    for (const { feed, seq } of await this.#options.store.unlock()) {
      const { collection } = feed.descriptor
      const batch = { feed: hex(feed.id), origin: feed.origin, collection, seq }
      this.#options.quarantine()?.addBatch({ ...batch, why: 'unreadable' })
    }
    this.#options.onUnlocked()
    await this.#held.release()
  }
}
