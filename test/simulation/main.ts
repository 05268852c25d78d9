import { execFileSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { violations } from './checks.ts'
import { mutations, runPlanted } from './plant.ts'
import { scenarioOf, Simulation } from './simulation.ts'

/**
 * `npm run sim -- --seed N --seeds COUNT --gateways N --minutes N`: the last line is one JSON object; exit 1 on a violation.
 * `--plant NAME` runs a copy of the program with a bug in it, `--plant list` names them; `--first` ends at the first failure; `--forks yes` and
 * `--forks no` say whether cards are copied and stores put back, otherwise that is in every fourth run.
 */
const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '100' },
    gateways: { type: 'string', default: '0' },
    minutes: { type: 'string', default: '3' },
    plant: { type: 'string' },
    first: { type: 'boolean', default: false },
    forks: { type: 'string' },
  },
})

if (values.plant === undefined) simulate()
else plant(values.plant)

function simulate(): void {
  const first = Number(values.seed)
  const failures: { seed: number; gateways: number; minutes: number; violations: string[] }[] = []
  const faults: { [name: string]: number } = {}
  const sometimes: { [name: string]: number } = {}
  let events = 0
  let traceHash = ''
  let seeds = 0
  const startedAt = process.cpuUsage().user
  for (let seed = first; seed < first + Number(values.seeds); seed++) {
    const gateways = Number(values.gateways) || scenarioOf(seed).gateways
    const { simulation, found } = run(seed, gateways, Number(values.minutes))
    seeds += 1
    events += simulation.schedule.events
    traceHash = simulation.traceHash
    for (const [name, count] of simulation.faults) faults[name] = (faults[name] ?? 0) + count
    for (const [name, count] of simulation.sometimes) sometimes[name] = (sometimes[name] ?? 0) + count
    if (found.length === 0) continue
    const failure = shrunk(seed, gateways, Number(values.minutes), found)
    failures.push(failure)
    const scenario = `--seed ${seed} --seeds 1 --gateways ${failure.gateways} --minutes ${failure.minutes}`
    console.error(`seed ${seed}, commit ${commit()}, shrunk to ${scenario}: ${failure.violations.join('; ')}`)
    if (values.first) break
  }
  const cpuSeconds = (process.cpuUsage().user - startedAt) / 1e6
  const ok = failures.length === 0
  console.log(JSON.stringify({ ok, seeds, traceHash, events, cpuSeconds, faults, sometimes, failures }))
  process.exitCode = ok ? 0 : 1
}

function run(seed: number, gateways: number, minutes: number): { simulation: Simulation; found: string[] } {
  const forks = values.forks === undefined ? scenarioOf(seed).forks === true : values.forks === 'yes'
  const simulation = new Simulation({ seed, gateways, minutes, forks })
  try {
    simulation.run()
    return { simulation, found: violations(simulation) }
  } catch (error) {
    return { simulation, found: [`it threw: ${error instanceof Error ? error.stack : String(error)}`] }
  }
}

/** The same seed with fewer gateways and less time, as long as it still fails. */
function shrunk(
  seed: number,
  gateways: number,
  minutes: number,
  found: string[],
): { seed: number; gateways: number; minutes: number; violations: string[] } {
  let smallest = { seed, gateways, minutes, violations: found }
  if (values.first) return smallest
  for (const count of [2, 3, 4, 6].filter((smaller) => smaller < gateways)) {
    const { found: also } = run(seed, count, minutes)
    if (also.length === 0) continue
    smallest = { seed, gateways: count, minutes, violations: also }
    break
  }
  for (let less = minutes - 1; less >= 1; less--) {
    const { found: also } = run(seed, smallest.gateways, less)
    if (also.length === 0) break
    smallest = { ...smallest, minutes: less, violations: also }
  }
  return smallest
}

function plant(name: string): void {
  const known = mutations()
  if (name === 'list') {
    for (const mutation of known) console.log(`${mutation.name}: ${mutation.breaks}`)
    return
  }
  const mutation = known.find((other) => other.name === name)
  if (mutation === undefined) {
    console.error(`There is no planted bug "${name}"; --plant list names them`)
    process.exitCode = 2
    return
  }
  const { seed, seeds, gateways, minutes } = values
  const forks = values.forks === undefined ? [] : ['--forks', values.forks]
  const options = [...forks, '--seed', seed, '--seeds', seeds, '--gateways', gateways, '--minutes', minutes, '--first']
  process.exitCode = runPlanted(mutation, options)
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  } catch {
    return 'unknown'
  }
}
