import { InvalidArgumentError, type Command } from 'commander'
import { parseDuration } from '../profile/units.ts'

/** Readers of option values, for commander. */

export function wholeNumber(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('it must be a whole number')
}

/** Nothing, as of a variable that is not set, would be the working directory. */
export function folder(text: string): string {
  if (text !== '') return text
  throw new InvalidArgumentError('it must name a folder')
}

/** How long a write is to take. */
export interface WaitFlags {
  readonly wait: string
  readonly timeout?: string
}

export function withWait(command: Command): Command {
  return command
    .option(
      '--wait <what>',
      'return once it is on the disk here (durable), or once so many other gateways have it on theirs',
      durableOrNumber,
      'durable',
    )
    .option(
      '--timeout <duration>',
      'with --wait N: give up waiting after this, like 10s (30s when not given)',
      isDuration,
    )
    .hook('preAction', (_program, its) => {
      const { wait, timeout } = its.opts<WaitFlags>()
      if (wait === 'durable' && timeout !== undefined)
        its.error("error: option '--timeout <duration>' needs '--wait N': a write here waits for nobody")
    })
}

/** What it adds to the address of a write. */
export function waitText({ wait, timeout }: WaitFlags): string {
  if (wait === 'durable') return ''
  return timeout === undefined ? `?wait=${wait}` : `?wait=${wait}&timeout=${timeout}`
}

function durableOrNumber(text: string): string {
  return text === 'durable' ? text : String(wholeNumber(text))
}

function isDuration(text: string): string {
  duration(text)
  return text
}

/** Milliseconds. */
export function duration(text: string): number {
  const parsed = parseDuration(text)
  if (!parsed.ok) throw new InvalidArgumentError(parsed.error.message)
  return parsed.value
}

export interface QueryOptions {
  readonly prefix?: string
  readonly where?: string
  readonly order?: string
  readonly limit?: number
  readonly from?: string
  readonly to?: string
  readonly latest?: boolean
}

export function withQuery(command: Command): Command {
  return command
    .option('--prefix <prefix>', 'only keys that begin so')
    .option('--where <expr>', 'only documents for which this holds: field op value, joined by and/or')
}

/** Which rows of a series. */
export function withTimes(command: Command): Command {
  return command
    .option(
      '--from <time>',
      'only rows of a series from then on: a time like 2026-11-23T17:00Z, or how long ago like 2h',
    )
    .option('--to <time>', 'only rows of a series before then')
    .option('--latest', 'only the last row of each key of a series')
}
