import { MarramError } from '../base/errors.ts'
import { parseDuration } from './units.ts'

export interface Wait {
  readonly wait?: number
  readonly timeoutMs?: number
}

/**
 * Reads how a request wants to wait for its write: `wait` is how many other gateways (a number, or text of one), or `durable`
 * for none; `timeout` a duration. Throws `bad-request`.
 */
export function waitOf(wait: unknown, timeout: unknown): Wait {
  return { ...(isGiven(wait) && { wait: countOf(wait) }), ...(isGiven(timeout) && { timeoutMs: msOf(timeout) }) }
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null
}

function countOf(wait: unknown): number {
  if (wait === 'durable') return 0
  const count = typeof wait === 'string' && /^\d{1,9}$/.test(wait) ? Number(wait) : wait
  if (typeof count === 'number' && Number.isSafeInteger(count) && count >= 0) return count
  throw new MarramError('bad-request', 'Cannot wait so: "wait" must be "durable" or a number of other gateways')
}

function msOf(timeout: unknown): number {
  const parsed = parseDuration(typeof timeout === 'string' ? timeout : '')
  if (parsed.ok) return parsed.value
  throw new MarramError('bad-request', 'Cannot wait so: "timeout" must be a duration like "10s"')
}
