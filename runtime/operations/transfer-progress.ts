import type { ReplicationState } from '../ports/replication.ts'
import type { Behind } from './evidence.ts'

/** When something was seen: monotonic milliseconds, and Unix milliseconds by this gateway's clock. */
export interface Seen {
  readonly atMs: number
  readonly wallMs: number
}

/** How a transfer stands at one moment. */
export interface Standing {
  readonly isLinked: boolean
  /** Why the peer can't or won't have it; null when nothing is known against it. */
  readonly refusal: string | null
  /** What is here and the peer has not confirmed. */
  readonly lacking: readonly Behind[]
}

/** What has been here for less than so long, in milliseconds, may still be on its way. */
const BEHIND_MS = 15_000
/** A state that may pass by itself is told after so long. */
const SETTLE_MS = 10_000

/**
 * How far a peer is, without a look at any stamp: authors' clocks may be wrong, and under steady load something is always on
 * its way. What is lacking at one moment is marked; when the peer has confirmed just that, it had at the mark's time all that was
 * here then, and the next mark is made.
 */
export class TransferProgress {
  #mark: { readonly seen: Seen; readonly awaited: ReadonlyMap<string, number> } | null = null
  #confirmed: Seen | null = null
  #state: ReplicationState = 'unreachable'
  #stateSince: number | null = null

  /** The last moment of which the peer has confirmed everything; null before there was one since the start. */
  get confirmed(): Seen | null {
    return this.#confirmed
  }

  /** Returns how it stands now. */
  observe(seen: Seen, { isLinked, refusal, lacking }: Standing): ReplicationState {
    if (isLinked) this.#move(seen, lacking)
    const state = refusal !== null ? 'refused' : !isLinked ? 'unreachable' : this.#isBehind(seen) ? 'behind' : 'current'
    if (state !== this.#state || this.#stateSince === null) this.#stateSince = seen.atMs
    this.#state = state
    return state
  }

  /** Whether the state has stood long enough to be told: what may pass by itself later than what is good or final. */
  isSettled({ atMs }: Seen): boolean {
    if (this.#stateSince === null) return false
    const isAtOnce = this.#state === 'current' || this.#state === 'refused'
    return isAtOnce || atMs - this.#stateSince >= SETTLE_MS
  }

  #move(seen: Seen, lacking: readonly Behind[]): void {
    const heldByFeed = new Map(lacking.map(({ feedKey, held }) => [feedKey, held]))
    const isReached = ([feedKey, seq]: readonly [string, number]): boolean =>
      (heldByFeed.get(feedKey) ?? Number.POSITIVE_INFINITY) >= seq
    if (this.#mark !== null && [...this.#mark.awaited].every(isReached)) {
      this.#confirmed = this.#mark.seen
      this.#mark = null
    }
    if (lacking.length === 0) this.#confirmed = seen
    else this.#mark ??= { seen, awaited: new Map(lacking.map(({ feedKey, head }) => [feedKey, head])) }
  }

  #isBehind({ atMs }: Seen): boolean {
    return this.#confirmed === null || atMs - this.#confirmed.atMs > BEHIND_MS
  }
}
