import { fail, ok, type Result } from '../base/result.ts'

const DURATION_UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const SIZE_UNITS = { B: 1, KiB: 1_024, MiB: 1_048_576, GiB: 1_073_741_824, TiB: 1_099_511_627_776 } as const

/** `30d`, `15m`, `250ms` in milliseconds. */
export function parseDuration(text: string): Result<number> {
  const ms = amountOf(text, DURATION_UNITS)
  if (ms !== null) return ok(ms)
  return fail(
    'bad-request',
    `Cannot use "${text.slice(0, 60)}" as a duration: it must be a whole number and ms, s, m, h or d`,
  )
}

/** `256MiB`, `2GiB`, `512B` in bytes. */
export function parseSize(text: string): Result<number> {
  const bytes = amountOf(text, SIZE_UNITS)
  if (bytes !== null) return ok(bytes)
  return fail(
    'bad-request',
    `Cannot use "${text.slice(0, 60)}" as a size: it must be a whole number and B, KiB, MiB, GiB or TiB`,
  )
}

/**
 * A time of ISO 8601, from `2026-12` to `2026-12-24T17:00:30.5+01:00`, in Unix milliseconds. `Date.parse` alone takes nearly
 * every text with a digit in it, `3` for March 2001, and 30 February for 2 March.
 */
export function parseTime(text: string): Result<number> {
  const isTime = /^\d{4}-\d\d(-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?)?)?$/.test(text)
  const day = text.slice(0, 10)
  const isDay = day.length < 10 || new Date(day).getUTCDate() === Number(day.slice(8))
  const ms = isTime && isDay ? Date.parse(text) : Number.NaN
  if (Number.isFinite(ms)) return ok(ms)
  return fail('bad-request', `Cannot use "${text.slice(0, 60)}" as a time: it must be one like 2026-12-24T17:00Z`)
}

/** The shortest text that `parseDuration` reads as exactly `ms`. */
export function formatDuration(ms: number): string {
  return formatted(ms, DURATION_UNITS)
}

/** The shortest text that `parseSize` reads as exactly `bytes`. */
export function formatSize(bytes: number): string {
  return formatted(bytes, SIZE_UNITS)
}

interface Units {
  readonly [unit: string]: number
}

/** Null when the text is of another form, or its amount is beyond 2^53. */
function amountOf(text: string, units: Units): number | null {
  const [, digits = '', unit = ''] = /^([0-9]{1,15})([a-zA-Z]{1,3})$/.exec(text) ?? []
  const factor = Object.hasOwn(units, unit) ? units[unit] : undefined
  const amount = Number(digits) * (factor ?? Number.NaN)
  return Number.isSafeInteger(amount) ? amount : null
}

/** In the greatest unit that divides the amount. */
function formatted(amount: number, units: Units): string {
  const fitting = Object.entries(units).filter(([, factor]) => amount % factor === 0 && amount >= factor)
  const [unit, factor] = fitting.at(-1) ?? (Object.entries(units)[0] as [string, number])
  return `${amount / factor}${unit}`
}
