import { sentenceOf } from '../base/errors.ts'
import { DISCOVERY_LIMITS } from '../base/limits.ts'
import type { Random } from '../base/random.ts'
import { isPeerId } from '../model/names.ts'
import type { AddressSource, Discovery, DiscoveryFigures, Hint } from '../ports/discovery.ts'
import type { Log } from '../ports/log.ts'
import type { Store } from '../ports/store.ts'
import { parseAddress } from '../profile/address.ts'
import { Candidates, type KnownAddress, type RememberedAddress } from '../topology/candidates.ts'
import type { PartitionChange } from '../topology/partition.ts'
import type { OwnTraits } from '../topology/routes.ts'
import { Topology, type Shape, type TopologyOptions } from '../topology/topology.ts'
import { decodeDeterministic, encodeDeterministic } from '../wire/deterministic.ts'
import { encodeMessages } from '../wire/message.ts'

export interface NeighboursOptions extends Omit<TopologyOptions, 'number' | 'isExchanging'> {
  /** `mesh.discovery` of the profile. */
  readonly sources: readonly AddressSource[]
  readonly store: Pick<Store, 'getRecord' | 'append'>
  /** Whether the member is being removed, or was. */
  readonly isRemoved: (peerId: string) => boolean
  /** Whether a link of our own with it is to stand. */
  readonly isSought: (peerId: string) => boolean
  /** The hybrid logical clock: what we say of ourselves is numbered from here on. */
  readonly hlc: () => number
  /** What this gateway says of itself now. */
  readonly own: () => OwnTraits
  readonly send: (peerId: string, frame: Uint8Array) => void
  readonly close: (peerId: string, reason: string) => void
  /** There may be something new to dial. */
  readonly onLearned: () => void
  readonly onPartition: (change: PartitionChange) => void
  /** Made when it is first needed; others hear of this gateway only when it `isAnnounced`. */
  readonly mdns: (onHint: (hint: Hint) => void, isAnnounced: boolean) => Discovery
  readonly random: Random
  readonly log: Log
  readonly monotonicMs: () => number
}

const RECORD = 'gateway/addresses'
const TOLD_MAX = 8

/**
 * Where other gateways may be, from every source that the profile turns on, over restarts too; who reaches whom; and which
 * links are wanted.
 */
export class Neighbours implements Shape {
  readonly candidates: Candidates
  readonly #options: NeighboursOptions
  #topology: Topology | null = null
  #mdns: Discovery | null = null
  #timer: NodeJS.Timeout | null = null
  #isAnnounced = false
  #isLeaving = false

  constructor(options: NeighboursOptions) {
    this.#options = options
    this.candidates = new Candidates(options)
    for (const { address, peerId, from } of readRemembered(options.store.getRecord(RECORD))) {
      const sources = from.filter((source) => options.sources.includes(source))
      if (sources.length > 0 && !options.isRemoved(peerId))
        this.candidates.recall({ address, peerId, from: sources }, options.monotonicMs())
    }
  }

  /**
   * As a member: from now on others are looked for, and find this gateway. `admitted`: where it was let in, which is a hint
   * beside what the profile lists.
   */
  join(bootstrap: readonly string[], admitted: readonly string[]): void {
    if (this.#isLeaving) return
    this.look()
    this.candidates.admitted(admitted, this.#options.monotonicMs())
    this.setBootstrap(bootstrap)
    if (this.#isAnnounced) return
    this.#isAnnounced = true
    void this.#mdns?.close()
    this.#startMdns()
  }

  /** As none yet: hears of members, and tells nobody of this gateway. */
  seek(): void {
    this.#startMdns()
  }

  #startMdns(): void {
    const options = this.#options
    if (!options.sources.includes('mdns')) return
    this.#mdns = options.mdns((hint) => {
      if (options.isRemoved(hint.peerId)) return
      this.candidates.hint(hint, 'mdns', options.monotonicMs())
      options.onLearned()
    }, this.#isAnnounced)
    this.#mdns.start()
  }

  /** Finds and is found no more. Never fails. */
  async leave(): Promise<void> {
    this.#isLeaving = true
    if (this.#timer) clearTimeout(this.#timer)
    await this.#mdns?.close()
  }

  setBootstrap(addresses: readonly string[]): void {
    const isOn = this.#options.sources.includes('bootstrap')
    this.candidates.setBootstrap(isOn ? addresses : [], this.#options.monotonicMs())
    this.#options.onLearned()
  }

  peerUp(peerId: string, isDialled: boolean): void {
    this.#known.linkUp(peerId, isDialled, this.#options.monotonicMs())
    this.#step()
  }

  peerDown(peerId: string): void {
    this.#known.linkDown(peerId)
    this.#step()
    this.#options.onLearned()
  }

  /** What a neighbour says of gateways, itself included. */
  hear(from: string, records: readonly Uint8Array[]): void {
    if (this.#known.receive(from, records, this.#options.monotonicMs())) this.#options.onLearned()
    this.#step()
  }

  /** Somebody who had no place for us says where others are; whoever dialled us was not asked. */
  referred(peerId: string, isDialled: boolean, addresses: readonly string[]): void {
    if (!isDialled || !this.#isOn('exchange')) return
    const sound = addresses.filter((address) => parseAddress(address).ok).slice(0, DISCOVERY_LIMITS.referralsMax)
    this.candidates.referred(peerId, sound, this.#options.monotonicMs())
    this.#options.onLearned()
  }

  /** To be called every few seconds. */
  look(): void {
    const own = this.#options.own()
    const said = this.#isOn('exchange') ? own : { ...own, addresses: [] }
    const { isOther, changes } = this.#known.look(this.#options.monotonicMs(), said)
    if (isOther) this.#options.onLearned()
    for (const change of changes) this.#options.onPartition(change)
    this.#step()
  }

  isSought(peerId: string): boolean {
    return this.#options.isSought(peerId)
  }

  isReachable(peerId: string): boolean {
    return this.#known.isReachable(peerId)
  }

  get wanted(): ReadonlySet<string> {
    return this.#known.wanted
  }

  makeRoomFor(peerId: string): string | null {
    return this.#known.makeRoomFor(peerId)
  }

  referralsFor(peerId: string): readonly string[] {
    return this.#known.referralsFor(peerId)
  }

  get topology(): Topology {
    return this.#known
  }

  get warning(): string | null {
    const { size } = this.#known.cutOff
    if (size === 0) return null
    return `partition: ${size} of ${this.#known.known.length} other gateways can't be reached over any link; "marram peers" names them, the network between here and there or their power may be down`
  }

  /** Of so many of these gateways as an answer to a joiner holds. */
  addressesOf(isAsked: (peerId: string) => boolean): readonly string[] {
    const found = this.addresses().filter(({ peerIds }) =>
      peerIds.some((peerId) => isAsked(peerId) && !this.#options.isRemoved(peerId)),
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
  get #known(): Topology {
    const { hlc, ...options } = this.#options
    this.#topology ??= new Topology(
      { ...options, number: hlc(), isExchanging: this.#isOn('exchange') },
      this.candidates,
    )
    return this.#topology
  }

  /** Says and does what is due, and comes back when more is. */
  #step(): void {
    if (this.#timer) clearTimeout(this.#timer)
    const nowMs = this.#options.monotonicMs()
    const { exchanges, ending, isOther } = this.#known.poll(nowMs)
    for (const { peerId, records } of exchanges) this.#options.send(peerId, encodeMessages([{ type: 'pex', records }]))
    if (isOther) this.#options.onLearned()
    if (!this.#isLeaving)
      this.#timer = setTimeout(() => this.#step(), Math.max(0, this.#known.deadline - nowMs)).unref()
    if (ending) this.#options.close(ending.peerId, ending.reason)
  }

  #isOn(source: AddressSource): boolean {
    return this.#options.sources.includes(source)
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
