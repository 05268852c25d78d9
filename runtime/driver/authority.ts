import { Grounds, type Grounded } from '../access/grounds.ts'
import { grantsAt as grants, Members } from '../access/members.ts'
import type { Closing } from '../access/removals.ts'
import type { Batch, Feed } from '../model/batch.ts'
import type { Document } from '../model/document.ts'
import { RIGHT_ADMIN, RIGHT_READ, RIGHT_RELAY, RIGHT_WRITE, type Capability } from '../model/capability.ts'
import { MESH_COLLECTION, SELF_COLLECTION } from '../model/names.ts'
import { HLC_MAX, type Hlc } from '../model/stamp.ts'
import type { Space } from '../ports/store.ts'
import { equal } from '../base/bytes.ts'
import { peerIdOf } from '../crypto/identity.ts'
import { askedOf, Seals, type Asked, type Removal, type SealedFeed, type Writer } from '../access/seals.ts'
import type { Verifier } from '../crypto/signature.ts'
import type { ForkProof } from '../wire/proof.ts'
import { warrantBytes } from '../wire/warrant.ts'
import { aheadSealIn, isLiftable } from '../sync/overrun.ts'
import { Proofs } from '../sync/proofs.ts'
import { Testimonies } from '../sync/testimonies.ts'
import type { Authority } from '../sync/types.ts'
import { verifyChain } from '../wire/capability.ts'

const MEMBERS: Space = { collection: MESH_COLLECTION, partition: '' }

/** Who is to be removed, or was: what administrators have written, with the root's word where they need it. */
export interface Removals {
  readonly closings: readonly Closing[]
  readonly removals: readonly { readonly removal: Removal; readonly warrant: Uint8Array | null }[]
}

/** A pattern of what a member may read or pass on, and until when. */
interface Readable {
  readonly pattern: string
  readonly expires: Hlc
}

interface AdministratorChain {
  readonly chain: readonly Uint8Array[]
  readonly expires: Hlc
}

/** What the mesh's root and its administrators have signed, and what follows from it for feeds. */
export class MeshAuthority implements Authority {
  readonly #grounds = new Grounds()
  #members = new Members()
  /** Something that is known does not count. */
  #isNarrowed = false
  readonly testimonies: Testimonies = new Testimonies()
  readonly proofs: Proofs = new Proofs()
  #seals = new Seals()
  /** Feeds of which two branches were found, by key. */
  readonly #forks = new Map<string, number>()
  /** Feeds that their authors have sealed, by the document that says so. */
  readonly #ahead = new Map<string, { readonly feed: Feed; readonly from: number }>()
  readonly #meshId: Uint8Array
  readonly #rootPublicKey: Uint8Array
  readonly #verifier: Verifier
  readonly #chainsByPeer = new Map<string, readonly Uint8Array[]>()
  /** Of administrators: what proves that they are, by which alone others can be let in. */
  readonly #administratorChains = new Map<string, AdministratorChain>()
  readonly #readableByPeer = new Map<string, readonly Readable[]>()
  readonly #patternsByPeer = new Map<string, readonly string[]>()
  readonly #isDraft: (feed: Feed) => boolean
  readonly #publicKey: Uint8Array
  readonly #isSigned = (publicKey: Uint8Array, { signed, signature }: Batch): boolean =>
    this.#verifier.verify(publicKey, signed, signature)

  /** `isDraft`: feeds of ours that were written before we were admitted. */
  constructor(
    meshId: Uint8Array,
    rootPublicKey: Uint8Array,
    publicKey: Uint8Array,
    verifier: Verifier,
    isDraft: (feed: Feed) => boolean,
  ) {
    this.#publicKey = publicKey
    this.#meshId = meshId
    this.#rootPublicKey = rootPublicKey
    this.#verifier = verifier
    this.#isDraft = isDraft
  }

  /** Whose capabilities count. */
  get members(): Members {
    return this.#members
  }

  /**
   * The members the chains of capabilities prove; null when a chain doesn't lead to the root, or was given by an administrator that
   * was removed and stands in no document. Remembers them.
   */
  admit(chain: readonly Uint8Array[]): { readonly capability: Capability; readonly isNew: boolean } | null {
    const grounded = this.#verified(chain)
    return grounded && this.#admit(grounded)
  }

  /** Whether an administrator gave it whose own right has ended at `at`, and no document holds it: it may have been given since. */
  isGivenLate(chain: readonly Uint8Array[], at: Hlc): boolean {
    const grounded = this.#verified(chain)
    if (grounded === null || grounded.issuer === null || this.#grounds.isStanding(grounded.capability)) return false
    // Whoever comes first brings its administrator's own with it.
    const shown = this.#verified(chain.slice(1))?.capability.expires ?? 0
    return Math.max(shown, this.#administratorChains.get(grounded.issuer)?.expires ?? 0) <= at
  }

  /** What a document of the members' collection holds now, by its key; null when it holds no chain. True when members are others than before. */
  stand(key: string, chain: readonly Uint8Array[] | null): boolean {
    const grounded = chain && this.#verified(chain)
    const isOther = this.#grounds.stand(key, grounded?.capability ?? null)
    return (grounded !== null && this.#admit(grounded)?.isNew === true) || isOther
  }

  #verified(chain: readonly Uint8Array[]): Grounded | null {
    const verified = verifyChain(this.#meshId, this.#rootPublicKey, chain, this.#verifier)
    if (!verified.ok) return null
    const capability = verified.value
    const issuer = chain.length > 1 ? peerIdOf(capability.issuer) : null
    return { capability, chain, subject: peerIdOf(capability.subject), issuer }
  }

  #admit(grounded: Grounded): { readonly capability: Capability; readonly isNew: boolean } | null {
    const { capability, chain, issuer } = grounded
    if (issuer !== null) this.admit(chain.slice(1))
    if (this.#isGroundless(grounded)) return null
    const isNew = this.#grounds.add(grounded)
    if (isNew) this.#note(grounded)
    return { capability, isNew }
  }

  /** For itself a gateway is what it was told to be: others judge it. */
  #isGroundless(grounded: Grounded, seals: Seals = this.#seals): boolean {
    return !equal(grounded.capability.subject, this.#publicKey) && this.#grounds.isGroundless(grounded, seals)
  }

  #note({ capability, chain, subject: peerId }: Grounded): void {
    const { grants: given, expires } = capability
    this.#members.admit(capability)
    this.#chainsByPeer.set(peerId, chain)
    const known = this.#administratorChains.get(peerId)
    if (grants(capability, RIGHT_ADMIN, MEMBERS) && expires > (known?.expires ?? 0))
      this.#administratorChains.set(peerId, { chain, expires })
    const readable = given.filter(({ rights }) => (rights & (RIGHT_READ | RIGHT_RELAY)) !== 0)
    const all = [...(this.#readableByPeer.get(peerId) ?? []), ...readable.map(({ pattern }) => ({ pattern, expires }))]
    this.#readableByPeer.set(peerId, all)
    this.#patternsByPeer.set(
      peerId,
      all.map(({ pattern }) => pattern),
    )
  }

  readable(origin: string, at: Hlc = 0): readonly string[] {
    const all = this.#readableByPeer.get(origin) ?? []
    if (all.every(({ expires }) => at < expires)) return this.#patternsByPeer.get(origin) ?? []
    return all.filter(({ expires }) => at < expires).map(({ pattern }) => pattern)
  }

  /** Whether all that the member was given has ended at `at`. */
  hasEnded({ subject }: Pick<Capability, 'subject'>, at: Hlc): boolean {
    return this.members.capabilitiesOf(subject).every(({ expires }) => expires <= at)
  }

  learn(chain: readonly Uint8Array[]): boolean {
    return this.admit(chain)?.isNew ?? false
  }

  isKnown(feed: Feed): boolean {
    return this.members.everPermits(feed.descriptor.publicKey, rightsFor(feed), feed.descriptor)
  }

  permits(feed: Feed, hlc: number): boolean {
    if (feed.descriptor.collection === SELF_COLLECTION && feed.descriptor.partition !== feed.origin) return false
    return this.members.permits(feed.descriptor.publicKey, rightsFor(feed), feed.descriptor, hlc)
  }

  chainOf(origin: string): readonly Uint8Array[] {
    return this.#chainsByPeer.get(origin) ?? []
  }

  /**
   * What proves that the member is an administrator, that which is valid longest; null when it is none. One that was promoted holds another
   * capability as well, under which nobody may let others in.
   */
  administratorChainOf(origin: string): readonly Uint8Array[] | null {
    return this.#administratorChains.get(origin)?.chain ?? null
  }

  isShared(feed: Feed): boolean {
    return !this.#isDraft(feed)
  }

  writers(place: Space): readonly Writer[] {
    return this.#writersAt(place).filter(({ origin }) => !this.#seals.isRemoved(origin))
  }

  /**
   * All that administrators have written of removals, whatever was known before: what a removed administrator had written
   * may be void, and then counts for nobody any more.
   */
  setRemovals({ closings, removals }: Removals): void {
    const seals = new Seals()
    for (const [key, seq] of this.#forks) seals.addFork(key, seq)
    for (const { feed, from } of this.#ahead.values()) seals.setAhead(feed.key, from)
    for (const { origin, warrant } of closings) if (this.mayRemove(origin, warrant)) seals.close(origin)
    for (const { removal, warrant } of removals) if (this.mayRemove(removal.origin, warrant)) seals.addRemoval(removal)
    const own = peerIdOf(this.#publicKey)
    const isNarrowed = this.#grounds.removeGroundless(seals, (subject) => subject === own)
    this.#seals = seals
    // Each member that joins comes by here, and most meshes have removed no administrator.
    if (isNarrowed || this.#isNarrowed) this.#countAgain()
    this.#isNarrowed = isNarrowed
  }

  /** Whose capabilities count, and what they allow. */
  #countAgain(): void {
    this.#members = new Members()
    for (const kept of [this.#chainsByPeer, this.#administratorChains, this.#readableByPeer, this.#patternsByPeer])
      kept.clear()
    for (const grounded of this.#grounds.all()) if (!this.#isGroundless(grounded)) this.#note(grounded)
  }

  /** Whether the member may name others as members, or ever could. */
  isAdministrator(origin: string): boolean {
    for (const member of this.#each()) {
      if (member.origin === origin && grants(member.capability, RIGHT_ADMIN, MEMBERS)) return true
    }
    return false
  }

  /** Its feeds are sealed. */
  isRemoved(origin: string): boolean {
    return this.#seals.isRemoved(origin)
  }

  /** Administrators are removed by the root alone (protocol D4). */
  mayRemove(origin: string, warrant: Uint8Array | null): boolean {
    if (!this.isAdministrator(origin)) return true
    return warrant !== null && this.#verifier.verify(this.#rootPublicKey, warrantBytes(this.#meshId, origin), warrant)
  }

  #writersAt(place: Space): readonly Writer[] {
    const since = new Map<string, Hlc>()
    for (const { capability, origin } of this.#each()) {
      const isWriter = grants(capability, RIGHT_WRITE, place) || grants(capability, RIGHT_ADMIN, MEMBERS)
      if (isWriter) since.set(origin, Math.min(since.get(origin) ?? HLC_MAX, capability.notBefore))
    }
    return [...since].map(([origin, from]) => ({ origin, since: from }))
  }

  sealOf(feed: SealedFeed): number {
    return this.#seals.of(feed)
  }

  aheadOf(feed: Pick<Feed, 'key'>): number {
    return this.#seals.aheadOf(feed)
  }

  asked(feed: Feed): readonly Asked[] {
    return askedOf(this.#seals, feed, this.#writersAt(feed.descriptor))
  }

  isClosed(origin: string): boolean {
    return this.#seals.isClosed(origin)
  }

  /**
   * What a document holds that tells of two batches of one author with one sequence, which seal the feed there; null when it holds nothing.
   * The proof when it is new and both signatures are right, 'withdrawn' when nobody tells any more what counts.
   */
  learnFork(document: string, bytes: Uint8Array | null): ForkProof | 'withdrawn' | null {
    const learned = this.proofs.learn(this.#meshId, document, bytes, this.#isSigned)
    if (learned === null || learned === 'withdrawn') return learned
    this.#forks.set(learned.feed.key, learned.seq)
    this.#seals.addFork(learned.feed.key, learned.seq)
    return learned
  }

  /** What a member tells of what others have said. True when that is new, or less than it told before. */
  learnTold(teller: string, key: string, document: Document): boolean {
    return this.testimonies.learn(this.#meshId, teller, key, document, this.#isSigned)
  }

  /** What a document of the member's says of a feed of its own that it wrote with a clock ahead. True when that is new. */
  learnAhead(origin: string, key: string, document: Document): boolean {
    const name = `${origin}/${key}`
    const seal = aheadSealIn(this.#meshId, origin, key, document)
    if (
      seal === null ||
      !this.#verifier.verify(seal.feed.descriptor.publicKey, seal.first.signed, seal.first.signature)
    ) {
      const { feed } = this.#ahead.get(name) ?? {}
      if (feed === undefined || !isLiftable(feed)) return false
      this.#ahead.delete(name)
      return this.#seals.setAhead(feed.key, Number.POSITIVE_INFINITY)
    }
    const { feed, from } = seal
    this.#ahead.set(name, { feed, from })
    return this.#seals.setAhead(feed.key, from)
  }

  isMember(): boolean {
    return this.members.capabilitiesOf(this.#publicKey).length > 0
  }

  *#each(): Generator<{ readonly capability: Capability; readonly origin: string }> {
    for (const capability of this.members.all()) yield { capability, origin: peerIdOf(capability.subject) }
  }
}

/** Members are named by administrators only. */
function rightsFor(feed: Feed): number {
  // Every member may say what it holds, and reads what the others say.
  if (feed.descriptor.collection === SELF_COLLECTION) return 0
  return feed.descriptor.collection === MESH_COLLECTION ? RIGHT_WRITE | RIGHT_ADMIN : RIGHT_WRITE
}
