import { equal } from '../base/bytes.ts'
import { decodeDeterministic, encodeDeterministic, type Item } from '../wire/deterministic.ts'
import { TIMES, type Core } from './core.ts'

/**
 * Why a clock that is ahead of the time that is believed is not set back, or not yet: more of those that know the time say that it is
 * not ahead, or as many; or the believed time is the word of one clock alone.
 */
export type ClockDoubt = 'outvoted' | 'tied' | 'alone'

/** Clocks that are no farther apart say the same. */
const ALIKE_MS = 3_600_000
/** So long must one clock alone go on saying that own stamps are ahead: one with a battery is often put right soon after it was started. */
const LONE_MS = 300_000
/** A neighbour on whose word alone it was set back before must say so for so long at least, and so many times as long each time. */
const STEADY_MS = 60_000
const STEADY_GROWTH = 8
/** None of all that waits for longer. */
const STEADY_MAX_MS = 86_400_000
const HOUR_MS = 3_600_000
/** Of more that contradict the others are not kept. */
const NAMES_MAX = 64
/** How often this clock was set back on the word of one neighbour alone, in a byte, until others have said the same. */
const SET_BACK_KEY = 'sync/set-back'
/**
 * `[hours, peer ids]`: how long it has waited since anybody said that it is not ahead, and who did: a restart costs an hour at most, and
 * whoever said so counts though he is out of reach after it, as when the power was off and a router takes its time.
 */
const TIED_KEY = 'sync/tied'

interface Votes {
  /** Of those that know the time, by whom own stamps are ahead, and by whom they are not. */
  readonly ahead: readonly string[]
  readonly against: readonly string[]
  /** How many say what is believed. */
  readonly alike: number
}

interface Tie {
  readonly hours: number
  readonly by: readonly string[]
}

/** Whether own stamps are far ahead of that time. */
export function isAheadOf<Token>({ clock }: Core<Token>, wallMs: number): boolean {
  return clock.aheadOf(wallMs) > TIMES.aheadMs
}

/** A neighbour has said its time, or a link is gone: whoever waits for that looks again at once. */
export function noteNeighboursTime<Token>(core: Core<Token>): void {
  core.time.noteNeighbours(core.links.values(), core.now.monotonicMs)
  if (core.clockDoubt !== null) core.overrunAt = core.now.monotonicMs
}

/**
 * Weighs who says that own stamps are ahead before any of them become void (protocol D15), though all may have confirmed them: a clock
 * that is hours behind says so of honest stamps. To wait costs time, to set it back wrongly what was written. Null when there is
 * nothing to doubt.
 */
export function weigh<Token>(core: Core<Token>): ClockDoubt | null {
  if (core.isClockAhead) return doubtOf(core)
  core.aheadSince = null
  // Not as long as the time isn't known: a restart ends no tie.
  if (core.now.trust > 0) forgetTie(core)
  return null
}

function doubtOf<Token>(core: Core<Token>): ClockDoubt | null {
  const { ahead, against, alike } = votesOf(core)
  if (against.length > ahead.length) {
    core.aheadSince = null
    core.tiedUntil = null
    keepTie(core, { hours: 0, by: against })
    return 'outvoted'
  }
  core.aheadSince ??= core.now.monotonicMs
  const isTied = against.length > 0 && against.length === ahead.length
  if (!isTied && alike > 1) {
    if (timesSetBack(core) > 0) core.removeRecord(SET_BACK_KEY)
    return null
  }
  // Who had said that it is not ahead, and says now that it is, is out of reach no more.
  const by = [...new Set([...against, ...(tieOf(core)?.by ?? [])])].filter((name) => !ahead.includes(name))
  if (by.length > 0) return isTieOver(core, by) ? null : 'tied'
  forgetTie(core)
  return core.now.monotonicMs - core.aheadSince < loneMs(core) ? 'alone' : null
}

function votesOf<Token>(core: Core<Token>): Votes {
  const times = core.time.known(core.now)
  const names = [...times.keys()]
  const isAhead = (name: string): boolean => isAheadOf(core, times.get(name) as number)
  const alike = [...times.values()].filter((ms) => Math.abs(ms - core.now.wallMs) <= ALIKE_MS).length
  return { ahead: names.filter(isAhead), against: names.filter((name) => !isAhead(name)), alike }
}

/** Longer each time for a neighbour: one that lies could else do that hour after hour. */
function loneMs<Token>(core: Core<Token>): number {
  const times = core.now.trust === 2 ? 0 : timesSetBack(core)
  return Math.min(STEADY_MAX_MS, Math.max(LONE_MS, STEADY_MS * STEADY_GROWTH ** (times - 1)))
}

function timesSetBack<Token>(core: Core<Token>): number {
  return core.surroundings.getRecord(SET_BACK_KEY)?.[0] ?? 0
}

/** Once in the life of an engine: the next is begun with a clock that is set back. */
export function noteSetBack<Token>(core: Core<Token>): void {
  if (core.isSetBackNoted) return
  core.isSetBackNoted = true
  if (core.now.trust === 2 || votesOf(core).alike > 1) return
  core.keepRecord(SET_BACK_KEY, Uint8Array.of(Math.min(255, timesSetBack(core) + 1)))
}

/** A neighbour that says something wrong can hold it up for a day, not for ever. */
function isTieOver<Token>(core: Core<Token>, by: readonly string[]): boolean {
  const { monotonicMs } = core.now
  core.tiedUntil ??= monotonicMs + STEADY_MAX_MS - (tieOf(core)?.hours ?? 0) * HOUR_MS
  const leftMs = core.tiedUntil - monotonicMs
  keepTie(core, { hours: Math.floor((STEADY_MAX_MS - leftMs) / HOUR_MS), by })
  return leftMs <= 0
}

/** Null when nobody has contradicted. */
function tieOf<Token>(core: Core<Token>): Tie | null {
  const record = core.surroundings.getRecord(TIED_KEY)
  const item = record === undefined ? null : decodeDeterministic(record)
  const [hours, by] = item?.ok === true && Array.isArray(item.value) ? (item.value as Item[]) : []
  if (typeof hours !== 'number' || !Array.isArray(by)) return null
  return { hours, by: by.filter((name) => typeof name === 'string') }
}

function keepTie<Token>(core: Core<Token>, { hours, by }: Tie): void {
  const kept = encodeDeterministic([hours, by.toSorted().slice(0, NAMES_MAX)])
  const before = core.surroundings.getRecord(TIED_KEY)
  if (before === undefined || !equal(kept, before)) core.keepRecord(TIED_KEY, kept)
}

function forgetTie<Token>(core: Core<Token>): void {
  core.tiedUntil = null
  if (core.surroundings.getRecord(TIED_KEY) !== undefined) core.removeRecord(TIED_KEY)
}
