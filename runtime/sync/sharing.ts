import { TIMES, type Core } from './core.ts'
import type { FeedState } from './feeds.ts'
import type { LinkState } from './link.ts'
import { isCostlier, isMovable, leftOf, mayTakeOver, takeOver } from './pulling.ts'

/**
 * Whoever comes back after a month asks the first neighbour that greets it for all that it lacks, and others that have it too greet
 * later, or have a faster link. As long as much is lacking its feeds are handed over from one link to another, so that all are
 * done at about the same time (protocol D26). Of a feed that is handed over comes twice what is under way just then, no more.
 */

/** A link that is done sooner gives nothing away: what is under way is about a second's. */
const LEFT_MS_MIN = 3_000
/** The other must be done that much sooner, so that nothing goes to and fro. */
const GAIN = 0.75
/** With fewer batches to come it doesn't begin; once it has begun it goes on until nothing is lacking. */
const BATCHES_MIN = 8
/** A link that was never tried may be that much faster. */
const HOPED = 2

/** What is to come over a link. */
interface Load {
  readonly link: LinkState
  readonly feeds: FeedState[]
  batches: number
}

/** Which links bring what is lacking is looked at while that is much: all are to be done at about the same time. */
export function shareOut<Token>(core: Core<Token>): void {
  if (core.now.monotonicMs < core.shareAt) return
  const loads = loadsOf(core)
  const least = loads.some(({ link }) => link.isBusy) ? 1 : BATCHES_MIN
  const isMuch = loads.reduce((sum, { batches }) => sum + batches, 0) >= least
  for (const load of loads) notePace(core, load, isMuch)
  core.shareAt = isMuch ? core.now.monotonicMs + TIMES.shareMs : Number.POSITIVE_INFINITY
  if (!isMuch || loads.length < 2) return
  for (const load of loads) giveAway(core, load, loads)
}

function loadsOf<Token>(core: Core<Token>): Load[] {
  const loads = new Map<LinkState, Load>()
  for (const link of core.links.values()) if (link.isGreeted) loads.set(link, { link, feeds: [], batches: 0 })
  for (const state of core.behind) {
    const load = state.parent === null ? undefined : loads.get(state.parent)
    if (!load) continue
    load.feeds.push(state)
    load.batches += leftOf(core, state)
  }
  return [...loads.values()]
}

function notePace<Token>(core: Core<Token>, { link, batches }: Load, isMuch: boolean): void {
  const { monotonicMs } = core.now
  if (link.isBusy) link.pace.note(link.brought, monotonicMs - link.pacedAt)
  link.brought = 0
  link.pacedAt = monotonicMs
  link.isBusy = isMuch && batches > 0
}

/**
 * First the feeds of which something came last: they have the longest to wait for their next turn, so the least of them is under way.
 */
function giveAway<Token>(core: Core<Token>, from: Load, loads: readonly Load[]): void {
  const { perMs } = from.link.pace
  const feeds = from.feeds.toReversed().sort((a, b) => b.touchedAt - a.touchedAt)
  for (const state of feeds) {
    if (!isMovable(core, state)) continue
    const batches = leftOf(core, state)
    let best: { readonly to: Load; readonly ms: number } | null = null
    for (const to of loads) {
      if (to === from || !mayTakeOver(core, to.link, state)) continue
      const pace = to.link.pace.perMs ?? (perMs ?? 1) * (to.batches === 0 ? HOPED : 1)
      const ms = (to.batches + batches) / pace
      if (best === null || ms < best.ms) best = { to, ms }
    }
    if (best === null) continue
    const isCheaper = isCostlier(from.link, best.to.link)
    const leftMs = perMs === null ? 0 : from.batches / perMs
    const isWorth = leftMs >= LEFT_MS_MIN && best.ms < leftMs * GAIN
    if (!isCheaper && !isWorth) continue
    takeOver(core, best.to.link, state)
    from.batches -= batches
    best.to.batches += batches
  }
}
