import { parseArgs } from 'node:util'
import { randomInteger } from '../runtime/base/random.ts'
import { decodeBatch, seqOfBatch } from '../runtime/wire/batch.ts'
import { Mesh } from '../test/simulation/mesh.ts'
import { promisesOf } from '../test/simulation/promises.ts'
import { layOut } from './topology.ts'

/**
 * `npm run bench:mesh -- --gateways N --seconds N --links ring|cells|topology --priority normal|high --seed N`: many engines in one
 * process on a virtual clock. Ten of them write ten times a second each; then everything must be equal. Prints how often a
 * batch reached a gateway once the trees had settled, messages, bytes and the virtual time to convergence; then the same
 * after three in ten vanish. With `--links topology` over the links that the gateways chose themselves, after they joined and
 * settled on a virtual clock of their own; `--seconds 0` prints that alone.
 */
const { values } = parseArgs({
  options: {
    gateways: { type: 'string', default: '10' },
    seconds: { type: 'string', default: '20' },
    links: { type: 'string', default: 'ring' },
    priority: { type: 'string', default: 'normal' },
    seed: { type: 'string', default: '1' },
  },
})

const WRITERS = 10
const WRITES_PER_SECOND = 10
const SETTLE_SECONDS = 5
const COLLECTION = 'climate'

/** What came to gateways over links. */
class Traffic {
  frames = 0
  bytes = 0
  copies = 0
  firsts = 0
  readonly #seen = new Set<string>()

  note(to: number, frame: Uint8Array): void {
    this.frames += 1
    this.bytes += frame.length
    for (const bytes of promisesOf(frame)?.batches ?? []) {
      const batch = decodeBatch(mesh.meshId, bytes)
      if (!batch.ok) continue
      this.copies += 1
      const name = `${to} ${Buffer.from(batch.value.header.feedId).toString('latin1')} ${seqOfBatch(bytes)}`
      if (!this.#seen.has(name)) this.firsts += 1
      this.#seen.add(name)
    }
  }
}

/** Everyone writes for so long; then the virtual milliseconds until all are equal. */
function run(seconds: number): number {
  const from = mesh.schedule.now
  for (const gateway of mesh.up().slice(0, WRITERS)) {
    for (let i = 0; i < seconds * WRITES_PER_SECOND; i++) {
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
  const heads = mesh.up().map(({ disk }) => {
    const own = disk.heads().filter(({ feed }) => feed.descriptor.collection === COLLECTION)
    return own
      .map(({ feed, seq }) => `${feed.key} ${seq}`)
      .sort(byText)
      .join()
  })
  return new Set(heads).size === 1
}

/** At once, and so that those who are left can still reach each other. */
function vanish(share: number): void {
  const gone = new Set<number>()
  do {
    gone.clear()
    while (gone.size < count * share) gone.add(randomInteger(mesh.random, 0, count - 1))
  } while (!isConnected(gone))
  for (const index of gone) mesh.vanish(index)
}

function isConnected(without: ReadonlySet<number>): boolean {
  const left = mesh.gateways.map(({ index }) => index).filter((index) => !without.has(index))
  const reached = new Set<number>(left.slice(0, 1))
  for (const from of reached) {
    for (const [a, b] of edges) {
      const to = a === from ? b : b === from ? a : null
      if (to !== null && !without.has(to)) reached.add(to)
    }
  }
  return reached.size === left.length
}

function byText(a: string, b: string): number {
  return a < b ? -1 : 1
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

const count = Number(values.gateways)
const chosen = values.links === 'topology' ? layOut(count, Number(values.seed)) : null
const edges = chosen?.edges ?? (values.links === 'cells' ? cells(count) : ring(count))
if (chosen) console.log(JSON.stringify({ gateways: count, links: edges.length, ...chosen.figures }))
if (Number(values.seconds) === 0) process.exit(0)
const priority = new Map([[COLLECTION, values.priority as 'normal']])
let traffic = new Traffic()
const mesh = new Mesh({
  gateways: count,
  edges,
  seed: Number(values.seed),
  engine: () => ({ flow: { priority } }),
  onFrame: (_, to, bytes) => traffic.note(to, bytes),
})
run(SETTLE_SECONDS)
traffic = new Traffic()
const convergedMs = run(Number(values.seconds))
const { copies, firsts, frames, bytes } = traffic
vanish(0.3)
const recoveredMs = run(5)
console.log(
  JSON.stringify({
    gateways: count,
    links: edges.length,
    layout: values.links,
    priority: values.priority,
    batches: Math.round(firsts / Math.max(1, count - 1)),
    copiesPerGateway: copies / firsts,
    messages: frames,
    bytes,
    convergedMs,
    recoveredMs,
    left: mesh.up().length,
  }),
)
