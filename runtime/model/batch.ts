import type { SequenceSet } from './sequences.ts'
import type { Hlc, Stamp } from './stamp.ts'
import type { Value } from './value.ts'

/**
 * Kinds of operations (protocol D11). Greater ones are stored and forwarded, and change nothing here. For each path of its
 * shape an operation has one value:
 *
 * - put: the field's value, null removes it
 * - remove: `[name, hlc, index, origin][]`, the elements and links it saw, each with the stamp of the add that it saw
 * - delete: has no paths, it takes the whole document
 * - counter: `[p, n]`, all that this author has ever added and taken, or `[p, n, incarnation]` for an earlier one of its own
 * - add: the elements of a set, `Scalar[]`
 * - link: the references, `[collection, partition, key]` or `[collection, partition, key, label]`, in an array
 */
export const OP_PUT = 0
export const OP_REMOVE = 1
export const OP_DELETE = 2
export const OP_COUNTER = 3
export const OP_ADD = 4
export const OP_LINK = 5

/** What an operation writes: its kind and the field paths its values belong to. Shared by all operations of that form. */
export interface Shape {
  readonly kind: number
  readonly paths: readonly string[]
}

/**
 * The operations of a batch in columns. Operation i works on `docs[opDocs[i]]` with `shapes[opShapes[i]]`; its values
 * (one per path of the shape, null = remove the field) follow those of operation i - 1 in `values`.
 */
export interface Ops {
  readonly docs: readonly string[]
  readonly shapes: readonly Shape[]
  readonly opDocs: readonly number[]
  readonly opShapes: readonly number[]
  readonly values: readonly Value[]
  /**
   * For operations that are told again in a later batch (protocol D16): the stamp under which each was first written, null
   * where it is the batch's own. Its author is the batch's.
   */
  readonly stamps?: readonly (OpStamp | null)[]
  /** Where an author wrote over another's value: whose, so that what it had not seen is known to be concurrent. */
  readonly seen?: readonly Seen[]
}

/** Value `path` of operation `op` took the place of what was written at this stamp. */
export interface Seen {
  readonly op: number
  readonly path: number
  readonly stamp: Stamp
}

/** At most the batch's own stamp. */
export interface OpStamp {
  readonly hlc: Hlc
  readonly index: number
}

export const FEED_KIND_STATE = 0
export const FEED_KIND_SERIES = 1

/**
 * The unit of everything: one signer, one hash chain, one sequence, one interest decision; never filtered inside. Its id
 * is a hash of this descriptor, so whoever supplies it can't lie about it.
 */
export interface FeedDescriptor {
  /** Ed25519 public key of the author, 32 bytes. */
  readonly publicKey: Uint8Array
  /** 8 random bytes made with every new database, so a lost or restored one never uses a sequence number again. */
  readonly incarnation: Uint8Array
  readonly collection: string
  readonly partition: string
  readonly kind: number
  readonly encrypted: boolean
}

/** A feed as all rooms refer to it; one object per feed and process, so it is compared by identity within a room. */
export interface Feed {
  /** 16 bytes. */
  readonly id: Uint8Array
  /** `latin1(id)`: the key of maps. */
  readonly key: string
  readonly descriptor: FeedDescriptor
  /** Peer id of the author. */
  readonly origin: string
}

/** In the flags of a header: the body is encrypted. Set in every batch of an encrypted feed but in its checkpoints. */
export const FLAG_ENCRYPTED = 4

/** How a body was encrypted (protocol D28). */
export interface Encryption {
  /** Names the key: see crypto/epoch-key.ts. */
  readonly epoch: number
  /** 12 random bytes. */
  readonly nonce: Uint8Array
}

/** The signed header of a batch (protocol D11). */
export interface BatchHeader {
  readonly feedId: Uint8Array
  /** From 1. */
  readonly seq: number
  /** Header hash of the batch before, 32 zero bytes for the first. */
  readonly prev: Uint8Array
  /** Strictly increasing along the feed. */
  readonly hlc: Hlc
  /** SHA-256 of the body as transmitted. */
  readonly bodyHash: Uint8Array
  readonly bodyLength: number
  readonly flags: number
  /** With FLAG_ENCRYPTED; absent with it means that nobody can read the body. */
  readonly encryption?: Encryption
  readonly minReader: number
}

/** A batch whose shape was checked and whose signature was not. */
export interface Batch {
  readonly header: BatchHeader
  /** SHA-256 of the header's bytes: the batch's id. */
  readonly hash: Uint8Array
  /** The whole batch as transmitted: stored and forwarded byte for byte. */
  readonly bytes: Uint8Array
  /** What the signature covers (COSE Sig_structure), and the signature. */
  readonly signed: Uint8Array
  readonly signature: Uint8Array
  /** The body as transmitted; a view of `bytes`. */
  readonly body: Uint8Array
}

/** In the place of what a batch changes: it counts, and nobody can say what it changes before its key is here. */
export const LOCKED = 'locked'

/** What a batch changes; null when it is stored and forwarded without being shown (unknown version or kind, malformed body). */
export type Content = Ops | typeof LOCKED | null

/** Where a feed stands in a store. */
export interface FeedHead {
  readonly feed: Feed
  /** Every batch up to this one is stored, but for those that a checkpoint has declared dead. */
  readonly seq: number
  readonly hash: Uint8Array
  readonly hlc: Hlc
  /** Number of the last batch in the order in which this store took them: grows by one with every batch of any feed. */
  readonly lsn: number
  /** Bytes of all batches of the feed that are stored. */
  readonly bytes: number
  /** The batches that are stored: what a checkpoint declared dead is gone, what a fill has brought may be above the head. */
  readonly retained: SequenceSet
  /** Batches that were stored, were damaged, and have not come again; absent where none ever was. */
  readonly damaged?: SequenceSet
  /** Batches that are stored and wait for the key of their epoch; absent where none ever did. */
  readonly locked?: SequenceSet
}

/** A place in a feed's chain. */
export interface ChainPosition {
  readonly seq: number
  readonly hash: Uint8Array
  readonly hlc: Hlc
}
