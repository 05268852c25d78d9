import type { Chain } from '../access/branches.ts'
import { latin1 } from '../base/bytes.ts'
import type { ChainPosition, Feed, FeedHead } from '../model/batch.ts'
import type { Held } from '../model/checkpoint.ts'
import { placeOf } from '../model/names.ts'
import { SequenceSet } from '../model/sequences.ts'
import type { Hlc } from '../model/stamp.ts'
import type { Beacon } from './beacons.ts'
import type { Fill } from './filling.ts'
import type { Probe } from './forks.ts'
import { FeedHistory } from './history.ts'
import type { LinkState } from './link.ts'

const BEGINNING: ChainPosition = { seq: 0, hash: new Uint8Array(32), hlc: 0 }

/**
 * One feed as the engine sees it. Three positions move along its chain: `tip` (shape and chain checked, signature
 * asked for), `verified` (handed to the disk) and `head` (on the disk: only this is told to anyone).
 */
export class FeedState {
  readonly feed: Feed
  readonly isOwn: boolean
  history: FeedHistory = new FeedHistory()
  /** What a checkpoint of it that waits to be applied was found to lack last. */
  waitsFor: Held | null = null
  /** What is being fetched beside the chain, so that the feed can jump; null when it isn't far behind. */
  fill: Fill | null = null
  /** Batches that should be here and aren't, and how often they were asked for. */
  holes: SequenceSet = new SequenceSet()
  mendAttempts = 0
  /** Where the branches of this feed are being looked for; null when there is no doubt. */
  probe: Probe | null = null
  /** What could be compared with the branch of whoever offers a checkpoint that contradicts ours was found to be the same. */
  isCompared: boolean = false
  /** Of a sealed feed: from here on it is void, as far as is known. */
  cut: number = Number.POSITIVE_INFINITY
  /** Up to where a sealed feed is settled, and the hashes by sequence of the branch on which it is; null when it isn't sealed. */
  settled: number | null = null
  branch: ReadonlyMap<number, string> | null = null
  /** What lies beside its chain isn't what its author calls live: it may be of another branch. */
  isDoubted: boolean = false
  /** Of a sealed feed: what is known of the signatures of batches that may have turned on the card since they came, by hash and signature. */
  readonly signatures: Map<string, SignatureState> = new Map<string, SignatureState>()
  /** What was taken out of it comes back when they are known, nothing else is under way, the disk has room, or its time has come. */
  isRestoreDue: boolean = false
  /** Everyone asked has said what it holds of the sealed feed. */
  isSealFinal: boolean = true
  /** When the cut was last another; monotonic milliseconds. Whether it is likely to stay: that was long ago, or all has been said. */
  cutAt = 0
  isCutSure: boolean = true
  /** What we say ourselves to hold of it, and for which seal that was found. */
  held: readonly Chain[] = []
  heldFor: number = Number.POSITIVE_INFINITY
  /** When that, or what its author had said in void batches, is said again if it isn't on the disk by then; monotonic milliseconds. */
  sayAt: number = 0
  /** When what its author had said in void batches was found told on: by how often others had taken such words back; null before. */
  toldOnAt: number | null = null
  /** When a proof of its fork that nobody tells any more is told by us; null when somebody does. Monotonic milliseconds. */
  tellProofAt: number | null = null
  head: ChainPosition = BEGINNING
  verified: ChainPosition = BEGINNING
  tip: ChainPosition = BEGINNING
  /** The last batch stamped at or before a stamp that was asked for. */
  readonly lastUntil: Map<Hlc, number> = new Map<Hlc, number>()
  /** By member, up to where its beacon confirms the branch that is here, and where the head was when that was found. */
  readonly acked: Map<string, Acked> = new Map<string, Acked>()
  /** The store's number of the head's batch. */
  lsn = 0
  /** The link that was asked to push this feed; others only tell their heads. */
  parent: LinkState | null = null
  /** Of high and urgent collections a second one, so that the loss of one costs no time. */
  second: LinkState | null = null
  /** Over which link its last batch came. */
  broughtBy: LinkState | null = null
  /** Monotonic time when some of it came to the disk last. */
  movedAt = 0
  /** The same of the last request or progress, and requests since the last progress. */
  touchedAt = 0
  attempts = 0
  /** Set while its next batch may not be taken: no capability covers it yet, or it forked. */
  isRefused = false
  /** Physical time before which the next batch is from the future; 0 when it isn't. */
  deferredUntilMs = 0
  /** The links over which that batch came. */
  readonly deferredBy: Set<LinkState> = new Set<LinkState>()
  /** How often that was so since all that was told of was here. */
  deferrals = 0

  /** The disk refused a batch and others are still on their way: no batch is taken or made until they are answered. */
  isRewinding = false
  /** How often the disk has refused what came of it, since it took some last. */
  refusals = 0
  #commits = 0

  constructor(feed: Feed, isOwn: boolean) {
    this.feed = feed
    this.isOwn = isOwn
  }

  /** Forgets what was under way: the next batch wanted is the one after the verified position. */
  rewindTip(): void {
    this.tip = this.verified
    this.fill = null
  }

  /**
   * It goes on from there. What was deferred is not the next batch any more, and those that are lacking before it have their time: they are
   * asked for now.
   */
  goBack(to: ChainPosition): void {
    this.verified = to
    this.tip = to
    this.fill = null
    this.deferredUntilMs = 0
  }

  /** Batches are on their way to the disk with one more commit. */
  committing(): void {
    this.#commits += 1
  }

  /**
   * A commit was answered. When the disk refused one, nothing more is taken until all are answered, for those before it
   * may still succeed; then the feed goes on from its head.
   */
  answered(isCommitted: boolean): void {
    this.#commits -= 1
    if (isCommitted) this.refusals = 0
    // Of several on their way the others follow the first.
    else if (!this.isRewinding) this.refusals += 1
    if (!isCommitted) this.isRewinding = true
    if (!this.isRewinding || this.#commits > 0) return
    this.isRewinding = false
    this.goBack(this.head)
  }

  /** Some of its batches are on their way to the disk. */
  get isCommitting(): boolean {
    return this.#commits > 0
  }
}

export type SignatureState = 'asked' | 'valid' | 'invalid'

/** `isWhole`: of what the beacon says nothing is beyond the head. */
interface Acked {
  readonly beacon: Beacon
  readonly head: number
  readonly isWhole: boolean
  readonly seq: number
}

/** Feeds by the first byte of their ids: where heads differ from a neighbour's is found by digests of these. */
export const BUCKETS = 64

export function bucketOf({ feed }: FeedState): number {
  return (feed.id[0] as number) % BUCKETS
}

/** Every feed the engine knows, stored or only heard of. */
export class FeedTable {
  readonly #byKey = new Map<string, FeedState>()
  readonly #byPlace = new Map<string, FeedState[]>()
  readonly #byBucket = Array.from({ length: BUCKETS }, (): FeedState[] => [])
  readonly #countsByOrigin = new Map<string, number>()
  readonly #isOwn: (feed: Feed) => boolean
  /** The store's number of the last batch of all. */
  lsn = 0
  /** Grows with every change of any head; and what it was when a head in a bucket changed last: what digests are cached by. */
  version = 0
  readonly bucketVersions: number[] = Array.from({ length: BUCKETS }, () => 0)

  constructor(isOwn: (feed: Feed) => boolean, heads: Iterable<FeedHead>) {
    this.#isOwn = isOwn
    for (const head of heads) this.#load(head)
  }

  get size(): number {
    return this.#byKey.size
  }

  values(): IterableIterator<FeedState> {
    return this.#byKey.values()
  }

  keys(): IterableIterator<string> {
    return this.#byKey.keys()
  }

  get(key: string): FeedState | undefined {
    return this.#byKey.get(key)
  }

  getById(id: Uint8Array): FeedState | undefined {
    return this.#byKey.get(latin1(id))
  }

  getOrAdd(feed: Feed): FeedState {
    let state = this.#byKey.get(feed.key)
    if (!state) {
      state = new FeedState(feed, this.#isOwn(feed))
      this.#byKey.set(feed.key, state)
      this.#countsByOrigin.set(feed.origin, this.countOf(feed.origin) + 1)
      const place = placeOf(feed.descriptor)
      const there = this.#byPlace.get(place)
      if (there) there.push(state)
      else this.#byPlace.set(place, [state])
      this.inBucket(bucketOf(state)).push(state)
    }
    return state
  }

  /** How many feeds of an author are known. */
  countOf(origin: string): number {
    return this.#countsByOrigin.get(origin) ?? 0
  }

  /** Every collection and partition of which there is a feed. */
  places(): IterableIterator<string> {
    return this.#byPlace.keys()
  }

  /** The feeds of one collection and partition. */
  in(place: string): readonly FeedState[] {
    return this.#byPlace.get(place) ?? []
  }

  inBucket(bucket: number): FeedState[] {
    return this.#byBucket[bucket] as FeedState[]
  }

  /** Its head has changed. */
  moved(state: FeedState): void {
    this.version += 1
    this.bucketVersions[bucketOf(state)] = this.version
  }

  /**
   * A batch is on the disk, as a rule as its feed's head; the store numbers batches in the order in which it took them.
   */
  advance(state: FeedState, seq: number, head: ChainPosition): void {
    state.head = head
    state.history.retained.add(seq)
    state.lsn = ++this.lsn
    this.moved(state)
  }

  #load(head: FeedHead): void {
    const state = this.getOrAdd(head.feed)
    state.head = { seq: head.seq, hash: head.hash, hlc: head.hlc }
    state.verified = state.head
    state.tip = state.head
    state.lsn = head.lsn
    state.history.retained = head.retained.clone()
    if (head.lsn > this.lsn) this.lsn = head.lsn
  }
}
