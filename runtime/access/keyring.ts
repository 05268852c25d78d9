import { bodyKeyOf, isEpoch, isKeyOf, type EpochKey } from '../crypto/epoch-key.ts'
import type { Feed } from '../model/batch.ts'
import type { BodyKeys } from '../model/keys.ts'

/** What is derived of keys is kept for so many feeds and epochs. */
const DERIVED_MAX = 4_096

export interface CollectionKey extends EpochKey {
  readonly collection: string
}

/** The keys that this gateway has of encrypted collections. None is ever taken away: what was written with it stays readable. */
export class Keyring implements BodyKeys {
  readonly #keys = new Map<string, Map<number, Uint8Array>>()
  readonly #derived = new Map<string, Uint8Array>()

  constructor(keys: Iterable<CollectionKey> = []) {
    for (const key of keys) this.add(key)
  }

  /** False for a key that isn't the one its epoch names. */
  add({ collection, epoch, key }: CollectionKey): boolean {
    if (!isEpoch(epoch) || !isKeyOf(epoch, key)) return false
    const epochs = this.#keys.get(collection)
    if (epochs) epochs.set(epoch, key)
    else this.#keys.set(collection, new Map([[epoch, key]]))
    return true
  }

  keyOf(collection: string, epoch: number): Uint8Array | null {
    return this.#keys.get(collection)?.get(epoch) ?? null
  }

  /** Whether there is any key of the collection. */
  has(collection: string): boolean {
    return this.#keys.has(collection)
  }

  collections(): string[] {
    return [...this.#keys.keys()]
  }

  /** The last epoch of which the key is here. */
  newest(collection: string): number | null {
    const epochs = this.#keys.get(collection)
    return epochs === undefined ? null : Math.max(...epochs.keys())
  }

  of(feed: Feed, epoch: number): Uint8Array | null {
    const name = `${epoch} ${feed.key}`
    const known = this.#derived.get(name)
    if (known) return known
    const key = this.keyOf(feed.descriptor.collection, epoch)
    if (key === null) return null
    const derived = bodyKeyOf(key, feed.id)
    if (this.#derived.size >= DERIVED_MAX) this.#derived.clear()
    this.#derived.set(name, derived)
    return derived
  }

  *all(): Generator<CollectionKey> {
    for (const [collection, epochs] of this.#keys) for (const [epoch, key] of epochs) yield { collection, epoch, key }
  }
}
