import type { Batch } from '../model/batch.ts'
import { Scope } from '../model/interest.ts'
import type { SequenceSet } from '../model/sequences.ts'
import type { Cursor } from './cursors.ts'
import type { FeedState } from './feeds.ts'
import type { Holding } from './holdings.ts'
import { Pace } from './pace.ts'
import { SendWindow, Turns } from './priority.ts'
import { isOfScope } from './interest.ts'
import { RoundTrip } from './round-trip.ts'

/** A neighbour's request to be sent a feed: from `next` on, now (`once`) and as it grows (`eager`). */
export interface Subscription {
  next: number
  isEager: boolean
  /** Only these, which a checkpoint that we offered says are live; null for all from `next` on. */
  readonly wanted: SequenceSet | null
  /** The batch that was asked for went out ahead of an offer. */
  isLed?: boolean
  /** Some of it has left as dead: when the rest has been sent the checkpoint is offered by which it did. */
  isOfferDue?: boolean
}

/** A claim of the neighbour, "you were told everything up to my number `lsn`", and what of it we lack on our disk. */
export interface Marker {
  readonly lsn: number
  readonly waiting: Map<FeedState, number>
  /** Monotonic. */
  readonly cameAt: number
}

export interface Spoiled {
  readonly seq: number
  /** Monotonic milliseconds. */
  readonly untilMs: number
  readonly times: number
}

/** Of the heads that both sides keep, as of a version of the feed table. */
export interface BucketDigest {
  readonly version: number
  readonly digest: Uint8Array
}

/** Which numbered frames have come: they may overtake each other. */
export class FrameNumbers {
  /** All up to this one have. */
  whole = 0
  readonly #early = new Set<number>()

  note(number: number): void {
    // So far ahead is only what comes when much was lost: then no marker of this link counts any more.
    if (number > this.whole && this.#early.size < EARLY_MAX) this.#early.add(number)
    while (this.#early.delete(this.whole + 1)) this.whole += 1
  }
}

const EARLY_MAX = 1_024

/**
 * One link to a neighbour: what it wants and may be sent, and the same of us. Nothing of it outlives the link but `holding`.
 */
export class LinkState {
  readonly link: number
  readonly peerId: string
  /** What the neighbour has confirmed to have on its disk. */
  readonly holding: Holding
  /** Our cursor when the link came up: what all our greetings say, and what we go on from. */
  readonly cursorSaid: Cursor | null
  readonly upAt: number

  isGreeted = false
  /** What the neighbour keeps, as it has greeted: the same as long as the link is up. */
  scope: Scope = new Scope([], [])
  name = ''
  version = ''
  /** The neighbour's database incarnation, once it has greeted. */
  instance: Uint8Array | null = null

  // Names of feeds on this link: numbers that each side gives to the feeds it speaks of.
  readonly ourAliases: Map<FeedState, number> = new Map<FeedState, number>()
  readonly feedsByOurAlias: FeedState[] = []
  readonly theirAliases: Map<FeedState, number> = new Map<FeedState, number>()
  readonly feedsByTheirAlias: Map<number, FeedState> = new Map<number, FeedState>()
  /** Numbers of feeds that are not kept here; and those of which the neighbour has told all the same, as it may not know that. */
  readonly strangeAliases: Set<number> = new Set<number>()
  readonly strangeTold: Set<number> = new Set<number>()

  // Sending.
  readonly subscriptions: Map<FeedState, Subscription> = new Map<FeedState, Subscription>()
  /** Highest sequence the neighbour was told of or sent, per feed. */
  readonly told: Map<FeedState, number> = new Map<FeedState, number>()
  /** Highest sequence that the neighbour has: it told of it, confirmed it, or sent it. */
  readonly peerHeads: Map<FeedState, number> = new Map<FeedState, number>()
  /** Of a series, the first sequence that the neighbour's retention has left it. */
  readonly peerLows: Map<FeedState, number> = new Map<FeedState, number>()
  /** What the neighbour lacks although its cursor has passed it, as it said last. */
  lackedThere: ReadonlySet<FeedState> = new Set<FeedState>()
  /** Feeds that may have something to tell or send. */
  readonly pending: Set<FeedState> = new Set<FeedState>()
  sentBytes = 0
  /** The number of the last frame with batches; see `Core.servings`. */
  servedAt = 0
  creditLimit = 0
  readonly window: SendWindow = new SendWindow()
  readonly turns: Turns = new Turns()
  /** The `lsn` last claimed to the neighbour, its cursor when it greeted, and up to where that says what it holds. */
  markedLsn = -1
  theirCursorLsn = 0
  confirmedLsn = 0
  /** When collected news of heads goes out; Infinity when there is none. */
  tellAt: number = Number.POSITIVE_INFINITY

  // Receiving.
  /** It holds no cursor of us, and wants to hear of every feed, even of its own. */
  wantsAll = false
  /** Bytes of batches that came, and of those that are dealt with: on the disk, held already or refused. */
  receivedBytes = 0
  /** Batches that came and were none, or not signed. */
  damaged = 0
  /** Of a feed, the batch of which the neighbour's copy was of no use, when it may be asked again, and how often that happened. */
  readonly spoiled: Map<FeedState, Spoiled> = new Map<FeedState, Spoiled>()
  /** Of a feed, the first checkpoint that was offered before its time; see early.ts. */
  readonly early: Map<FeedState, Batch> = new Map<FeedState, Batch>()
  consumedBytes = 0
  /** Batches that came since that was looked at, when that was, and whether there were more to come; when one came that was of use. */
  brought = 0
  pacedAt = 0
  isBusy = false
  broughtAt = 0
  readonly pace: Pace = new Pace()
  /** Its neighbour counts what it sends: nothing is moved there that another has. */
  isMetered = false
  grantedBytes = 0
  /** What it told of or sent since the last marker; a marker counts only when none of the frames with such was lost. */
  readonly promised: Map<FeedState, number> = new Map<FeedState, number>()
  receivedFrames = 0
  sentFrames = 0
  sentNumbered = 0
  readonly numbers: FrameNumbers = new FrameNumbers()
  /** A marker of the neighbour's that waits for frames that are late. */
  lateMarker: { readonly lsn: number; readonly numbered: number } | null = null
  /** Feeds whose head we owe the neighbour a confirmation of. */
  readonly owed: Set<FeedState> = new Set<FeedState>()
  isAckDue = false
  marker: Marker | null = null
  nextMarkerLsn = -1
  /** Everything the neighbour holds up to this number of its own is on our disk, but for `lacking`. */
  cursorLsn = 0
  /** Feeds that the cursor has passed although we lack some of them, and up to where; they are named with it. */
  readonly lacking: Map<FeedState, number> = new Map<FeedState, number>()
  savedCursorLsn = 0
  saveCursorAt: number

  /** When it may be asked for heads of feeds that it has not told of; monotonic. */
  namesAt = 0

  /** When places are compared with the neighbour next, up to which they were, and those that differed, with the heads as of then. */
  compareAt: number
  comparedTo = 0
  readonly doubts: Map<string, Uint8Array> = new Map<string, Uint8Array>()

  // Life signs.
  greetAt = 0
  pingAt = 0
  pingNonce = 0
  /** When pings went out since the last answer, oldest first. */
  readonly unanswered: number[] = []
  readonly roundTrip: RoundTrip = new RoundTrip()
  /** The share of pings that went unanswered, the latest counting a quarter. */
  loss = 0
  latencyMs: number | null = null
  /** Its time less our monotonic clock, when it is of class 2. */
  clockOffsetMs: number | null = null
  /** The same of any class that tells the future: stamps that are too far ahead of it wait there. */
  futureOffsetMs: number | null = null
  lastHeardAt: number
  /** Pings to let pass before differing digests are looked into, doubling while they stay different. */
  resyncWait = 1
  /** Cache of pinging.ts: of each bucket, and of all. */
  readonly bucketDigests: BucketDigest[] = []
  headsDigest: { readonly version: number; readonly digest: Uint8Array } | null = null
  pingsSinceResync = 0
  /** Feeds that were told or sent and not confirmed at the last ping; and the same for telling them again. */
  unconfirmed: ReadonlySet<FeedState> = new Set<FeedState>()
  againWait = 1
  pingsSinceAgain = 0

  constructor(link: number, holding: Holding, cursorSaid: Cursor | null, now: number) {
    this.link = link
    this.peerId = holding.peerId
    this.holding = holding
    this.cursorSaid = cursorSaid
    this.upAt = now
    this.lastHeardAt = now
    this.saveCursorAt = now
    this.compareAt = now
  }

  /** What the neighbour holds of a feed, as far as it said. */
  peerHead(state: FeedState): number {
    return this.peerHeads.get(state) ?? 0
  }

  /** The feed went back: what was told, sent and heard of it says nothing any more. */
  forget(state: FeedState): void {
    this.told.delete(state)
    this.peerHeads.delete(state)
    this.promised.delete(state)
    this.lacking.delete(state)
    this.subscriptions.delete(state)
  }

  /** Whether the neighbour keeps the feed. */
  keeps({ feed }: FeedState): boolean {
    return isOfScope(this.peerId, this.scope, feed)
  }

  peerLow(state: FeedState): number {
    return this.peerLows.get(state) ?? 1
  }

  /** It asks for what we take it to hold: it went back. */
  noteAsked(state: FeedState, seq: number): void {
    if (seq <= this.peerHead(state)) this.peerHeads.set(state, seq - 1)
  }

  /** A batch that came from there is on our disk: if it was asked for by number before, it isn't sent back. */
  noteBrought(state: FeedState, seq: number): void {
    this.subscriptions.get(state)?.wanted?.deleteRange(seq, seq)
  }

  notePromise(state: FeedState, seq: number): void {
    if (seq > (this.promised.get(state) ?? 0)) this.promised.set(state, seq)
  }

  notePeerHead(state: FeedState, seq: number): void {
    if (seq > this.peerHead(state)) this.peerHeads.set(state, seq)
  }
}
