import { MarramError, type ErrorCode } from '../base/errors.ts'
import { isPartOf, type Scope } from '../model/interest.ts'
import { isName, isPartition, isSystemName } from '../model/names.ts'
import type { CollectionRules } from './documents.ts'
import { patternOf } from './transfers.ts'

/** Whether a transfer makes sense, as far as it is known here: when it is begun, and for as long as it stands. */

/** What a member keeps, of what it may read or pass on. */
export interface PeerKeeping {
  readonly name: string
  readonly scope: Scope
}

/** What a transfer covers. */
export interface Covered {
  readonly collection: string
  /** Partitions that begin so; null for all. */
  readonly partition: string | null
}

export interface Parties {
  /** This gateway belongs to the mesh. */
  readonly isMember: boolean
  /** Null when the peer is no member, or not any more. */
  readonly peer: PeerKeeping | null
}

export interface Refusal {
  readonly code: ErrorCode
  readonly why: string
}

/** Throws what `Replications.replicate` names. */
export function checkTransfer(
  { collection, partition, to }: Covered & { readonly to: string },
  rules: CollectionRules,
  { isSelf, isKnown, ...parties }: Parties & { readonly isSelf: boolean; readonly isKnown: boolean },
): void {
  const covered = { collection, partition }
  const refusal =
    faultOf(covered, rules) ?? faultOfPeer(to, isSelf, isKnown, parties) ?? refusalOf(covered, rules, parties)
  if (!refusal) return
  const shown = patternOf(collection, partition).slice(0, 130)
  throw new MarramError(refusal.code, `Cannot replicate "${shown}": ${refusal.why}`)
}

function faultOf({ collection, partition }: Covered, rules: CollectionRules): Refusal | null {
  if (collection === '*') {
    if (partition === null) return null
    return { code: 'bad-request', why: 'a partition is one of a single collection, name it instead of "*"' }
  }
  if (isSystemName(collection))
    return { code: 'bad-request', why: "it is the system's, which every gateway has anyway" }
  if (!isName(collection))
    return { code: 'bad-request', why: 'a collection must be 1 to 63 of a-z, 0-9 and "-", or "*"' }
  if (partition !== null && (partition === '' || !isPartition(partition)))
    return { code: 'bad-request', why: 'a partition must be 1 to 64 bytes of UTF-8 without control characters' }
  const why = rules.refusal(collection)
  return why === null ? null : { code: 'not-supported', why }
}

function faultOfPeer(to: string, isSelf: boolean, isKnown: boolean, { isMember, peer }: Parties): Refusal | null {
  if (isSelf) return { code: 'bad-request', why: 'that is this gateway itself, name another member' }
  if (!isMember || isKnown || peer !== null) return null
  return { code: 'not-found', why: `there is no member "${to.slice(0, 63)}", "marram members" shows who there is` }
}

/** What stands against it now; null when nothing is known. */
export function refusalOf(covered: Covered, rules: CollectionRules, { isMember, peer }: Parties): Refusal | null {
  if (!isMember) return { code: 'not-enrolled', why: 'this gateway is no member of the mesh, so it shares nothing' }
  if (peer === null) return { code: 'not-found', why: 'the peer was removed from the mesh' }
  const pattern = patternOf(covered.collection, covered.partition)
  const { name, scope } = peer
  if (!scope.readable.some((other) => isPartOf(pattern, other)))
    return {
      code: 'not-permitted',
      why: `${name} may not read it, an administrator may let it with "marram grant"; it may read ${listOf(scope.readable)}`,
    }
  if (!scope.interest.some((other) => isPartOf(pattern, other)))
    return {
      code: 'not-kept',
      why: `${name} does not keep all of it but ${listOf(scope.interest)}, as "interest" in its profile says`,
    }
  if (!rules.keepsSome(pattern) && !isWrittenHere(covered, rules))
    return { code: 'not-kept', why: 'this gateway keeps nothing of it, see "interest" in its profile' }
  return null
}

/** What a gateway writes itself it has, whatever else it keeps. */
function isWrittenHere({ collection, partition }: Covered, rules: CollectionRules): boolean {
  return rules.strangeness(collection) === null && rules.partitionOf(collection).startsWith(partition ?? '')
}

function listOf(patterns: readonly string[]): string {
  return patterns.map((pattern) => `"${pattern}"`).join(', ') || 'nothing'
}
