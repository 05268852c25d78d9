import { parseArgs } from 'node:util'
import { createSigner, createVerifier } from '../runtime/crypto/signature.ts'
import { peerIdOf } from '../runtime/crypto/identity.ts'
import { createMemoryStore, type MemoryStore } from '../runtime/store/memory.ts'
import { Engine } from '../runtime/sync/engine.ts'
import { NO_COLLECTION_KEYS, type Output } from '../runtime/sync/types.ts'
import { Proofs } from '../runtime/sync/proofs.ts'
import { Testimonies } from '../runtime/sync/testimonies.ts'

/**
 * `npm run bench:away -- --writes N --documents N`: a gateway is away for a virtual year while another writes over a few
 * documents again and again; then they meet. The real engine and store, in memory; prints what crossed the link, what that
 * would have been without checkpoints, and what the history takes on the writer.
 */
const { values } = parseArgs({
  options: { writes: { type: 'string', default: '10000000' }, documents: { type: 'string', default: '100' } },
})

const YEAR_MS = 365 * 24 * 3_600_000
const START_MS = Date.UTC(2026, 0, 1)
const OPS_PER_BATCH = 1_000
const MESH_ID = new Uint8Array(16).fill(7)

/** One engine over a store whose flushes end when the turn does. */
class Side {
  readonly store: MemoryStore = createMemoryStore()
  readonly engine: Engine<object>
  readonly peerId: string
  readonly frames: Uint8Array[] = []
  sent = 0
  written = 0
  readonly #verifier = createVerifier()
  readonly #now: () => number

  constructor(seed: number, members: () => readonly string[], now: () => number) {
    const signer = createSigner(new Uint8Array(32).fill(seed))
    this.peerId = peerIdOf(signer.publicKey)
    this.#now = now
    const everyone = (): { origin: string; since: number; below: number }[] =>
      members().map((origin) => ({ origin, since: 0, below: 0 }))
    this.engine = new Engine(
      {
        meshId: MESH_ID,
        peerId: this.peerId,
        publicKey: signer.publicKey,
        incarnation: new Uint8Array(8).fill(seed),
        clockFloor: 0,
        notBeforeMs: 0,
        name: '',
        version: '',
        batchDelayMs: 0,
        batchOpsMax: OPS_PER_BATCH,
        // Who is away settles nothing: what is dead is kept within this.
        history: { trashBytesMax: 1_048_576 },
      },
      {
        heads: () => this.store.heads(),
        batches: (key, from, bytesMax) => this.store.batches(key, from, bytesMax),
        getRecord: (key) => this.store.getRecord(key),
        scanRecords: (prefix) => this.store.scanRecords(prefix),
        head: (key) => this.store.head(key),
        document: (place, key) => this.store.get(place, key),
        documentToWrite: (place, key) => this.store.get(place, key),
        cells: (place) => this.store.summary(place).digest,
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
          writers: everyone,
          sealOf: () => Number.POSITIVE_INFINITY,
          aheadOf: () => Number.POSITIVE_INFINITY,
          asked: ({ origin }) => everyone().filter((member) => member.origin !== origin),
          isClosed: () => false,
          testimonies: new Testimonies(),
          proofs: new Proofs(),
        },
      },
    )
  }

  handle(input: Parameters<Engine<object>['handle']>[1]): void {
    this.engine.handle({ wallMs: START_MS + this.#now(), trust: 2, monotonicMs: this.#now() }, input)
  }

  /** Does what the engine asks for, until it asks for nothing more. */
  async pump(): Promise<void> {
    for (let output = this.engine.poll(); output; output = this.engine.poll()) await this.#do(output)
  }

  async #do(output: Output<object>): Promise<void> {
    if (output.type === 'send') {
      this.sent += output.bytes.length
      this.frames.push(output.bytes)
    } else if (output.type === 'verify') {
      const { publicKey } = output.feed.descriptor
      const isValid = this.#verifier.verify(publicKey, output.batch.signed, output.batch.signature)
      this.handle({ type: 'verified', ticket: output.ticket, isValid })
    } else if (output.type === 'commit') {
      const { batches, drops, records, ticket } = output
      for (const { batch } of batches) this.written += batch.bytes.length
      await this.store.append({ batches, records, ...(drops && { drops }) })
      this.handle({ type: 'committed', ticket })
    }
  }
}

const writes = Number(values.writes)
const documents = Number(values.documents)
const rounds = Math.ceil(writes / OPS_PER_BATCH)
let virtualMs = 0
const sides: Side[] = []
const members = (): string[] => sides.map(({ peerId }) => peerId)
const writer = new Side(1, members, () => virtualMs)
const away = new Side(2, members, () => virtualMs)
sides.push(writer, away)

async function meet(): Promise<void> {
  for (let quiet = 0; quiet < 20;) {
    const frames = sides.map((side) => side.frames.splice(0))
    for (const bytes of frames[0] ?? []) away.handle({ type: 'frame', link: 1, bytes })
    for (const bytes of frames[1] ?? []) writer.handle({ type: 'frame', link: 1, bytes })
    quiet = frames.every((list) => list.length === 0) ? quiet + 1 : 0
    virtualMs += 100
    for (const side of sides) {
      side.handle({ type: 'time' })
      await side.pump()
    }
  }
}

async function link(): Promise<void> {
  writer.handle({ type: 'link-up', link: 1, peerId: away.peerId })
  away.handle({ type: 'link-up', link: 1, peerId: writer.peerId })
  await meet()
  for (const side of sides) side.handle({ type: 'link-down', link: 1 })
}

function isEqual(): boolean {
  const [a, b] = sides.map((side) => Buffer.from(side.store.summary({ collection: 'climate', partition: '' }).digest))
  return a !== undefined && b !== undefined && a.equals(b)
}

const startedAt = performance.now()
away.handle({
  type: 'write',
  write: {
    collection: 'climate',
    partition: '',
    ops: [{ kind: 'put', key: 'its-own', fields: { value: 1 } }],
    token: {},
  },
})
await away.pump()
await link()
for (let round = 0; round < rounds; round++) {
  virtualMs += YEAR_MS / rounds
  for (let i = 0; i < OPS_PER_BATCH; i++) {
    const fields = { temperature: round + i / OPS_PER_BATCH }
    const op = { kind: 'put', key: `sensor-${(round * OPS_PER_BATCH + i) % documents}`, fields } as const
    writer.handle({ type: 'write', write: { collection: 'climate', partition: '', ops: [op], token: {} } })
  }
  await writer.pump()
  // Slices of a compaction under way.
  for (let i = 0; i < 40; i++) {
    virtualMs += 25
    writer.handle({ type: 'time' })
    await writer.pump()
  }
}
const head = [...writer.store.heads()].find(
  ({ feed }) => feed.descriptor.collection === 'climate' && feed.origin === writer.peerId,
)
const sentBefore = writer.sent
await link()
console.log(
  JSON.stringify({
    writes: rounds * OPS_PER_BATCH,
    documents,
    batches: head?.seq,
    bytesWritten: writer.written,
    bytesRetained: head?.bytes,
    batchesRetained: head?.retained.size,
    bytesToCatchUp: writer.sent - sentBefore,
    equal: isEqual(),
    ownWriteKept: away.store.get({ collection: 'climate', partition: '' }, 'its-own') !== undefined,
    seconds: Math.round((performance.now() - startedAt) / 1_000),
  }),
)
