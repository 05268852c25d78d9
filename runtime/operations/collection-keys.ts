import type { Keyring } from '../access/keyring.ts'
import { concat, utf8 } from '../base/bytes.ts'
import { isEpoch, newEpochKey, numberOfEpoch } from '../crypto/epoch-key.ts'
import { openSealed, sealTo, type Binding } from '../crypto/hpke.ts'
import { randomBytes } from '../crypto/identity.ts'
import type { Feed } from '../model/batch.ts'
import { isLive, type Document } from '../model/document.ts'
import { fieldsOf } from '../model/fields.ts'
import { MESH_COLLECTION } from '../model/names.ts'
import { msOfHlc, type Hlc } from '../model/stamp.ts'
import type { Log } from '../ports/log.ts'
import type { Change, Documents, Space } from '../ports/store.ts'
import type { Writer, WriteOp } from '../ports/writer.ts'
import { entriesOf } from './reading.ts'

/**
 * How keys of encrypted collections come to their readers (protocol D28): as documents of the members' collection, which
 * administrators alone write, `key/<collection>/<epoch>/<reader>`, each with the epoch's key sealed to that reader. Every
 * administrator whose profile declares the collection sees to it that all readers have all epochs, and begins a new one
 * when somebody who has the last one's key is no reader any more, and every 90 days.
 */
export interface Reader {
  readonly peerId: string
  /** X25519, 32 bytes. */
  readonly linkKey: Uint8Array
}

export interface KeySurroundings {
  readonly store: Documents
  readonly writer: Writer
  readonly keyring: Keyring
  /** Makes the keyring durable. */
  readonly save: () => void
  readonly meshId: Uint8Array
  readonly peerId: string
  readonly linkSecretKey: Uint8Array
  /** Encrypted collections of the profile; and what it says of one, null when it doesn't name it. */
  readonly declared: () => readonly string[]
  readonly isDeclared: (collection: string) => boolean | null
  readonly isAdministrator: () => boolean
  /** Who may read it now: administrators among them, who hand the keys on. */
  readonly readersOf: (collection: string) => readonly Reader[]
  /** Physical time where it may be believed, else null. */
  readonly nowMs: () => number | null
  /** Keys have come: what waited for them can be read. */
  readonly onKeys: () => Promise<void>
  readonly log: Log
}

interface Epoch {
  /** The stamp of its first document. */
  since: Hlc
  /** By reader, the sealed key. */
  readonly boxes: Map<string, Uint8Array>
}

const PREFIX = 'key/'
const SPACE: Space = { collection: MESH_COLLECTION, partition: '' }
const EPOCH_MS = 90 * 86_400_000
/** Documents of one batch. */
const BOXES_AT_ONCE = 200

export class CollectionKeyService {
  readonly #with: KeySurroundings
  readonly #epochs = new Map<string, Map<number, Epoch>>()
  /** Boxes that don't open: not tried again before they change. */
  readonly #refused = new WeakSet<Uint8Array>()
  /** When this process began the last one of each collection. */
  readonly #begunMs = new Map<string, number>()
  #turn: Promise<void> = Promise.resolve()
  #isStepPlanned = false

  constructor(surroundings: KeySurroundings) {
    this.#with = surroundings
  }

  /** All that the store holds. */
  load(): void {
    for (const { key, document } of entriesOf(this.#with.store, SPACE, PREFIX)) this.#note(key, document)
  }

  /** What has just changed in the store. */
  learn({ collection, key, document }: Change): void {
    if (collection !== MESH_COLLECTION || !key.startsWith(PREFIX)) return
    this.#note(key, document)
    this.plan()
  }

  /** A step soon: after what else has come with this. */
  plan(): void {
    if (this.#isStepPlanned) return
    this.#isStepPlanned = true
    setImmediate(() => {
      this.#isStepPlanned = false
      void this.step().catch((error: unknown) => this.#with.log.warn('keys-not-shared', { message: String(error) }))
    })
  }

  /** Takes the keys that are here for this gateway; as an administrator gives others theirs, and begins epochs. */
  step(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#openBoxes()
      if (!this.#with.isAdministrator()) return
      for (const collection of this.#with.declared()) await this.#provide(collection)
    })
  }

  /** What an undeclared collection is, the mesh has made it. */
  isEncrypted(collection: string): boolean {
    return this.#with.isDeclared(collection) ?? this.#epochs.has(collection)
  }

  /** The epoch that is written with now: the last one there is, whether or not its key is here. */
  newest(collection: string): number | null {
    const epochs = this.#epochs.get(collection)
    return epochs === undefined ? null : Math.max(...epochs.keys())
  }

  /** Whether this gateway may write there now. */
  canWrite(collection: string): boolean {
    const epoch = this.newest(collection)
    return epoch !== null && this.#with.keyring.keyOf(collection, epoch) !== null
  }

  current(feed: Feed): { readonly epoch: number; readonly nonce: Uint8Array; readonly key: Uint8Array } | null {
    const epoch = this.newest(feed.descriptor.collection)
    const key = epoch === null ? null : this.#with.keyring.of(feed, epoch)
    return epoch === null || key === null ? null : { epoch, key, nonce: randomBytes(12) }
  }

  /** Encrypted collections that are declared or that the mesh has keys of. */
  collections(): readonly string[] {
    const known = new Set([...this.#with.declared(), ...this.#epochs.keys()])
    return [...known].filter((collection) => this.isEncrypted(collection)).sort()
  }

  #note(name: string, document: Document): void {
    const [collection, text, reader] = name.slice(PREFIX.length).split('/')
    const epoch = Number(text)
    if (collection === undefined || reader === undefined || !isEpoch(epoch)) return
    const box = isLive(document) ? fieldsOf(document)['box'] : undefined
    const epochs = this.#epochs.get(collection) ?? new Map<number, Epoch>()
    const since = document.writes[document.paths.indexOf('box')]?.hlc ?? Number.POSITIVE_INFINITY
    const known = epochs.get(epoch) ?? { since, boxes: new Map<string, Uint8Array>() }
    known.since = Math.min(known.since, since)
    if (box instanceof Uint8Array) known.boxes.set(reader, box)
    else known.boxes.delete(reader)
    // What a removed administrator wrote may be void.
    if (known.boxes.size > 0) epochs.set(epoch, known)
    else epochs.delete(epoch)
    if (epochs.size > 0) this.#epochs.set(collection, epochs)
    else this.#epochs.delete(collection)
  }

  async #openBoxes(): Promise<void> {
    const { keyring, peerId, linkSecretKey, save, onKeys, log } = this.#with
    let hasCome = false
    for (const [collection, epochs] of this.#epochs) {
      for (const [epoch, { boxes }] of epochs) {
        const box = boxes.get(peerId)
        if (box === undefined || this.#refused.has(box) || keyring.keyOf(collection, epoch) !== null) continue
        const key = await openSealed(linkSecretKey, this.#binding(collection, epoch, peerId), box)
        if (key !== null && keyring.add({ collection, epoch, key })) hasCome = true
        else {
          this.#refused.add(box)
          log.warn('key-refused', { collection, epoch: numberOfEpoch(epoch) })
        }
      }
    }
    if (!hasCome) return
    // Nothing may be shown that a restart could not read.
    save()
    await onKeys()
  }

  async #provide(collection: string): Promise<void> {
    const epochs = this.#epochs.get(collection)
    const newest = this.newest(collection)
    if (epochs === undefined || newest === null) return this.#begin(collection)
    const { keyring } = this.#with
    // Another administrator's, which has not named us: it is that one's to see to.
    if (keyring.keyOf(collection, newest) === null) return
    const readers = this.#with.readersOf(collection)
    if (this.#isOver(collection, epochs.get(newest) as Epoch, readers)) return this.#begin(collection)
    for (const [epoch, { boxes }] of epochs) {
      const key = keyring.keyOf(collection, epoch)
      const lacking = readers.filter(({ peerId }) => !boxes.has(peerId))
      if (key !== null && lacking.length > 0) await this.#give(collection, epoch, key, lacking)
    }
  }

  /** Somebody who has its key may not read any more, or it has lasted long enough. */
  #isOver(collection: string, { since, boxes }: Epoch, readers: readonly Reader[]): boolean {
    const may = new Set(readers.map(({ peerId }) => peerId))
    if ([...boxes.keys()].some((peerId) => !may.has(peerId))) return true
    const nowMs = this.#with.nowMs()
    // Of a clock that runs away from our own stamps one new epoch comes, not one after the other.
    const begunMs = Math.max(msOfHlc(since), this.#begunMs.get(collection) ?? 0)
    return nowMs !== null && nowMs - begunMs > EPOCH_MS
  }

  async #begin(collection: string): Promise<void> {
    const { keyring, save, readersOf, nowMs, log } = this.#with
    this.#begunMs.set(collection, nowMs() ?? 0)
    const newest = this.newest(collection)
    const { epoch, key } = newEpochKey(newest === null ? 1 : numberOfEpoch(newest) + 1)
    keyring.add({ collection, epoch, key })
    save()
    await this.#give(collection, epoch, key, readersOf(collection))
    log.info('epoch-begun', { collection, epoch: numberOfEpoch(epoch) })
  }

  async #give(collection: string, epoch: number, key: Uint8Array, readers: readonly Reader[]): Promise<void> {
    const ops: WriteOp[] = []
    for (const { peerId, linkKey } of readers) {
      const box = await sealTo(linkKey, this.#binding(collection, epoch, peerId), key)
      if (box !== null) ops.push({ kind: 'put', key: `${PREFIX}${collection}/${epoch}/${peerId}`, fields: { box } })
      else this.#with.log.warn('key-not-given', { collection, peerId, why: 'its key for links is none' })
    }
    for (let i = 0; i < ops.length; i += BOXES_AT_ONCE)
      await this.#with.writer.write(MESH_COLLECTION, '', ops.slice(i, i + BOXES_AT_ONCE))
  }

  #binding(collection: string, epoch: number, peerId: string): Binding {
    return {
      info: concat(utf8('marram1/key'), this.#with.meshId),
      aad: utf8(`${collection}/${epoch}/${peerId}`),
    }
  }

  #inTurn(act: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(act)
    this.#turn = done.then(
      () => {},
      () => {},
    )
    return done
  }
}
