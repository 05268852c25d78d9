import type { ErrorCode } from '../base/errors.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import { NO_BUDGET, type BudgetOptions } from './budget.ts'
import type { Reading } from './reading.ts'
import type { Proofs } from './proofs.ts'
import type { Testimonies } from './testimonies.ts'
import type { Batch, ChainPosition, Content, Feed, FeedHead } from '../model/batch.ts'
import type { Document } from '../model/document.ts'
import { NO_KEYS, type BodyKeys } from '../model/keys.ts'
import type { SequenceSet } from '../model/sequences.ts'
import type { Hlc } from '../model/stamp.ts'
import type { KeyValue, Space } from '../ports/store.ts'
import type { WriteOp, Written } from '../ports/writer.ts'
import type { BodyKey } from '../wire/encryption.ts'

/**
 * Time as the engine is told it: the system's clock in Unix milliseconds and whether anything vouches for it, and a clock that
 * never goes back. What the engine goes by follows from it: timekeeping.ts.
 */
export interface Now {
  readonly wallMs: number
  readonly trust: 0 | 1 | 2
  readonly monotonicMs: number
}

/** A token is the caller's own: it comes back when the write is on the disk or has failed. */
export interface LocalWrite<Token> {
  readonly collection: string
  readonly partition: string
  readonly ops: readonly WriteOp[]
  /** Null for what the engine writes by itself. */
  readonly token: Token | null
}

/** `ticket` numbers come from the engine's outputs and are answered once each, in their order. */
export type Input<Token> =
  | { readonly type: 'link-up'; readonly link: number; readonly peerId: string }
  | { readonly type: 'link-down'; readonly link: number }
  | { readonly type: 'frame'; readonly link: number; readonly bytes: Uint8Array }
  | { readonly type: 'write'; readonly write: LocalWrite<Token> }
  | { readonly type: 'verified'; readonly ticket: number; readonly isValid: boolean }
  | { readonly type: 'committed'; readonly ticket: number }
  | { readonly type: 'commit-failed'; readonly ticket: number; readonly code: ErrorCode }
  /** Capabilities were learned: what was refused for want of one may be asked for again. */
  | { readonly type: 'authority-changed' }
  | ({ readonly type: 'examined' } & Examined)
  /** Others than the engine sent so many bytes of frames over its links. */
  | { readonly type: 'spent'; readonly bytes: number }
  | { readonly type: 'time' }

/** What was found where documents were compared with their batches. */
export interface Examined {
  readonly collection: string
  readonly partition: string
  /** Documents that were not what the batches say, and are now. */
  readonly documents: number
  /** Batches whose bytes are not those of their authors. */
  readonly damaged: readonly { readonly feedKey: string; readonly seq: number }[]
}

/** As in ports/store.ts. */
export interface CommitBatch {
  readonly feed: Feed
  readonly batch: Batch
  readonly ops: Content
  readonly place?: 'aside' | ChainPosition
}

/** As in ports/store.ts. */
export interface CommitDrop {
  readonly feed: Feed
  readonly seqs: SequenceSet
  readonly head?: ChainPosition
  readonly isDamaged?: boolean
  readonly isLeft?: boolean
}

export type Output<Token> =
  | { readonly type: 'send'; readonly link: number; readonly bytes: Uint8Array }
  | { readonly type: 'close'; readonly link: number; readonly reason: string }
  | { readonly type: 'verify'; readonly ticket: number; readonly feed: Feed; readonly batch: Batch }
  | {
      readonly type: 'commit'
      readonly ticket: number
      readonly batches: readonly CommitBatch[]
      readonly drops?: readonly CommitDrop[]
      readonly records: readonly { readonly key: string; readonly value: Uint8Array | null }[]
    }
  /** `written[i]` is the write that `tokens[i]` stands for. */
  | { readonly type: 'written'; readonly tokens: readonly Token[]; readonly written: readonly Written[] }
  /** Other gateways have more of these own feeds on their disks than before: see Engine.heldBy. */
  | { readonly type: 'confirmed'; readonly feedKeys: readonly string[] }
  /** Derive the documents of this place anew from their batches: answered by `examined`. */
  | { readonly type: 'examine'; readonly collection: string; readonly partition: string }
  | { readonly type: 'write-failed'; readonly tokens: readonly Token[]; readonly code: ErrorCode }
  | { readonly type: 'event'; readonly name: EngineEvent; readonly fields: { readonly [name: string]: unknown } }

export type EngineEvent =
  | 'peer-up'
  | 'peer-down'
  | 'farewell'
  | 'referral'
  | 'exchange'
  | 'fork'
  | 'rollback'
  | 'batch-refused'
  | 'batch-deferred'
  | 'batch-damaged'
  | 'batch-unreadable'
  | 'resync'
  | 'compacted'
  | 'sealed'
  | 'branch-cut'
  | 'settled'
  | 'incarnation-lost'
  | 'clock-ahead'
  | 'reissued'
  | 'reissue-refused'
  | 'mended'
  | 'diverged'
  | 'documents-mended'
  | 'jumped'
  | 'left'

/** The synchronous reads and pure functions that the engine is given. */
export interface Surroundings {
  heads(): Iterable<FeedHead>
  /** See ports/store.ts Log.batches. */
  batches(feedKey: string, fromSeq: number, bytesMax: number): Uint8Array[]
  getRecord(key: string): Uint8Array | undefined
  scanRecords(prefix: string): readonly KeyValue[]
  head(feedKey: string): FeedHead | undefined
  document(place: Space, key: string): Document | undefined
  /**
   * See ports/store.ts Documents.getToWrite: what counters and sets go on from, and whose values are written over. Throws
   * `storage-damaged` when what is there can't be read.
   */
  documentToWrite(place: Space, key: string): Document | undefined
  /** A digest of all live cells of a place's documents, the same in whatever order they came. */
  cells(place: Space): Uint8Array
  /** Absent: each batch is read whenever it is needed. */
  readonly reading?: Reading
  readonly authority: Authority
  readonly keys: CollectionKeys
  /** Ed25519 with the device's key. */
  sign(message: Uint8Array): Uint8Array
}

/** Which collections are encrypted, and with what (protocol D28). */
export interface CollectionKeys extends BodyKeys {
  /** Whether what is written there here is to be encrypted. */
  isEncrypted(collection: string): boolean
  /** What bodies of an own feed are encrypted with now; null when the key isn't here, and then nothing can be written. */
  current(feed: Feed): BodyKey | null
}

/** Nothing is encrypted. */
export const NO_COLLECTION_KEYS: CollectionKeys = { ...NO_KEYS, isEncrypted: () => false, current: () => null }

/** Who may write, from signed data alone. */
export interface Authority {
  /** Whether the author has ever been given the right to write there. */
  isKnown(feed: Feed): boolean
  /** Whether it has that right for a batch stamped `hlc`. */
  permits(feed: Feed, hlc: number): boolean
  /** Verifies and remembers a chain that came with a feed; true when something new was learned. */
  learn(chain: readonly Uint8Array[]): boolean
  /** What proves that the author may write; empty when it isn't known. */
  chainOf(origin: string): readonly Uint8Array[]
  /** Who may write there, or is an administrator, and has not been retired; and the stamp above which its batches are. */
  writers(place: Space): readonly { readonly origin: string; readonly since: Hlc }[]
  /** The least sequence from which the feed is void unless all have confirmed more; Infinity when it isn't sealed. */
  sealOf(feed: Pick<Feed, 'key' | 'origin'>): number
  /** From where on its author has voided it, for its clock had run ahead; what others have confirmed doesn't count. */
  aheadOf(feed: Pick<Feed, 'key'>): number
  /**
   * Whose acknowledgements settle the feed: members that may write there and were admitted before, and administrators, but
   * not its author. `below`: up to where a removed one counts whatever it signed.
   */
  asked(feed: Feed): readonly Asked[]
  /** What members have said that is void where they said it. */
  readonly testimonies: Testimonies
  /** Proofs of forks that members have told. */
  readonly proofs: Proofs
  /** Patterns of what the member may read or pass on; without `at` also what it once might. */
  readable(origin: string, at?: Hlc): readonly string[]
  /** Whether the member is being removed, or is. */
  isClosed(origin: string): boolean
  /** Whether this gateway itself is admitted. */
  isMember(): boolean
  /** False for feeds that stay at home: what was written before this gateway was admitted. */
  isShared(feed: Feed): boolean
}

/** As in access/seals.ts. */
export interface Asked {
  readonly origin: string
  readonly since: Hlc
  readonly below: number
}

export interface EngineOptions {
  readonly meshId: Uint8Array
  readonly peerId: string
  readonly publicKey: Uint8Array
  /** This database's incarnation, 8 bytes: own feeds and cursors belong to it. */
  readonly incarnation: Uint8Array
  /** The greatest stamp this author may have used before. */
  readonly clockFloor: number
  /** Unix milliseconds that have passed for certain, as when the program was built. */
  readonly notBeforeMs: number
  readonly name: string
  readonly version: string
  /** Milliseconds that a write may wait for others to share its batch; 0 sends it at once. */
  readonly batchDelayMs: number
  readonly batchOpsMax: number
  /** Patterns of what is kept here; everything when absent. */
  readonly interest?: readonly string[]
  readonly history?: Partial<HistoryOptions>
  readonly flow?: Partial<FlowOptions>
}

export type Priority = 'low' | 'normal' | 'high' | 'urgent'

/** What goes first, and how much of it at once. */
export interface FlowOptions {
  /** By collection; what is not named is normal. */
  readonly priority: ReadonlyMap<string, Priority>
  /** Bytes of batches that a neighbour may have under way to us. */
  readonly creditBytes: number
  readonly budget: BudgetOptions
}

export const DEFAULT_FLOW: FlowOptions = {
  priority: new Map<string, Priority>(),
  creditBytes: GATEWAY_LIMITS.creditBytes,
  budget: NO_BUDGET,
}

/** How much of the past is kept, and how often that is looked at; milliseconds and bytes. */
export interface HistoryOptions {
  /** What was overtaken stays for so long, so that a seal can take back what overtook it. */
  readonly pruneGraceMs: number
  /** A delete is kept at least for so long. */
  readonly tombstoneGraceMs: number
  /** An own feed is compacted when it has so many bytes and twice what the last compaction left. */
  readonly minBytes: number
  /** Compactions are at least so far apart; those for the sake of tombstones so far. */
  readonly intervalMs: number
  readonly tombstoneMs: number
  /** Our beacon says what is new at most so often, and something at least so often. */
  readonly beaconMs: number
  readonly beaconStaleMs: number
  /** Dead batches that not all have confirmed are kept until they take so many bytes. */
  readonly trashBytesMax: number
  /** Batches of what is not kept any more that one commit lets go: each is read once more, to know which documents it touched. */
  readonly leaveBatches: number
  /** How often neighbours compare what they show with the same batches. */
  readonly compareMs: number
}

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

export const DEFAULT_HISTORY: HistoryOptions = {
  pruneGraceMs: DAY_MS,
  tombstoneGraceMs: 7 * DAY_MS,
  minBytes: 262_144,
  intervalMs: 600_000,
  tombstoneMs: DAY_MS,
  beaconMs: HOUR_MS,
  beaconStaleMs: DAY_MS,
  trashBytesMax: 67_108_864,
  leaveBatches: 64,
  compareMs: 600_000,
}
