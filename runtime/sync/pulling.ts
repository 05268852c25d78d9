import { LAST_MS } from '../model/stamp.ts'
import { TIMES, type Core } from './core.ts'
import { isEarlyThere } from './early.ts'
import type { FeedState } from './feeds.ts'
import type { LinkState } from './link.ts'
import { SILENT_MS } from './pace.ts'
import { isPressing, isPrivileged } from './priority.ts'

/**
 * Whom to ask for which feed: each feed has one parent, the link that pushes it, and those of high and urgent collections two; the
 * others only tell their heads (protocol D26, after Plumtree and EBT). So every batch comes about once, or twice, however many
 * links there are.
 */

/** A feed further behind catches up from one parent before it has a second. */
const SECOND_LAG_MAX = 8

/** A link told its head of a feed, or something about asking changed. */
export function considerFeed<Token>(core: Core<Token>, state: FeedState): void {
  if (state.isOwn || state.isRefused) return
  // Its author isn't known as a member yet: nothing is asked for.
  if (!core.surroundings.authority.isKnown(state.feed)) {
    state.isRefused = true
    return
  }
  if (isAheadElsewhere(core, state)) {
    core.behind.add(state)
    if (core.shareAt === Number.POSITIVE_INFINITY) core.shareAt = core.now.monotonicMs + TIMES.shareMs
  } else {
    core.behind.delete(state)
    state.deferrals = 0
  }
  // While the disk refuses what comes it is asked for when that is due, whatever is told.
  if (isWaiting(core, state) || state.refusals > 0) return
  if (state.parent === null) askBest(core, state)
  else if (state.second === null && isPressing(core, state)) askSecond(core, state)
}

/** Capabilities were learned: what was refused may be allowed now. */
export function considerRefused<Token>(core: Core<Token>): void {
  for (const state of core.feeds.values()) {
    if (!state.isRefused) continue
    state.isRefused = false
    considerFeed(core, state)
  }
}

/** A link went down: its feeds need another parent. */
export function replaceParent<Token>(core: Core<Token>, gone: LinkState): void {
  for (const state of core.feeds.values()) {
    if (state.second === gone) state.second = null
    if (state.broughtBy === gone) state.broughtBy = null
    // Whoever is asked now offers it anew.
    if (state.fill?.link === gone) state.fill = null
    state.deferredBy.delete(gone)
    if (state.parent !== gone) continue
    state.parent = null
    state.rewindTip()
    if (state.second !== null && mayAsk(core, state.second, state)) ask(core, state.second, state)
    considerFeed(core, state)
  }
}

/** Asks again, or somebody else, for feeds that are behind and don't move. */
export function retryBehind<Token>(core: Core<Token>): void {
  for (const state of core.behind) {
    if (!isAheadElsewhere(core, state)) {
      core.behind.delete(state)
      // Whoever had another branch is gone: when somebody is ahead again it is looked into anew.
      state.isRefused = false
      continue
    }
    if (isWaiting(core, state) || core.now.monotonicMs < retryAt(core, state)) continue
    const old = state.parent
    if (!askBest(core, state)) postpone(core, state)
    else if (old && old !== state.parent) prune(core, old, state)
  }
}

export function retryDeadline<Token>(core: Core<Token>): number {
  let deadline = Number.POSITIVE_INFINITY
  for (const state of core.behind) {
    const wait = state.deferredUntilMs > 0 ? Math.max(0, state.deferredUntilMs - core.now.wallMs) : 0
    deadline = Math.min(deadline, Math.max(retryAt(core, state), core.now.monotonicMs + Math.min(wait, TIMES.askMsMax)))
  }
  return deadline
}

/** Where the parent has much to bring a feed waits for its turn as long as others come, unless it goes before them. */
function retryAt<Token>(core: Core<Token>, state: FeedState): number {
  const { touchedAt, attempts, refusals, parent } = state
  const waitMs = Math.min(patienceMs(parent) * 2 ** Math.max(attempts, refusals - 1), TIMES.askMsMax)
  if (parent?.isBusy !== true || isPressing(core, state) || isPrivileged(core, state)) return touchedAt + waitMs
  return Math.min(Math.max(touchedAt, parent.broughtAt) + Math.max(waitMs, SILENT_MS), touchedAt + TIMES.askMsMax)
}

/**
 * What was asked for can't be there before a round trip is over: on a slow line it would come as often as it was asked for. Nothing waits
 * for longer than the longest pause.
 */
export function patienceMs(asked: LinkState | null): number {
  return Math.min(Math.max(TIMES.askMs, asked?.latencyMs ?? 0), TIMES.askMsMax)
}

/**
 * Sends WANT to the link that holds the most of the feed, before those whose neighbours count what they send; when that brings nothing
 * to the next one, and so on: what a neighbour says that it holds need not be true.
 */
function askBest<Token>(core: Core<Token>, state: FeedState): boolean {
  const moreOf = (link: LinkState): number =>
    Math.max(headThere(link, state) - Math.max(state.tip.seq, link.peerLow(state) - 1), 0)
  const able = [...core.links.values()].filter(
    (link) => link.isGreeted && link.theirAliases.has(state) && mayAsk(core, link, state),
  )
  const ahead = able
    .filter((link) => moreOf(link) > 0)
    .sort((a, b) => Number(a.isMetered) - Number(b.isMetered) || moreOf(b) - moreOf(a))
  const asked = ahead.length > 0 ? ahead : able
  const link = asked[state.attempts % asked.length]
  if (!link) return false
  ask(core, link, state)
  return true
}

/** Whatever comes over both links counts once. */
function askSecond<Token>(core: Core<Token>, state: FeedState): void {
  for (const link of core.links.values()) {
    const alias = link.theirAliases.get(state)
    const isAble = link.isGreeted && link !== state.parent && mayAsk(core, link, state)
    if (alias === undefined || !isAble || link.peerHead(state) - state.tip.seq > SECOND_LAG_MAX) continue
    state.second = link
    return core.say(link, { type: 'want', entries: [[alias, state.tip.seq + 1, 1]] })
  }
}

/** Nobody can be asked now. */
function postpone<Token>(core: Core<Token>, state: FeedState): void {
  state.touchedAt = core.now.monotonicMs
  state.attempts += 1
}

/** The neighbour's copy of the batch is of no use: it isn't asked for the feed for a while, twice as long each time. */
export function spoil<Token>(core: Core<Token>, link: LinkState, state: FeedState, seq: number): void {
  const before = link.spoiled.get(state)
  const times = before?.seq === seq ? before.times + 1 : 1
  const untilMs = core.now.monotonicMs + Math.min(TIMES.askMs * 2 ** times, TIMES.askMsMax)
  link.spoiled.set(state, { seq, untilMs, times })
}

/** A neighbour goes by what it was asked last of a feed: that would take the place of what was just asked for as evidence. */
function mayAsk<Token>(core: Core<Token>, link: LinkState, state: FeedState): boolean {
  const { probe } = state
  const isProbed = probe?.link === link && core.now.monotonicMs < probe.askedAt + TIMES.askMs
  const isLate = isDeferred(core, state) && state.deferredBy.has(link)
  return !isProbed && !isLate && !isSpoiled(core, link, state) && !isEarlyThere(core, link, state)
}

function isSpoiled<Token>(core: Core<Token>, link: LinkState, state: FeedState): boolean {
  const spoiled = link.spoiled.get(state)
  if (spoiled === undefined) return false
  if (state.tip.seq >= spoiled.seq) link.spoiled.delete(state)
  return state.tip.seq < spoiled.seq && core.now.monotonicMs < spoiled.untilMs
}

/** Makes `link` the parent of the feed and asks for everything after what is held or on its way to the disk. */
export function ask<Token>(core: Core<Token>, link: LinkState, state: FeedState): void {
  const alias = link.theirAliases.get(state)
  if (alias === undefined) return
  const isUnderWay = core.now.monotonicMs - state.touchedAt < patienceMs(link) && state.attempts > 0
  if (state.parent === link && isUnderWay) return
  state.parent = link
  if (state.second === link) state.second = null
  state.touchedAt = core.now.monotonicMs
  state.attempts += 1
  // What didn't come may wait for credit that was given, and lost on its way.
  if (state.attempts > 1) link.isAckDue = true
  core.say(link, { type: 'want', entries: [[alias, state.tip.seq + 1, 1]] })
}

/** Tells a link that pushes what another pushes already to tell its heads only. */
export function prune<Token>(core: Core<Token>, link: LinkState, state: FeedState): void {
  const alias = link.theirAliases.get(state)
  if (alias !== undefined && state.parent !== null)
    core.say(link, { type: 'want', entries: [[alias, state.tip.seq + 1, 2]] })
}

/**
 * What the parent pushes somebody else had brought before: the one that is much nearer goes on, and the other doesn't. While much is
 * lacking it counts who brings more, not who is nearer.
 */
export function chooseOne<Token>(core: Core<Token>, parent: LinkState, state: FeedState): void {
  const other = state.broughtBy
  if (other === null || other === parent || other === state.second || core.links.get(other.link) !== other) return
  const mayGoOn = leftOf(core, state) <= SECOND_LAG_MAX && !isCostlier(other, parent)
  const isNearer = mayGoOn && (other.latencyMs ?? Number.POSITIVE_INFINITY) * 2 < (parent.latencyMs ?? 0)
  if (isNearer) ask(core, other, state)
  prune(core, isNearer ? parent : other, state)
}

/** How many batches are lacking of what neighbours have. */
export function leftOf<Token>(core: Core<Token>, state: FeedState): number {
  let head = 0
  for (const link of core.links.values()) head = Math.max(head, headThere(link, state))
  return Math.max(0, head - state.tip.seq)
}

/** Whether another link may go on with it: it moves, or was asked for just once, and nothing of it is looked into or fetched by number. */
export function isMovable<Token>(core: Core<Token>, state: FeedState): boolean {
  const isPlain = state.fill === null && state.probe === null && state.holes.isEmpty
  if (!isPlain || state.attempts > 1) return false
  return !state.isRefused && !state.isRewinding && !core.cutting.has(state) && !isDeferred(core, state)
}

/** Its neighbour counts the bytes that it sends, and the other's doesn't. */
export function isCostlier(link: LinkState, other: LinkState): boolean {
  return link.isMetered && !other.isMetered
}

/** Whether the link's neighbour has as much of the feed as its parent, and at no greater cost. */
export function mayTakeOver<Token>(core: Core<Token>, link: LinkState, state: FeedState): boolean {
  const { parent } = state
  if (parent === null || !link.theirAliases.has(state) || !mayAsk(core, link, state)) return false
  const isWhole = link.peerHead(state) >= parent.peerHead(state) && link.peerLow(state) <= state.tip.seq + 1
  return isWhole && !isCostlier(link, parent)
}

/** Goes on over another link. What is under way over the old one is taken too, whichever comes first. */
export function takeOver<Token>(core: Core<Token>, link: LinkState, state: FeedState): void {
  if (state.parent !== null) prune(core, state.parent, state)
  ask(core, link, state)
}

function isAheadElsewhere<Token>(core: Core<Token>, state: FeedState): boolean {
  for (const link of core.links.values()) if (headThere(link, state) > state.tip.seq) return true
  return false
}

/** What is void of a sealed feed is not lacking, however long a neighbour that hasn't heard of the seal goes on telling of it. */
function headThere(link: LinkState, state: FeedState): number {
  return Math.min(link.peerHead(state), state.cut - 1)
}

/**
 * What comes next waits for its time. When that is far, and a neighbour that hasn't sent it is ahead, that one may have another batch in its
 * place: its author had set its clock back, and nobody knows any more what it wrote before.
 */
function isWaiting<Token>(core: Core<Token>, state: FeedState): boolean {
  if (!isDeferred(core, state)) return false
  if (state.deferredUntilMs < core.now.wallMs + TIMES.stuckMs) return true
  for (const link of core.links.values())
    if (!state.deferredBy.has(link) && headThere(link, state) > state.tip.seq) return false
  return true
}

function isDeferred<Token>(core: Core<Token>, state: FeedState): boolean {
  if (state.deferredUntilMs === 0) return false
  const isBelieved = core.now.trust > 0 || state.deferredUntilMs > LAST_MS - TIMES.futureMs
  if (isBelieved && core.now.wallMs < state.deferredUntilMs) return true
  state.deferredUntilMs = 0
  return false
}
