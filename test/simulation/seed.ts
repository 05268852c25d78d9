import { violations } from './checks.ts'
import type { Options } from './options.ts'
import { scenarioOf, Simulation } from './simulation.ts'

/** A run that violates something, and the smallest one of the same seed that still does. */
export interface Failure {
  readonly seed: number
  readonly gateways: number
  readonly minutes: number
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

type How = Pick<Options, 'gateways' | 'minutes' | 'forks' | 'first'>

export function runSeed(seed: number, how: How): SeedResult {
  const startedAt = process.cpuUsage()
  const gateways = how.gateways || scenarioOf(seed).gateways
  const { simulation, found } = run(seed, gateways, how.minutes, how.forks)
  const { user, system } = process.cpuUsage(startedAt)
  return {
    seed,
    traceHash: simulation.traceHash,
    events: simulation.schedule.events,
    cpuSeconds: (user + system) / 1e6,
    faults: Object.fromEntries(simulation.faults),
    sometimes: Object.fromEntries(simulation.sometimes),
    failure: found.length === 0 ? null : shrunk({ seed, gateways, minutes: how.minutes, violations: found }, how),
  }
}

function run(
  seed: number,
  gateways: number,
  minutes: number,
  forks: boolean | null,
): { simulation: Simulation; found: string[] } {
  const simulation = new Simulation({ seed, gateways, minutes, forks: forks ?? scenarioOf(seed).forks === true })
  try {
    simulation.run()
    return { simulation, found: violations(simulation) }
  } catch (error) {
    return { simulation, found: [`it threw: ${error instanceof Error ? error.stack : String(error)}`] }
  }
}

/** The same seed with fewer gateways and less time, as long as it still fails. */
function shrunk(whole: Failure, { first, forks }: How): Failure {
  let smallest = whole
  if (first) return smallest
  for (const gateways of [2, 3, 4, 6].filter((fewer) => fewer < whole.gateways)) {
    const { found } = run(whole.seed, gateways, whole.minutes, forks)
    if (found.length === 0) continue
    smallest = { ...smallest, gateways, violations: found }
    break
  }
  for (let minutes = whole.minutes - 1; minutes >= 1; minutes--) {
    const { found } = run(whole.seed, smallest.gateways, minutes, forks)
    if (found.length === 0) break
    smallest = { ...smallest, minutes, violations: found }
  }
  return smallest
}
