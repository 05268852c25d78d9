import type { Closing } from '../access/removals.ts'
import type { MeshAuthority } from '../driver/authority.ts'
import type { Document } from '../model/document.ts'
import { fieldsOf } from '../model/fields.ts'
import { MESH_COLLECTION, SELF_COLLECTION } from '../model/names.ts'
import type { Value } from '../model/value.ts'
import { GRANT_PREFIX, MEMBER_PREFIX } from '../operations/membership.ts'
import { entriesOf } from '../operations/reading.ts'
import { isRemoval, type Removals } from '../operations/removals.ts'
import type { Change, Store } from '../ports/store.ts'
import { FORK_PREFIX } from '../sync/forks.ts'
import { AHEAD_PREFIX } from '../sync/overrun.ts'
import { TOLD_PREFIX } from '../sync/testimonies.ts'
import type { ForkProof } from '../wire/proof.ts'

export interface KnowledgeHandler {
  /** What members may do, or from where on their feeds are void, is no longer what it was. */
  authorityChanged(): void
  /** A member is closed out of the mesh; told again with every change. */
  closed(closing: Closing): void
  /** Two branches of one feed are proven. */
  forked(proof: ForkProof): void
}

const PREFIXES = [MEMBER_PREFIX, GRANT_PREFIX]

/** Teaches the authority what members have written of members: who belongs, who is removed, whose feeds are forked, what was said. */
export class Knowledge {
  readonly #store: Store
  readonly #authority: MeshAuthority
  readonly #removals: Removals
  readonly #handler: KnowledgeHandler

  constructor(store: Store, authority: MeshAuthority, removals: Removals, handler: KnowledgeHandler) {
    this.#store = store
    this.#authority = authority
    this.#removals = removals
    this.#handler = handler
  }

  /** All that the store holds. */
  load(): void {
    const members = { collection: MESH_COLLECTION, partition: '' }
    for (const prefix of PREFIXES)
      for (const { key, document } of entriesOf(this.#store, members, prefix)) this.#learnMember(key, document)
    for (const space of this.#store.spaces()) {
      if (space.collection !== SELF_COLLECTION) continue
      for (const { key, document } of entriesOf(this.#store, space, FORK_PREFIX))
        this.#learnFork(space.partition, key, document)
      for (const { key, document } of entriesOf(this.#store, space, TOLD_PREFIX))
        this.#authority.learnTold(space.partition, key, document)
      for (const { key, document } of entriesOf(this.#store, space, AHEAD_PREFIX))
        this.#authority.learnAhead(space.partition, key, document)
    }
    this.#learnRemovals()
  }

  /** What has just changed in the store. */
  learn({ collection, partition, key, document }: Change): void {
    if (collection === SELF_COLLECTION) this.#learnOfSelves(partition, key, document)
    if (collection !== MESH_COLLECTION) return
    const isNew = this.#learnMember(key, document)
    // Of whom a removal speaks, and whether an administrator may say so, can change with every member.
    if (isNew || isRemoval(key)) this.#learnRemovals()
  }

  #learnMember(key: string, document: Document): boolean {
    if (!PREFIXES.some((prefix) => key.startsWith(prefix))) return false
    const chain: Value | undefined = fieldsOf(document)['chain']
    const isChain = Array.isArray(chain) && chain.every((link) => link instanceof Uint8Array)
    return this.#authority.stand(key, isChain ? (chain as Uint8Array[]).map((link) => link.slice()) : null)
  }

  #learnRemovals(): void {
    const closings = this.#removals.closings()
    this.#authority.setRemovals({ closings, removals: this.#removals.removals() })
    for (const closing of closings) if (this.#authority.isClosed(closing.origin)) this.#handler.closed(closing)
    this.#handler.authorityChanged()
  }

  #learnOfSelves(origin: string, key: string, document: Document): void {
    this.#learnFork(origin, key, document)
    const isNew =
      (key.startsWith(AHEAD_PREFIX) && this.#authority.learnAhead(origin, key, document)) ||
      (key.startsWith(TOLD_PREFIX) && this.#authority.learnTold(origin, key, document))
    if (isNew) this.#handler.authorityChanged()
  }

  #learnFork(origin: string, key: string, document: Document): void {
    if (!key.startsWith(FORK_PREFIX)) return
    const { proof } = fieldsOf(document)
    const bytes = proof instanceof Uint8Array ? proof.slice() : null
    const learned = this.#authority.learnFork(`${origin}/${key}`, bytes)
    if (learned === null) return
    if (learned !== 'withdrawn') this.#handler.forked(learned)
    this.#handler.authorityChanged()
  }
}
