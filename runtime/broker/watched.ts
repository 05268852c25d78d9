import { DOCUMENTS, mayMatchDocuments, overlap } from './topics.ts'

/**
 * Which documents anybody may hear of. Subscriptions belong to a connection, or to a session by its client's id, which
 * may be away.
 */
export class WatchedDocuments {
  readonly #filters = new Map<object | string, Set<string>>()
  /** Answers by collection, until a subscription comes or goes. */
  readonly #answers = new Map<string, boolean>()

  add(owner: object | string, filters: readonly string[]): void {
    const watched = filters.filter(mayMatchDocuments)
    if (watched.length === 0) return
    const known = this.#filters.get(owner) ?? new Set()
    for (const filter of watched) known.add(filter)
    this.#filters.set(owner, known)
    this.#answers.clear()
  }

  remove(owner: object | string, filters: readonly string[]): void {
    const known = this.#filters.get(owner)
    if (!known) return
    for (const filter of filters) known.delete(filter)
    if (known.size === 0) this.#filters.delete(owner)
    this.#answers.clear()
  }

  forget(owner: object | string): void {
    if (this.#filters.delete(owner)) this.#answers.clear()
  }

  has(collection: string): boolean {
    const known = this.#answers.get(collection)
    if (known !== undefined) return known
    const topics = `${DOCUMENTS}${collection}/+`
    const isWatched = [...this.#filters.values()].some((filters) =>
      [...filters].some((filter) => overlap(filter, topics)),
    )
    this.#answers.set(collection, isWatched)
    return isWatched
  }
}
