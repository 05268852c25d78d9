import type { LagView } from './operations.ts'

/** Which transfer is meant. */
export interface ReplicationTarget {
  /** Peer id of another member. */
  readonly to: string
  /** Only partitions that begin so; all of them without it. */
  readonly partition?: string
}

/**
 * `current`: linked, and what it lacks has been here for less than fifteen seconds; `behind`: linked, and it lacks more;
 * `unreachable`: there is no link with it; `refused`: it can't or won't have it, `reason` says why.
 */
export type ReplicationState = 'current' | 'behind' | 'unreachable' | 'refused'

/** A standing transfer of what this gateway holds of a collection, whoever wrote it, to a chosen gateway. */
export interface ReplicationView {
  /** A name, or `*` for all. */
  readonly collection: string
  /** Partitions that begin so; null for all. */
  readonly partition: string | null
  readonly peerId: string
  readonly name: string
  readonly state: ReplicationState
  /** Why it is `unreachable` or `refused`; else null. */
  readonly reason: string | null
  /** What is here and the peer has not confirmed to have on its disk; null while no gateway runs. */
  readonly lag: LagView | null
  /** Batches that this gateway's limits made it let go of before the peer had confirmed them. */
  readonly dropped: number
  /** When it was begun, ISO 8601. */
  readonly since: string
  /** All that was here then the peer has confirmed, ISO 8601; null before it has for the first time. */
  readonly confirmed: string | null
}

export interface Replications {
  replications(): readonly ReplicationView[]
  /**
   * Begins a transfer that stands until it is stopped. Resolves when that is on the disk. `bad-request`, `already-exists`,
   * `not-found` (no such member, or not any more), `not-kept` and `not-permitted` (the peer does not keep all of it, or may not
   * read it, as far as it is known here; or there is none of it here), `not-enrolled`.
   */
  replicate(collection: string, target: ReplicationTarget): Promise<ReplicationView>
  /** Ends it; returns how it stood. `not-found`. */
  stopReplicating(collection: string, target: ReplicationTarget): Promise<ReplicationView>
}
