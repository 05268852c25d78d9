import { sentenceOf } from '../base/errors.ts'
import { DISCOVERY_LIMITS } from '../base/limits.ts'
import type { Random } from '../base/random.ts'
import { isPeerId } from '../model/names.ts'
import type { AddressSource, Discovery, DiscoveryFigures, Hint } from '../ports/discovery.ts'
import type { Log } from '../ports/log.ts'
import type { Store } from '../ports/store.ts'
import { parseAddress } from '../profile/address.ts'
import { Candidates, type KnownAddress, type RememberedAddress } from '../topology/candidates.ts'
import { PartitionWatch, type PartitionChange } from '../topology/partition.ts'
import { Routes, type RoutesOptions } from '../topology/routes.ts'
import type { SignedRecord } from '../wire/address-record.ts'
import { decodeDeterministic, encodeDeterministic } from '../wire/deterministic.ts'
import { encodeMessages } from '../wire/message.ts'

export interface NeighboursOptions extends Omit<RoutesOptions, 'number'> {
  /** `mesh.discovery` of the profile. */
  readonly sources: readonly AddressSource[]
  readonly links: { readonly min: number; readonly max: number }
  readonly store: Pick<Store, 'getRecord' | 'append'>
  /** Whether the member is being removed, or was. */
  readonly isRemoved: (peerId: string) => boolean
  /** Whether a link of our own with it is to stand. */
  readonly isSought: (peerId: string) => boolean
  /** The hybrid logical clock: what we say of ourselves is numbered from here on. */
  readonly hlc: () => number
  /** Where this gateway can be dialled now. */
  readonly ownAddresses: () => readonly string[]
  readonly send: (peerId: string, frame: Uint8Array) => void
  /** There may be something new to dial. */
  readonly onLearned: () => void
  readonly onPartition: (change: PartitionChange) => void
  /** Made when it is first needed. */
  readonly mdns: (onHint: (hint: Hint) => void) => Discovery
  readonly random: Random
  readonly log: Log
  readonly monotonicMs: () => number
}

const RECORD = 'gateway/addresses'
const TOLD_MAX = 8

/** Where other gateways may be, from every source that the profile turns on, over restarts too; and who reaches whom. */
export class Neighbours {
  readonly candidates: Candidates
  readonly #options: NeighboursOptions
  readonly #watch = new PartitionWatch()
  #routes: Routes | null = null
  #mdns: Discovery | null = null
  #timer: NodeJS.Timeout | null = null

  constructor(options: NeighboursOptions) {
    this.#options = options
    this.candidates = new Candidates(options)
    for (const { address, peerId, from } of readRemembered(options.store.getRecord(RECORD))) {
      const sources = from.filter((source) => options.sources.includes(source))
      if (sources.length > 0)
        for (const source of [...sources, 'remembered' as const]) this.#hint({ address, peerId }, source)
    }
  }

  /** As a member: from now on others are looked for, and find this gateway. */
  join(bootstrap: readonly string[]): void {
    this.setBootstrap(bootstrap)
    if (this.#mdns || !this.#options.sources.includes('mdns')) return
    this.#mdns = this.#options.mdns((hint) => {
      this.#hint(hint, 'mdns')
      this.#options.onLearned()
    })
    this.#mdns.start()
  }

  /** Finds and is found no more. Never fails. */
  async leave(): Promise<void> {
    if (this.#timer) clearTimeout(this.#timer)
    await this.#mdns?.close()
  }

  setBootstrap(addresses: readonly string[]): void {
    const isOn = this.#options.sources.includes('bootstrap')
    this.candidates.setBootstrap(isOn ? addresses : [], this.#options.monotonicMs())
    this.#options.onLearned()
  }

  peerUp(peerId: string): void {
    this.#known.linkUp(peerId)
    this.#exchange()
  }

  peerDown(peerId: string): void {
    this.#known.linkDown(peerId)
    this.#exchange()
    this.#options.onLearned()
  }

  /** What a neighbour says of gateways, itself included. */
  hear(from: string, records: readonly Uint8Array[]): void {
    this.#learn(this.#known.receive(from, records, this.#options.monotonicMs()))
    this.#exchange()
  }

  /** To be called every few seconds. */
  look(): void {
    const nowMs = this.#options.monotonicMs()
    this.#learn(this.#known.admitted())
    this.#known.setAddresses(this.#isOn('exchange') ? this.#options.ownAddresses() : [])
    for (const change of this.#watch.look(nowMs, this.#known.known(), this.#known.reachable()))
      this.#options.onPartition(change)
    this.#exchange()
  }

  isReachable(peerId: string): boolean {
    return this.#known.reachable().has(peerId)
  }

  get warning(): string | null {
    const { size } = this.#watch.cutOff
    if (size === 0) return null
    return `partition: ${size} of ${this.#known.known().length} other gateways can't be reached over any link; "marram peers" names them, the network between here and there or their power may be down`
  }

  /** See Routes.surplus; links that the profile or a transfer asks for stay. */
  surplus(): string | null {
    const kept = new Set(this.addresses().flatMap(({ peerId, from }) => (from.includes('bootstrap') ? [peerId] : [])))
    const { links, isSought } = this.#options
    return this.#known.surplus(links.min, (peerId) => kept.has(peerId) || isSought(peerId))
  }

  /** Of so many of these gateways as an answer to a joiner holds. */
  addressesOf(isAsked: (peerId: string) => boolean): readonly string[] {
    const found = this.addresses().filter(
      ({ peerId }) => peerId !== null && isAsked(peerId) && !this.#options.isRemoved(peerId),
    )
    return found.slice(0, TOLD_MAX).map(({ address }) => address)
  }

  addresses(): readonly KnownAddress[] {
    return this.candidates.addresses()
  }

  /** Null when multicast DNS is off. */
  get mdnsFigures(): DiscoveryFigures | null {
    return this.#mdns?.figures() ?? null
  }

  /** A crash before it is on the disk costs a search, nothing else. */
  remember(): void {
    const value = encodeDeterministic(
      this.candidates.remembered().map(({ address, peerId, from }) => [address, peerId, from]),
    )
    this.#options.store
      .append({ batches: [], records: [{ key: RECORD, value }] })
      .catch((error: unknown) => this.#options.log.warn('addresses-not-kept', { message: sentenceOf(error) }))
  }

  /** Made late, for the clock starts after us. */
  get #known(): Routes {
    this.#routes ??= new Routes({ ...this.#options, number: this.#options.hlc() })
    return this.#routes
  }

  #learn(records: readonly SignedRecord[]): void {
    if (records.length === 0) return
    if (this.#isOn('exchange')) {
      for (const { peerId, addresses } of records) {
        this.candidates.withdraw('exchange', peerId, addresses)
        for (const address of addresses) if (parseAddress(address).ok) this.#hint({ address, peerId }, 'exchange')
      }
    }
    this.#options.onLearned()
  }

  /** Says what is due, and comes back when more is. */
  #exchange(): void {
    if (this.#timer) clearTimeout(this.#timer)
    const nowMs = this.#options.monotonicMs()
    for (const { peerId, records } of this.#known.poll(nowMs))
      this.#options.send(peerId, encodeMessages([{ type: 'pex', records }]))
    const { deadline } = this.#known
    if (deadline === Number.POSITIVE_INFINITY) return
    this.#timer = setTimeout(() => this.#exchange(), Math.max(0, deadline - nowMs)).unref()
  }

  #isOn(source: AddressSource): boolean {
    return this.#options.sources.includes(source)
  }

  #hint(hint: Hint, source: AddressSource): void {
    if (!this.#options.isRemoved(hint.peerId)) this.candidates.hint(hint, source, this.#options.monotonicMs())
  }
}

/** What is damaged in it is left out. */
function readRemembered(record: Uint8Array | undefined): RememberedAddress[] {
  const kept = record && decodeDeterministic(record)
  if (!kept?.ok || !Array.isArray(kept.value)) return []
  return kept.value.slice(-DISCOVERY_LIMITS.rememberedMax).flatMap((entry: unknown) => {
    const [address, peerId, from] = Array.isArray(entry) ? (entry as unknown[]) : []
    if (typeof address !== 'string' || typeof peerId !== 'string' || !Array.isArray(from)) return []
    if (!parseAddress(address).ok || !isPeerId(peerId)) return []
    return [{ address, peerId, from: from as AddressSource[] }]
  })
}
