/**
 * Which feeds are sealed, and whose word still counts (protocol D5, D20): a pure function of signed statements, whatever
 * order they arrive in. Statements only ever add up, but for what authors say of their own clocks: the least sequence wins, and nobody
 * returns from retirement.
 */

/** What an administrator signs when a member is removed. */
export interface Removal {
  readonly origin: string
  readonly reason: 'retire' | 'revoke'
  /** By feed key: batches from this sequence on are void unless everyone had confirmed them. */
  readonly seals: ReadonlyMap<string, number>
  /** Keys of sealed feeds that the removed one had acknowledged as such: there its acknowledgements go on counting. */
  readonly bound: ReadonlySet<string>
}

/** A feed, by its key and its author's peer id. */
export interface SealedFeed {
  readonly key: string
  readonly origin: string
}

/** A member that may write somewhere, and the stamp above which its batches are. */
export interface Writer {
  readonly origin: string
  readonly since: number
}

/** One whose acknowledgements are asked for; `below`: up to where it counts whatever it signed. */
export interface Asked extends Writer {
  readonly below: number
}

/**
 * Whose acknowledgements settle a feed: everyone's that may write there, but its author's. Removed members are not asked,
 * but where they had acknowledged the seal.
 */
export function askedOf(seals: Seals, feed: SealedFeed, writers: readonly Writer[]): Asked[] {
  const asked: Asked[] = []
  for (const { origin, since } of writers) {
    const below = seals.isRemoved(origin) ? seals.ackedBelow(origin, feed) : 0
    if (origin !== feed.origin && below !== null) asked.push({ origin, since, below })
  }
  return asked
}

export class Seals {
  /** By feed key: where two branches were found, what removals name, and what authors name of their own. */
  readonly #forks = new Map<string, number>()
  readonly #ahead = new Map<string, number>()
  readonly #removed = new Map<string, number>()
  readonly #bound = new Map<string, Set<string>>()
  readonly #closed = new Set<string>()

  /**
   * The least sequence that a valid proof, removal or seal of its author names for the feed; Infinity when there is none. A feed
   * of a removed member that nobody held when it was removed is void from its beginning.
   */
  of({ key, origin }: SealedFeed): number {
    const removed = this.#removed.get(key) ?? (this.isRemoved(origin) ? 1 : Number.POSITIVE_INFINITY)
    return Math.min(removed, this.#forks.get(key) ?? Number.POSITIVE_INFINITY, this.aheadOf({ key }))
  }

  /** From where on its author itself has voided the feed, whoever has confirmed what; Infinity when it has not. */
  aheadOf({ key }: Pick<SealedFeed, 'key'>): number {
    return this.#ahead.get(key) ?? Number.POSITIVE_INFINITY
  }

  /** An author whose clock had run ahead says from where on its batches are stamped so; Infinity when it says so no more. True when that is new. */
  setAhead(feedKey: string, seq: number): boolean {
    if (this.aheadOf({ key: feedKey }) === seq) return false
    if (seq === Number.POSITIVE_INFINITY) this.#ahead.delete(feedKey)
    else this.#ahead.set(feedKey, seq)
    return true
  }

  /** Two batches of one author with one sequence were found. True when that is new. */
  addFork(feedKey: string, seq: number): boolean {
    return lower(this.#forks, feedKey, seq)
  }

  /** True when it says something new. */
  addRemoval({ origin, seals, bound }: Removal): boolean {
    let isNew = !this.#bound.has(origin)
    const held = this.#bound.get(origin) ?? new Set<string>()
    for (const key of bound) {
      isNew ||= !held.has(key)
      held.add(key)
    }
    this.#bound.set(origin, held)
    this.#closed.add(origin)
    for (const [key, seq] of seals) isNew = lower(this.#removed, key, seq) || isNew
    return isNew
  }

  /** A member is about to be removed: nobody links with it, and what it writes is acknowledged no further. */
  close(origin: string): boolean {
    if (this.#closed.has(origin)) return false
    this.#closed.add(origin)
    return true
  }

  isClosed(origin: string): boolean {
    return this.#closed.has(origin)
  }

  isRemoved(origin: string): boolean {
    return this.#bound.has(origin)
  }

  /**
   * Up to where a removed member counts as having acknowledged a sealed feed besides what it signed: all below the seal, if
   * it had acknowledged the seal; null when it isn't asked any more.
   */
  ackedBelow(origin: string, feed: SealedFeed): number | null {
    return this.#bound.get(origin)?.has(feed.key) === true ? this.of(feed) - 1 : null
  }
}

/** False when what is there is as low. */
function lower(seals: Map<string, number>, key: string, seq: number): boolean {
  if ((seals.get(key) ?? Number.POSITIVE_INFINITY) <= seq) return false
  seals.set(key, seq)
  return true
}
