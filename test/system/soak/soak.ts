import { setMaxListeners } from 'node:events'
import type { Client } from '../../../runtime/cli/client.ts'
import { GATEWAY_LIMITS } from '../../../runtime/base/limits.ts'
import { seededRandom } from '../../../runtime/base/random.ts'
import type { DocumentView } from '../../../runtime/ports/operations.ts'
import { Faults, pause } from './faults.ts'
import { Load } from './load.ts'
import { SoakMesh, type Network, type Shape, type SoakGateway } from './mesh.ts'

export interface SoakOptions {
  readonly gateways: number
  readonly minutes: number
  readonly seed: number
  readonly network: Network
  readonly shape: Shape
  readonly hasFaults: boolean
}

export interface SoakResult {
  readonly ok: boolean
  readonly seed: number
  readonly gateways: number
  readonly minutes: number
  readonly network: Network
  readonly shape: Shape
  readonly hasFaults: boolean
  /** Writes that were acknowledged, and keys whose last acknowledged value is missing somewhere. */
  readonly acknowledged: number
  readonly lost: number
  readonly faults: { readonly [kind: string]: number }
  readonly samples: number
  readonly maxRssMiB: number
  /** Local writes that waited for the disk, the most that were seen, and what neighbours lacked in bytes. */
  readonly maxQueue: number
  readonly maxLagBytes: number
  /** How long the first gateway took to say how it is, in milliseconds. */
  readonly firstAnswersMs: { readonly p50: number; readonly p99: number }
  /** Of what each other gateway had acknowledged of a key when the load ended, the first had so much of the least: 1 is all. */
  readonly leastAtFirst: number
  readonly digestsEqual: boolean
  /** From the last fault's end to equal digests; null when they did not become equal. */
  readonly convergedMs: number | null
  readonly failures: readonly string[]
}

/** A gateway of the mesh that a soak is, in MiB: three times what it takes when idle. */
const RSS_MIB_MAX = 256
const SAMPLE_MS = 1_000
const CONVERGED_MS_MAX = 180_000
/** Writes a second to the whole mesh, for each gateway stores what all of them write. */
const WRITES_PER_SECOND = 80
const WRITERS_PER_GATEWAY = 4

/** Real gateways under load and faults: what must hold afterwards, and what was seen meanwhile. Rejects only when it cannot begin. */
export async function soak(options: SoakOptions, stop: AbortSignal): Promise<SoakResult> {
  const mesh = new SoakMesh(options.gateways, options.network, options.shape)
  try {
    await mesh.start()
    return await suffer(mesh, options, stop)
  } finally {
    await mesh.remove()
  }
}

async function suffer(mesh: SoakMesh, options: SoakOptions, stop: AbortSignal): Promise<SoakResult> {
  const faults = new Faults(mesh, seededRandom(options.seed))
  const load = new Load()
  const samples = new Samples()
  const intervalMs = (1_000 * options.gateways * WRITERS_PER_GATEWAY) / WRITES_PER_SECOND
  await load.start(mesh.gateways, intervalMs)
  const sampled = new AbortController()
  // Each gateway and each fault waits for them.
  setMaxListeners(0, stop, sampled.signal)
  for (const [i, gateway] of mesh.gateways.entries()) void samples.watch(i, gateway, sampled.signal)
  if (options.hasFaults) await faults.run(options.minutes * 60_000, stop)
  else await pause(options.minutes * 60_000, stop)
  const leastAtFirst = await leastOf(mesh.gateways[0] as SoakGateway, load.acknowledged)
  await load.stop()
  const convergedMs = await convergence(mesh.gateways, stop)
  sampled.abort()
  const failures = [...faults.failures, ...samples.failures]
  // What an interrupted one has not finished proves nothing.
  if (stop.aborted) failures.push('It was interrupted')
  else if (convergedMs === null) failures.push(`Digests were not equal ${CONVERGED_MS_MAX} ms after the last fault`)
  const lost = stop.aborted ? [] : await lostOf(mesh.gateways, load.acknowledged)
  failures.push(...lost)
  if (load.writes === 0) failures.push('Nothing was acknowledged')
  return {
    ok: failures.length === 0,
    ...options,
    acknowledged: load.writes,
    lost: lost.length,
    faults: faults.counts,
    ...samples.seen,
    firstAnswersMs: samples.firstAnswersMs,
    leastAtFirst,
    digestsEqual: convergedMs !== null,
    convergedMs,
    failures: failures.slice(0, 50),
  }
}

/** What the gateways say of themselves while it goes on, held against their limits. */
class Samples {
  readonly seen = { samples: 0, maxRssMiB: 0, maxQueue: 0, maxLagBytes: 0 }
  readonly failures: string[] = []
  readonly #answersMs: number[] = []

  get firstAnswersMs(): SoakResult['firstAnswersMs'] {
    const sorted = this.#answersMs.toSorted((a, b) => a - b)
    const at = (share: number): number => Math.round(sorted[Math.floor(sorted.length * share)] ?? 0)
    return { p50: at(0.5), p99: at(0.99) }
  }

  async watch(i: number, gateway: SoakGateway, stop: AbortSignal): Promise<void> {
    for (; !stop.aborted; await pause(SAMPLE_MS, stop)) {
      try {
        const askedAt = performance.now()
        const { memory, queue, lag } = await gateway.status()
        if (i === 0) this.#answersMs.push(performance.now() - askedAt)
        const rssMiB = Math.round(memory.rss / 1_048_576)
        this.seen.samples += 1
        this.seen.maxRssMiB = Math.max(this.seen.maxRssMiB, rssMiB)
        this.seen.maxQueue = Math.max(this.seen.maxQueue, queue.writes)
        this.seen.maxLagBytes = Math.max(this.seen.maxLagBytes, lag.bytes)
        if (rssMiB > RSS_MIB_MAX) this.failures.push(`Gateway ${i} took ${rssMiB} MiB, above ${RSS_MIB_MAX}`)
        if (queue.writes > GATEWAY_LIMITS.pendingWritesMax)
          this.failures.push(`Gateway ${i} had ${queue.writes} writes waiting, above its limit`)
      } catch {
        // It is killed or starts.
      }
    }
  }
}

/** The least share of what was acknowledged of a key that this gateway has. */
async function leastOf({ client }: SoakGateway, acknowledged: ReadonlyMap<string, number>): Promise<number> {
  const wanted = new Map(acknowledged)
  const held = await valuesOf(client)
  const shares = [...wanted].map(([key, n]) => (held.get(key) ?? 0) / n)
  return Math.round(Math.min(1, ...shares) * 1_000) / 1_000
}

async function valuesOf(client: Pick<Client, 'lines'>): Promise<Map<string, number>> {
  const held = new Map<string, number>()
  for await (const line of client.lines('GET', 'collections/climate/export')) {
    const { key, value } = JSON.parse(line) as DocumentView
    held.set(key, Number(value['n']))
  }
  return held
}

/** Milliseconds until all digests are equal, or null. */
async function convergence(gateways: readonly SoakGateway[], stop: AbortSignal): Promise<number | null> {
  const startedAt = performance.now()
  for (; performance.now() - startedAt < CONVERGED_MS_MAX && !stop.aborted; await pause(250, stop)) {
    try {
      const digests = await Promise.all(gateways.map(({ client }) => client.json('GET', 'digest')))
      if (new Set(digests.map((digest) => JSON.stringify(digest))).size === 1)
        return Math.round(performance.now() - startedAt)
    } catch {
      // One has gone: that it is not there again is found below.
    }
  }
  return null
}

/** A sentence for each key that a gateway has with an older value than was acknowledged, or hasn't. */
export async function lostOf(
  gateways: readonly Pick<SoakGateway, 'client'>[],
  acknowledged: ReadonlyMap<string, number>,
): Promise<string[]> {
  const lost: string[] = []
  for (const [i, { client }] of gateways.entries()) {
    let held: ReadonlyMap<string, number>
    try {
      held = await valuesOf(client)
    } catch (error) {
      lost.push(`Gateway ${i} cannot be read: ${error instanceof Error ? error.message : String(error)}`)
      continue
    }
    for (const [key, n] of acknowledged)
      if ((held.get(key) ?? 0) < n)
        lost.push(`${key} was acknowledged at ${n}, gateway ${i} has ${held.get(key) ?? 'nothing'}`)
  }
  return lost
}
