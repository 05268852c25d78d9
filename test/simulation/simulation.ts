import { createHash } from 'node:crypto'
import { latin1 } from '../../runtime/base/bytes.ts'
import { randomInteger, seededRandom, type Random } from '../../runtime/base/random.ts'
import { peerIdOf } from '../../runtime/crypto/identity.ts'
import type { Batch, Feed, Ops } from '../../runtime/model/batch.ts'
import { elementSub } from '../../runtime/model/cells.ts'
import type { WriteOp } from '../../runtime/ports/writer.ts'
import type { Writer } from '../../runtime/access/seals.ts'
import { checkFrame, violations } from './checks.ts'
import { msOfHlc } from '../../runtime/model/stamp.ts'
import type { SimulatedDisk } from './disk.ts'
import { fakeKey, fakeSignature, SimulatedGateway, type Acknowledged, type World } from './gateway.ts'
import { Schedule } from './schedule.ts'

/**
 * A whole mesh in one process on a virtual clock: the real engine, model and wire over simulated disks, clocks and links.
 * Everything that happens is drawn from one seed, so the same seed gives the same run, byte for byte (`traceHash`).
 */
export interface Scenario {
  readonly seed: number
  readonly gateways: number
  /** Virtual minutes of faults, before everything is healed and must converge. */
  readonly minutes: number
  /** Copied cards and stores put back from old copies are among the faults. */
  readonly forks?: boolean
}

/** Rare things that seeds of the gate must reach, so that no test passes for want of trouble. */
export type Sometimes =
  | 'link cut'
  | 'half-open link'
  | 'frame lost'
  | 'frames reordered'
  | 'power cut with unflushed appends'
  | 'partition'
  | 'disk full'
  | 'clock jump'
  | 'batch deferred'
  | 'resync'
  | 'checkpoint signed'
  | 'dead batches dropped'
  | 'tombstones collected'
  | 'operations told again'
  | 'feed jumped'
  | 'restored copy'
  | 'restored copy unnoticed'
  | 'cloned gateway'
  | 'fork proven'
  | 'feed cut'
  | 'own writes made again'

interface Issued {
  readonly batch: Batch
  /** Null for a checkpoint. */
  readonly ops: Ops | null
}

/** A feed's batches by their hash: of a copied card there may be two with one sequence. */
interface IssuedFeed {
  readonly feed: Feed
  readonly batches: Map<string, Issued>
}

/** What a believed clock lets pass from others (TIMES.futureMs of the engine), and a second. */
const FUTURE_MS = 301_000

interface Pipe {
  readonly a: number
  readonly b: number
  readonly linkA: number
  readonly linkB: number
  isAUp: boolean
  isBUp: boolean
  lossRate: number
  jitterMs: number
  delayMs: number
  lastArrivalAtA: number
  lastArrivalAtB: number
}

const START_MS = Date.UTC(2026, 0, 1)
const COLLECTIONS = ['climate', 'plugs']
/** A document that is never deleted. */
export const COUNTED_KEY = 'counted'
/** Minutes after the last fault: at least, so that what was dead may still do harm; and at most. */
const QUIET_MINUTES = 2
const CONVERGENCE_MINUTES = 20

export class Simulation implements World {
  readonly scenario: Scenario
  readonly random: Random
  readonly schedule: Schedule = new Schedule()
  readonly meshId: Uint8Array = new Uint8Array(16).fill(7)
  readonly gateways: SimulatedGateway[] = []
  readonly acknowledgements: Acknowledged[] = []
  /** How often something was counted, by collection. */
  readonly counted: Map<string, number> = new Map<string, number>()
  /** Every batch that ever was on its author's disk. */
  readonly issued: Map<string, IssuedFeed> = new Map<string, IssuedFeed>()
  readonly sometimes: Map<Sometimes, number> = new Map<Sometimes, number>()
  /** Violations seen while it runs. */
  readonly faults: string[] = []
  /** Cells that showed something else when dead batches left: none may, but where a voided write is involved. */
  readonly changedByDrops: Map<string, string> = new Map<string, string>()
  /** Virtual time from the end of the faults until all were equal, by the minute. */
  convergedAfterMs = 0
  /** Small in half of the runs: there dead batches go before all have confirmed them. Not with forks, which may want them back. */
  readonly trashBytesMax: number
  framesSent = 0
  bytesSent = 0
  readonly #trace = createHash('sha256')
  readonly #pipes = new Map<number, Pipe>()
  readonly #edges: [number, number][] = []
  readonly #peerIds: string[] = []
  #links = 0
  #side: number[] = []
  readonly #snapshots = new Map<SimulatedGateway, { readonly disk: SimulatedDisk; readonly incarnation: Uint8Array }>()
  #isFaulty = true

  constructor(scenario: Scenario) {
    this.scenario = scenario
    this.random = seededRandom(scenario.seed)
    this.trashBytesMax = scenario.forks !== true && scenario.seed % 2 === 1 ? 1_000 : 67_108_864
    for (let index = 0; index < scenario.gateways; index++) this.#addGateway(index)
    this.#drawEdges()
  }

  run(): void {
    for (const gateway of this.gateways) gateway.start()
    for (const [a, b] of this.#edges) this.#dial(a, b)
    this.#planWrites()
    this.#planFaults()
    this.schedule.runUntil(this.scenario.minutes * 60_000)
    this.#heal()
    this.#converge()
  }

  /** Everything is healed: within a bound all must be equal, however long deferred batches wait for their time. */
  #converge(): void {
    for (let minutes = QUIET_MINUTES; minutes <= CONVERGENCE_MINUTES; minutes++) {
      this.schedule.runUntil((this.scenario.minutes + minutes) * 60_000)
      this.convergedAfterMs = minutes * 60_000
      if (violations(this).length === 0) return
    }
  }

  get traceHash(): string {
    return this.#trace.copy().digest('hex')
  }

  peerIdOf(index: number): string {
    return this.#peerIds[index] as string
  }

  send(from: number, link: number, bytes: Uint8Array): void {
    const pipe = this.#pipes.get(link)
    if (!pipe) return
    this.framesSent += 1
    this.bytesSent += bytes.length
    this.#trace.update(`${this.schedule.now} ${from} ${link} `).update(bytes)
    if (this.faults.length < 10) this.faults.push(...checkFrame(this, this.#gateway(from), bytes))
    const isFromA = from === pipe.a
    if (this.random() < pipe.lossRate) return this.note('frame lost')
    const last = isFromA ? pipe.lastArrivalAtB : pipe.lastArrivalAtA
    let at = this.schedule.now + pipe.delayMs + Math.floor(this.random() * pipe.jitterMs)
    if (at < last && pipe.jitterMs > 0 && this.#isFaulty) this.note('frames reordered')
    else at = Math.max(at, last)
    if (isFromA) pipe.lastArrivalAtB = Math.max(at, last)
    else pipe.lastArrivalAtA = Math.max(at, last)
    const [to, linkThere] = isFromA ? [pipe.b, pipe.linkB] : [pipe.a, pipe.linkA]
    this.schedule.at(at, () => {
      if (isFromA ? pipe.isBUp : pipe.isAUp) this.#gateway(to).frame(linkThere, bytes)
    })
  }

  closeLink(_from: number, link: number, _reason: string): void {
    const pipe = this.#pipes.get(link)
    if (pipe) this.schedule.after(0, () => this.#cut(pipe))
  }

  acknowledged(write: Acknowledged): void {
    this.acknowledgements.push(write)
  }

  event(from: number, name: string, fields: object): void {
    this.#trace.update(`${this.schedule.now} ${from} ${name} ${JSON.stringify(fields)}`)
    if (name === 'batch-deferred') this.note('batch deferred')
    if (name === 'resync') this.note('resync')
    if (name === 'compacted') this.note('checkpoint signed')
    if (name === 'compacted' && 'dropsTombstones' in fields && fields.dropsTombstones) this.note('tombstones collected')
    if (name === 'compacted' && 'again' in fields && Number(fields.again) > 0) this.note('operations told again')
    if (name === 'jumped') this.note('feed jumped')
    if (name === 'fork' && 'isProven' in fields) this.note('fork proven')
    if (name === 'sealed') this.note('feed cut')
    if (name === 'reissued') this.note('own writes made again')
  }

  stored(gateway: SimulatedGateway, feed: Feed, batch: Batch, ops: Ops | null): void {
    if (feed.origin !== gateway.peerId) return
    const aheadMs = msOfHlc(batch.header.hlc) - gateway.latestWallMs
    if (gateway.trust > 0 && aheadMs > FUTURE_MS) {
      this.faults.push(`I16 gateway ${gateway.index} stamped a batch ${aheadMs} ms after its clock`)
    }
    const batches = this.issued.get(feed.key) ?? { feed, batches: new Map<string, Issued>() }
    this.issued.set(feed.key, batches)
    batches.batches.set(latin1(batch.hash), { batch, ops })
  }

  /** What is declared dead has been overtaken: nothing that anybody sees may change when it goes. */
  dropped({ index }: SimulatedGateway, before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): void {
    this.note('dead batches dropped')
    for (const [cell, value] of before) {
      const now = after.get(cell)
      if (now !== value) this.changedByDrops.set(cell, `gateway ${index}: it was ${value}, is ${now}`)
    }
    for (const [cell, value] of after) {
      if (!before.has(cell)) this.changedByDrops.set(cell, `gateway ${index}: it is back with ${value}`)
    }
  }

  isSigned(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
    return Buffer.from(fakeSignature(publicKey, message)).equals(signature)
  }

  members(): readonly Writer[] {
    return [...new Set(this.#peerIds)].map((origin) => ({ origin, since: 0 }))
  }

  stopped(from: number): void {
    for (const pipe of new Set(this.#pipes.values())) if (pipe.a === from || pipe.b === from) this.#cut(pipe)
  }

  note(what: Sometimes): void {
    this.sometimes.set(what, (this.sometimes.get(what) ?? 0) + 1)
  }

  #addGateway(index: number, key: Uint8Array = fakeKey(this.scenario.seed, index)): void {
    this.#peerIds.push(peerIdOf(key))
    // Most clocks are right; some boards boot in 1970 and don't believe themselves.
    const isRight = this.random() < 0.8
    const offset = isRight ? randomInteger(this.random, -2_000, 2_000) : -START_MS
    this.gateways.push(new SimulatedGateway(this, index, key, START_MS + offset, isRight ? 2 : 0))
    this.#side.push(0)
  }

  /** A line keeps everyone connected; chords make several ways. */
  #drawEdges(): void {
    const count = this.scenario.gateways
    for (let i = 1; i < count; i++) this.#edges.push([randomInteger(this.random, Math.max(0, i - 2), i - 1), i])
    for (let i = 0; i < count; i++) {
      const a = randomInteger(this.random, 0, count - 1)
      const b = randomInteger(this.random, 0, count - 1)
      if (a !== b && !this.#edges.some(([x, y]) => (x === a && y === b) || (x === b && y === a)))
        this.#edges.push([a, b])
    }
  }

  #dial(a: number, b: number): void {
    const isPossible = this.#gateway(a).isUp && this.#gateway(b).isUp && this.#side[a] === this.#side[b]
    const isLinked = [...this.#pipes.values()].some((pipe) => pipe.a === a && pipe.b === b)
    if (!isPossible || isLinked) {
      if (!isLinked) this.schedule.after(randomInteger(this.random, 500, 5_000), () => this.#dial(a, b))
      return
    }
    const linkA = ++this.#links
    const linkB = ++this.#links
    const isLossy = this.#isFaulty && this.random() < 0.3
    const pipe: Pipe = {
      a,
      b,
      linkA,
      linkB,
      isAUp: true,
      isBUp: true,
      lossRate: isLossy ? this.random() * 0.1 : 0,
      jitterMs: isLossy ? randomInteger(this.random, 0, 200) : 2,
      delayMs: randomInteger(this.random, 1, 40),
      lastArrivalAtA: 0,
      lastArrivalAtB: 0,
    }
    this.#pipes.set(linkA, pipe)
    this.#pipes.set(linkB, pipe)
    this.#gateway(a).linkUp(linkA, b)
    this.#gateway(b).linkUp(linkB, a)
  }

  /** Both ends learn of it, not always at the same time. */
  #cut(pipe: Pipe): void {
    if (!this.#pipes.delete(pipe.linkA)) return
    this.#pipes.delete(pipe.linkB)
    this.note('link cut')
    const isHalfOpen = this.random() < 0.3
    if (isHalfOpen) this.note('half-open link')
    const late = isHalfOpen ? randomInteger(this.random, 100, 20_000) : 0
    pipe.isAUp = false
    this.#gateway(pipe.a).linkDown(pipe.linkA)
    this.schedule.after(late, () => {
      pipe.isBUp = false
      this.#gateway(pipe.b).linkDown(pipe.linkB)
      this.schedule.after(randomInteger(this.random, 200, 3_000), () => this.#dial(pipe.a, pipe.b))
    })
  }

  #planWrites(): void {
    for (const gateway of this.gateways) this.#planWritesOf(gateway, 0)
  }

  #planWritesOf(gateway: SimulatedGateway, from: number): void {
    const end = this.scenario.minutes * 60_000
    const count = randomInteger(this.random, 5, 60)
    for (let i = 0; i < count; i++) {
      this.schedule.at(randomInteger(this.random, from, end), () => this.#write(gateway))
    }
  }

  #write(gateway: SimulatedGateway): void {
    const burst = this.random() < 0.1 ? randomInteger(this.random, 50, 150) : 1
    for (let i = 0; i < burst; i++) this.#writeOne(gateway)
  }

  #writeOne(gateway: SimulatedGateway): void {
    const collection = this.#pick(COLLECTIONS)
    const op = this.#drawOp()
    if (op.kind === 'count') this.counted.set(collection, (this.counted.get(collection) ?? 0) + 1)
    gateway.write(collection, op)
  }

  #drawOp(): WriteOp {
    const key = `sensor-${randomInteger(this.random, 1, 12)}`
    if (this.random() < 0.1) return { kind: 'delete', key }
    if (this.random() < 0.2) return this.#drawTypedOp(key)
    const fields: { [path: string]: number | null } = {}
    for (const path of ['temperature', 'humidity', 'battery']) {
      if (this.random() < 0.5) fields[path] = this.random() < 0.1 ? null : randomInteger(this.random, 0, 1_000)
    }
    return { kind: 'put', key, fields: Object.keys(fields).length > 0 ? fields : { temperature: 1 } }
  }

  #drawTypedOp(key: string): WriteOp {
    const elements = ['a', 'b', 'c'].filter(() => this.random() < 0.5)
    const what = this.random()
    if (what < 0.4) return { kind: 'count', key: COUNTED_KEY, path: 'total', by: 1 }
    if (what < 0.5) return { kind: 'remove', key, path: 'tags', subs: null }
    if (what < 0.6) return { kind: 'remove', key, path: 'tags', subs: elements.map(elementSub) }
    if (what < 0.8 || elements.length === 0) {
      return {
        kind: 'link',
        key,
        path: 'to',
        references: [['climate', '', `sensor-${randomInteger(this.random, 1, 12)}`]],
      }
    }
    return { kind: 'add', key, path: 'tags', elements }
  }

  #planFaults(): void {
    const end = this.scenario.minutes * 60_000
    const faults = [
      () => this.#cutSome(),
      () => this.#crashSome(),
      () => this.#partition(),
      () => this.#fillDisk(),
      () => this.#jumpClock(),
      ...(this.scenario.forks === true ? [() => this.#snapshot(), () => this.#restore(), () => this.#clone()] : []),
    ]
    const count = randomInteger(this.random, 3, 10) + this.scenario.gateways
    for (let i = 0; i < count; i++) {
      this.schedule.at(randomInteger(this.random, 0, end), () => this.#pick(faults)())
    }
  }

  #cutSome(): void {
    const pipes = [...this.#pipes.values()]
    if (pipes.length > 0) this.#cut(this.#pick(pipes))
  }

  #crashSome(): void {
    const gateway = this.#pick(this.gateways)
    if (!gateway.isUp) return
    // Often in the middle of a burst, when the disk has not taken everything yet.
    if (this.random() < 0.5) for (let i = 0; i < 100; i++) this.#writeOne(gateway)
    if (gateway.disk.cached > 0) this.note('power cut with unflushed appends')
    gateway.crash()
    for (const pipe of new Set(this.#pipes.values())) {
      if (pipe.a === gateway.index || pipe.b === gateway.index) this.#cut(pipe)
    }
    this.schedule.after(randomInteger(this.random, 100, 30_000), () => {
      if (!gateway.isUp) gateway.start()
    })
  }

  #partition(): void {
    this.note('partition')
    this.#side = this.#side.map(() => (this.random() < 0.5 ? 0 : 1))
    for (const pipe of new Set(this.#pipes.values())) {
      if (this.#side[pipe.a] !== this.#side[pipe.b]) this.#cut(pipe)
    }
    this.schedule.after(randomInteger(this.random, 1_000, 60_000), () => this.#side.fill(0))
  }

  #fillDisk(): void {
    this.note('disk full')
    const gateway = this.#pick(this.gateways)
    gateway.isDiskFull = true
    this.schedule.after(randomInteger(this.random, 100, 20_000), () => {
      gateway.isDiskFull = false
    })
  }

  /** A copy of a card, to be put back later. */
  #snapshot(): void {
    const gateway = this.#pick(this.gateways)
    this.#snapshots.set(gateway, { disk: gateway.disk.copy(gateway.watch), incarnation: gateway.incarnation })
  }

  /** An old copy is put back; whether the gateway notices at once depends on where its mark was. */
  #restore(): void {
    const [found] = [...this.#snapshots].filter(([gateway]) => gateway.isUp)
    if (!found) return
    const [gateway, { disk, incarnation }] = found
    this.#snapshots.delete(gateway)
    const isNoticed = this.random() < 0.5
    this.note(isNoticed ? 'restored copy' : 'restored copy unnoticed')
    gateway.crash()
    this.stopped(gateway.index)
    gateway.disk = disk
    gateway.incarnation = incarnation
    if (isNoticed) gateway.newIncarnation()
    this.schedule.after(randomInteger(this.random, 50, 10_000), () => gateway.start())
  }

  /** A second gateway runs from a copy of the card, with the same key and the same incarnation. */
  #clone(): void {
    if (this.gateways.length > this.scenario.gateways || this.random() < 0.5) return
    const original = this.#pick(this.gateways)
    this.note('cloned gateway')
    const index = this.gateways.length
    this.#addGateway(index, original.publicKey)
    const clone = this.#gateway(index)
    clone.disk = original.disk.copy(clone.watch)
    clone.incarnation = original.incarnation
    clone.latestWallMs = original.latestWallMs
    clone.start()
    const others = this.gateways.filter((other) => other.index < index && other !== original)
    for (let i = 0; i < 2; i++) this.#dial((others.length > 0 ? this.#pick(others) : original).index, index)
    this.#planWritesOf(clone, this.schedule.now)
  }

  /** Forward by at most ten minutes, so that a deferred batch's time comes within the run. */
  #jumpClock(): void {
    this.note('clock jump')
    const gateway = this.#pick(this.gateways)
    gateway.clockBaseMs = gateway.rightClockMs + randomInteger(this.random, -3_600_000, 600_000)
  }

  #heal(): void {
    this.#isFaulty = false
    this.#side.fill(0)
    for (const gateway of this.gateways) {
      gateway.isDiskFull = false
      gateway.clockBaseMs = gateway.rightClockMs
      if (!gateway.isUp) gateway.start()
    }
    for (const pipe of this.#pipes.values()) pipe.lossRate = 0
  }

  #gateway(index: number): SimulatedGateway {
    return this.gateways[index] as SimulatedGateway
  }

  #pick<T>(items: readonly T[]): T {
    return items[randomInteger(this.random, 0, items.length - 1)] as T
  }
}
