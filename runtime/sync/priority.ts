import { isSystemName } from '../model/names.ts'
import type { Core } from './core.ts'
import type { FeedState } from './feeds.ts'
import type { LinkState, Subscription } from './link.ts'

/**
 * Which batches go first on a link (protocol D27): four classes take turns by deficit round robin (Shreedhar and Varghese 1995),
 * and no more is under way than the neighbour soon deals with, so that what is urgent neither waits behind a bulk catch-up nor
 * starves it.
 */
export type Class = 0 | 1 | 2 | 3

const CONTROL = 0
const HIGH = 1
const NORMAL = 2
const BULK = 3

const WEIGHTS = [8, 4, 2, 1] as const
/** Bytes that a class of weight 1 may send in one turn. */
const TURN_BYTES = 16_384
const WINDOW_BYTES_FIRST = 131_072
const WINDOW_BYTES_MIN = 65_536
const WINDOW_MS = 750
/** Normal feeds with more batches to send are catching up, which is bulk. */
const BACKLOG_BATCHES = 32

/** System collections first: members, seals and proofs decide over all others. Then as the profile says. */
export function classOf<Token>(core: Core<Token>, state: FeedState, { next, wanted }: Subscription): Class {
  const { collection } = state.feed.descriptor
  if (isSystemName(collection)) return CONTROL
  switch (core.flow.priority.get(collection)) {
    case 'urgent':
    case 'high':
      return HIGH
    case 'low':
      return BULK
    case 'normal':
    case undefined:
      return wanted !== null || state.head.seq - next >= BACKLOG_BATCHES ? BULK : NORMAL
  }
}

/** Whether it is of a high or urgent collection. */
export function isPressing<Token>(core: Core<Token>, { feed }: FeedState): boolean {
  const priority = core.flow.priority.get(feed.descriptor.collection)
  return priority === 'high' || priority === 'urgent'
}

/** What goes even when the budget is short: of urgent collections and of the system's. */
export function isPrivileged<Token>(core: Core<Token>, { feed: { descriptor } }: FeedState): boolean {
  return isSystemName(descriptor.collection) || core.flow.priority.get(descriptor.collection) === 'urgent'
}

/** What is subscribed and may have something to send, by class; within one, urgent collections come before high ones. None when nothing is. */
export function queuesOf<Token>(core: Core<Token>, link: LinkState): FeedState[][] {
  const queues: FeedState[][] = []
  for (const state of link.pending) {
    const subscription = link.subscriptions.get(state)
    if (!subscription) continue
    // Mostly others are.
    if (queues.length === 0) for (const _ of WEIGHTS) queues.push([])
    const queue = queues[classOf(core, state, subscription)] as FeedState[]
    if (core.flow.priority.get(state.feed.descriptor.collection) === 'urgent') queue.unshift(state)
    else queue.push(state)
  }
  return queues
}

/**
 * Bytes of batches that may be sent now. When nothing is under way all is that the credit allows, so that no batch is greater than
 * the window.
 */
export function creditOf({ creditLimit, sentBytes, window }: LinkState): number {
  const left = creditLimit - sentBytes
  const underWay = window.creditBytes - left
  return underWay <= 0 ? left : Math.min(left, window.bytes - underWay)
}

/**
 * What may be under way to a neighbour: about as much as it deals with in three quarters of a second, within its credit. The rest waits here, where what
 * is urgent can still overtake it, however slow the link is.
 */
export class SendWindow {
  bytes = 0
  /** The neighbour's whole credit. */
  creditBytes = 0
  #measured: { readonly to: number; readonly bytes: number; readonly since: number } | null = null

  open(creditBytes: number): void {
    this.creditBytes = creditBytes
    this.bytes = Math.min(creditBytes, WINDOW_BYTES_FIRST)
  }

  /** After something was sent or dealt with: how long what is under way takes says how much that may be. */
  measure(now: number, sentBytes: number, creditLimit: number): void {
    const dealtWith = creditLimit - this.creditBytes
    if (this.#measured !== null && dealtWith >= this.#measured.to) {
      const { bytes, since } = this.#measured
      this.#measured = null
      const wished = (bytes * WINDOW_MS) / Math.max(1, now - since)
      this.bytes = Math.min(Math.max(wished, WINDOW_BYTES_MIN), this.bytes * 2, this.creditBytes)
    }
    const underWay = sentBytes - dealtWith
    // Of a few bytes the time says nothing about many.
    if (this.#measured === null && underWay >= this.bytes / 2) {
      this.#measured = { to: sentBytes, bytes: underWay, since: now }
    }
  }
}

/** Whose turn it is on one link. A class may overdraw by one frame, which its next turns pay for. */
export class Turns {
  readonly #deficits = WEIGHTS.map(() => 0)
  #at: Class = CONTROL

  /** The class that may send, of those with a queue; null when all queues are empty. */
  next(queues: readonly (readonly FeedState[])[]): Class | null {
    if (queues.every(({ length }) => length === 0)) return null
    for (;;) {
      const isEmpty = queues[this.#at]?.length === 0
      const deficit = this.#deficits[this.#at] as number
      if (!isEmpty && deficit > 0) return this.#at
      // Nothing is saved up by who has nothing to send.
      if (isEmpty) this.#deficits[this.#at] = Math.min(0, deficit)
      this.#at = ((this.#at + 1) % WEIGHTS.length) as Class
      this.#deficits[this.#at] = (this.#deficits[this.#at] as number) + WEIGHTS[this.#at] * TURN_BYTES
    }
  }

  spend(of: Class, bytes: number): void {
    this.#deficits[of] = (this.#deficits[of] as number) - bytes
  }
}
