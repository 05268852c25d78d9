import { GATEWAY_LIMITS } from '../base/limits.ts'
import type { Batch } from '../model/batch.ts'
import type { Core } from './core.ts'
import type { FeedState } from './feeds.ts'
import { isFuture } from './future.ts'
import type { LinkState } from './link.ts'
import { isVoid } from './sealing.ts'

/**
 * Checkpoints that are offered before their time (protocol D15, D16). Others may have what comes before them, so only that neighbour is
 * not asked for the feed meanwhile. And where its author's clock stays ahead, each that is offered is newer and before its time too: the
 * first one waits here, so that the feed can go on by that.
 */

/** The checkpoint that a feed can go on by, of one that is offered and the one that waited; null when both are before their time. */
export function inTimeOf<Token>(core: Core<Token>, link: LinkState, state: FeedState, offered: Batch): Batch | null {
  const waiting = waitingOf(link, state)
  const found = [offered, waiting].find((batch) => batch !== null && !isFuture(core, state.feed, batch.header.hlc))
  if (found) link.early.delete(state)
  return found ?? null
}

/** Lets it wait, unless another does; false when too many do on this link. */
export function keepEarly(link: LinkState, state: FeedState, offered: Batch): boolean {
  if (waitingOf(link, state) !== null) return true
  // Those that wait no longer were perhaps not looked at since.
  for (const other of link.early.keys()) waitingOf(link, other)
  if (link.early.size >= GATEWAY_LIMITS.earlyPerLinkMax) return false
  link.early.set(state, offered)
  return true
}

/** Whether the neighbour has offered what is before its time, so that it would offer that or the like again. */
export function isEarlyThere<Token>(core: Core<Token>, link: LinkState, state: FeedState): boolean {
  const waiting = waitingOf(link, state)
  return waiting !== null && isFuture(core, state.feed, waiting.header.hlc)
}

function waitingOf(link: LinkState, state: FeedState): Batch | null {
  const waiting = link.early.get(state)
  if (waiting === undefined) return null
  // It is passed by now, or void: its author has set its clock back.
  if (waiting.header.seq > state.tip.seq && !isVoid(state, waiting)) return waiting
  link.early.delete(state)
  return null
}
