import { execFileSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { violations } from './checks.ts'
import { Simulation } from './simulation.ts'

/** `npm run sim -- --seed N --seeds COUNT --gateways N --minutes N`: the last line is one JSON object; exit 1 on a violation. */
const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '100' },
    gateways: { type: 'string', default: '0' },
    minutes: { type: 'string', default: '5' },
  },
})

const first = Number(values.seed)
const failures: { seed: number; violations: string[] }[] = []
const sometimes: { [name: string]: number } = {}
let events = 0
let traceHash = ''
const startedAt = process.cpuUsage().user
for (let seed = first; seed < first + Number(values.seeds); seed++) {
  const gateways = Number(values.gateways) || 2 + (seed % 9)
  const simulation = new Simulation({ seed, gateways, minutes: Number(values.minutes) })
  simulation.run()
  events += simulation.schedule.events
  traceHash = simulation.traceHash
  for (const [name, count] of simulation.sometimes) sometimes[name] = (sometimes[name] ?? 0) + count
  const found = violations(simulation)
  if (found.length === 0) continue
  failures.push({ seed, violations: found })
  console.error(`seed ${seed}, ${gateways} gateways, commit ${commit()}: ${found.join('; ')}`)
}
const cpuSeconds = (process.cpuUsage().user - startedAt) / 1e6
const ok = failures.length === 0
console.log(JSON.stringify({ ok, seeds: Number(values.seeds), traceHash, events, cpuSeconds, sometimes, failures }))
process.exitCode = ok ? 0 : 1

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  } catch {
    return 'unknown'
  }
}
