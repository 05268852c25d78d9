import { latin1 } from '../base/bytes.ts'
import type { Capability } from '../model/capability.ts'
import type { Removal, Seals } from './seals.ts'

/** A capability whose chain leads to the root. */
export interface Grounded {
  readonly capability: Capability
  /** Leaf first. */
  readonly chain: readonly Uint8Array[]
  /** Peer ids: whose it is, and of the administrator that gave it; null of the root. */
  readonly subject: string
  readonly issuer: string | null
}

/**
 * Which capabilities count (protocol D4, D5): the root's always; an administrator's as long as that one belongs, and afterwards those
 * that stand in documents of the members' collection. Whoever has stolen an administrator's key can sign whatever it likes under any
 * time, but no document below the seal of what that one wrote. Of signed documents alone, so the same everywhere.
 */
export class Grounds {
  readonly #known = new Map<string, Grounded>()
  /** By the key of a document, the name of the capability that it holds; and how many hold each. */
  readonly #named = new Map<string, string>()
  readonly #standing = new Map<string, number>()

  /** False when it was known already. */
  add(grounded: Grounded): boolean {
    const name = nameOf(grounded.capability)
    if (this.#known.has(name)) return false
    this.#known.set(name, grounded)
    return true
  }

  /** In the order in which they were learned. */
  all(): Iterable<Grounded> {
    return this.#known.values()
  }

  /** What the document holds now, or null. True when it held another one before. */
  stand(key: string, capability: Capability | null): boolean {
    const before = this.#named.get(key)
    const name = capability === null ? undefined : nameOf(capability)
    if (before === name) return false
    if (before !== undefined) this.#count(before, -1)
    if (name === undefined) this.#named.delete(key)
    else {
      this.#named.set(key, name)
      this.#count(name, 1)
    }
    return before !== undefined
  }

  isGroundless({ capability, issuer }: Pick<Grounded, 'capability' | 'issuer'>, seals: Seals): boolean {
    return issuer !== null && seals.isClosed(issuer) && !this.isStanding(capability)
  }

  isStanding(capability: Capability): boolean {
    return this.#standing.has(nameOf(capability))
  }

  /**
   * Those that have nothing that counts are no members: closed, and removed when what their administrators wrote is sealed. True when something
   * does not count.
   */
  removeGroundless(seals: Seals, isSpared: (subject: string) => boolean): boolean {
    const bySubject = new Map<string, Grounded[]>()
    let isSome = false
    for (const grounded of this.#known.values()) {
      isSome ||= this.isGroundless(grounded, seals)
      const held = bySubject.get(grounded.subject)
      if (held) held.push(grounded)
      else bySubject.set(grounded.subject, [grounded])
    }
    for (const [origin, held] of isSome ? bySubject : []) {
      if (isSpared(origin) || !held.every((grounded) => this.isGroundless(grounded, seals))) continue
      seals.close(origin)
      if (held.every(({ issuer }) => seals.isRemoved(issuer as string))) seals.addRemoval(nothingOf(origin))
    }
    return isSome
  }

  #count(name: string, by: number): void {
    const count = (this.#standing.get(name) ?? 0) + by
    if (count === 0) this.#standing.delete(name)
    else this.#standing.set(name, count)
  }
}

/** All of it is void from its beginning. */
function nothingOf(origin: string): Removal {
  return { origin, reason: 'revoke', seals: new Map(), bound: new Set() }
}

function nameOf({ id, issuer }: Capability): string {
  return latin1(id) + latin1(issuer)
}
