import { isSystemName } from './names.ts'

/**
 * Patterns over collections and partitions, in what a gateway keeps (its interest) and in what a capability grants:
 * `collection`, `collection/partition-prefix`, or `*` for every collection that is not the system's.
 */
export interface Place {
  readonly collection: string
  readonly partition: string
}

/** Whether the pattern takes in the place. What is no pattern takes in nothing. */
export function isWithin(pattern: string, { collection, partition }: Place): boolean {
  if (pattern === '*') return !isSystemName(collection)
  const slash = pattern.indexOf('/')
  if (slash < 0) return pattern === collection
  return pattern.slice(0, slash) === collection && partition.startsWith(pattern.slice(slash + 1))
}

/** Whether something may be both within the pattern, or the collection of that name, and within one of the patterns. */
export function isTouched(patterns: readonly string[], pattern: string): boolean {
  return patterns.some((other) => isPartOf(pattern, other) || isPartOf(other, pattern))
}

/** Whether everything that is within `pattern` is within `other` too. */
export function isPartOf(pattern: string, other: string): boolean {
  if (other === '*' || pattern === other) return true
  const [collection, ...rest] = other.split('/')
  if (rest.length === 0) return pattern.startsWith(`${collection}/`)
  return pattern.startsWith(other)
}

/**
 * What one gateway keeps of the mesh: what is of its interest and what it may read or pass on, and the system's
 * collections always.
 */
export class Scope {
  /** Patterns of its profile. */
  readonly interest: readonly string[]
  /** Patterns of its capabilities. */
  readonly readable: readonly string[]
  /** Equal for equal scopes. */
  readonly name: string
  /** As with most gateways; asked for with every batch and neighbour. */
  readonly #isAll: boolean

  constructor(interest: readonly string[], readable: readonly string[]) {
    this.interest = reduced(interest)
    this.readable = reduced(readable)
    this.#isAll = this.interest.includes('*') && this.readable.includes('*')
    this.name = JSON.stringify([this.interest, this.readable])
  }

  covers(place: Place): boolean {
    if (this.#isAll || isSystemName(place.collection)) return true
    const isCovered = (pattern: string): boolean => isWithin(pattern, place)
    return this.interest.some(isCovered) && this.readable.some(isCovered)
  }
}

/** Without what others say as well, in order. */
function reduced(patterns: readonly string[]): string[] {
  const unique = [...new Set(patterns)].filter((pattern) => !pattern.startsWith('$')).sort()
  return unique.filter((pattern) => !unique.some((other) => other !== pattern && isPartOf(pattern, other)))
}
