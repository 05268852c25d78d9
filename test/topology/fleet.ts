import { equal } from '../../runtime/base/bytes.ts'
import type { Result } from '../../runtime/base/result.ts'
import { randomInteger, seededRandom, type Random } from '../../runtime/base/random.ts'
import { peerIdOf } from '../../runtime/crypto/identity.ts'
import { Candidates } from '../../runtime/topology/candidates.ts'
import type { OwnTraits } from '../../runtime/topology/routes.ts'
import { fillDefaults } from '../../runtime/profile/defaults.ts'
import { Topology } from '../../runtime/topology/topology.ts'
import { decodeAddressRecord, type SignedRecord } from '../../runtime/wire/address-record.ts'
import { fakeKey, fakeSignature } from '../simulation/gateway.ts'
import { Schedule } from '../simulation/schedule.ts'

export interface FleetOptions {
  readonly gateways: number
  readonly cells: number
  readonly seed: number
  /** `bootstrap`: every profile names the first gateway. `mdns`: the first of each cell does, within cells they hear each other. */
  readonly join: 'bootstrap' | 'mdns'
  readonly links?: { readonly min: number; readonly max: number }
  readonly superPeers?: readonly number[]
}

/** What a gateway has that is given no profile. */
export const LINKS: { readonly min: number; readonly max: number } = fillDefaults({}).mesh.links
const MESH_ID = new Uint8Array(16).fill(7)
const JOIN_MS = 10_000
const LOOK_MS = 5_000
/** A dial to nobody is given up, and a power cut is noticed, after so long. */
const CONNECT_MS = 10_000
const SILENT_MS = 45_000

/** One link; both ends hold the same object. */
interface Link {
  readonly dialler: Gateway
  readonly other: Gateway
  readonly address: string
  readonly upAt: number
  readonly rttMs: number
  isUp: boolean
}

/** What a gateway does about its links, with a network that is a function call: see gateway/neighbours.ts, mesh/mesh.ts. */
export class Gateway {
  readonly index: number
  readonly cell: string
  readonly peerId: string
  readonly address: string
  readonly topology: Topology
  readonly links: Map<string, Link> = new Map<string, Link>()
  isUp = false
  readonly #fleet: Fleet
  readonly #max: number
  readonly #own: OwnTraits
  #wakeAt = Number.POSITIVE_INFINITY
  #dialAt = Number.POSITIVE_INFINITY

  constructor(fleet: Fleet, index: number) {
    const { options, random } = fleet
    const publicKey = fakeKey(1, index)
    const isSuperPeer = options.superPeers?.includes(index) ?? false
    const links = isSuperPeer ? { min: 4, max: 256 } : (options.links ?? LINKS)
    this.#fleet = fleet
    this.#max = links.max
    this.index = index
    this.cell = `cell-${index % options.cells}`
    this.peerId = peerIdOf(publicKey)
    this.address = `mqtt://10.${index % options.cells}.${index >> 8}.${index & 255}:1883`
    this.#own = { addresses: [this.address], cell: this.cell, isSuperPeer, isMetered: false }
    const common = { peerId: this.peerId, links, random }
    this.topology = new Topology(
      {
        ...common,
        meshId: MESH_ID,
        publicKey,
        number: 0,
        sign: (message) => fakeSignature(publicKey, message),
        verify: (key, message, signature) => fleet.isSigned(key, message, signature),
        read: (bytes) => fleet.read(bytes),
        isMember: () => true,
        isExchanging: true,
        isSought: () => false,
        measures: () =>
          new Map(
            [...this.links].map(([peerId, { rttMs }]) => [
              peerId,
              { latencyMs: rttMs, loss: 0, behind: 0, isRelayed: false },
            ]),
          ),
      },
      new Candidates(common),
    )
  }

  start(): void {
    const { schedule, random, options, gateways } = this.#fleet
    const [first] = gateways as [Gateway]
    this.isUp = true
    const isTold = options.join === 'bootstrap' || this.index < options.cells
    if (isTold && this !== first) this.topology.candidates.setBootstrap([first.address], schedule.now)
    if (options.join === 'mdns') this.#announce()
    schedule.after(randomInteger(random, 0, 200), () => this.#look())
  }

  /** Who is in the cell hears it within a second, and answers. */
  #announce(): void {
    const { schedule, random } = this.#fleet
    for (const other of this.#fleet.up().filter(({ cell, index }) => cell === this.cell && index !== this.index)) {
      schedule.after(randomInteger(random, 0, 1_000), () => {
        other.hint(this)
        this.hint(other)
      })
    }
  }

  hint({ address, peerId }: Gateway): void {
    this.topology.candidates.hint({ address, peerId }, 'mdns', this.#fleet.schedule.now)
    this.dial()
  }

  #look(): void {
    if (!this.isUp) return
    const { schedule } = this.#fleet
    if (this.topology.look(schedule.now, this.#own).isOther) this.dial()
    this.step()
    this.dial()
    schedule.after(LOOK_MS, () => this.#look())
  }

  step(): void {
    if (!this.isUp) return
    const { schedule } = this.#fleet
    const { exchanges, ending, isOther } = this.topology.poll(schedule.now)
    for (const { peerId, records } of exchanges) this.#send(peerId, records)
    if (isOther) this.dial()
    if (ending) this.#fleet.end(this.links.get(ending.peerId))
    const deadline = Math.max(this.topology.deadline, schedule.now + 1)
    if (deadline >= this.#wakeAt) return
    this.#wakeAt = deadline
    schedule.at(deadline, () => {
      if (this.#wakeAt !== deadline) return
      this.#wakeAt = Number.POSITIVE_INFINITY
      this.step()
    })
  }

  dial(): void {
    if (!this.isUp) return
    const { schedule } = this.#fleet
    const linked = new Set(this.links.keys())
    const isReachable = (peerId: string): boolean => this.topology.isReachable(peerId)
    const due = this.topology.candidates.due(schedule.now, { linked, isReachable, wanted: this.topology.wanted })
    for (const address of due) this.#fleet.connect(this, address)
    const deadline = Math.max(this.topology.candidates.deadline, schedule.now + 1)
    if (deadline >= this.#dialAt || deadline === Number.POSITIVE_INFINITY) return
    this.#dialAt = deadline
    schedule.at(deadline, () => {
      if (this.#dialAt !== deadline) return
      this.#dialAt = Number.POSITIVE_INFINITY
      this.dial()
    })
  }

  /** Whether there is a place for one more link; one that can be spared ends for it. */
  hasRoomFor(peerId: string): boolean {
    if (this.links.size < this.#max) return true
    const spared = this.topology.makeRoomFor(peerId)
    if (spared !== null) this.#fleet.end(this.links.get(spared))
    return this.links.size < this.#max
  }

  up(link: Link, peerId: string): void {
    this.links.set(peerId, link)
    this.topology.linkUp(peerId, link.dialler === this, this.#fleet.schedule.now)
    this.step()
  }

  down(link: Link, peerId: string): void {
    if (!this.isUp) return
    this.links.delete(peerId)
    this.topology.linkDown(peerId)
    if (link.dialler === this) this.ended(link.address, peerId, this.#fleet.schedule.now - link.upAt)
    this.step()
    this.dial()
  }

  ended(address: string, peerId: string | null, linkedMs: number | null): void {
    this.topology.candidates.ended(address, { peerId, linkedMs }, this.#fleet.schedule.now)
    this.dial()
  }

  #send(peerId: string, records: readonly Uint8Array[]): void {
    const link = this.links.get(peerId)
    if (!link?.isUp) return
    const to = link.dialler === this ? link.other : link.dialler
    this.#fleet.messages += 1
    this.#fleet.bytes += records.reduce((sum, record) => sum + record.length + 3, 30)
    this.#fleet.schedule.after(link.rttMs / 2, () => {
      if (!link.isUp || !to.isUp) return
      if (to.topology.receive(this.peerId, records, this.#fleet.schedule.now)) to.dial()
      to.step()
    })
  }
}

/** Many gateways on a virtual clock, with the real topology code and nothing else: who dials whom, and what becomes of it. */
export class Fleet {
  readonly options: FleetOptions
  readonly random: Random
  readonly schedule: Schedule = new Schedule()
  readonly gateways: Gateway[] = []
  messages = 0
  bytes = 0
  dials = 0
  /** When a link came or went last. */
  changedAt = 0
  readonly #byAddress: ReadonlyMap<string, Gateway>
  /** The same bytes mean the same to all: they are read, and their signatures checked, once. */
  readonly #records = new WeakMap<Uint8Array, Result<SignedRecord>>()
  readonly #verdicts = new WeakMap<Uint8Array, boolean>()

  constructor(options: FleetOptions) {
    this.options = options
    this.random = seededRandom(options.seed)
    for (let i = 0; i < options.gateways; i++) this.gateways.push(new Gateway(this, i))
    this.#byAddress = new Map(this.gateways.map((gateway) => [gateway.address, gateway]))
    for (const gateway of this.gateways)
      this.schedule.at(gateway.index === 0 ? 0 : randomInteger(this.random, 0, JOIN_MS), () => gateway.start())
  }

  read(bytes: Uint8Array): Result<SignedRecord> {
    const known = this.#records.get(bytes)
    if (known !== undefined) return known
    const record = decodeAddressRecord(MESH_ID, bytes)
    this.#records.set(bytes, record)
    if (record.ok) this.#records.set(record.value.bytes, record)
    return record
  }

  isSigned(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
    const known = this.#verdicts.get(signature)
    if (known !== undefined) return known
    const isSigned = equal(fakeSignature(publicKey, message), signature)
    this.#verdicts.set(signature, isSigned)
    return isSigned
  }

  up(): Gateway[] {
    return this.gateways.filter(({ isUp }) => isUp)
  }

  /** A handshake takes three round trips, and an answer from nobody ten seconds. */
  connect(from: Gateway, address: string): void {
    const to = this.#byAddress.get(address)
    this.dials += 1
    if (!to?.isUp) {
      this.schedule.after(CONNECT_MS, () => from.ended(address, null, null))
      return
    }
    const rttMs = from.cell === to.cell ? randomInteger(this.random, 1, 5) : randomInteger(this.random, 8, 40)
    this.schedule.after(rttMs * 3, () => this.#meet(from, to, { address, rttMs }))
  }

  #meet(from: Gateway, to: Gateway, { address, rttMs }: { readonly address: string; readonly rttMs: number }): void {
    if (!from.isUp || !to.isUp) return from.ended(address, null, null)
    if (from === to || from.links.has(to.peerId)) return from.ended(address, to.peerId, null)
    if (!to.hasRoomFor(from.peerId)) {
      from.topology.candidates.referred(to.peerId, to.topology.referralsFor(from.peerId), this.schedule.now)
      return from.ended(address, to.peerId, rttMs)
    }
    if (!from.hasRoomFor(to.peerId)) return from.ended(address, to.peerId, rttMs)
    const link = { dialler: from, other: to, address, upAt: this.schedule.now, rttMs, isUp: true }
    this.changedAt = this.schedule.now
    from.topology.candidates.worked(address, to.peerId)
    from.up(link, to.peerId)
    to.up(link, from.peerId)
  }

  end(link: Link | undefined): void {
    if (!link?.isUp) return
    link.isUp = false
    this.changedAt = this.schedule.now
    link.dialler.down(link, link.other.peerId)
    link.other.down(link, link.dialler.peerId)
  }

  /** Power is cut: nobody is told, and neighbours notice when they hear nothing any more. */
  vanish(gateway: Gateway): void {
    gateway.isUp = false
    for (const link of gateway.links.values())
      this.schedule.after(randomInteger(this.random, 1_000, SILENT_MS), () => this.end(link))
  }

  /** Until that holds, or so long; virtual milliseconds that it took, Infinity when it did not come about. */
  until(isTrue: () => boolean, ms: number): number {
    const from = this.schedule.now
    for (; this.schedule.now < from + ms; this.schedule.runUntil(this.schedule.now + 250))
      if (isTrue()) return this.schedule.now - from
    return Number.POSITIVE_INFINITY
  }

  /** Nothing has changed for that long. */
  isSettled(ms: number): boolean {
    return this.schedule.now >= this.changedAt + ms
  }

  isConnected(): boolean {
    const up = this.up()
    if (up.length < this.gateways.length && this.schedule.now < JOIN_MS) return false
    const found = new Set(up.slice(0, 1))
    for (const gateway of found) for (const next of neighboursOf(gateway)) if (next.isUp) found.add(next)
    return found.size === up.length
  }

  /** Nobody holds a link to a gateway that is gone. */
  isMissed(): boolean {
    return this.up().every((gateway) => neighboursOf(gateway).every(({ isUp }) => isUp))
  }

  /** Pairs of gateways, by number. */
  edges(): [number, number][] {
    return this.up().flatMap((gateway) =>
      neighboursOf(gateway).flatMap(({ index }): [number, number][] =>
        gateway.index < index ? [[gateway.index, index]] : [],
      ),
    )
  }
}

function neighboursOf(gateway: Gateway): Gateway[] {
  return [...gateway.links.values()].map(({ dialler, other }) => (dialler === gateway ? other : dialler))
}
