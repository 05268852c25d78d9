import { RIGHT_ADMIN, RIGHT_READ, type Capability } from '../model/capability.ts'
import { isTouched } from '../model/interest.ts'
import { latin1 } from '../base/bytes.ts'
import { MESH_COLLECTION } from '../model/names.ts'
import type { Hlc } from '../model/stamp.ts'
import { grantsAt } from './members.ts'

const MEMBERS = { collection: MESH_COLLECTION, partition: '' }

/** The stamp of the latest time that is known to have passed, and whether it is known to be now. */
export interface Passed {
  readonly passed: Hlc
  readonly isNow: boolean
}

/**
 * Who may have the keys of an encrypted collection, one capability of each: members that may read some of it and, where
 * `labels` are named, carry one of them; and administrators, who hand the keys on.
 */
export function readersOf(
  capabilities: Iterable<Capability>,
  collection: string,
  labels: readonly string[],
  { passed, isNow }: Passed,
): Capability[] {
  const bySubject = new Map<string, Capability[]>()
  for (const capability of capabilities) {
    if (capability.expires <= passed || (isNow && capability.notBefore > passed)) continue
    const subject = latin1(capability.subject)
    bySubject.set(subject, [...(bySubject.get(subject) ?? []), capability])
  }
  const isReader = (held: readonly Capability[]): boolean => {
    if (held.some((capability) => grantsAt(capability, RIGHT_ADMIN, MEMBERS))) return true
    const mayRead = held.some(({ grants }) => {
      const patterns = grants.filter(({ rights }) => (rights & RIGHT_READ) !== 0).map(({ pattern }) => pattern)
      return isTouched(patterns, collection)
    })
    return mayRead && (labels.length === 0 || held.some(({ roles }) => roles.some((role) => labels.includes(role))))
  }
  return [...bySubject.values()].filter(isReader).map((held) => held[0] as Capability)
}
