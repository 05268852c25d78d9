import { FEED_KIND_SERIES, type Feed } from '../model/batch.ts'
import type { FieldKinds } from '../model/fields.ts'
import { isTouched, isWithin, Scope, type Place } from '../model/interest.ts'
import { isSystemName } from '../model/names.ts'
import type { ResolvedProfile } from '../profile/resolved.ts'
import { collectionOf } from '../profile/resolve.ts'
import type { CollectionRules } from './documents.ts'

const NO_KINDS: FieldKinds = new Map()

/**
 * What the profile says of collections, as the documents' service asks for it. `readable`: patterns of what this gateway may
 * read or pass on.
 */
export function rulesOf(profile: ResolvedProfile, readable: readonly string[]): CollectionRules {
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
      const collection = collectionOf(profile, name)
      if (!collection) return 'the profile does not declare it, add it under "collections"'
      return collection.encrypted ? 'encrypted collections are not built yet' : null
    },
    keeps: (place) => scope.covers(place),
    keepsSome: (name) => isSystemName(name) || (isTouched(profile.interest, name) && isTouched(readable, name)),
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

/** Collections that reach us as another kind than the profile declares: stored and forwarded, kept out of the collection. */
export function kindWarnings(profile: ResolvedProfile, feeds: Iterable<Feed>): string[] {
  const names = new Set<string>()
  for (const { descriptor } of feeds) {
    const declared = profile.collections.get(descriptor.collection)
    const isOther = declared && (declared.kind === 'series') !== (descriptor.kind === FEED_KIND_SERIES)
    if (isOther) names.add(descriptor.collection)
  }
  return [...names].map(
    (name) => `kind-mismatch: other gateways write "${name}" as another kind than this profile declares`,
  )
}
