/** What is known of a link that is up. */
export interface LinkMeasures {
  /** Between a ping and its answer; null before the first. */
  readonly latencyMs: number | null
  /** The share of pings that went unanswered lately, 0 to 1. */
  readonly loss: number
  /** Feeds of which the neighbour has not confirmed from one ping to the next what it was told of. */
  readonly behind: number
  readonly upMs: number
  /** It goes through a third party's broker, or its other end pays for what it sends. */
  readonly isRelayed: boolean
  readonly isMetered: boolean
}

/** Where each of these halves a link's quality; and what a young link and a costly one keep of theirs. */
const LATENCY_MS = 100
const BEHIND = 16
const STEADY_MS = 600_000
const YOUNG = 0.8
const COSTLY = 0.6

/** What a link is expected to be worth that never was. */
export const UNKNOWN_QUALITY = 60

/**
 * How good a link is, 0 to 100: the product of what round-trip time, loss, lag, age and cost leave of it. Near 100 is a
 * steady link in a local network, 50 one of 100 ms, below 20 one that hardly carries anything.
 */
export function qualityOf({ latencyMs, loss, behind, upMs, isRelayed, isMetered }: LinkMeasures): number {
  const near = LATENCY_MS / (LATENCY_MS + (latencyMs ?? 0))
  const sound = (1 - loss) ** 2
  const current = BEHIND / (BEHIND + behind)
  const steady = YOUNG + (1 - YOUNG) * Math.min(1, upMs / STEADY_MS)
  const cheap = (isRelayed ? COSTLY : 1) * (isMetered ? COSTLY : 1)
  return Math.round(100 * near * sound * current * steady * cheap)
}
