import type { SequenceSet } from '../model/sequences.ts'
import type { FeedState } from './feeds.ts'

/** A neighbour's request to be sent a feed: from `next` on, now (`once`) and as it grows (`eager`). */
export interface Subscription {
  next: number
  isEager: boolean
  /** Only these, which a checkpoint that we offered says are live; null for all from `next` on. */
  readonly wanted: SequenceSet | null
}

/** A claim of the neighbour, "you were told everything up to my number `lsn`", and what of it we lack on our disk. */
export interface Marker {
  readonly lsn: number
  readonly waiting: Map<FeedState, number>
}

/** One link to a neighbour: what it holds, wants and may be sent, and the same of us. Nothing of it outlives the link. */
export class LinkState {
  readonly link: number
  readonly peerId: string
  readonly upAt: number

  isGreeted = false
  name = ''
  version = ''
  /** The neighbour's database incarnation, once it has greeted. */
  instance: Uint8Array | null = null

  // Names of feeds on this link: numbers that each side gives to the feeds it speaks of.
  readonly ourAliases: Map<FeedState, number> = new Map<FeedState, number>()
  readonly feedsByOurAlias: FeedState[] = []
  readonly theirAliases: Map<FeedState, number> = new Map<FeedState, number>()
  readonly feedsByTheirAlias: Map<number, FeedState> = new Map<number, FeedState>()

  // Sending.
  readonly subscriptions: Map<FeedState, Subscription> = new Map<FeedState, Subscription>()
  /** Highest sequence the neighbour was told of or sent, per feed. */
  readonly told: Map<FeedState, number> = new Map<FeedState, number>()
  /** Highest sequence that is on the neighbour's disk, by its own word. */
  readonly peerHeads: Map<FeedState, number> = new Map<FeedState, number>()
  /** Of a series, the first sequence that the neighbour's retention has left it. */
  readonly peerLows: Map<FeedState, number> = new Map<FeedState, number>()
  /** Feeds that may have something to tell or send. */
  readonly pending: Set<FeedState> = new Set<FeedState>()
  sentBytes = 0
  creditLimit = 0
  /** The `lsn` last claimed to the neighbour, and the one it confirmed. */
  markedLsn = -1
  confirmedLsn = 0
  /** When collected news of heads goes out; Infinity when there is none. */
  tellAt: number = Number.POSITIVE_INFINITY

  // Receiving.
  /** Bytes of batches that came, and of those that are dealt with: on the disk, held already or refused. */
  /** It holds no cursor of us, and wants to hear of every feed, even of its own. */
  wantsAll = false
  receivedBytes = 0
  consumedBytes = 0
  grantedBytes = 0
  /** What it told of or sent since the last marker, and frames that came: a marker counts only when none was lost. */
  readonly promised: Map<FeedState, number> = new Map<FeedState, number>()
  receivedFrames = 0
  sentFrames = 0
  /** Feeds whose head we owe the neighbour a confirmation of. */
  readonly owed: Set<FeedState> = new Set<FeedState>()
  isAckDue = false
  marker: Marker | null = null
  nextMarkerLsn = -1
  /** Everything the neighbour holds up to this number of its own is on our disk. */
  cursorLsn = 0
  savedCursorLsn = 0
  saveCursorAt: number
  /** True when some feed it told of was refused: the saved cursor must not pass it. */
  isCursorFrozen = false

  // Life signs.
  greetAt = 0
  pingAt = 0
  pingNonce = 0
  pingSentAt = 0
  isPingAnswered = true
  missedPings = 0
  latencyMs: number | null = null
  lastHeardAt: number
  /** Pings to let pass before differing digests are looked into, doubling while they stay different. */
  resyncWait = 1
  pingsSinceResync = 0

  constructor(link: number, peerId: string, now: number) {
    this.link = link
    this.peerId = peerId
    this.upAt = now
    this.lastHeardAt = now
    this.saveCursorAt = now
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
    this.subscriptions.delete(state)
  }

  peerLow(state: FeedState): number {
    return this.peerLows.get(state) ?? 1
  }

  notePromise(state: FeedState, seq: number): void {
    if (seq > (this.promised.get(state) ?? 0)) this.promised.set(state, seq)
  }

  notePeerHead(state: FeedState, seq: number): void {
    if (seq > this.peerHead(state)) this.peerHeads.set(state, seq)
  }
}
