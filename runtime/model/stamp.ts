/**
 * Hybrid logical clock in 53 bits (Kulkarni et al. 2014, "Logical Physical Clocks"): 42 bits of milliseconds since
 * 2020-01-01T00:00:00Z, then an 11-bit counter that carries into the milliseconds. A safe integer of JavaScript, so
 * comparing two stamps is comparing two numbers; it lasts until 2159.
 */
export type Hlc = number

const EPOCH_MS = Date.UTC(2020, 0, 1)
/**
 * No physical clock is believed beyond this, in Unix milliseconds: the range ends in 2159, and nobody's stamp shall use up
 * what is left of it for all.
 */
export const LAST_MS: number = Date.UTC(2100, 0, 1)
const COUNTER = 2048
export const HLC_MAX: Hlc = Number.MAX_SAFE_INTEGER

/** The first stamp of the millisecond `ms` (Unix time); times before 2020 give 0, times after 2159 the greatest. */
export function hlcFromMs(ms: number): Hlc {
  return Math.min(Math.max(0, Math.floor(ms - EPOCH_MS)) * COUNTER, HLC_MAX)
}

/** Unix milliseconds of a stamp. */
export function msOfHlc(hlc: Hlc): number {
  return Math.floor(hlc / COUNTER) + EPOCH_MS
}

/** A write's place in the one total order: time, then place in its batch, then author. Unique for every operation. */
export interface Stamp {
  readonly hlc: Hlc
  /** Index of the operation in its batch. */
  readonly index: number
  /** Peer id of the author. */
  readonly origin: string
}

export function compareStamps(a: Stamp, b: Stamp): number {
  if (a.hlc !== b.hlc) return a.hlc - b.hlc
  if (a.index !== b.index) return a.index - b.index
  return a.origin < b.origin ? -1 : a.origin > b.origin ? 1 : 0
}

/** `2026-11-23T17:21:54.000Z+5.0@peerid`: readable, and sorts like the stamp within one author. */
export function formatStamp(stamp: Stamp): string {
  const time = new Date(msOfHlc(stamp.hlc)).toISOString()
  return `${time}+${stamp.hlc % COUNTER}.${stamp.index}@${stamp.origin}`
}
