import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { utf8 } from '../runtime/base/bytes.ts'
import { seededRandom, type Random } from '../runtime/base/random.ts'
import { sha256 } from '../runtime/crypto/hash.ts'
import { createSigner } from '../runtime/crypto/signature.ts'
import { FEED_KIND_STATE, OP_PUT, type Ops } from '../runtime/model/batch.ts'
import type { AppendBatch } from '../runtime/ports/store.ts'
import { SILENT_LOG } from '../runtime/ports/log.ts'
import type { DiskStore } from '../runtime/store/disk-store.ts'
import { openStore } from '../runtime/store/open.ts'
import { encodeBatch } from '../runtime/wire/batch.ts'
import { feedOf } from '../runtime/wire/descriptor.ts'

/**
 * What the store costs, without network and without making batches (they are made and signed before the clock starts):
 * durable appends, one after the other and many at once; the sweep; reads; each with values in plain and encrypted. Seeded; results are checked after the clock has
 * stopped. `node dist/bench/store.js`
 */
const SEED = 1
const MESH_ID = new Uint8Array(16)
const PATHS = ['temperature', 'humidity', 'battery'] as const

interface Workload {
  readonly name: string
  readonly batches: number
  readonly opsPerBatch: number
  readonly documents: number
  /** Appends under way at once. */
  readonly writers: number
  readonly flushesPerSecond: number
}

const WORKLOADS: readonly Workload[] = [
  {
    name: '1 op, one writer, no bucket',
    batches: 3_000,
    opsPerBatch: 1,
    documents: 1_000,
    writers: 1,
    flushesPerSecond: 1e6,
  },
  {
    name: '1 op, 64 writers, no bucket',
    batches: 20_000,
    opsPerBatch: 1,
    documents: 10_000,
    writers: 64,
    flushesPerSecond: 1e6,
  },
  {
    name: '1 op, 64 writers, 100 flushes/s',
    batches: 20_000,
    opsPerBatch: 1,
    documents: 10_000,
    writers: 64,
    flushesPerSecond: 100,
  },
  {
    name: '1,000 ops, 4 writers, 100,000 documents',
    batches: 300,
    opsPerBatch: 1_000,
    documents: 100_000,
    writers: 4,
    flushesPerSecond: 100,
  },
]

export async function benchStore(): Promise<object[]> {
  const results: object[] = []
  for (const workload of WORKLOADS)
    for (const isEncrypted of [false, true]) results.push(await measure(workload, isEncrypted))
  return results
}

async function measure(workload: Workload, isEncrypted: boolean): Promise<object> {
  const dir = mkdtempSync(join(tmpdir(), 'marram-bench-'))
  // The last first: writers take from the end.
  const batches = makeBatches(workload).toReversed()
  const rssBefore = process.memoryUsage().rss
  const store = await open(dir, workload.flushesPerSecond, isEncrypted)
  const begin = store.status()
  const latencies: number[] = []
  const startMs = performance.now()
  await Promise.all(Array.from({ length: workload.writers }, () => appendAll(store, batches, latencies)))
  const appendMs = performance.now() - startMs
  const appended = store.status()
  const waiting = store.status().tableBytes
  const sweepStart = performance.now()
  const cpu = process.cpuUsage()
  await store.sweep()
  const sweepMs = performance.now() - sweepStart
  const sweepCpu = process.cpuUsage(cpu)
  const end = store.status()
  const rss = process.memoryUsage().rss
  const readMs = measureReads(store, workload)
  check(store, workload)
  await store.close()
  rmSync(dir, { recursive: true })
  const ops = workload.batches * workload.opsPerBatch
  latencies.sort((a, b) => a - b)
  return {
    name: workload.name,
    isEncrypted,
    opsPerSecond: Math.round(ops / (appendMs / 1000)),
    appendsPerSecond: Math.round(workload.batches / (appendMs / 1000)),
    p50Ms: round(quantile(latencies, 0.5)),
    p99Ms: round(quantile(latencies, 0.99)),
    flushes: appended.flushes,
    bytesPerOpBeforeLastSweep: Math.round((appended.written - begin.written) / ops),
    bytesPerOp: Math.round((end.written - begin.written) / ops),
    lastSweep: { tableBytes: waiting, ms: round(sweepMs), cpuMs: round((sweepCpu.user + sweepCpu.system) / 1000) },
    readMicroseconds: round(readMs),
    rssMiB: { batchesMade: Math.round(rssBefore / 2 ** 20), end: Math.round(rss / 2 ** 20) },
  }
}

function open(dir: string, flushesPerSecond: number, isEncrypted: boolean): Promise<DiskStore> {
  const onFatal = (error: Error): void => {
    throw error
  }
  const encryptionKey = isEncrypted ? new Uint8Array(32).fill(1) : null
  const options = { dir, meshId: MESH_ID, log: SILENT_LOG, onFatal, flushesPerSecond, ballastBytes: 0, encryptionKey }
  return openStore(options)
}

/** One writer: takes the next batch when its last append has resolved. */
async function appendAll(store: DiskStore, batches: AppendBatch[], latencies: number[]): Promise<void> {
  for (let batch = batches.pop(); batch !== undefined; batch = batches.pop()) {
    const startMs = performance.now()
    await store.append({ batches: [batch], records: [] })
    latencies.push(performance.now() - startMs)
  }
}

function makeBatches({ batches, opsPerBatch, documents }: Workload): AppendBatch[] {
  const random = seededRandom(SEED)
  const signer = createSigner(sha256(utf8('bench')))
  const descriptor = {
    publicKey: signer.publicKey,
    incarnation: new Uint8Array(8),
    collection: 'climate',
    partition: '',
    kind: FEED_KIND_STATE,
    encrypted: false,
  }
  const feed = feedOf(MESH_ID, descriptor)
  let prev: Uint8Array = new Uint8Array(32)
  return Array.from({ length: batches }, (_, i) => {
    const ops = makeOps(random, opsPerBatch, documents)
    const sign = (message: Uint8Array): Uint8Array => signer.sign(message)
    const made = encodeBatch({ meshId: MESH_ID, feed, seq: i + 1, prev, hlc: 1e12 + i, ops, clockClass: 2, sign })
    if (!made.ok) throw new Error(made.error.message)
    prev = made.value.hash
    return { feed, batch: made.value, ops }
  })
}

function makeOps(random: Random, count: number, documents: number): Ops {
  const docs = Array.from({ length: count }, () => `sensor-${Math.floor(random() * documents)}`)
  const values = docs.flatMap(() => [Math.round(random() * 400) / 10, Math.round(random() * 100), 87])
  return {
    docs,
    shapes: [{ kind: OP_PUT, paths: PATHS }],
    opDocs: docs.map((_, i) => i),
    opShapes: docs.map(() => 0),
    values,
  }
}

/** Microseconds per get, uniform over all documents. */
function measureReads(store: DiskStore, { documents }: Workload): number {
  const random = seededRandom(SEED)
  const reads = 20_000
  const startMs = performance.now()
  for (let i = 0; i < reads; i++) {
    store.get({ collection: 'climate', partition: '' }, `sensor-${Math.floor(random() * documents)}`)
  }
  return ((performance.now() - startMs) * 1000) / reads
}

function check(store: DiskStore, { batches, documents }: Workload): void {
  const [head] = [...store.heads()]
  if (head?.seq !== batches) throw new Error(`The store has ${head?.seq} batches, ${batches} were appended`)
  const { count } = store.summary({ collection: 'climate', partition: '' })
  if (count === 0 || count > documents) throw new Error(`The store has ${count} documents of ${documents}`)
}

function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] as number
}

function round(value: number): number {
  return Math.round(value * 100) / 100
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  for (const result of await benchStore()) console.log(JSON.stringify(result))
}
