import type { Batch } from '../model/batch.ts'
import { HybridClock } from '../model/clock.ts'
import type { Message } from '../wire/message.ts'
import type { Draft, WriteQueue } from './author.ts'
import { cursorKey, cursorToKeep, decodeCursor, encodeCursor, type Cursor } from './cursors.ts'
import { FeedTable, type FeedState } from './feeds.ts'
import type { LinkState } from './link.ts'
import type { EngineEvent, EngineOptions, Now, Output, Surroundings } from './types.ts'

/** Times and sizes of the engine; monotonic milliseconds and bytes. */
export const TIMES = {
  /** A greeting that was not answered is sent again. */
  greetMs: 1_000,
  /** Life sign, latency and digest of heads. */
  pingMs: 15_000,
  pingsMissedMax: 3,
  /** News of heads to links that don't take the feed eagerly are collected for so long. */
  tellMs: 250,
  /** A feed that is known to be ahead elsewhere and doesn't move is asked for again, doubling up to the maximum. */
  askMs: 1_000,
  askMsMax: 30_000,
  /** A cursor that moved is stored with the next commit, or by itself after so long. */
  saveCursorMs: 30_000,
  /** Batches stamped more than this ahead of a trusted clock wait until their time has come. */
  futureMs: 300_000,
} as const

/** A batch between its arrival and the disk. */
export interface Arrival {
  readonly link: LinkState
  readonly state: FeedState
  readonly batch: Batch
}

export interface OwnBatch<Token> {
  readonly state: FeedState
  readonly batch: Batch
  readonly draft: Draft<Token>
  readonly queue: WriteQueue<Token>
}

/** What one commit carries, in order. */
export interface Committed<Token> {
  readonly arrivals: readonly Arrival[]
  readonly own: OwnBatch<Token> | null
}

/** The state that all parts of the engine work on. */
export class Core<Token> {
  readonly options: EngineOptions
  readonly surroundings: Surroundings
  readonly clock: HybridClock
  readonly feeds: FeedTable
  readonly links: Map<number, LinkState> = new Map<number, LinkState>()
  readonly outputs: Output<Token>[] = []
  readonly queues: Map<FeedState, WriteQueue<Token>> = new Map<FeedState, WriteQueue<Token>>()
  readonly queuesByPlace: Map<string, WriteQueue<Token>> = new Map<string, WriteQueue<Token>>()
  /** Batches whose signature was asked for, by ticket. */
  readonly verifying: Map<number, Arrival> = new Map<number, Arrival>()
  /** Batches that may go to the disk. */
  verified: Arrival[] = []
  readonly committing: Map<number, Committed<Token>> = new Map<number, Committed<Token>>()
  /** Feeds that are known to be ahead of us elsewhere. */
  readonly behind: Set<FeedState> = new Set<FeedState>()
  /** Control messages to each link, sent before anything else. */
  readonly outbox: Map<LinkState, Message[]> = new Map<LinkState, Message[]>()
  /** Cache of pinging.ts, valid for one version of the feed table. */
  headsDigest: { readonly version: number; readonly digest: Uint8Array } | null = null
  now: Now = { wallMs: 0, trust: 0, monotonicMs: 0 }
  readonly #cursors = new Map<string, Uint8Array>()
  #tickets = 0

  constructor(
    options: EngineOptions,
    surroundings: Surroundings,
    isOwn: (publicKey: Uint8Array, incarnation: Uint8Array) => boolean,
  ) {
    this.options = options
    this.surroundings = surroundings
    this.clock = new HybridClock(options.clockFloor)
    this.feeds = new FeedTable(
      (feed) => isOwn(feed.descriptor.publicKey, feed.descriptor.incarnation),
      surroundings.heads(),
    )
    for (const state of this.feeds.values()) if (state.isOwn) this.clock.observe(state.head.hlc)
  }

  nextTicket(): number {
    return ++this.#tickets
  }

  say(link: LinkState, message: Message): void {
    const messages = this.outbox.get(link)
    if (messages) messages.push(message)
    else this.outbox.set(link, [message])
  }

  emit(name: EngineEvent, fields: { readonly [name: string]: unknown }): void {
    this.outputs.push({ type: 'event', name, fields })
  }

  /** What we hold of a neighbour, as stored. */
  cursorOf(peerId: string): Cursor | null {
    return decodeCursor(this.surroundings.getRecord(cursorKey(peerId)))
  }

  /** The link's cursor goes to the disk with the next commit. */
  keepCursor(link: LinkState): void {
    const cursor = cursorToKeep(link)
    if (!cursor) return
    link.savedCursorLsn = cursor.lsn
    link.saveCursorAt = this.now.monotonicMs + TIMES.saveCursorMs
    this.#cursors.set(cursorKey(link.peerId), encodeCursor(cursor))
  }

  /** Cursors to store now: those that were kept, and all that moved when a commit goes out anyway. */
  dueCursors(isCommitting: boolean): { key: string; value: Uint8Array }[] {
    for (const link of this.links.values()) {
      if (isCommitting || this.now.monotonicMs >= link.saveCursorAt) this.keepCursor(link)
    }
    const records = [...this.#cursors].map(([key, value]) => ({ key, value }))
    this.#cursors.clear()
    return records
  }

  close(link: LinkState, reason: string): void {
    this.outputs.push({ type: 'close', link: link.link, reason })
  }
}
