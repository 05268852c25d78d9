import { FEED_KIND_SERIES, type Feed } from '../model/batch.ts'
import type { FieldKinds } from '../model/fields.ts'
import type { ResolvedProfile } from '../profile/resolved.ts'
import { collectionOf } from '../profile/resolve.ts'
import type { CollectionRules } from './documents.ts'

const NO_KINDS: FieldKinds = new Map()

/** What the profile says of collections, as the documents' service asks for it. */
export function rulesOf(profile: ResolvedProfile): CollectionRules {
  return {
    partitionOf: (name) => collectionOf(profile, name)?.partition ?? '',
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
  }
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
