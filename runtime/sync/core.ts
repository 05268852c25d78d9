import type { Result } from '../base/result.ts'
import type { Batch, ChainPosition, Feed, Ops } from '../model/batch.ts'
import { HybridClock } from '../model/clock.ts'
import type { Scope } from '../model/interest.ts'
import { placeOf } from '../model/names.ts'
import type { SequenceSet } from '../model/sequences.ts'
import { msOfHlc } from '../model/stamp.ts'
import type { KeyValue } from '../ports/store.ts'
import { isCheckpoint } from '../wire/checkpoint.ts'
import type { Message } from '../wire/message.ts'
import { isRestoreLeft } from './aside.ts'
import type { Draft, WriteQueue } from './author.ts'
import type { Beacon } from './beacons.ts'
import { Budget, BUDGET_KEY } from './budget.ts'
import type { Compaction } from './compacting.ts'
import type { Divergence } from './comparing.ts'
import { cursorKey, cursorToKeep, decodeCursor, encodeCursor, type Cursor } from './cursors.ts'
import { FeedTable, type FeedState } from './feeds.ts'
import { readCheckpoint } from './filling.ts'
import { historyKey } from './history.ts'
import { keepHoldingAgain, loadHoldings, takeDueHoldings, type Holding } from './holdings.ts'
import { isOfScope, isStored, openInterest, type Kept, type Leaving } from './interest.ts'
import type { LinkState } from './link.ts'
import { holesOf } from './mending.ts'
import { readingOf, type Reading } from './reading.ts'
import { Timekeeper, type Told } from './timekeeping.ts'
import { noteDeaths, type Look } from './trash.ts'
import type { ClockDoubt } from './weighing.ts'
import {
  DEFAULT_FLOW,
  DEFAULT_HISTORY,
  type EngineEvent,
  type EngineOptions,
  type FlowOptions,
  type HistoryOptions,
  type Output,
  type Surroundings,
} from './types.ts'

/** Times and sizes of the engine; monotonic milliseconds and bytes. */
export const TIMES = {
  /** A greeting that was not answered is sent again. */
  greetMs: 1_000,
  /** Life sign, latency and digest of heads. */
  pingMs: 15_000,
  meteredPingMs: 60_000,
  pingsMissedMax: 3,
  /** News of heads to links that don't take the feed eagerly are collected for so long. */
  tellMs: 250,
  meteredTellMs: 5_000,
  /** A feed that is known to be ahead elsewhere and doesn't move is asked for again, doubling up to the maximum. */
  askMs: 1_000,
  askMsMax: 30_000,
  /** While much is lacking it is looked at so often which links bring it. */
  shareMs: 500,
  /** A cursor that moved is stored with the next commit, or by itself after so long. */
  saveCursorMs: 30_000,
  /** A feed that doesn't move for so long holds the cursor up no longer. */
  stuckMs: 60_000,
  /** Records that the disk refused wait so long, if nothing else goes to the disk before. */
  refusedMs: 1_000,
  /** Batches stamped more than this ahead of a trusted clock wait until their time has come. */
  futureMs: 300_000,
  /** An author whose own stamps are more than this ahead of a trusted clock sets it back; how often it looks. */
  aheadMs: 3_600_000,
  overrunMs: 15_000,
} as const

/** A batch between its arrival and the disk. */
export interface Arrival {
  readonly link: LinkState
  readonly state: FeedState
  readonly batch: Batch
  /** Beside the chain, as a part of a fill; or its end, which lets the feed jump there. Absent: it continues the feed. */
  readonly place?: 'aside' | ChainPosition
  /** A checkpoint that was offered before a fill: not to be stored yet. */
  readonly isOffer?: boolean
  /** Of another branch, or of our own feed and not by us: never stored. */
  readonly isEvidence?: boolean
  /** For a hole in the log. */
  readonly isMissing?: boolean
}

/** An arrival that may go to the disk; without a link it was stored here before. */
export interface Accepted extends Omit<Arrival, 'link'> {
  readonly link: LinkState | null
}

/** They are on the disk, or don't come there. The end of a fill is the offer that began it, which was counted when it came. */
export function giveCreditBack(arrivals: readonly Accepted[]): void {
  for (const { link, batch, place } of arrivals) {
    if (link === null || (typeof place === 'object' && isCheckpoint(batch.header))) continue
    link.consumedBytes += batch.bytes.length
    link.isAckDue = true
  }
}

export interface OwnBatch<Token> {
  readonly state: FeedState
  readonly batch: Batch
  /** Whom it answers; null for what the engine writes by itself. */
  readonly written: { readonly draft: Draft<Token>; readonly queue: WriteQueue<Token> } | null
}

/** Of a feed only `stays` is left, what is known of its checkpoints from `from` on is forgotten, and it goes on from `head`. */
export interface Cut {
  readonly state: FeedState
  readonly from: number
  readonly head: ChainPosition
  readonly stays: SequenceSet
}

/** What one commit carries, in order. */
export interface Committed<Token> {
  readonly arrivals: readonly Accepted[]
  readonly own: OwnBatch<Token> | null
  /** Dead batches that leave. */
  readonly drops?: readonly { readonly state: FeedState; readonly seqs: SequenceSet }[]
  /** Damaged batches that leave. */
  readonly damaged?: { readonly state: FeedState; readonly seqs: SequenceSet }
  /** What is void of a sealed feed leaves, all but `stays`, and it goes back to `head`. */
  readonly cut?: Cut
  /** What has left with a feed that is not kept any more. */
  readonly left?: SequenceSet
  /** Kept records that go along: when the disk refuses them they are kept for the next. */
  readonly records?: readonly KeyValue[]
}

/** A stored batch whose signature is checked again; `isStray`: when it is sound it is of another branch. */
export interface Suspicion {
  readonly state: FeedState
  readonly seq: number
  readonly isStray: boolean
}

/** The state that all parts of the engine work on. */
export class Core<Token> {
  readonly options: EngineOptions
  readonly history: HistoryOptions
  readonly flow: FlowOptions
  readonly budget: Budget
  /** Where bytes are counted, life signs and news of heads go more seldom. */
  readonly pingMs: number
  readonly tellMs: number
  readonly surroundings: Surroundings
  readonly reading: Reading
  readonly clock: HybridClock
  readonly time: Timekeeper
  readonly feeds: FeedTable
  /** What is kept here, and the name of this database as long as that is so. */
  readonly scope: Scope
  readonly instance: Uint8Array
  /** Feeds that are not kept any more, and whether some is on its way out. */
  readonly leaving: Leaving[]
  isLeaving = false
  leaveAt = 0
  leftFeeds = 0
  leftBatches = 0
  sayInterestAt = 0
  /** When something was seen to be lacking last of what neighbours had told, as far as it is to be said since when more is kept. */
  unheardAt: number = Number.NEGATIVE_INFINITY
  readonly links: Map<number, LinkState> = new Map<number, LinkState>()
  /** What neighbours have confirmed to hold, linked or not, by peer id. */
  readonly holdings: Map<string, Holding> = new Map<string, Holding>()
  /** Own feeds of which somebody has confirmed more: told at the end of the turn. */
  readonly confirmed: Set<FeedState> = new Set<FeedState>()
  readonly outputs: Output<Token>[] = []
  readonly queues: Map<FeedState, WriteQueue<Token>> = new Map<FeedState, WriteQueue<Token>>()
  readonly queuesByPlace: Map<string, WriteQueue<Token>> = new Map<string, WriteQueue<Token>>()
  /** Batches whose signature was asked for, by ticket. */
  readonly verifying: Map<number, Arrival> = new Map<number, Arrival>()
  /** Batches that may go to the disk. */
  verified: Accepted[] = []
  /** Stored batches that somebody could not use, as feed and sequence; those of them whose signature was asked for, by ticket. */
  readonly suspected: Set<string> = new Set<string>()
  readonly checking: Map<number, Suspicion> = new Map<number, Suspicion>()
  /** Batches of sealed feeds whose signature was asked for again, by ticket: their names in `FeedState.signatures`. */
  readonly rechecking: Map<number, { readonly state: FeedState; readonly name: string }> = new Map<
    number,
    { readonly state: FeedState; readonly name: string }
  >()
  /** By peer and place, what a neighbour shows differently with the same batches; when a place was derived anew last, monotonic. */
  readonly diverged: Map<string, Divergence> = new Map<string, Divergence>()
  readonly examinedAt: Map<string, number> = new Map<string, number>()
  readonly examining: Set<string> = new Set<string>()
  readonly committing: Map<number, Committed<Token>> = new Map<number, Committed<Token>>()
  /** Feeds that are known to be ahead of us elsewhere. */
  readonly behind: Set<FeedState> = new Set<FeedState>()
  /** When it is looked at next which links bring what is lacking; Infinity when that isn't much. */
  shareAt: number = Number.POSITIVE_INFINITY
  /** Places where checkpoints wait to be applied, and the version of the feed table when that was last looked at. */
  readonly pendingPlaces: Set<string> = new Set<string>()
  gatedVersion = -1
  /** By place, what is dead and still in the log; when it is looked at which of it may leave, and when some leaves. */
  readonly trash: Map<string, Look[]> = new Map<string, Look[]>()
  settleAt = 0
  dropAt: number = Number.POSITIVE_INFINITY
  isDropping = false
  /** The compaction under way, and the monotonic time at which another may begin. */
  compaction: Compaction | null = null
  compactAt: number
  /** When seals are looked at again: others may have confirmed more. Monotonic milliseconds. */
  sealsAt = 0
  /** Feeds of which branches are being compared. */
  readonly probing: Set<FeedState> = new Set<FeedState>()
  /** Feeds that lack batches they should hold, when they are asked for again, and how many came. */
  readonly holed: Set<FeedState> = new Set<FeedState>()
  mendAt = 0
  mended = 0
  /** Own stamps are far ahead of a trusted clock; when that is looked at again. */
  isClockAhead = false
  /** Why it isn't set back for that, or not yet; since when it has been ahead and not outvoted, and until when a tie lasts, monotonic. */
  clockDoubt: ClockDoubt | null = null
  aheadSince: number | null = null
  tiedUntil: number | null = null
  isSetBackNoted = false
  overrunAt = 0
  /** Feeds that are being cut. */
  readonly cutting: Set<FeedState> = new Set<FeedState>()
  /** Somebody else wrote in our feeds, or they are sealed: nothing is written until there is a new incarnation. */
  isIncarnationLost = false
  /** Voided writes of ours wait to be made again. */
  isReissueDue = true
  /** Some of it waits until what users write in the same feed is on the disk. */
  isReissueHeld = false
  reissueAt = 0
  /** When they are looked at again though nothing has happened: some may not be written yet. */
  reissueAgainAt: number = Number.POSITIVE_INFINITY
  /** Our beacon: when it may be written again, when it must, and what it said. */
  beaconAt: number
  beaconStaleAt = 0
  beaconSaid = ''
  /** Beacons as last read, by author; null where there is none. What an author says of itself anew is read anew. */
  readonly beacons: Map<string, Beacon | null> = new Map<string, Beacon | null>()
  /** The same of what members say to keep. */
  readonly interests: Map<string, readonly Kept[]> = new Map<string, readonly Kept[]>()
  /** Control messages to each link, sent before anything else. */
  readonly outbox: Map<LinkState, Message[]> = new Map<LinkState, Message[]>()
  /** Frames with batches so far: who was sent the last of them has its turn last. */
  servings = 0
  now: Told = { wallMs: 0, trust: 0, monotonicMs: 0, source: 'none' }
  /** Small records that the next commit takes along. */
  readonly #records = new Map<string, Uint8Array | null>()
  readonly #histories = new Set<FeedState>()
  #refusedUntil = 0
  #isScopeStored = false
  #tickets = 0

  constructor(
    options: EngineOptions,
    surroundings: Surroundings,
    isOwn: (publicKey: Uint8Array, incarnation: Uint8Array) => boolean,
  ) {
    this.options = options
    this.surroundings = surroundings
    this.reading = surroundings.reading ?? readingOf(options.meshId)
    this.clock = new HybridClock(options.clockFloor)
    this.history = { ...DEFAULT_HISTORY, ...options.history }
    this.flow = { ...DEFAULT_FLOW, ...options.flow }
    this.budget = new Budget(this.flow.budget, surroundings.getRecord(BUDGET_KEY))
    this.pingMs = this.budget.isLimited ? TIMES.meteredPingMs : TIMES.pingMs
    this.tellMs = this.budget.isLimited ? TIMES.meteredTellMs : TIMES.tellMs
    this.compactAt = this.history.intervalMs
    this.beaconAt = this.history.beaconMs
    const opening = openInterest(options, surroundings)
    this.feeds = new FeedTable((feed) => isOwn(feed.descriptor.publicKey, feed.descriptor.incarnation), opening.kept)
    this.feeds.lsn = opening.lsn
    this.scope = opening.scope
    this.instance = opening.instance
    this.leaving = opening.leaving
    for (const { key, value } of opening.records) this.#records.set(key, value)
    for (const state of this.feeds.values()) {
      if (state.isOwn) this.clock.observe(state.head.hlc)
      this.#loadHistory(state)
      state.isRestoreDue = isRestoreLeft(this, state)
      state.holes = holesOf(state)
      if (!state.holes.isEmpty) this.holed.add(state)
    }
    this.time = new Timekeeper(options.notBeforeMs, msOfHlc(this.clock.last))
    for (const place of this.feeds.places()) noteDeaths(this, place)
    loadHoldings(this)
  }

  /** Whether this gateway stores the feed, and tells of it. */
  keeps(feed: Feed): boolean {
    return isOfScope(this.options.peerId, this.scope, feed)
  }

  /** What a batch of the feed changes, as far as its key is here. */
  opsOf(feed: Feed, batch: Batch): Result<Ops> {
    return this.reading.ops(feed, batch, this.surroundings.keys)
  }

  /** The compaction under way there may rest on what leaves the log: it comes to nothing. */
  stopCompaction({ feed }: FeedState): void {
    const at = this.compaction?.state.feed.descriptor
    if (at !== undefined && placeOf(at) === placeOf(feed.descriptor)) this.compaction = null
  }

  nextTicket(): number {
    return ++this.#tickets
  }

  /** Nothing is kept for a link that went while a batch of its was being checked. */
  say(link: LinkState, message: Message): void {
    if (this.links.get(link.link) !== link) return
    const messages = this.outbox.get(link)
    if (messages) messages.push(message)
    else this.outbox.set(link, [message])
  }

  emit(name: EngineEvent, fields: { readonly [name: string]: unknown }): void {
    this.outputs.push({ type: 'event', name, fields })
  }

  /** False for as long as the disk hasn't taken what is kept now. */
  get isScopeStored(): boolean {
    return (this.#isScopeStored ||= isStored(this.scope, this.surroundings))
  }

  /**
   * What we hold of a neighbour, as stored; of what was kept before it tells nothing. Whoever lacks batches it had needs to hear of all
   * feeds, to ask for them.
   */
  cursorOf(peerId: string): Cursor | null {
    if (this.holed.size > 0 || !this.isScopeStored) return null
    return decodeCursor(this.surroundings.getRecord(cursorKey(peerId)))
  }

  /** What is known of the feed's past has changed: stored with the next commit. */
  keepHistory(state: FeedState): void {
    this.#histories.add(state)
  }

  /** Stored with the next commit. */
  keepRecord(key: string, value: Uint8Array): void {
    this.#records.set(key, value)
  }

  removeRecord(key: string): void {
    this.#records.set(key, null)
  }

  /** This gateway must go on under a new incarnation: the driver's owner sees to that. */
  loseIncarnation(why: string): void {
    if (this.isIncarnationLost) return
    this.isIncarnationLost = true
    this.emit('incarnation-lost', { why })
  }

  #loadHistory(state: FeedState): void {
    const bytes = this.surroundings.getRecord(historyKey(state.feed))
    if (bytes === undefined) return
    state.history.decode(bytes, (seq) => readCheckpoint(this, state, seq))
    if (state.history.pending.length > 0) this.pendingPlaces.add(placeOf(state.feed.descriptor))
  }

  /** The link's cursor goes to the disk with the next commit. */
  keepCursor(link: LinkState): void {
    const cursor = cursorToKeep(link)
    if (!cursor) return
    link.savedCursorLsn = cursor.lsn
    link.saveCursorAt = this.now.monotonicMs + TIMES.saveCursorMs
    this.#records.set(cursorKey(link.peerId), encodeCursor(cursor))
  }

  /** Records to store now: those that were kept, and all cursors that moved when a commit goes out anyway. */
  dueRecords(isCommitting: boolean): KeyValue[] {
    if (!isCommitting && this.now.monotonicMs < this.#refusedUntil) return []
    for (const link of this.links.values()) {
      if (isCommitting || this.now.monotonicMs >= link.saveCursorAt) this.keepCursor(link)
    }
    const records: KeyValue[] = []
    for (const [key, value] of this.#records) records.push({ key, value })
    this.#records.clear()
    for (const record of takeDueHoldings(this, isCommitting)) records.push(record)
    if (isCommitting) for (const record of this.budget.record(this.now.monotonicMs)) records.push(record)
    for (const state of this.#histories) {
      // Among what is on its way may be a checkpoint, which takes its own record along, as a cut does.
      if (state.isCommitting || this.cutting.has(state)) continue
      this.#histories.delete(state)
      records.push({ key: historyKey(state.feed), value: state.history.encode() })
    }
    return records
  }

  /** The disk refused them; what has changed since is not overwritten. */
  keepAgain(records: readonly KeyValue[]): void {
    this.#refusedUntil = this.now.monotonicMs + TIMES.refusedMs
    const kept = new Map(records.map(({ key, value }) => [key, value]))
    for (const state of this.feeds.values()) if (kept.delete(historyKey(state.feed))) this.keepHistory(state)
    for (const [key, value] of kept) {
      if (!keepHoldingAgain(this, key) && !this.#records.has(key)) this.#records.set(key, value)
    }
  }

  close(link: LinkState, reason: string): void {
    this.outputs.push({ type: 'close', link: link.link, reason })
  }
}
