import { parseArgs } from 'node:util'
import { randomInteger, seededRandom, type Random } from '../runtime/base/random.ts'
import type { Writer } from '../runtime/access/seals.ts'
import { peerIdOf } from '../runtime/crypto/identity.ts'
import { decodeBatch, seqOfBatch } from '../runtime/wire/batch.ts'
import { decodeMessages } from '../runtime/wire/message.ts'
import { fakeKey, fakeSignature, SimulatedGateway, type World } from '../test/simulation/gateway.ts'
import { Schedule } from '../test/simulation/schedule.ts'

/**
 * `npm run bench:mesh -- --gateways N --seconds N --links ring|cells --seed N`: many engines in one process on a virtual
 * clock. Ten of them write ten times a second each; then everything must be equal. Prints how often a batch reached a gateway
 * once the trees had settled, messages, bytes and the virtual time to convergence; then the same after three in ten vanish.
 */
const { values } = parseArgs({
  options: {
    gateways: { type: 'string', default: '10' },
    seconds: { type: 'string', default: '20' },
    links: { type: 'string', default: 'ring' },
    seed: { type: 'string', default: '1' },
  },
})

const START_MS = Date.UTC(2026, 0, 1)
const WRITERS = 10
const WRITES_PER_SECOND = 10
const SETTLE_MS = 5_000

class Mesh implements World {
  readonly meshId: Uint8Array = new Uint8Array(16).fill(7)
  readonly random: Random = seededRandom(Number(values.seed))
  readonly schedule: Schedule = new Schedule()
  readonly gateways: SimulatedGateway[] = []
  readonly edges: readonly (readonly [number, number])[]
  readonly history = { trashBytesMax: 67_108_864 }
  readonly vanished: Set<number> = new Set<number>()
  frames = 0
  bytes = 0
  copies = 0
  firsts = 0
  isCounting = false
  readonly #seen = new Set<string>()
  readonly #delays: number[] = []

  constructor(count: number, edges: readonly (readonly [number, number])[]) {
    this.edges = edges
    for (let i = 0; i < count; i++) this.gateways.push(new SimulatedGateway(this, i, fakeKey(1, i), START_MS, 2))
    for (const gateway of this.gateways) gateway.start()
    edges.forEach(([a, b], edge) => {
      this.#delays.push(randomInteger(this.random, 1, 20))
      this.#at(a).linkUp(edge, b)
      this.#at(b).linkUp(edge, a)
    })
  }

  peerIdOf(index: number): string {
    return peerIdOf(fakeKey(1, index))
  }

  send(from: number, link: number, bytes: Uint8Array): void {
    const [a, b] = this.edges[link] as readonly [number, number]
    const to = from === a ? b : a
    if (this.vanished.has(from) || this.vanished.has(to)) return
    this.frames += 1
    this.bytes += bytes.length
    if (this.isCounting) this.#count(to, bytes)
    this.schedule.after(this.#delays[link] as number, () => {
      if (!this.vanished.has(to)) this.#at(to).frame(link, bytes)
    })
  }

  closeLink(): void {}
  acknowledged(): void {}
  stopped(): void {}
  event(): void {}
  stored(): void {}
  dropped(): void {}

  isSigned(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
    return Buffer.from(fakeSignature(publicKey, message)).equals(signature)
  }

  members(): readonly Writer[] {
    return this.gateways.map(({ peerId }) => ({ origin: peerId, since: 0 }))
  }

  /** Everyone writes for so long; then the virtual milliseconds until all are equal. */
  run(seconds: number): number {
    const from = this.schedule.now
    for (const gateway of this.up().slice(0, WRITERS)) {
      for (let i = 0; i < seconds * WRITES_PER_SECOND; i++) {
        const at = from + randomInteger(this.random, 0, seconds * 1_000)
        const key = `sensor-${randomInteger(this.random, 1, 20)}`
        const fields = { temperature: randomInteger(this.random, 0, 1_000) }
        this.schedule.at(at, () => gateway.write('climate', { kind: 'put', key, fields }))
      }
    }
    this.schedule.runUntil(from + seconds * 1_000)
    for (let waited = 0; waited < 600_000; waited += 50) {
      if (this.#isConverged()) return waited
      this.schedule.runUntil(this.schedule.now + 50)
    }
    return Number.POSITIVE_INFINITY
  }

  /** At once, and so that those who are left can still reach each other. */
  vanish(share: number): void {
    do {
      this.vanished.clear()
      while (this.vanished.size < this.gateways.length * share) {
        this.vanished.add(randomInteger(this.random, 0, this.gateways.length - 1))
      }
    } while (!this.#isConnected())
    for (const index of this.vanished) {
      this.#at(index).engine = null
      this.edges.forEach(([a, b], edge) => {
        if (a !== index && b !== index) return
        const other = a === index ? b : a
        if (!this.vanished.has(other)) this.#at(other).linkDown(edge)
      })
    }
  }

  #isConnected(): boolean {
    const [first] = this.up()
    const reached = new Set<number>(first ? [first.index] : [])
    for (const from of reached) {
      for (const [a, b] of this.edges) {
        const to = a === from ? b : b === from ? a : null
        if (to !== null && !this.vanished.has(to)) reached.add(to)
      }
    }
    return reached.size === this.up().length
  }

  up(): SimulatedGateway[] {
    return this.gateways.filter(({ index }) => !this.vanished.has(index))
  }

  #isConverged(): boolean {
    const heads = this.up().map(({ disk }) => {
      const own = disk.heads().filter(({ feed }) => feed.descriptor.collection === 'climate')
      return own
        .map(({ feed, seq }) => `${feed.key} ${seq}`)
        .sort(byText)
        .join()
    })
    return new Set(heads).size === 1
  }

  #count(to: number, frame: Uint8Array): void {
    const messages = decodeMessages(frame)
    if (!messages.ok) return
    for (const message of messages.value) {
      if (message.type !== 'data') continue
      for (const bytes of message.batches) {
        const batch = decodeBatch(this.meshId, bytes)
        if (!batch.ok) continue
        this.copies += 1
        const name = `${to} ${Buffer.from(batch.value.header.feedId).toString('latin1')} ${seqOfBatch(bytes)}`
        if (!this.#seen.has(name)) this.firsts += 1
        this.#seen.add(name)
      }
    }
  }

  #at(index: number): SimulatedGateway {
    return this.gateways[index] as SimulatedGateway
  }
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
const edges = values.links === 'cells' ? cells(count) : ring(count)
const mesh = new Mesh(count, edges)
mesh.run(SETTLE_MS / 1_000)
mesh.isCounting = true
const before = { frames: mesh.frames, bytes: mesh.bytes }
const seconds = Number(values.seconds)
const convergedMs = mesh.run(seconds)
const figures = {
  gateways: count,
  links: edges.length,
  layout: values.links,
  batches: Math.round(mesh.firsts / Math.max(1, count - 1)),
  copiesPerGateway: mesh.copies / mesh.firsts,
  messages: mesh.frames - before.frames,
  bytes: mesh.bytes - before.bytes,
  convergedMs,
}
mesh.isCounting = false
mesh.vanish(0.3)
const recoveredMs = mesh.run(5)
console.log(JSON.stringify({ ...figures, recoveredMs, left: mesh.up().length }))
