import { randomInteger, seededRandom, type Random } from '../../runtime/base/random.ts'
import { peerIdOf } from '../../runtime/crypto/identity.ts'
import type { Writer } from '../../runtime/access/seals.ts'
import { fakeKey, fakeSignature, SimulatedGateway, type World } from '../simulation/gateway.ts'
import { Schedule } from '../simulation/schedule.ts'
import { Hostile } from './hostile.ts'
import { heapBytes } from './heap.ts'
import { stopwatch } from './stopwatch.ts'

/** One session: a gateway with an honest neighbour and a hostile one, which says what it likes. */
export interface Session {
  /** Repeats it: `npm run fuzz` and this name as `--session`. */
  readonly name: string
  run(): {
    readonly times: number[]
    readonly accepted: number
    readonly refused: number
    readonly fault: string | null
  }
}

const INPUTS_PER_SESSION = 300

export class EngineFuzz {
  readonly #seed: number
  #sessions = 0

  constructor(seed: number) {
    this.#seed = seed
  }

  next(): Session {
    const seed = this.#seed * 100_000 + this.#sessions++
    return { name: String(seed), run: () => runSession(seed) }
  }
}

export function runSession(seed: number): ReturnType<Session['run']> {
  const world = new FuzzWorld(seed, 'anything')
  const times: number[] = []
  try {
    for (let i = 0; i < INPUTS_PER_SESSION; i++) times.push(world.step())
    world.settle()
    return { times, accepted: world.accepted, refused: world.refused, fault: null }
  } catch (error) {
    const what = error instanceof Error ? (error.stack ?? error.message) : String(error)
    return { times, accepted: world.accepted, refused: world.refused, fault: `input ${times.length} threw: ${what}` }
  }
}

/** Frames of one long link, of which the last so many must not make the heap grow. */
const TABLE_FRAMES = 6_000
const TABLE_GROWTH_MAX = 1_500_000

/**
 * Says well-formed things about few feeds on one link that stays up, numbers drawn anew each time: whatever the gateway
 * remembers of them must have a bound. Null, or what grew.
 */
export async function tableGrowth(seed: number): Promise<string | null> {
  const world = new FuzzWorld(seed, 'well-formed')
  const bytes: number[] = []
  for (let part = 0; part < 3; part++) {
    for (let i = 0; i < TABLE_FRAMES / 2; i++) world.step()
    bytes.push(await heapBytes())
  }
  const [, early = 0, late = 0] = bytes
  const grown = late - early
  if (world.closes > 0) return `the link of the tables was closed: ${world.lastReason}`
  return grown > TABLE_GROWTH_MAX ? `its tables grew by ${grown} bytes with ${TABLE_FRAMES / 2} frames` : null
}

const HONEST = 1
const HOSTILE = 2
const LINK_AT = { honest: 1, hostile: 2, ofHonest: 3 }

/** The gateway under test is 0, an honest one 1; the hostile one is no gateway at all. */
export class FuzzWorld implements World {
  readonly meshId: Uint8Array = new Uint8Array(16).fill(7)
  readonly random: Random
  readonly schedule: Schedule = new Schedule()
  readonly history = { trashBytesMax: 20_000 }
  accepted = 0
  refused = 0
  closes = 0
  lastReason = ''
  readonly #keys: readonly Uint8Array[]
  readonly #gateways: readonly SimulatedGateway[]
  readonly #hostile: Hostile
  readonly #mode: 'anything' | 'well-formed'
  #isUp = false

  constructor(seed: number, mode: 'anything' | 'well-formed') {
    this.random = seededRandom(seed)
    this.#mode = mode
    this.#keys = [0, HONEST, HOSTILE].map((index) => fakeKey(seed, index))
    const startMs = Date.UTC(2026, 0, 1)
    this.#hostile = new Hostile(this.random, this.meshId, this.#keys[HOSTILE] as Uint8Array, startMs)
    const trust = seed % 2 === 0 ? 2 : 0
    this.#gateways = [0, HONEST].map(
      (index) => new SimulatedGateway(this, index, this.#keys[index] as Uint8Array, startMs, trust),
    )
    for (const gateway of this.#gateways) gateway.start()
    this.#subject.linkUp(LINK_AT.honest, HONEST)
    this.#honest.linkUp(LINK_AT.ofHonest, 0)
    this.schedule.runUntil(100)
  }

  /** One hostile frame and all that comes of it at once; milliseconds that it took. */
  step(): number {
    if (!this.#isUp) this.#greet()
    if (this.#mode === 'anything' && this.random() < 0.2) this.#writeSome()
    const frame = this.#mode === 'anything' ? this.#hostile.frame() : this.#hostile.wellFormed()
    const closesBefore = this.closes
    const elapsedMs = stopwatch()
    this.#subject.frame(LINK_AT.hostile, frame)
    const ms = elapsedMs()
    if (this.closes === closesBefore) this.accepted += 1
    else this.refused += 1
    const isLater = this.random() < 0.05
    const laterMs = this.#mode === 'anything' ? 60_000 : 5_000
    this.schedule.runUntil(this.schedule.now + (isLater ? randomInteger(this.random, 1_000, laterMs) : 5))
    if (this.#mode === 'anything' && this.random() < 0.02) this.#restart()
    return ms
  }

  /** It still takes and acknowledges a write of its own after all that. */
  settle(): void {
    const before = this.accepted
    this.#isAcknowledged = false
    this.schedule.runUntil(this.schedule.now + 120_000)
    this.#subject.write('climate', { kind: 'put', key: 'last', fields: { temperature: 1 } })
    this.schedule.runUntil(this.schedule.now + 10_000)
    if (!this.#isAcknowledged) throw new Error(`It takes no more writes after ${before} frames`)
  }

  #isAcknowledged = false

  get #subject(): SimulatedGateway {
    return this.#gateways[0] as SimulatedGateway
  }

  get #honest(): SimulatedGateway {
    return this.#gateways[HONEST] as SimulatedGateway
  }

  #greet(): void {
    this.#isUp = true
    this.#subject.linkUp(LINK_AT.hostile, HOSTILE)
    this.#subject.frame(LINK_AT.hostile, this.#hostile.greeting())
  }

  #writeSome(): void {
    const gateway = this.random() < 0.5 ? this.#subject : this.#honest
    const key = `sensor-${randomInteger(this.random, 1, 5)}`
    gateway.write('climate', { kind: 'put', key, fields: { temperature: randomInteger(this.random, 0, 99) } })
  }

  /** What lies on the disk now is read as after any power cut. */
  #restart(): void {
    this.#subject.crash()
    this.#subject.start()
    this.#isUp = false
    this.#subject.linkUp(LINK_AT.honest, HONEST)
    this.#honest.linkDown(LINK_AT.ofHonest)
    this.#honest.linkUp(LINK_AT.ofHonest, 0)
  }

  peerIdOf(index: number): string {
    return peerIdOf(this.#keys[index] as Uint8Array)
  }

  send(from: number, link: number, bytes: Uint8Array): void {
    if (from === HONEST) this.schedule.after(2, () => this.#subject.frame(LINK_AT.honest, bytes))
    else if (link === LINK_AT.honest) this.schedule.after(2, () => this.#honest.frame(LINK_AT.ofHonest, bytes))
    if (from === HONEST || link === LINK_AT.hostile) this.#hostile.hear(bytes)
  }

  closeLink(from: number, link: number, reason: string): void {
    if (from !== 0 || link !== LINK_AT.hostile) throw new Error(`The honest link was closed: ${reason}`)
    this.closes += 1
    this.lastReason = reason
    this.#isUp = false
    this.schedule.after(0, () => this.#subject.linkDown(LINK_AT.hostile))
    this.schedule.runUntil(this.schedule.now)
  }

  acknowledged({ gateway }: { readonly gateway: number }): void {
    if (gateway === 0) this.#isAcknowledged = true
  }

  isSigned(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
    return Buffer.from(fakeSignature(publicKey, message)).equals(signature)
  }

  members(): readonly Writer[] {
    return this.#keys.map((key) => ({ origin: peerIdOf(key), since: 0 }))
  }

  stopped(): void {
    this.#isUp = false
  }

  event(): void {}

  stored(): void {}

  dropped(): void {}
}
