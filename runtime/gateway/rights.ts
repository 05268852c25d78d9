import { MarramError } from '../base/errors.ts'
import { peerIdOf } from '../crypto/identity.ts'
import type { MeshAuthority } from '../driver/authority.ts'
import { RIGHT_WRITE, type Capability } from '../model/capability.ts'
import type { Place } from '../model/interest.ts'
import { hlcFromMs } from '../model/stamp.ts'
import type { CollectionRules } from '../operations/documents.ts'
import { rulesOf, type EncryptionRules } from '../operations/rules.ts'
import type { Space } from '../ports/store.ts'
import type { ResolvedProfile } from '../profile/resolved.ts'
import type { Time } from './time.ts'

export interface RightsOptions {
  readonly authority: MeshAuthority
  readonly publicKey: Uint8Array
  readonly profile: () => ResolvedProfile
  readonly encryption: EncryptionRules
  /** The mesh has let this gateway in; and not out again. */
  readonly isEnrolled: () => boolean
  readonly belongs: () => boolean
  readonly time: Time
}

const EVERYTHING: readonly string[] = ['*']
/** A place that only who keeps everything keeps: no collection has such a name. */
const ANYWHERE: Place = { collection: '', partition: '' }

/** What this gateway may read and write, by its profile and by what members have signed. */
export class Rights {
  readonly #options: RightsOptions
  readonly #peerId: string
  #made: {
    readonly profile: ResolvedProfile
    readonly readable: readonly string[]
    readonly rules: CollectionRules
  } | null = null

  constructor(options: RightsOptions) {
    this.#options = options
    this.#peerId = peerIdOf(options.publicKey)
  }

  /** Patterns of what this gateway may read or pass on. */
  get readable(): readonly string[] {
    return this.#options.isEnrolled() ? this.#options.authority.readable(this.#peerId) : EVERYTHING
  }

  /** Made anew with the profile or this gateway's rights: asked for with every change of a document. */
  rules(): CollectionRules {
    const profile = this.#options.profile()
    const { readable } = this
    if (this.#made?.profile !== profile || this.#made.readable !== readable)
      this.#made = { profile, readable, rules: rulesOf(profile, readable, this.#options.encryption) }
    return this.#made.rules
  }

  keepsAll(): boolean {
    return this.rules().keeps(ANYWHERE)
  }

  /** Whether users see what is written there. */
  isShown(space: Space): boolean {
    const rules = this.rules()
    return rules.keeps(space) && rules.isEncrypted(space.collection) === (space.isEncrypted ?? false)
  }

  /**
   * Throws `not-permitted`: a write without the right to it would be refused by everyone, and all that comes after it in the
   * same feed.
   */
  checkWrite(collection: string, partition: string): void {
    const { authority, publicKey, belongs, time } = this.#options
    if (!belongs()) return
    // Whatever the clock says, our stamps are behind our admission.
    const hlc = Math.max(hlcFromMs(time.wallMs), authority.members.beginningOf(publicKey) + 1)
    if (authority.members.permits(publicKey, RIGHT_WRITE, { collection, partition }, hlc)) return
    const where = partition === '' ? collection : `${collection}/${partition}`
    throw new MarramError(
      'not-permitted',
      `Cannot write "${where}": this gateway has no right to it now, an administrator may give it one with "marram grant"`,
    )
  }

  /** The names of the other members that are not being removed, by peer id. */
  others(): ReadonlyMap<string, string> {
    const { authority } = this.#options
    const others = new Map<string, string>()
    for (const { subject, name } of authority.members.all()) {
      const peerId = peerIdOf(subject)
      if (peerId !== this.#peerId && !authority.isClosed(peerId)) others.set(peerId, name)
    }
    return others
  }

  memberOf(peerId: string): Capability | null {
    const { authority } = this.#options
    if (authority.isClosed(peerId)) return null
    return [...authority.members.all()].find(({ subject }) => peerIdOf(subject) === peerId) ?? null
  }
}
