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
/** How often this clock was set back on the word of one neighbour alone, in a byte, until others have said the same. */
const SET_BACK_KEY = 'sync/set-back'
/**
 * How many hours it has waited, in a byte, since anybody said that it is not ahead: a restart costs one at most, and whoever said so
 * counts though he is out of reach after it, as when the power was off and a router takes its time.
 */
const TIED_KEY = 'sync/tied'

interface Votes {
  /** Of those that know the time, by how many own stamps are ahead, and by how many they are not. */
  readonly ahead: number
  readonly against: number
  /** How many say what is believed. */
  readonly alike: number
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
  if (against > ahead) {
    core.aheadSince = null
    core.tiedUntil = null
    keepHoursTied(core, 0)
    return 'outvoted'
  }
  core.aheadSince ??= core.now.monotonicMs
  const isTied = against > 0 && against === ahead
  if (!isTied && alike > 1) {
    if (timesSetBack(core) > 0) core.removeRecord(SET_BACK_KEY)
    return null
  }
  if (isTied || hoursTied(core) !== null) return isTieOver(core) ? null : 'tied'
  return core.now.monotonicMs - core.aheadSince < loneMs(core) ? 'alone' : null
}

function votesOf<Token>(core: Core<Token>): Votes {
  const times = core.time.known(core.now)
  const ahead = times.filter((ms) => isAheadOf(core, ms)).length
  const alike = times.filter((ms) => Math.abs(ms - core.now.wallMs) <= ALIKE_MS).length
  return { ahead, against: times.length - ahead, alike }
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
function isTieOver<Token>(core: Core<Token>): boolean {
  const { monotonicMs } = core.now
  core.tiedUntil ??= monotonicMs + STEADY_MAX_MS - (hoursTied(core) ?? 0) * HOUR_MS
  const leftMs = core.tiedUntil - monotonicMs
  keepHoursTied(core, Math.floor((STEADY_MAX_MS - leftMs) / HOUR_MS))
  return leftMs <= 0
}

/** Null when nobody has contradicted. */
function hoursTied<Token>(core: Core<Token>): number | null {
  return core.surroundings.getRecord(TIED_KEY)?.[0] ?? null
}

function keepHoursTied<Token>(core: Core<Token>, hours: number): void {
  const kept = Math.min(255, hours)
  if (kept !== hoursTied(core)) core.keepRecord(TIED_KEY, Uint8Array.of(kept))
}

function forgetTie<Token>(core: Core<Token>): void {
  core.tiedUntil = null
  if (hoursTied(core) !== null) core.removeRecord(TIED_KEY)
}
