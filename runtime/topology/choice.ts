import { DISCOVERY_LIMITS } from '../base/limits.ts'
import type { Cells } from './cells.ts'
import { rendezvous } from './rendezvous.ts'

export interface ChoiceInput {
  readonly peerId: string
  /** Who is alive: this gateway, its neighbours, and whom they reach. */
  readonly cells: Cells
  /** `mesh.links` of the profile. */
  readonly links: { readonly min: number; readonly max: number }
  /** The quality of each link that is up, by peer. */
  readonly linked: ReadonlyMap<string, number>
  /** Neighbours whose links the profile asks for. */
  readonly kept: ReadonlySet<string>
  /** Whether a link of our own with it is to stand, whatever other ways there are. */
  readonly isSought: (peerId: string) => boolean
  /** Whether it has not been reached lately, or nobody knows where it is. */
  readonly isFailing: (peerId: string) => boolean
  /** The quality that a link with it may be expected to have. */
  readonly expected: (peerId: string) => number
  /** Who was dialled last because it may be better than a neighbour, and when; monotonic milliseconds. */
  readonly trial: Trial | null
  readonly nowMs: number
}

export interface Trial {
  readonly peerId: string
  readonly atMs: number
}

export interface Choice {
  /** Whom to be linked with, most needed first; `max` at most. */
  readonly wanted: readonly string[]
  /** Of these, those that are sought, and without whom the cell's ring or the way to other cells lacks a link. */
  readonly essential: ReadonlySet<string>
  /** Who comes next when a link is lost, best first. */
  readonly passive: readonly string[]
  readonly isBridge: boolean
  readonly trial: Trial | null
}

/** A cell of so many or fewer is a full mesh. */
const FULL_MESH_MAX = 8
/** In a greater one each keeps so many links, those of the ring among them. */
const ACTIVE = 4
/** The worst link makes way for a better one so often at most, and only for one that is better by so much. */
const TRIAL_MS = 60_000
const BETTER_BY = 20

/** How many links within a great cell a gateway keeps: one fewer than it may have, for whoever finds no place elsewhere. */
export function activeDegree({ min, max }: ChoiceInput['links']): number {
  return Math.min(max, Math.max(min, Math.min(ACTIVE, max - 1)))
}

/**
 * Whom a gateway is to be linked with (protocol D26): its neighbours in the ring of its cell, as a bridge two other cells,
 * and of its cell all others when it is small, some when it is not; so links grow with the number of gateways and not with
 * its square, and no single gateway holds a cell together.
 */
export function chooseLinks(input: ChoiceInput): Choice {
  const { peerId, cells, links, kept } = input
  const mates = cells.members(cells.node(peerId)?.cell ?? '').filter((mate) => mate !== peerId)
  const essential = new Set([...sought(input), ...ringOf(input), ...bridged(input)])
  const wanted = new Set([...kept, ...essential])
  let trial = input.trial
  if (mates.length < FULL_MESH_MAX) for (const mate of mates) wanted.add(mate)
  else trial = fill(input, mates, wanted)
  const passive = ranked(input, mates).filter((mate) => !wanted.has(mate))
  return {
    wanted: [...wanted].slice(0, links.max),
    essential,
    passive: passive.slice(0, DISCOVERY_LIMITS.passiveMax),
    isBridge: cells.isBridge(peerId),
    trial,
  }
}

function sought({ peerId, cells, linked, isSought, isFailing }: ChoiceInput): string[] {
  const others = cells.all().filter((other) => other !== peerId && isSought(other))
  return others.filter((other) => linked.has(other) || !isFailing(other))
}

/** The next in the cell in both directions, by id; of those who can't be reached the ones behind them too. */
function ringOf({ peerId, cells, linked, isFailing }: ChoiceInput): string[] {
  const members = cells.members(cells.node(peerId)?.cell ?? '')
  const at = members.indexOf(peerId)
  const found = new Set<string>()
  for (const step of [1, members.length - 1]) {
    for (let i = 1; i < members.length; i++) {
      const next = members[(at + i * step) % members.length] as string
      if (linked.has(next) || !isFailing(next)) {
        found.add(next)
        break
      }
    }
  }
  return [...found]
}

function bridged({ peerId, cells, linked, isFailing }: ChoiceInput): string[] {
  return cells.bridgeLinks(peerId).flatMap((bridges) => {
    const able = bridges.find((bridge) => linked.has(bridge)) ?? bridges.find((bridge) => !isFailing(bridge))
    return able === undefined ? [] : [able]
  })
}

/** Fills up to the active degree: links that are up come first, the best of them; then whoever has few. */
function fill(input: ChoiceInput, mates: readonly string[], wanted: Set<string>): Trial | null {
  const { linked, links, expected, trial, nowMs } = input
  const lacking = (): number => activeDegree(links) - mates.filter((mate) => wanted.has(mate)).length
  const held = mates.filter((mate) => linked.has(mate) && !wanted.has(mate))
  held.sort((a, b) => (linked.get(b) as number) - (linked.get(a) as number))
  const chosen = held.slice(0, Math.max(0, lacking()))
  for (const mate of chosen) wanted.add(mate)
  const free = ranked(input, mates).filter((mate) => !wanted.has(mate) && !linked.has(mate))
  for (const mate of free.splice(0, Math.max(0, lacking()))) wanted.add(mate)
  const isOver = trial === null || nowMs >= trial.atMs + TRIAL_MS
  if (!isOver) {
    if (free.includes(trial.peerId)) wanted.add(trial.peerId)
    return trial
  }
  const worst = chosen.at(-1)
  const best = free.reduce<string | null>((a, b) => (a !== null && expected(a) >= expected(b) ? a : b), null)
  if (worst === undefined || best === null) return null
  if (expected(best) < (linked.get(worst) as number) + BETTER_BY) return null
  wanted.add(best)
  return { peerId: best, atMs: nowMs }
}

/** Who can be dialled, those with few links first; among equals by a hash that is the same seen from both. */
function ranked({ peerId, cells, isFailing }: ChoiceInput, mates: readonly string[]): string[] {
  const rank = (mate: string): { mate: string; isBusy: boolean; hash: number } => ({
    mate,
    isBusy: (cells.node(mate)?.links ?? 0) >= ACTIVE,
    hash: peerId < mate ? rendezvous(peerId, mate) : rendezvous(mate, peerId),
  })
  const ranks = mates.filter((mate) => !isFailing(mate)).map(rank)
  ranks.sort((a, b) => Number(a.isBusy) - Number(b.isBusy) || b.hash - a.hash)
  return ranks.map(({ mate }) => mate)
}
