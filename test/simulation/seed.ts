import { violations } from './checks.ts'
import type { Options } from './options.ts'
import { scenarioOf, Simulation, type Scenario } from './simulation.ts'

/** A run that violates something, and the smallest one of the same seed that still does. */
export interface Failure {
  readonly seed: number
  readonly gateways: number
  readonly minutes: number
  /** How often each gateway writes, at most. */
  readonly writes: number
  readonly violations: readonly string[]
}

/** What became of one seed. */
export interface SeedResult {
  readonly seed: number
  /** SHA-256 over everything that happened, in hexadecimal. */
  readonly traceHash: string
  readonly events: number
  readonly cpuSeconds: number
  readonly faults: { readonly [name: string]: number }
  readonly sometimes: { readonly [name: string]: number }
  readonly failure: Failure | null
}

/** Of what kind a run is: what it has besides gateways, links and writes. */
const KINDS = [
  'forks',
  'removals',
  'interests',
  'encrypted',
  'history',
  'liveness',
  'overruns',
  'versions',
  'byzantine',
] as const

type How = Pick<Options, 'gateways' | 'minutes' | 'writes' | 'first' | (typeof KINDS)[number]>

export function runSeed(seed: number, how: How): SeedResult {
  const startedAt = process.cpuUsage()
  const scenario = scenarioFor(seed, how)
  const { simulation, found } = run(scenario)
  const { user, system } = process.cpuUsage(startedAt)
  return {
    seed,
    traceHash: simulation.traceHash,
    events: simulation.schedule.events,
    cpuSeconds: (user + system) / 1e6,
    faults: Object.fromEntries(simulation.faults),
    sometimes: Object.fromEntries(simulation.sometimes),
    failure: found.length === 0 ? null : how.first ? failureOf(scenario, found) : shrunk(scenario, found),
  }
}

/** What was asked for, and for the rest what the seed says. */
export function scenarioFor(seed: number, { gateways, minutes, writes, ...kinds }: Omit<How, 'first'>): Scenario {
  return scenarioOf(seed, {
    ...(gateways > 0 && { gateways }),
    ...(minutes > 0 && { minutes }),
    ...(writes > 0 && { writesMax: writes }),
    ...Object.fromEntries(KINDS.flatMap((kind) => (kinds[kind] === null ? [] : [[kind, kinds[kind]]]))),
  })
}

function run(scenario: Scenario): { simulation: Simulation; found: string[] } {
  const simulation = new Simulation(scenario)
  try {
    simulation.run()
    return { simulation, found: violations(simulation) }
  } catch (error) {
    return { simulation, found: [`it threw: ${error instanceof Error ? error.stack : String(error)}`] }
  }
}

/** The same seed with fewer gateways and less time, as long as it still fails. */
function shrunk(whole: Scenario, violated: readonly string[]): Failure {
  let smallest = failureOf(whole, violated)
  for (const gateways of [2, 3, 4, 6].filter((fewer) => fewer < whole.gateways)) {
    const fewer = { ...whole, gateways }
    const { found } = run(fewer)
    if (found.length === 0) continue
    smallest = failureOf(fewer, found)
    break
  }
  for (let minutes = whole.minutes - 1; minutes >= 1; minutes--) {
    const shorter = { ...whole, gateways: smallest.gateways, minutes }
    const { found } = run(shorter)
    if (found.length === 0) break
    smallest = failureOf(shorter, found)
  }
  return smallest
}

function failureOf({ seed, gateways, minutes, writesMax }: Scenario, violated: readonly string[]): Failure {
  return { seed, gateways, minutes, writes: writesMax, violations: violated }
}
