import { FEED_KIND_SERIES, type Feed } from '../model/batch.ts'
import type { FieldKinds } from '../model/fields.ts'
import { isTouched, isWithin, Scope, type Place } from '../model/interest.ts'
import { isSystemName } from '../model/names.ts'
import type { ResolvedProfile } from '../profile/resolved.ts'
import { collectionOf } from '../profile/resolve.ts'
import type { CollectionRules } from './documents.ts'

const NO_KINDS: FieldKinds = new Map()

export interface EncryptionRules {
  isEncrypted(collection: string): boolean
  /** Whether some of what was written there can be read here. */
  hasKey(collection: string): boolean
}

/**
 * What the profile says of collections, as the documents' service asks for it. `readable`: patterns of what this gateway may
 * read or pass on; `encryption`: what is encrypted, and of which of that the key is here.
 */
export function rulesOf(
  profile: ResolvedProfile,
  readable: readonly string[],
  encryption: EncryptionRules,
): CollectionRules {
  const scope = new Scope(profile.interest, readable)
  const partitionOf = (name: string): string => collectionOf(profile, name)?.partition ?? ''
  return {
    partitionOf,
    isSeries: (name) => {
      const declared = profile.collections.get(name)
      if (declared) return declared.kind === 'series'
      return profile.otherCollections?.kind === 'series' ? true : null
    },
    kindsOf: (name) => collectionOf(profile, name)?.kinds ?? NO_KINDS,
    refusal: (name) => {
      return collectionOf(profile, name) ? null : 'the profile does not declare it, add it under "collections"'
    },
    isEncrypted: (name) => encryption.isEncrypted(name),
    isLocked: (name) => encryption.isEncrypted(name) && !encryption.hasKey(name),
    keeps: (place) => scope.covers(place),
    keepsSome: (pattern) =>
      isSystemName(pattern) || (isTouched(profile.interest, pattern) && isTouched(readable, pattern)),
    strangeness: (name) => {
      const place = { collection: name, partition: partitionOf(name) }
      if (scope.covers(place)) return null
      if (!profile.interest.some((pattern) => isWithin(pattern, place))) return strangeTo(profile.interest, place)
      // Rows never depend on what others write.
      if (collectionOf(profile, name)?.kind === 'series') return null
      return 'this gateway may write it and not read it, so it may only add rows to series'
    },
  }
}

/** Who writes somewhere must know what others write there, to say when it may go (protocol D25). */
function strangeTo(interest: readonly string[], { collection, partition }: Place): string {
  const kept = interest.map((pattern) => `"${pattern}"`).join(', ') || 'nothing'
  const lacking = partition === '' ? collection : `${collection}/${partition}`
  return `this gateway keeps ${kept}, and must keep what it writes: add "${lacking}" to "interest" in the profile`
}

/**
 * Collections that reach us as another kind than the profile declares, or encrypted where it says that they are not, or not
 * where it says that they are: stored and forwarded, kept out of the collection.
 */
export function kindWarnings(profile: ResolvedProfile, feeds: Iterable<Feed>): string[] {
  const warnings = new Set<string>()
  for (const { descriptor } of feeds) {
    const { collection: name, kind, encrypted } = descriptor
    const declared = profile.collections.get(name)
    if (!declared) continue
    if ((declared.kind === 'series') !== (kind === FEED_KIND_SERIES))
      warnings.add(`kind-mismatch: other gateways write "${name}" as another kind than this profile declares`)
    if (declared.encrypted !== encrypted)
      warnings.add(
        `kind-mismatch: "${name}" was written ${encrypted ? 'encrypted' : 'unencrypted'}, here or on other gateways, and this profile declares it ${declared.encrypted ? 'encrypted' : 'unencrypted'}: what was written so is kept and forwarded, and not shown`,
      )
  }
  return [...warnings]
}
