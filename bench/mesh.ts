import { parseArgs } from 'node:util'
import { latin1 } from '../runtime/base/bytes.ts'
import { randomInteger } from '../runtime/base/random.ts'
import { DEFAULT_HISTORY, type Priority } from '../runtime/sync/types.ts'
import { feedIdOfBatch, seqOfBatch } from '../runtime/wire/batch.ts'
import { Mesh } from '../test/simulation/mesh.ts'
import type { SimulatedGateway } from '../test/simulation/gateway.ts'
import { promisesOf } from '../test/simulation/promises.ts'
import { layOut, type Layout } from './topology.ts'

/**
 * `npm run bench:mesh -- --gateways N --seconds N --writes N --links ring|cells|topology --settle N --priority low|normal|high|urgent --seed N`:
 * many engines in one process on a virtual clock, compacting and saying what they hold as seldom as a gateway does. Ten of
 * them write `--writes` times a second each (10); then everything must be equal. Prints how often a batch reached a gateway
 * once the trees had settled, messages, bytes and the virtual time to convergence; then the same after three in ten vanish.
 * With `--links topology` over the links that the gateways chose themselves, after they joined and settled, for `--settle`
 * seconds at most (600), on a virtual clock of their own; `--seconds 0` prints that alone. Of 1,000 gateways
 * `--seconds 5 --writes 1 --settle 60` says the same in less time.
 */
const { values } = parseArgs({
  options: {
    gateways: { type: 'string', default: '10' },
    seconds: { type: 'string', default: '20' },
    links: { type: 'string', default: 'ring' },
    priority: { type: 'string', default: 'normal' },
    writes: { type: 'string', default: '10' },
    settle: { type: 'string', default: '600' },
    seed: { type: 'string', default: '1' },
  },
})

const WRITERS = 10
const SETTLE_SECONDS = 5
const COLLECTION = 'climate'
const PRIORITIES: readonly string[] = ['low', 'normal', 'high', 'urgent'] satisfies Priority[]

/** What came to gateways over links. */
class Traffic {
  frames = 0
  bytes = 0
  copies = 0
  firsts = 0
  /** By batch, who has it. */
  readonly #seen = new Map<string, Set<number>>()

  note(to: number, frame: Uint8Array): void {
    this.frames += 1
    this.bytes += frame.length
    for (const bytes of promisesOf(frame)?.batches ?? []) {
      const name = `${latin1(feedIdOfBatch(bytes))} ${seqOfBatch(bytes)}`
      const seen = this.#seen.get(name) ?? new Set()
      this.#seen.set(name, seen)
      this.copies += 1
      if (!seen.has(to)) this.firsts += 1
      seen.add(to)
    }
  }
}

/** Everyone writes for so long; then the virtual milliseconds until all are equal. */
function run(seconds: number): number {
  const from = mesh.schedule.now
  for (const gateway of mesh.up().slice(0, WRITERS)) {
    for (let i = 0; i < seconds * writesPerSecond; i++) {
      const at = from + randomInteger(mesh.random, 0, seconds * 1_000)
      const key = `sensor-${randomInteger(mesh.random, 1, 20)}`
      const fields = { temperature: randomInteger(mesh.random, 0, 1_000) }
      mesh.schedule.at(at, () => gateway.write(COLLECTION, { kind: 'put', key, fields }))
    }
  }
  mesh.pass(seconds * 1_000)
  for (let waited = 0; waited < 600_000; waited += 50) {
    if (isConverged()) return waited
    mesh.pass(50)
  }
  return Number.POSITIVE_INFINITY
}

function isConverged(): boolean {
  const [first, ...others] = mesh.up().map(headsOf)
  return others.every((heads) => heads.size === first?.size && [...heads].every(([key, seq]) => first.get(key) === seq))
}

function headsOf({ disk }: SimulatedGateway): Map<string, number> {
  const feeds = [...disk.feeds.values()].filter(({ feed }) => feed.descriptor.collection === COLLECTION)
  return new Map(feeds.map(({ feed, head }) => [feed.key, head.seq]))
}

/** At once; those who are left can still reach each other. */
function vanish(share: number): void {
  const gone = new Set<number>()
  while (gone.size < count * share) {
    const index = randomInteger(mesh.random, 0, count - 1)
    if (isConnected(new Set([...gone, index]))) gone.add(index)
  }
  for (const index of gone) mesh.vanish(index)
}

/** As the fleet did it: who vanished there does here, and the others have the links that they came to. */
function vanishAsIn({ gone, edgesAfter }: Layout): void {
  for (const index of gone) mesh.vanish(index)
  const before = edges.map(String)
  const after = new Set(edgesAfter.map(String))
  before.forEach((edge, link) => {
    if (!after.has(edge)) mesh.linkDown(link)
  })
  for (const [a, b] of edgesAfter) if (!before.includes(`${a},${b}`)) mesh.connect(a, b)
}

function isConnected(without: ReadonlySet<number>): boolean {
  const left = mesh.gateways.map(({ index }) => index).filter((index) => !without.has(index))
  const reached = new Set<number>(left.slice(0, 1))
  for (const from of reached) {
    for (const to of neighbours.get(from) ?? []) if (!without.has(to)) reached.add(to)
  }
  return reached.size === left.length
}

/** A ring with a chord from every fifth. */
function ring(count: number): [number, number][] {
  const edges: [number, number][] = []
  for (let i = 0; i < count; i++) edges.push([i, (i + 1) % count])
  for (let i = 0; i < count; i += 5) if (count > 5) edges.push([i, (i + Math.floor(count / 2) + 1) % count])
  for (let i = 2; i < count; i += 3) if (count > 8) edges.push([i, (i + 3) % count])
  return edges
}

/** Cells of ten, each a ring with chords, joined to the next by two bridges. */
function cells(count: number): [number, number][] {
  const edges: [number, number][] = []
  const size = 10
  for (let cell = 0; cell * size < count; cell++) {
    const from = cell * size
    const to = Math.min(count, from + size)
    for (let i = from; i < to; i++) {
      edges.push([i, i + 1 < to ? i + 1 : from])
      if (i + 3 < to) edges.push([i, i + 3])
    }
    if (to < count) edges.push([from, to], [from + 5, Math.min(count - 1, to + 5)])
  }
  return edges
}

if (!PRIORITIES.includes(values.priority)) {
  console.error(`--priority is one of ${PRIORITIES.join(', ')}, not ${JSON.stringify(values.priority)}`)
  process.exit(2)
}
const count = Number(values.gateways)
const writesPerSecond = Number(values.writes)
const settleMs = Number(values.settle) * 1_000
const chosen = values.links === 'topology' ? layOut(count, Number(values.seed), settleMs) : null
const edges = chosen?.edges ?? (values.links === 'cells' ? cells(count) : ring(count))
const neighbours = new Map<number, number[]>()
for (const [a, b] of edges) {
  neighbours.set(a, [...(neighbours.get(a) ?? []), b])
  neighbours.set(b, [...(neighbours.get(b) ?? []), a])
}
if (chosen) console.log(JSON.stringify({ gateways: count, links: edges.length, ...chosen.figures }))
if (Number(values.seconds) === 0) process.exit(0)
const priority = new Map([[COLLECTION, values.priority as Priority]])
let traffic = new Traffic()
const mesh = new Mesh({
  gateways: count,
  edges,
  seed: Number(values.seed),
  engine: () => ({ flow: { priority }, history: DEFAULT_HISTORY }),
  onFrame: (_, to, bytes) => traffic.note(to, bytes),
})
run(SETTLE_SECONDS)
traffic = new Traffic()
const convergedMs = run(Number(values.seconds))
const { copies, firsts, frames, bytes } = traffic
if (chosen) vanishAsIn(chosen)
else vanish(0.3)
const recoveredMs = run(5)
console.log(
  JSON.stringify({
    gateways: count,
    links: edges.length,
    layout: values.links,
    priority: values.priority,
    seconds: Number(values.seconds),
    writesPerSecond,
    batches: Math.round(firsts / Math.max(1, count - 1)),
    copiesPerGateway: copies / firsts,
    messages: frames,
    bytes,
    convergedMs,
    recoveredMs,
    left: mesh.up().length,
  }),
)
