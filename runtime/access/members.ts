import { latin1 } from '../base/bytes.ts'
import type { Capability } from '../model/capability.ts'
import { isWithin, type Place } from '../model/interest.ts'
import type { Hlc } from '../model/stamp.ts'

/**
 * Who may do what, from signed capabilities alone (protocol D4, D5): never from the receiver's clock or the order in which
 * news arrived, so every gateway that holds the same capabilities gives the same answers. Only capabilities whose chain
 * was verified up to the mesh's root may be admitted.
 */
export class Members {
  readonly #capabilitiesBySubject = new Map<string, Capability[]>()
  readonly #known = new Set<string>()

  /** False when it was known already. */
  admit(capability: Capability): boolean {
    const id = latin1(capability.id) + latin1(capability.issuer)
    if (this.#known.has(id)) return false
    this.#known.add(id)
    const subject = latin1(capability.subject)
    const held = this.#capabilitiesBySubject.get(subject)
    if (held) held.push(capability)
    else this.#capabilitiesBySubject.set(subject, [capability])
    return true
  }

  /** The capabilities of a key, in the order in which they were learned. */
  capabilitiesOf(publicKey: Uint8Array): readonly Capability[] {
    return this.#capabilitiesBySubject.get(latin1(publicKey)) ?? []
  }

  /** The stamp after which all is that the key may have written; infinite where it is no member's. */
  beginningOf(publicKey: Uint8Array): Hlc {
    return Math.min(...this.capabilitiesOf(publicKey).map(({ notBefore }) => notBefore))
  }

  /** Every member's capabilities. */
  *all(): Iterable<Capability> {
    for (const held of this.#capabilitiesBySubject.values()) yield* held
  }

  /** True when some capability of the key grants all of `rights` at `place` at some time. */
  everPermits(publicKey: Uint8Array, rights: number, place: Place): boolean {
    return this.capabilitiesOf(publicKey).some((capability) => grantsAt(capability, rights, place))
  }

  /** True when some capability of the key grants all of `rights` at `place` for a batch stamped `hlc`. */
  permits(publicKey: Uint8Array, rights: number, place: Place, hlc: Hlc): boolean {
    return this.capabilitiesOf(publicKey).some(
      (capability) => capability.notBefore < hlc && hlc < capability.expires && grantsAt(capability, rights, place),
    )
  }
}

/** True when a capability grants all of `rights` at `place`; every capability grants none of them everywhere. */
export function grantsAt(capability: Capability, rights: number, place: Place): boolean {
  return (
    rights === 0 ||
    capability.grants.some((grant) => (grant.rights & rights) === rights && isWithin(grant.pattern, place))
  )
}
