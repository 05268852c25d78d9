import { Members } from '../access/members.ts'
import type { Feed } from '../model/batch.ts'
import { RIGHT_ADMIN, RIGHT_WRITE, type Capability } from '../model/capability.ts'
import { MESH_COLLECTION } from '../model/names.ts'
import { peerIdOf } from '../crypto/identity.ts'
import type { Verifier } from '../crypto/signature.ts'
import type { Authority } from '../sync/types.ts'
import { verifyChain } from '../wire/capability.ts'

/** What the mesh's root and its administrators have signed, and what follows from it for feeds. */
export class MeshAuthority implements Authority {
  readonly members: Members = new Members()
  readonly #meshId: Uint8Array
  readonly #rootPublicKey: Uint8Array
  readonly #verifier: Verifier
  readonly #chainsByPeer = new Map<string, readonly Uint8Array[]>()
  readonly #isDraft: (feed: Feed) => boolean

  /** `isDraft`: feeds of ours that were written before we were admitted. */
  constructor(meshId: Uint8Array, rootPublicKey: Uint8Array, verifier: Verifier, isDraft: (feed: Feed) => boolean) {
    this.#meshId = meshId
    this.#rootPublicKey = rootPublicKey
    this.#verifier = verifier
    this.#isDraft = isDraft
  }

  /** The members the chains of capabilities prove; null when a chain doesn't lead to the root. Remembers them. */
  admit(chain: readonly Uint8Array[]): { readonly capability: Capability; readonly isNew: boolean } | null {
    const verified = verifyChain(this.#meshId, this.#rootPublicKey, chain, this.#verifier)
    if (!verified.ok) return null
    const issuer = chain.slice(1)
    if (issuer.length > 0) this.admit(issuer)
    const isNew = this.members.admit(verified.value)
    if (isNew) this.#chainsByPeer.set(peerIdOf(verified.value.subject), chain)
    return { capability: verified.value, isNew }
  }

  learn(chain: readonly Uint8Array[]): boolean {
    return this.admit(chain)?.isNew ?? false
  }

  isKnown(feed: Feed): boolean {
    return this.members.everPermits(feed.descriptor.publicKey, rightsFor(feed), feed.descriptor)
  }

  permits(feed: Feed, hlc: number): boolean {
    return this.members.permits(feed.descriptor.publicKey, rightsFor(feed), feed.descriptor, hlc)
  }

  chainOf(origin: string): readonly Uint8Array[] {
    return this.#chainsByPeer.get(origin) ?? []
  }

  isShared(feed: Feed): boolean {
    return !this.#isDraft(feed)
  }
}

/** Members are named by administrators only. */
function rightsFor(feed: Feed): number {
  return feed.descriptor.collection === MESH_COLLECTION ? RIGHT_WRITE | RIGHT_ADMIN : RIGHT_WRITE
}
