import type { ChainPosition } from './batch.ts'
import type { SequenceSet } from './sequences.ts'
import type { Hlc } from './stamp.ts'

/** Flag of a batch whose body is a checkpoint. */
export const FLAG_CHECKPOINT = 8

/** A feed that the author of a statement held up to a sequence; `hash8` are the first 8 bytes of that batch's hash. */
export interface Held {
  readonly feedId: Uint8Array
  readonly seq: number
  readonly hash8: Uint8Array
}

/**
 * What the author of a feed says of its own history (protocol D16): every batch below `floor` that isn't in `live` is
 * dead. Nobody else may say so.
 */
export interface Checkpoint {
  readonly floor: number
  readonly live: SequenceSet
  /** SHA-256 of the header hashes of the live batches, in order. */
  readonly root: Uint8Array
  /** The last batch below the floor, live or dead: what the batch at the floor continues. */
  readonly before: ChainPosition
  /** The author's heads of all feeds of the collection and partition when it decided. */
  readonly deps: readonly Held[]
  /** Deletes or removals are among the dead. */
  readonly dropsTombstones: boolean
}

/** A checkpoint and the batch that carries it. */
export interface SignedCheckpoint {
  readonly seq: number
  readonly hlc: Hlc
  readonly checkpoint: Checkpoint
}

/** Those of `retained` that the checkpoint declares dead. */
export function deadUnder(checkpoint: Checkpoint, retained: SequenceSet): SequenceSet {
  return retained.within(1, checkpoint.floor - 1).without(checkpoint.live)
}

/**
 * Whether one calls live what another, of fewer batches, had called dead. On one branch dead stays dead: then they are of two.
 */
export function revives(later: Checkpoint, earlier: Checkpoint): boolean {
  return !later.live.within(1, earlier.floor - 1).without(earlier.live).isEmpty
}
