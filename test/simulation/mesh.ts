import type { Writer } from '../../runtime/access/seals.ts'
import { equal } from '../../runtime/base/bytes.ts'
import { randomInteger, seededRandom, type Random } from '../../runtime/base/random.ts'
import { peerIdOf } from '../../runtime/crypto/identity.ts'
import type { EngineOptions } from '../../runtime/sync/types.ts'
import { fakeKey, fakeSignature, SimulatedGateway, type World } from './gateway.ts'
import { SharedReading } from './reading.ts'
import { Schedule } from './schedule.ts'

export interface MeshOptions {
  readonly gateways: number
  /** Links, each between two gateways. */
  readonly edges: readonly (readonly [number, number])[]
  readonly seed?: number
  /** Of a gateway's engine. */
  readonly engine?: (index: number) => Partial<EngineOptions>
  /** What a link carries each way in a virtual millisecond, one of them or each by its number; without it any amount at once. */
  readonly bytesPerMs?: number | ((link: number) => number)
  /** How long a frame is under way; 1 to 20 virtual milliseconds when absent. */
  readonly delayMs?: number
  /** Called when a frame is sent; `link` is the number of the edge. */
  readonly onFrame?: (from: number, to: number, bytes: Uint8Array, link: number) => void
}

const START_MS = Date.UTC(2026, 0, 1)

/** Gateways on a virtual clock whose links lose nothing, but may be slow: what flow and spreading are measured on. */
export class Mesh implements World {
  readonly meshId: Uint8Array = new Uint8Array(16).fill(7)
  readonly reading: SharedReading = new SharedReading(this.meshId)
  readonly random: Random
  readonly schedule: Schedule = new Schedule()
  readonly gateways: SimulatedGateway[] = []
  readonly history = { trashBytesMax: 67_108_864 }
  readonly engine: NonNullable<MeshOptions['engine']>
  readonly vanished: Set<number> = new Set<number>()
  /** What the engines have said. */
  readonly events: {
    readonly from: number
    readonly name: string
    readonly fields: Readonly<Record<string, unknown>>
  }[] = []
  readonly #options: MeshOptions
  readonly #edges: (readonly [number, number])[] = []
  readonly #delays: number[] = []
  readonly #peerIds: readonly string[]
  readonly #members: readonly Writer[]
  /** Until when each direction of a link is busy. */
  readonly #busyUntil = new Map<string, number>()

  constructor(options: MeshOptions) {
    this.#options = options
    this.#peerIds = Array.from({ length: options.gateways }, (_, index) => peerIdOf(fakeKey(1, index)))
    this.#members = this.#peerIds.map((origin) => ({ origin, since: 0 }))
    this.random = seededRandom(options.seed ?? 1)
    this.engine = options.engine ?? (() => ({}))
    for (let i = 0; i < options.gateways; i++) {
      this.gateways.push(new SimulatedGateway(this, i, fakeKey(1, i), START_MS, 2))
    }
    for (const gateway of this.gateways) gateway.start()
    for (const [a, b] of options.edges) this.connect(a, b)
  }

  at(index: number): SimulatedGateway {
    return this.gateways[index] as SimulatedGateway
  }

  up(): SimulatedGateway[] {
    return this.gateways.filter(({ index }) => !this.vanished.has(index))
  }

  /** A link more. */
  connect(a: number, b: number): void {
    this.#edges.push([a, b])
    this.#delays.push(this.#options.delayMs ?? randomInteger(this.random, 1, 20))
    this.linkUp(this.#edges.length - 1)
  }

  linkUp(link: number): void {
    const [a, b] = this.#edge(link)
    this.at(a).linkUp(link, b)
    this.at(b).linkUp(link, a)
  }

  linkDown(link: number): void {
    for (const end of this.#edge(link)) if (!this.vanished.has(end)) this.at(end).linkDown(link)
  }

  /** It is gone, and its neighbours notice at once. */
  vanish(index: number): void {
    this.vanished.add(index)
    this.at(index).engine = null
    this.#edges.forEach((ends, link) => {
      if (ends.includes(index)) this.linkDown(link)
    })
  }

  /** Runs for so long. */
  pass(ms: number): void {
    this.schedule.runUntil(this.schedule.now + ms)
  }

  peerIdOf(index: number): string {
    return this.#peerIds[index] as string
  }

  send(from: number, link: number, bytes: Uint8Array): void {
    const [a, b] = this.#edge(link)
    const to = from === a ? b : a
    if (this.vanished.has(from) || this.vanished.has(to)) return
    this.#options.onFrame?.(from, to, bytes, link)
    this.schedule.at(this.#sentAt(from, link, bytes) + (this.#delays[link] as number), () => {
      if (!this.vanished.has(to)) this.at(to).frame(link, bytes)
    })
  }

  #sentAt(from: number, link: number, bytes: Uint8Array): number {
    const { bytesPerMs } = this.#options
    if (bytesPerMs === undefined) return this.schedule.now
    const direction = `${from} ${link}`
    const rate = typeof bytesPerMs === 'number' ? bytesPerMs : bytesPerMs(link)
    const sentAt = Math.max(this.schedule.now, this.#busyUntil.get(direction) ?? 0) + bytes.length / rate
    this.#busyUntil.set(direction, sentAt)
    return sentAt
  }

  #edge(link: number): readonly [number, number] {
    return this.#edges[link] as readonly [number, number]
  }

  closeLink(): void {}
  acknowledged(): void {}

  /** When it runs again its links come up anew. */
  stopped(index: number): void {
    this.schedule.after(1, () => {
      this.#edges.forEach(([a, b], link) => {
        const other = a === index ? b : b === index ? a : null
        if (other === null || this.vanished.has(index) || this.vanished.has(other)) return
        this.at(other).linkDown(link)
        this.linkUp(link)
      })
    })
  }

  event(from: number, name: string, fields: object): void {
    this.events.push({ from, name, fields: { ...fields } })
  }
  stored(): void {}
  dropped(): void {}

  isSigned(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
    return equal(fakeSignature(publicKey, message), signature)
  }

  members(): readonly Writer[] {
    return this.#members
  }
}
