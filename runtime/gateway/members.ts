import { equal } from '../base/bytes.ts'
import { MarramError } from '../base/errors.ts'
import { peerIdOf } from '../crypto/identity.ts'
import { createSigner, type Signer, type Verifier } from '../crypto/signature.ts'
import type { MeshAuthority } from '../driver/authority.ts'
import { loadRootKey, type Identity } from '../identity/identity.ts'
import { RIGHT_ADMIN, RIGHT_WRITE, type Capability } from '../model/capability.ts'
import { MESH_COLLECTION } from '../model/names.ts'
import { hlcFromMs, type Hlc } from '../model/stamp.ts'
import { Membership } from '../operations/membership.ts'
import { PassedJoins } from '../operations/passed-joins.ts'
import { Removals } from '../operations/removals.ts'
import { Rotations } from '../operations/rotations.ts'
import { timeOf } from '../operations/rows.ts'
import type { Log } from '../ports/log.ts'
import type { RemovalOptions } from '../ports/operations.ts'
import type { Change, Space } from '../ports/store.ts'
import type { Writer } from '../ports/writer.ts'
import type { DiskStore } from '../store/disk-store.ts'
import { LET_PASS_MS } from '../sync/overrun.ts'
import type { ForkProof } from '../wire/proof.ts'
import { warrantBytes } from '../wire/warrant.ts'
import { Departure } from './departure.ts'
import type { Enrolment } from './enrolment.ts'
import { Knowledge } from './knowledge.ts'
import type { Rights } from './rights.ts'
import type { Time } from './time.ts'

export interface MembersOptions {
  readonly dir: string
  readonly store: DiskStore
  readonly identity: Identity
  readonly authority: MeshAuthority
  readonly verifier: Verifier
  readonly enrolment: Enrolment
  readonly rights: Rights
  readonly writer: Writer
  readonly time: Time
  /** Where others can reach this gateway, and those that may enrol. */
  readonly addresses: () => readonly string[]
  readonly administrators: () => readonly string[]
  /** What members may do is no longer what it was. */
  readonly onChanged: () => void
  /** Once: this gateway shares nothing any more. */
  readonly onRemoved: (reason: string, by: string) => void
  /** Another one is closed out; told again with every change. */
  readonly onClosed: (peerId: string) => void
  /** All that it was given has ended; this gateway's own too. */
  readonly onEnded: (peerId: string) => void
  readonly onForked: (proof: ForkProof) => void
  readonly log: Log
}

const MEMBERS: Space = { collection: MESH_COLLECTION, partition: '' }

interface Ended {
  readonly count: number
  readonly peers: ReadonlySet<string>
}

const NOTHING_ENDED: Ended = { count: 0, peers: new Set() }

/** Who belongs to the mesh, this gateway among them, and how members are let in and out. */
export class Members {
  readonly peerId: string
  readonly mesh: Identity['mesh']
  readonly enrolment: Enrolment
  readonly #options: MembersOptions
  readonly departure: Departure
  readonly removals: Removals
  readonly membership: Membership
  readonly rotations: Rotations
  readonly passedJoins: PassedJoins
  readonly #knowledge: Knowledge
  /** How many capabilities had ended when that was looked at, and whose had all. */
  #ended = NOTHING_ENDED

  constructor(options: MembersOptions) {
    this.#options = options
    this.peerId = peerIdOf(options.identity.keys.publicKey)
    this.mesh = options.identity.mesh
    this.enrolment = options.enrolment
    this.departure = this.#makeDeparture()
    this.removals = this.#makeRemovals()
    this.membership = this.#makeMembership()
    this.rotations = this.#makeRotations()
    this.passedJoins = this.#makePassedJoins()
    this.#knowledge = this.#makeKnowledge()
  }

  /** What the store says of members is known when this returns. */
  load(): void {
    if (this.enrolment.chain !== null) this.#options.authority.admit(this.enrolment.chain)
    this.#knowledge.load()
    this.departure.load()
  }

  /** The mesh has let this gateway in and not out again. */
  get belongs(): boolean {
    return this.enrolment.chain !== null && !this.departure.isRemoved
  }

  /** Whether what it would write now as an administrator were taken: one batch that is not holds up all that come after it. */
  get isAdministrator(): boolean {
    const { authority, identity, time } = this.#options
    if (!this.belongs || !authority.isAdministrator(this.peerId)) return false
    const { publicKey } = identity.keys
    const stamp = Math.max(time.passedHlc, authority.members.beginningOf(publicKey) + 1)
    return authority.members.permits(publicKey, RIGHT_WRITE | RIGHT_ADMIN, MEMBERS, stamp)
  }

  isMember(peerId: string): boolean {
    const { authority } = this.#options
    return authority.chainOf(peerId).length > 0 && !authority.isClosed(peerId)
  }

  /** The member that took the place of another by new keys. */
  heirOf(peerId: string): string | undefined {
    return this.membership
      .successors()
      .get(peerId)
      ?.find((heir) => this.isMember(heir))
  }

  /** Whether all that the key was given has ended, as far as the time is known. */
  hasEnded(capability: Pick<Capability, 'subject'>): boolean {
    const now = this.#options.time.trustedHlc
    return now !== null && this.#options.authority.hasEnded(capability, now)
  }

  /** Another engine makes its links before it knows the time. */
  engineBegins(): void {
    this.#ended = NOTHING_ENDED
  }

  /** What was given for a time ends with it; to be called every few seconds. */
  lookAtEnds(): void {
    const { authority, time, onChanged, onEnded, log } = this.#options
    const now = time.trustedHlc
    // Whom we link with meanwhile is judged when the time is known again.
    if (now === null) this.#ended = NOTHING_ENDED
    if (now === null) return
    const all = [...authority.members.all()]
    const count = all.filter(({ expires }) => expires <= now).length
    const ended = new Map(
      all.filter((each) => authority.hasEnded(each, now)).map((each) => [peerIdOf(each.subject), each]),
    )
    for (const [peerId, { name }] of ended) {
      if (this.#ended.peers.has(peerId)) continue
      log.warn('membership-ended', { peerId, name })
      onEnded(peerId)
    }
    // A clock may be set back as well.
    const isOther = count !== this.#ended.count
    this.#ended = { count, peers: new Set(ended.keys()) }
    if (isOther) onChanged()
  }

  /** Whom it admitted while its clock was ahead; to be called every few seconds. */
  async grantAnew(): Promise<void> {
    const { isAhead, trustedMs, passedHlc } = this.#options.time
    if (trustedMs === null || isAhead) return
    await this.membership.grantAnew(Math.max(passedHlc, hlcFromMs(trustedMs + LET_PASS_MS)))
  }

  /** For `status.warnings`, or null. */
  get warning(): string | null {
    const { identity } = this.#options
    if (!this.belongs || !this.hasEnded({ subject: identity.keys.publicKey })) return null
    return `membership-ended: what this gateway was given has ended, so others share nothing with it and its devices write nothing; an administrator may give it more with "marram grant"`
  }

  /** What has just changed in the store. */
  learn(change: Change): void {
    this.#knowledge.learn(change)
    this.rotations.learn(change)
    this.passedJoins.learn(change)
  }

  /**
   * Our batches must be stamped after our admission, or after it was given anew because its stamp was wrong; throws `storage-damaged`
   * when another key was admitted.
   */
  get ownNotBefore(): Hlc {
    const { authority, identity, dir } = this.#options
    const { publicKey } = identity.keys
    const { chain } = this.enrolment
    const admitted = chain && authority.admit(chain)
    if (chain === null) return 0
    if (admitted && equal(admitted.capability.subject, publicKey)) return authority.members.beginningOf(publicKey)
    throw new MarramError(
      'storage-damaged',
      `Cannot start in "${dir}": the key in identity/device.json is not the one that was admitted to the mesh, restore it from a copy or join anew in another directory`,
    )
  }

  /** The capability that a neighbour's chain proves, or null. */
  admit(chain: readonly Uint8Array[]): Capability | null {
    const { authority, time, onChanged } = this.#options
    const now = time.trustedHlc
    if (now !== null && authority.isGivenLate(chain, now)) return null
    const admitted = authority.admit(chain)
    if (admitted?.isNew) onChanged()
    return admitted?.capability ?? null
  }

  async remove(origin: string, { reason, since, now }: RemovalOptions): Promise<void> {
    const sinceMs = timeOf('since', since, this.#options.time.wallMs)
    if (sinceMs !== null && reason === 'retire')
      throw new MarramError(
        'bad-request',
        `Cannot retire "${origin}" since a time: nothing of a lost gateway is void, revoke it`,
      )
    await this.removals.remove(origin, {
      reason,
      since: sinceMs === null ? null : hlcFromMs(sinceMs),
      isHasty: now === true,
    })
    await this.removals.step()
  }

  #makeDeparture(): Departure {
    const { store, authority, verifier, onRemoved, log } = this.#options
    return new Departure({
      store,
      authority,
      meshId: this.mesh.meshId,
      peerId: this.peerId,
      verify: (...signed) => verifier.verify(...signed),
      log,
      onRemoved: ({ reason, by }) => onRemoved(reason, by),
    })
  }

  #makeRemovals(): Removals {
    const { store, authority, writer, rights } = this.#options
    return new Removals({
      store,
      writer,
      peerId: this.peerId,
      members: () => new Set([...authority.members.all()].map(({ subject }) => peerIdOf(subject))),
      isRemoved: (origin) => authority.isRemoved(origin),
      isAdministrator: (origin) => (origin === this.peerId ? this.isAdministrator : authority.isAdministrator(origin)),
      mayRemove: (origin, warrant) => authority.mayRemove(origin, warrant),
      isClosed: (origin) => authority.isClosed(origin),
      isSealed: (feed) => authority.sealOf(feed) < Number.POSITIVE_INFINITY,
      keeps: (feed) => rights.rules().keeps(feed.descriptor),
      keepsAll: () => rights.keepsAll(),
      warrant: (origin) => this.#rootSigner()?.sign(warrantBytes(this.mesh.meshId, origin)) ?? null,
    })
  }

  #makeMembership(): Membership {
    const { store, identity, authority, writer, rights, time, addresses, administrators } = this.#options
    const signer = createSigner(identity.keys.secretKey)
    return new Membership({
      store,
      writer,
      meshId: this.mesh.meshId,
      meshName: this.mesh.name,
      rootPublicKey: this.mesh.rootPublicKey,
      administratorChain: () => (this.isAdministrator ? authority.administratorChainOf(this.peerId) : null),
      publicKey: identity.keys.publicKey,
      sign: (message) => signer.sign(message),
      root: () => this.#rootSigner(),
      wallMs: () => time.wallMs,
      hlc: () => time.hlc,
      addresses,
      member: (peerId) => rights.memberOf(peerId),
      capabilities: () => authority.members.all(),
      passOn: (request) => this.passedJoins.pass(request),
      administrators,
    })
  }

  #makeRotations(): Rotations {
    const { store, authority, identity, verifier, writer, log } = this.#options
    return new Rotations({
      store,
      writer,
      meshId: this.mesh.meshId,
      peerId: this.peerId,
      publicKey: identity.keys.publicKey,
      succeeds: this.mesh.succeeds,
      verifier,
      isAdministrator: () => this.isAdministrator,
      members: () => authority.members.all(),
      isClosed: (peerId) => authority.isClosed(peerId),
      successors: () => this.membership.successors(),
      predecessorOf: (peerId) => this.membership.predecessorOf(peerId),
      admit: (capabilities, successor) => this.membership.succeed(capabilities, successor),
      mayRetire: (peerId) =>
        peerId !== this.peerId && (!authority.isAdministrator(peerId) || this.#rootSigner() !== null),
      retire: (peerId) => this.remove(peerId, { reason: 'retire' }),
      log,
    })
  }

  #makePassedJoins(): PassedJoins {
    const { store, authority, identity, verifier, writer, log } = this.#options
    return new PassedJoins({
      store,
      writer,
      meshId: this.mesh.meshId,
      peerId: this.peerId,
      linkSecretKey: identity.keys.linkSecretKey,
      verifier,
      isAdministrator: () => this.isAdministrator,
      administratorKeys: () => this.#administratorKeys(),
      members: () => new Set([...authority.members.all()].map(({ subject }) => peerIdOf(subject))),
      admit: (request) => this.membership.admit(request),
      log,
      monotonicMs: () => performance.now(),
    })
  }

  #makeKnowledge(): Knowledge {
    const { store, authority, onChanged, onClosed, onForked } = this.#options
    return new Knowledge(store, authority, this.removals, {
      authorityChanged: onChanged,
      closed: (closing) => {
        if (closing.origin === this.peerId) this.departure.leave(closing)
        else onClosed(closing.origin)
      },
      forked: onForked,
    })
  }

  #administratorKeys(): Uint8Array[] {
    const { authority } = this.#options
    const keys = new Map<string, Uint8Array>()
    for (const { subject, linkKey } of authority.members.all()) {
      const peerId = peerIdOf(subject)
      if (authority.isAdministrator(peerId) && !authority.isClosed(peerId)) keys.set(peerId, linkKey)
    }
    return [...keys.values()]
  }

  #rootSigner(): Signer | null {
    const secretKey = loadRootKey(this.#options.dir, this.mesh)
    return secretKey && createSigner(secretKey)
  }
}
