import { parseArgs } from 'node:util'

export interface Options {
  readonly seed: number
  readonly seeds: number
  /** 0 takes what the seed says. */
  readonly gateways: number
  /** 0 takes what the seed says, as of the writes. */
  readonly minutes: number
  readonly writes: number
  readonly jobs: number
  /** Seconds after which no more seeds are begun. */
  readonly budget: number
  readonly plant: string | null
  readonly first: boolean
  /** Null: as the seed says. */
  readonly forks: boolean | null
  readonly removals: boolean | null
  readonly interests: boolean | null
  readonly encrypted: boolean | null
  readonly history: 'long' | 'short'
  readonly liveness: boolean | null
  readonly overruns: boolean | null
  readonly versions: boolean | null
  readonly byzantine: 'no' | 'some' | 'all' | null
}

export const USAGE = `npm run sim -- [options]

  --seed N        the first seed (1)
  --seeds COUNT   how many seeds, one after the other (100)
  --gateways N    2 to 50 gateways in each run; 0, as the seed says (0)
  --minutes N     virtual minutes of faults, 1 to 60; 0, as the seed says (0)
  --writes N      how often each gateway writes at most, 5 to 1000; 0, as the seed says (0)
  --forks yes|no  whether cards are copied and stores put back; otherwise in about every fourth run
  --removals yes|no  whether a member is retired or revoked; otherwise in about every fourth run
  --interests yes|no  whether gateways keep different collections, and change that; otherwise in about every fourth run
  --encrypted yes|no  whether a collection is encrypted, one gateway has no key and one gets it late; otherwise in about every
                  seventh run
  --history long|short  short: compactions, deletes and cut links come often, and what was overtaken goes soon (long)
  --liveness yes|no  whether only a core is healed after the faults, all others stay cut off or dead, and the core must
                  be equal within 20 virtual minutes; otherwise in every seventh run
  --overruns yes|no  whether clocks run ahead to 2099 for a while and are believed; otherwise in every eleventh run
  --versions yes|no  whether one member is updated to a later version and put back, again and again, and leaves what the others
                  don't understand; otherwise in every ninth run
  --byzantine no|some|all  whether one member signs with its own key what isn't so, and the others must be equal all the
                  same: some, two batches of one number and false beacons while there are faults; all, false checkpoints
                  too and for ever. In some runs they are not yet equal in what the liar wrote (no)
  --jobs N        processes that share the seeds, 1 to 64 (1)
  --budget S      begins no more seeds after so many seconds
  --hours H       the same in hours
  --first         ends at the first violation, which is not shrunk
  --plant NAME    runs a copy of the program with a bug in it; --plant list names them
  --help          this

Of a hundred seeds 97 have 2 to 8 or 10 gateways (5 on average), one has 9, one 11 to 19 and one 20 to 50; every size occurs.
Meshes of up to 10 have 3 minutes of faults, larger ones 1. Each gateway writes 5 to 60 times, in meshes of more than 5 up to
180 / gateways times, every tenth time 50 to 150 operations at once.

The last line is one JSON object, progress and violations are on stderr. It ends with 0, with 1 when there was a violation,
and with 2 when it was called wrongly. What a run costs: npm run sim -- --seeds 20 --gateways 12`

/** What is wrong with the command line, in a sentence for whoever typed it. */
export class UsageError extends Error {}

/** Null when help is asked for. Throws a UsageError. */
export function optionsOf(args: readonly string[]): Options | null {
  const values = parsed(args)
  if (values.help) return null
  if (values.budget !== undefined && values.hours !== undefined) {
    throw new UsageError('Cannot use "--budget" and "--hours" together: both say when to end')
  }
  return {
    seed: integer('seed', values.seed, 0, 2 ** 24 - 1),
    seeds: integer('seeds', values.seeds, 1, 2 ** 24),
    gateways: orZero('gateways', values.gateways, 2, 50),
    minutes: orZero('minutes', values.minutes, 1, 60),
    writes: orZero('writes', values.writes, 5, 1_000),
    jobs: integer('jobs', values.jobs, 1, 64),
    budget: seconds('budget', values.budget) ?? (seconds('hours', values.hours) ?? Number.POSITIVE_INFINITY) * 3_600,
    plant: values.plant ?? null,
    first: values.first,
    forks: yesOrNo('forks', values.forks),
    removals: yesOrNo('removals', values.removals),
    interests: yesOrNo('interests', values.interests),
    encrypted: yesOrNo('encrypted', values.encrypted),
    history: oneOf('history', values.history, ['long', 'short']),
    liveness: yesOrNo('liveness', values.liveness),
    overruns: yesOrNo('overruns', values.overruns),
    versions: yesOrNo('versions', values.versions),
    byzantine:
      values.byzantine === undefined
        ? null
        : oneOf<'no' | 'some' | 'all'>('byzantine', values.byzantine, ['no', 'some', 'all']),
  }
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        seed: { type: 'string', default: '1' },
        seeds: { type: 'string', default: '100' },
        gateways: { type: 'string', default: '0' },
        minutes: { type: 'string', default: '0' },
        writes: { type: 'string', default: '0' },
        jobs: { type: 'string', default: '1' },
        budget: { type: 'string' },
        hours: { type: 'string' },
        plant: { type: 'string' },
        first: { type: 'boolean', default: false },
        forks: { type: 'string' },
        removals: { type: 'string' },
        interests: { type: 'string' },
        encrypted: { type: 'string' },
        history: { type: 'string', default: 'long' },
        liveness: { type: 'string' },
        overruns: { type: 'string' },
        versions: { type: 'string' },
        byzantine: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    }).values
  } catch (error) {
    const why = error instanceof Error ? (error.message.split('. ')[0] as string) : String(error)
    throw new UsageError(`Cannot read the command line: ${why}`)
  }
}

/** 0 is what the seed says. */
function orZero(name: string, text: string, min: number, max: number): number {
  return text === '0' ? 0 : integer(name, text, min, max)
}

function integer(name: string, text: string, min: number, max: number): number {
  const number = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (number >= min && number <= max) return number
  throw new UsageError(`Cannot use "${text}" for --${name}: it must be an integer from ${min} to ${max}`)
}

function seconds(name: string, text: string | undefined): number | null {
  if (text === undefined) return null
  if (/^\d+(\.\d+)?$/.test(text) && Number(text) > 0) return Number(text)
  throw new UsageError(`Cannot use "${text}" for --${name}: it must be a number above 0`)
}

function yesOrNo(name: string, text: string | undefined): boolean | null {
  return text === undefined ? null : oneOf(name, text, ['yes', 'no']) === 'yes'
}

function oneOf<Choice extends string>(name: string, text: string, choices: readonly Choice[]): Choice {
  const found = choices.find((choice) => choice === text)
  if (found !== undefined) return found
  throw new UsageError(`Cannot use "${text}" for --${name}: it must be ${choices.join(' or ')}`)
}
