import { parseArgs } from 'node:util'
import { namespacesMissing } from './namespaces.ts'
import { soak } from './soak.ts'

/**
 * `npm run soak -- --gateways N --minutes N --seed N --network proxy|namespaces --shape ring|hub
 * --faults yes|no`: the last line is one JSON object; exit 1 on a
 * violation, 2 when it cannot be run.
 */
const { values } = parseArgs({
  options: {
    gateways: { type: 'string', default: '2' },
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
    network: { type: 'string', default: 'proxy' },
    shape: { type: 'string', default: 'ring' },
    faults: { type: 'string', default: 'yes' },
  },
})

const problem = problemOf()
if (problem !== null) {
  console.error(problem)
  process.exitCode = 2
} else await run()

function problemOf(): string | null {
  const { gateways, minutes, seed, network, shape, faults } = values
  if (!(Number.isInteger(Number(gateways)) && Number(gateways) >= 2 && Number(gateways) <= 64))
    return `Cannot soak ${gateways} gateways: it must be 2 to 64`
  if (!(Number(minutes) > 0)) return `Cannot soak for "${minutes}": it must be minutes above 0`
  if (!Number.isInteger(Number(seed))) return `Cannot use the seed "${seed}": it must be an integer`
  if (network !== 'proxy' && network !== 'namespaces')
    return `Cannot use the network "${network}": it must be proxy or namespaces`
  if (shape !== 'ring' && shape !== 'hub') return `Cannot use the shape "${shape}": it must be ring or hub`
  if (faults !== 'yes' && faults !== 'no') return `Cannot read "--faults ${faults}": it must be yes or no`
  return network === 'namespaces' ? namespacesMissing() : null
}

async function run(): Promise<void> {
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop.abort())
  const [gateways, minutes, seed] = [Number(values.gateways), Number(values.minutes), Number(values.seed)]
  const network = values.network === 'namespaces' ? 'namespaces' : 'proxy'
  const shape = values.shape === 'hub' ? 'hub' : 'ring'
  const hasFaults = values.faults === 'yes'
  const result = await soak({ gateways, minutes, seed, network, shape, hasFaults }, stop.signal)
  console.log(JSON.stringify(result))
  process.exitCode = result.ok ? 0 : 1
}
