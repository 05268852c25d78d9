import { latin1 } from '../../runtime/base/bytes.ts'
import type { EngineOptions } from '../../runtime/sync/types.ts'
import { feedIdOfBatch, seqOfBatch } from '../../runtime/wire/batch.ts'
import { Mesh } from '../simulation/mesh.ts'
import { promisesOf } from '../simulation/promises.ts'

export interface Absence {
  readonly feeds: number
  readonly batchesPerFeed: number
  /** Bytes of what is written with each. */
  readonly bytes: number
  /** Of each link to a neighbour, in bytes a virtual millisecond; they come up in this order, 200 ms apart. */
  readonly rates: readonly number[]
  readonly engine?: (index: number) => Partial<EngineOptions>
}

export interface CatchUp {
  readonly mesh: Mesh
  /** Virtual milliseconds until everything was on the disk. */
  readonly ms: number
  /** Batches that came, by how many different ones, and their bytes by link. */
  readonly copies: number
  readonly bytes: readonly number[]
  /** How long all links together take for what was lacking. */
  readonly leastMs: number
  /** Feeds that were asked for over a link as they grow. */
  readonly asked: number
}

/** The first gateway comes back after a long time; each of its neighbours has all that it lacks, and it has a link to each of them. */
export function catchUp({ feeds, batchesPerFeed, bytes, rates, engine }: Absence): CatchUp {
  const names = new Set<string>()
  const came = rates.map(() => 0)
  let copies = 0
  let unique = 0
  let asked = 0
  const mesh: Mesh = new Mesh({
    gateways: rates.length + 1,
    // Its own links first; the others are as fast as can be.
    edges: [
      ...rates.map((_, i): [number, number] => [0, i + 1]),
      ...rates.slice(1).map((_, i): [number, number] => [i + 1, i + 2]),
    ],
    bytesPerMs: (link) => rates[link] ?? Number.POSITIVE_INFINITY,
    // Days are days: nothing is compacted meanwhile.
    engine: (index) => ({ history: {}, ...engine?.(index) }),
    onFrame: (from, to, frame, link) => {
      if (from === 0) asked += promisesOf(frame)?.wants ?? 0
      if (to !== 0) return
      for (const batch of promisesOf(frame)?.batches ?? []) {
        came[link] = (came[link] as number) + batch.length
        copies += 1
        const name = `${latin1(feedIdOfBatch(batch))} ${seqOfBatch(batch)}`
        if (!names.has(name)) unique += batch.length
        names.add(name)
      }
    },
  })
  mesh.pass(5_000)
  rates.forEach((_, link) => mesh.linkDown(link))
  mesh.pass(5_000)
  const noise = noiseOf(bytes)
  for (let i = 0; i < batchesPerFeed; i++) {
    for (let feed = 0; feed < feeds; feed++) {
      mesh.at(1).write(`feed-${feed}`, { kind: 'put', key: `key-${i}`, fields: { noise: noise() } })
    }
    mesh.pass(20)
  }
  mesh.pass(5_000)
  names.clear()
  copies = 0
  unique = 0
  asked = 0
  came.fill(0)
  const from = mesh.schedule.now
  rates.forEach((_, link) => {
    mesh.linkUp(link)
    mesh.pass(200)
  })
  while (!isLevel(mesh)) {
    if (mesh.schedule.now > from + 10_000_000) throw new Error('it never catches up')
    mesh.pass(100)
  }
  const ms = mesh.schedule.now - from
  // What is under way comes all the same.
  mesh.pass(20_000)
  const sum = rates.reduce((all, rate) => all + rate, 0)
  return { mesh, ms, copies: copies / names.size, bytes: came, leastMs: unique / sum, asked }
}

/** Bytes that don't shrink, ever others: xorshift32. */
function noiseOf(bytes: number): () => Uint8Array {
  let state = 1
  return () =>
    new Uint8Array(bytes).map(() => {
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
      return state
    })
}

function isLevel(mesh: Mesh): boolean {
  const here = new Map([...mesh.at(0).disk.heads()].map(({ feed, seq }) => [feed.key, seq]))
  return [...mesh.at(1).disk.heads()].every(({ feed, seq }) => here.get(feed.key) === seq)
}
