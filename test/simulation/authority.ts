import { askedOf, Seals, type Asked, type Removal, type Writer } from '../../runtime/access/seals.ts'
import type { Feed } from '../../runtime/model/batch.ts'
import type { Document } from '../../runtime/model/document.ts'
import { aheadSealIn, isLiftable } from '../../runtime/sync/overrun.ts'
import { Proofs } from '../../runtime/sync/proofs.ts'
import { Testimonies } from '../../runtime/sync/testimonies.ts'
import type { Authority } from '../../runtime/sync/types.ts'

/** What one simulated gateway knows of who may do what: the product's own rules, over documents that have reached it. */
export class SimulatedAuthority implements Authority {
  /** Authors of whom nothing says yet that they are members. */
  readonly strangers: Set<string> = new Set<string>()
  testimonies: Testimonies = new Testimonies()
  proofs: Proofs = new Proofs()
  #seals = new Seals()
  #ahead = new Map<string, Feed>()
  /** Documents that held proofs when they were read last. */
  #proving = new Set<string>()
  readonly #closed: string[] = []
  readonly #removals: Removal[] = []
  readonly #meshId: Uint8Array
  readonly #peerId: string
  readonly #members: () => readonly Writer[]
  readonly #readable: (origin: string) => readonly string[]
  readonly #isSigned: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean

  constructor(
    meshId: Uint8Array,
    peerId: string,
    members: () => readonly Writer[],
    readable: (origin: string) => readonly string[],
    isSigned: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean,
  ) {
    this.#meshId = meshId
    this.#peerId = peerId
    this.#members = members
    this.#readable = readable
    this.#isSigned = isSigned
  }

  /** What it has read in documents, it reads there again. */
  restart(): void {
    this.testimonies = new Testimonies()
    this.proofs = new Proofs()
    this.#proving = new Set()
    this.#seals = new Seals()
    this.#ahead = new Map()
    for (const origin of this.#closed) this.#seals.close(origin)
    for (const removal of this.#removals) this.#seals.addRemoval(removal)
  }

  close(origin: string): void {
    this.#closed.push(origin)
    this.#seals.close(origin)
  }

  addRemoval(removal: Removal): void {
    this.#removals.push(removal)
    this.#seals.addRemoval(removal)
  }

  isKnown({ origin }: Feed): boolean {
    return !this.strangers.has(origin)
  }

  permits(_feed: Feed, _hlc?: number): boolean {
    return true
  }

  learn(): boolean {
    return false
  }

  chainOf(): readonly Uint8Array[] {
    return []
  }

  readable(origin: string): readonly string[] {
    return this.#readable(origin)
  }

  isShared(): boolean {
    return true
  }

  isMember(): boolean {
    return this.#members().some(({ origin }) => origin === this.#peerId)
  }

  writers(): readonly Writer[] {
    return this.#members().filter(({ origin }) => !this.#seals.isRemoved(origin))
  }

  sealOf(feed: Feed): number {
    return this.#seals.of(feed)
  }

  aheadOf(feed: Pick<Feed, 'key'>): number {
    return this.#seals.aheadOf(feed)
  }

  asked(feed: Feed): readonly Asked[] {
    return askedOf(this.#seals, feed, this.#members())
  }

  isClosed(origin: string): boolean {
    return this.#seals.isClosed(origin)
  }

  /** All that members say in documents, by partition and key, of feeds of their own that ran ahead. True when it is new. */
  setAhead(documents: readonly (readonly [origin: string, key: string, document: Document])[]): boolean {
    const lifted = [...this.#ahead.values()].filter(isLiftable)
    for (const { key } of lifted) this.#ahead.delete(key)
    let isNew = false
    for (const [origin, key, document] of documents) {
      const seal = aheadSealIn(this.#meshId, origin, key, document)
      if (seal === null || !this.#isSigned(seal.feed.descriptor.publicKey, seal.first.signed, seal.first.signature))
        continue
      this.#ahead.set(seal.feed.key, seal.feed)
      isNew = this.#seals.setAhead(seal.feed.key, seal.from) || isNew
    }
    for (const { key } of lifted)
      if (!this.#ahead.has(key)) isNew = this.#seals.setAhead(key, Number.POSITIVE_INFINITY) || isNew
    return isNew
  }

  /** All proofs of forks that members tell, by document. True when one is new, or is told no more. */
  setProofs(proofs: ReadonlyMap<string, Uint8Array>): boolean {
    let isNew = false
    for (const document of new Set([...this.#proving, ...proofs.keys()])) {
      const learned = this.proofs.learn(
        this.#meshId,
        document,
        proofs.get(document) ?? null,
        (publicKey, { signed, signature }) => this.#isSigned(publicKey, signed, signature),
      )
      isNew ||= learned !== null
      if (learned !== null && learned !== 'withdrawn') this.#seals.addFork(learned.feed.key, learned.seq)
    }
    this.#proving = new Set(proofs.keys())
    return isNew
  }

  /** True when it says something new, or less than before. */
  learnTold(teller: string, key: string, document: Document): boolean {
    return this.testimonies.learn(this.#meshId, teller, key, document, (publicKey, { signed, signature }) =>
      this.#isSigned(publicKey, signed, signature),
    )
  }
}
