import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { randomInteger, seededRandom } from '../runtime/base/random.ts'
import { peerIdOf } from '../runtime/crypto/identity.ts'
import { createSigner, createVerifier, type Signer } from '../runtime/crypto/signature.ts'
import { OP_PUT } from '../runtime/model/batch.ts'
import { SILENT_LOG } from '../runtime/ports/log.ts'
import type { AppendBatch } from '../runtime/ports/store.ts'
import { checkStore } from '../runtime/repair.ts'
import { batchKey, Database, documentKey, Slice } from '../runtime/store/database.ts'
import type { DiskStore } from '../runtime/store/disk-store.ts'
import { openStore } from '../runtime/store/open.ts'
import { Engine } from '../runtime/sync/engine.ts'
import { NO_COLLECTION_KEYS, type Input, type Output } from '../runtime/sync/types.ts'
import { encodeBatch } from '../runtime/wire/batch.ts'
import { feedOf } from '../runtime/wire/descriptor.ts'
import { Proofs } from '../runtime/sync/proofs.ts'
import { Testimonies } from '../runtime/sync/testimonies.ts'

/**
 * `npm run bench:repair -- --documents N --damaged N --seed N`: two gateways hold the same documents; of one the card turns bits, in
 * so many batches and as many documents. `verify --repair` finds them, and a neighbour sends what is lacking. Prints what that took
 * and what crossed the link, and checks that the store is then whole: each signature, each document, and the neighbour's digest.
 */
const { values } = parseArgs({
  options: {
    documents: { type: 'string', default: '1000000' },
    damaged: { type: 'string', default: '100' },
    'per-batch': { type: 'string', default: '50' },
    seed: { type: 'string', default: '1' },
  },
})

const MESH_ID = new Uint8Array(16).fill(7)
const PLACE = { collection: 'climate', partition: '' }
const START_HLC = 400_000_000_000_000
/** The only feed, and its space. */
const FIRST = 1
const APPENDS_AT_ONCE = 64

const documents = Number(values.documents)
const damaged = Number(values.damaged)
const perBatch = Number(values['per-batch'])
const random = seededRandom(Number(values.seed))
const verifier = createVerifier()
const folder = mkdtempSync(join(tmpdir(), 'marram-bench-'))

const author = createSigner(new Uint8Array(32).fill(1))
const incarnation = new Uint8Array(8).fill(1)
const feed = feedOf(MESH_ID, { ...PLACE, publicKey: author.publicKey, incarnation, kind: 0, encrypted: false })

function* batches(): Generator<AppendBatch> {
  let prev: Uint8Array = new Uint8Array(32)
  for (let seq = 1; (seq - 1) * perBatch < documents; seq++) {
    const count = Math.min(perBatch, documents - (seq - 1) * perBatch)
    const docs = Array.from({ length: count }, (_, i) => keyOf((seq - 1) * perBatch + i))
    const zeros = docs.map(() => 0)
    const readings = docs.flatMap((_, i) => [20 + ((seq * 31 + i * 7) % 100) / 10, `room ${(seq + i) % 97}`])
    const shapes = [{ kind: OP_PUT, paths: ['temperature', 'room'] }]
    const ops = { docs, shapes, opDocs: docs.map((_, i) => i), opShapes: zeros, values: readings }
    const hlc = START_HLC + seq * 2_048
    const sign = (message: Uint8Array): Uint8Array => author.sign(message)
    const made = encodeBatch({ meshId: MESH_ID, feed, seq, prev, hlc, ops, clockClass: 2, sign })
    assert.ok(made.ok)
    prev = made.value.hash
    yield { feed, batch: made.value, ops }
  }
}

function keyOf(number: number): string {
  return `sensor-${String(number).padStart(8, '0')}`
}

function open(name: string): Promise<DiskStore> {
  const dir = join(folder, name)
  return openStore({ dir, meshId: MESH_ID, log: SILENT_LOG, onFatal: (error) => assert.fail(error) })
}

async function fill(stores: readonly DiskStore[]): Promise<void> {
  let underWay: Promise<void>[] = []
  for (const batch of batches()) {
    for (const store of stores) underWay.push(store.append({ batches: [batch], records: [] }))
    if (underWay.length < APPENDS_AT_ONCE) continue
    await Promise.all(underWay)
    underWay = []
  }
  await Promise.all(underWay)
}

/** Turns a bit of so many stored batches and documents. */
async function damage(name: string): Promise<void> {
  const database = new Database(join(folder, name), false)
  const slice = new Slice()
  for (const number of drawn(Math.ceil(documents / perBatch))) {
    const key = batchKey(FIRST, number + 1)
    slice.put('batches', key, flipped(database.get('batches', key)))
  }
  for (const number of drawn(documents)) {
    const key = documentKey(FIRST, keyOf(number))
    slice.put('documents', key, flipped(database.get('documents', key)))
  }
  await database.commit(slice)
  await database.flushed()
  await database.close()
}

function drawn(below: number): Set<number> {
  const numbers = new Set<number>()
  while (numbers.size < Math.min(damaged, below)) numbers.add(randomInteger(random, 0, below - 1))
  return numbers
}

function flipped(bytes: Uint8Array | undefined): Uint8Array {
  assert.ok(bytes)
  const copy = Uint8Array.from(bytes)
  // The first byte of a stored batch says whether it counts, and stands for itself.
  const at = randomInteger(random, 1, copy.length - 1)
  copy[at] = (copy[at] as number) ^ (1 << randomInteger(random, 0, 7))
  return copy
}

/** An engine over a store. */
class Side {
  readonly store: DiskStore
  readonly peerId: string
  readonly frames: Uint8Array[] = []
  sent = 0
  readonly #engine: Engine<object>
  readonly #now: () => number

  constructor(signer: Signer, store: DiskStore, now: () => number) {
    this.store = store
    this.peerId = peerIdOf(signer.publicKey)
    this.#now = now
    this.#engine = new Engine(
      {
        meshId: MESH_ID,
        peerId: this.peerId,
        publicKey: signer.publicKey,
        incarnation: new Uint8Array(8).fill(9),
        clockFloor: 0,
        notBeforeMs: 0,
        name: '',
        version: '',
        batchDelayMs: 0,
        batchOpsMax: 1_024,
      },
      {
        heads: () => store.heads(),
        batches: (key, from, bytesMax) => store.batches(key, from, bytesMax),
        getRecord: (key) => store.getRecord(key),
        scanRecords: (prefix) => store.scanRecords(prefix),
        head: (key) => store.head(key),
        document: (place, key) => store.get(place, key),
        documentToWrite: (place, key) => store.get(place, key),
        cells: (place) => store.summary(place).digest,
        sign: (message) => signer.sign(message),
        keys: NO_COLLECTION_KEYS,
        authority: {
          isKnown: () => true,
          permits: () => true,
          learn: () => false,
          chainOf: () => [],
          isShared: () => true,
          readable: () => ['*'],
          isMember: () => true,
          writers: () => [],
          sealOf: () => Number.POSITIVE_INFINITY,
          aheadOf: () => Number.POSITIVE_INFINITY,
          asked: () => [],
          isClosed: () => false,
          testimonies: new Testimonies(),
          proofs: new Proofs(),
        },
      },
    )
  }

  handle(input: Input<object>): void {
    this.#engine.handle({ wallMs: Date.UTC(2026, 6, 1) + this.#now(), trust: 2, monotonicMs: this.#now() }, input)
  }

  async pump(): Promise<void> {
    for (let output = this.#engine.poll(); output; output = this.#engine.poll()) await this.#do(output)
  }

  async #do(output: Output<object>): Promise<void> {
    if (output.type === 'close') assert.fail(output.reason)
    if (output.type === 'send') {
      this.sent += output.bytes.length
      this.frames.push(output.bytes)
    } else if (output.type === 'verify') {
      const { publicKey } = output.feed.descriptor
      const isValid = verifier.verify(publicKey, output.batch.signed, output.batch.signature)
      this.handle({ type: 'verified', ticket: output.ticket, isValid })
    } else if (output.type === 'commit') {
      const { ticket, drops, ...append } = output
      await this.store.append({ ...append, ...(drops && { drops }) })
      this.handle({ type: 'committed', ticket })
    }
  }
}

/** Links the two until the first lacks nothing. */
async function mend(here: DiskStore, there: DiskStore): Promise<{ sent: number; received: number }> {
  let virtualMs = 0
  const now = (): number => virtualMs
  const a = new Side(createSigner(new Uint8Array(32).fill(2)), here, now)
  const b = new Side(createSigner(new Uint8Array(32).fill(3)), there, now)
  a.handle({ type: 'link-up', link: 1, peerId: b.peerId })
  b.handle({ type: 'link-up', link: 1, peerId: a.peerId })
  for (let round = 0; here.head(feed.key)?.retained.size !== there.head(feed.key)?.retained.size; round++) {
    assert.ok(round < 10_000, 'it is never mended')
    const [fromA, fromB] = [a.frames.splice(0), b.frames.splice(0)]
    for (const bytes of fromA) b.handle({ type: 'frame', link: 1, bytes })
    for (const bytes of fromB) a.handle({ type: 'frame', link: 1, bytes })
    virtualMs += 20
    for (const side of [a, b]) {
      side.handle({ type: 'time' })
      await side.pump()
    }
  }
  return { sent: a.sent, received: b.sent }
}

function digestOf(store: DiskStore): string {
  return Buffer.from(store.summary(PLACE).digest).toString('hex')
}

async function timed<T>(act: () => Promise<T>): Promise<readonly [T, seconds: number]> {
  const startedAt = performance.now()
  const result = await act()
  return [result, Math.round(performance.now() - startedAt) / 1_000]
}

try {
  const stores = [await open('damaged'), await open('neighbour')]
  const [, fillSeconds] = await timed(() => fill(stores))
  const [first, neighbour] = stores as [DiskStore, DiskStore]
  const dataBytes = first.head(feed.key)?.bytes ?? 0
  await first.close()
  await damage('damaged')

  const store = await open('damaged')
  const [found, verifySeconds] = await timed(() => checkStore(store, MESH_ID, true))
  const [moved, mendSeconds] = await timed(() => mend(store, neighbour))
  const after = await checkStore(store, MESH_ID, false)
  assert.deepEqual({ bad: after.bad, differences: after.differences }, { bad: [], differences: 0 })
  assert.equal(digestOf(store), digestOf(neighbour))
  const share = (moved.sent + moved.received) / dataBytes
  assert.ok(share < 0.01 || documents < 100_000, `${share * 100} % of the data crossed the link`)
  for (const each of [store, neighbour]) await each.close()
  console.log(
    JSON.stringify({
      documents,
      batches: found.batches,
      dataBytes,
      batchesFound: found.bad.length,
      documentsFound: found.differences,
      bytesSent: moved.sent,
      bytesReceived: moved.received,
      percentMoved: Math.round(share * 100_000) / 1_000,
      fillSeconds,
      verifyAndRepairSeconds: verifySeconds,
      mendSeconds,
      whole: true,
    }),
  )
} finally {
  rmSync(folder, { recursive: true, force: true })
}
