import { DISCOVERY_LIMITS } from '../base/limits.ts'
import { randomInteger } from '../base/random.ts'
import { parseAddress } from '../profile/address.ts'
import type { SignedRecord } from '../wire/address-record.ts'
import { Candidates, type CandidatesOptions } from './candidates.ts'
import { Cells, type Node } from './cells.ts'
import { activeDegree, chooseLinks, type Choice, type ChoiceInput, type Trial } from './choice.ts'
import { PartitionWatch, type PartitionChange } from './partition.ts'
import { qualityOf, UNKNOWN_QUALITY, type LinkMeasures } from './quality.ts'
import { Routes, type Exchange, type OwnTraits, type RoutesOptions } from './routes.ts'

export interface TopologyOptions extends RoutesOptions, CandidatesOptions {
  /** Whether gateways are dialled where their records say that they are. */
  readonly isExchanging: boolean
  /** Whether a link of our own with it is to stand, whatever other ways there are. */
  readonly isSought: (peerId: string) => boolean
  /** Of the links that are up, by peer. */
  readonly measures: () => ReadonlyMap<string, Measured>
}

/** What a link's owner knows of it; the rest stands in the record of its other end. */
export type Measured = Omit<LinkMeasures, 'isMetered' | 'upMs'>

/** What is to be done now. */
export interface TopologyStep {
  readonly exchanges: readonly Exchange[]
  /** A neighbour whose link is to end, and why. */
  readonly ending: { readonly peerId: string; readonly reason: string } | null
  /** Others may be due to be dialled than before. */
  readonly isOther: boolean
}

/** What the table of links asks before it takes one or gives one up. */
export interface Shape {
  isReachable(peerId: string): boolean
  isSought(peerId: string): boolean
  readonly wanted: ReadonlySet<string>
  /** A neighbour whose link can end so that this gateway finds a place; null when it needs none here, or there is none. */
  makeRoomFor(peerId: string): string | null
  /** Where whoever finds no place here may ask. */
  referralsFor(peerId: string): readonly string[]
}

interface Link {
  readonly isDialled: boolean
  readonly upAt: number
}

/** Links are chosen anew so often at most when something has changed, and at the latest. */
const CHOICE_MS = 1_000
const CHOICE_MS_MAX = 5_000
/** A link that nobody needs ends when it is so old; one after the other, after between half and one and a half of this. */
const SPARE_MS = 15_000
const END_MS = 6_000
/** What a link was worth is believed for so long. */
const REMEMBERED_MS = 600_000

/**
 * Whom this gateway dials, which links it gives up, and what it tells others of itself: candidates, routes and choice taken
 * together. Without I/O: monotonic milliseconds. Of a link only the side that dialled it asks whether it is still needed,
 * so that none is given up and made again in turn.
 */
export class Topology implements Shape {
  readonly candidates: Candidates
  readonly #options: TopologyOptions
  readonly #routes: Routes
  readonly #watch = new PartitionWatch()
  readonly #links = new Map<string, Link>()
  readonly #remembered = new Map<string, { readonly quality: number; readonly atMs: number }>()
  #own: OwnTraits = { addresses: [], cell: '', isSuperPeer: false, isMetered: false }
  #cells = new Cells([])
  #choice: Choice = { wanted: [], essential: new Set(), passive: [], isBridge: false, trial: null }
  #wanted: ReadonlySet<string> = new Set()
  #trial: Trial | null = null
  #isStale = true
  #chosenAt = Number.NEGATIVE_INFINITY
  #endAt = END_MS

  constructor(options: TopologyOptions, candidates: Candidates) {
    this.#options = options
    this.candidates = candidates
    this.#routes = new Routes(options)
  }

  linkUp(peerId: string, isDialled: boolean, nowMs: number): void {
    this.#links.set(peerId, { isDialled, upAt: nowMs })
    this.#routes.linkUp(peerId)
    this.#isStale = true
  }

  linkDown(peerId: string): void {
    this.#links.delete(peerId)
    this.#routes.linkDown(peerId)
    this.#isStale = true
  }

  /** What a neighbour says of gateways, itself included. True when something was news. */
  receive(from: string, records: readonly Uint8Array[], nowMs: number): boolean {
    return this.#learn(this.#routes.receive(from, records, nowMs), nowMs)
  }

  /** To be called every few seconds. */
  look(nowMs: number, own: OwnTraits): { readonly isOther: boolean; readonly changes: readonly PartitionChange[] } {
    const isOther = this.#learn(this.#routes.admitted(), nowMs)
    this.#own = own
    this.#routes.setOwn(own)
    return { isOther, changes: this.#watch.look(nowMs, this.#routes.known(), this.#routes.reachable()) }
  }

  poll(nowMs: number): TopologyStep {
    const isNews = this.#learn(this.#routes.ripe(nowMs), nowMs)
    const isDue = nowMs >= this.#chosenAt + (this.#isStale ? CHOICE_MS : CHOICE_MS_MAX)
    const isOther = isDue && this.#choose(nowMs)
    return { exchanges: this.#routes.poll(nowMs), ending: this.#spare(nowMs), isOther: isOther || isNews }
  }

  get deadline(): number {
    return Math.min(this.#routes.deadline, this.#chosenAt + (this.#isStale ? CHOICE_MS : CHOICE_MS_MAX))
  }

  get wanted(): ReadonlySet<string> {
    return this.#wanted
  }

  get choice(): Choice {
    return this.#choice
  }

  get own(): OwnTraits {
    return this.#own
  }

  get cells(): Cells {
    return this.#cells
  }

  /** Members that have said something since this gateway started, and of them those out of reach for long. */
  get known(): readonly string[] {
    return this.#routes.known()
  }

  get cutOff(): ReadonlySet<string> {
    return this.#watch.cutOff
  }

  isReachable(peerId: string): boolean {
    return this.#routes.reachable().has(peerId)
  }

  isSought(peerId: string): boolean {
    return this.#options.isSought(peerId)
  }

  recordOf(peerId: string): SignedRecord | undefined {
    return this.#routes.recordOf(peerId)
  }

  /** 0 to 100, as of the last choice; null where there is no link. */
  qualityOf(peerId: string): number | null {
    return this.#links.has(peerId) ? (this.#remembered.get(peerId)?.quality ?? null) : null
  }

  makeRoomFor(peerId: string): string | null {
    const isCutOff = !this.isReachable(peerId)
    const { essential } = this.#choice
    if (!isCutOff && !essential.has(peerId)) return null
    const kept = this.#kept
    const classOf = (other: string): number => (essential.has(other) ? 2 : this.#wanted.has(other) ? 1 : 0)
    const able = this.#worstFirst().filter((other) => !kept.has(other) && (isCutOff || !essential.has(other)))
    able.sort((a, b) => classOf(a) - classOf(b))
    return able.find((other) => this.#linksOf(other) > this.#options.links.min && this.#routes.isSpare(other)) ?? null
  }

  referralsFor(peerId: string): readonly string[] {
    const cell = this.recordOf(peerId)?.cell ?? this.#own.cell
    const known = [...this.#routes.reachable()].flatMap((other) =>
      other === peerId ? [] : (this.recordOf(other) ?? []),
    )
    const able = known.filter(({ addresses }) => addresses.length > 0)
    const drawn = able.map((record) => ({ record, rank: this.#options.random() + (record.cell === cell ? 0 : 1) }))
    drawn.sort((a, b) => a.rank - b.rank)
    return drawn.slice(0, DISCOVERY_LIMITS.referralsMax).map(({ record }) => record.addresses[0] as string)
  }

  #choose(nowMs: number): boolean {
    this.#isStale = false
    this.#chosenAt = nowMs
    const { peerId, links } = this.#options
    const linked = this.#measured(nowMs)
    this.#cells = new Cells(this.#alive())
    const input: ChoiceInput = {
      peerId,
      cells: this.#cells,
      links,
      linked,
      kept: this.#kept,
      isSought: (other) => this.isSought(other),
      isFailing: this.#failing(nowMs),
      expected: (other) => this.#expected(other, nowMs),
      trial: this.#trial,
      nowMs,
    }
    const before = this.#choice.wanted.join()
    this.#choice = chooseLinks(input)
    this.#wanted = new Set(this.#choice.wanted)
    this.#trial = this.#choice.trial
    this.#hintChosen(nowMs)
    return this.#choice.wanted.join() !== before
  }

  /** This gateway, its neighbours, and whom they reach. */
  #alive(): Node[] {
    const { peerId } = this.#options
    const self = { ...this.#own, peerId, links: this.#links.size, isDialable: this.#own.addresses.length > 0 }
    const others = [...this.#routes.reachable()].map((other) => this.#nodeOf(other))
    return [self, ...others]
  }

  #nodeOf(peerId: string): Node {
    const record = this.recordOf(peerId)
    return {
      peerId,
      cell: record?.cell ?? '',
      isSuperPeer: record?.isSuperPeer ?? false,
      isMetered: record?.isMetered ?? false,
      isDialable: (record?.addresses.length ?? 0) > 0,
      links: record?.links.length ?? 0,
    }
  }

  #measured(nowMs: number): Map<string, number> {
    const measured = new Map<string, number>()
    const measures = this.#options.measures()
    for (const [peerId, { upAt }] of this.#links) {
      const its = measures.get(peerId)
      const isMetered = this.recordOf(peerId)?.isMetered ?? false
      const quality = its ? qualityOf({ ...its, isMetered, upMs: nowMs - upAt }) : UNKNOWN_QUALITY
      measured.set(peerId, quality)
      this.#remembered.delete(peerId)
      this.#remembered.set(peerId, { quality, atMs: nowMs })
    }
    const [oldest] = this.#remembered.keys()
    if (this.#remembered.size > DISCOVERY_LIMITS.gatewaysMax && oldest !== undefined) this.#remembered.delete(oldest)
    return measured
  }

  #expected(peerId: string, nowMs: number): number {
    const remembered = this.#remembered.get(peerId)
    return remembered && nowMs - remembered.atMs < REMEMBERED_MS ? remembered.quality : UNKNOWN_QUALITY
  }

  /** Whether somebody was tried of late in vain, or nobody says where it is. */
  #failing(nowMs: number): (peerId: string) => boolean {
    const failing = this.candidates.failing(nowMs)
    const isSaid = (peerId: string): boolean =>
      this.#options.isExchanging && (this.recordOf(peerId)?.addresses.length ?? 0) > 0
    return (peerId) => failing.get(peerId) ?? !isSaid(peerId)
  }

  /** Neighbours whom the profile says to dial, or a transfer needs. */
  get #kept(): ReadonlySet<string> {
    const kept = this.candidates.listed()
    const sought = [...this.#links.keys()].filter((peerId) => this.isSought(peerId))
    return new Set([...kept.filter((peerId) => this.#links.has(peerId)), ...sought])
  }

  /** Those that are chosen find room among the addresses that are known, whoever else is known. */
  #hintChosen(nowMs: number): void {
    if (!this.#options.isExchanging) return
    const chosen = [...this.#choice.wanted, ...this.#choice.passive]
    this.candidates.prefer(new Set(chosen))
    for (const peerId of chosen) this.#hint(this.recordOf(peerId), nowMs, (address) => !this.candidates.has(address))
  }

  #learn(records: readonly SignedRecord[], nowMs: number): boolean {
    if (records.length === 0) return false
    this.#isStale = true
    if (!this.#options.isExchanging) return true
    for (const record of records) {
      this.candidates.withdraw('exchange', record.peerId, record.addresses)
      this.#hint(record, nowMs, () => true)
    }
    return true
  }

  #hint(record: SignedRecord | undefined, nowMs: number, isNews: (address: string) => boolean): void {
    for (const address of record?.addresses ?? []) {
      if (!parseAddress(address).ok || !isNews(address)) continue
      this.candidates.hint({ address, peerId: (record as SignedRecord).peerId }, 'exchange', nowMs)
    }
  }

  /** A link that this gateway dialled and that neither it nor the graph needs any more, the worst first. */
  #spare(nowMs: number): TopologyStep['ending'] {
    if (nowMs < this.#endAt) return null
    this.#endAt = nowMs + randomInteger(this.#options.random, END_MS / 2, (END_MS * 3) / 2)
    const kept = this.#kept
    const peerId = this.#worstFirst().find((other) => {
      const { isDialled, upAt } = this.#links.get(other) as Link
      if (!isDialled || nowMs < upAt + SPARE_MS || kept.has(other) || this.#wanted.has(other)) return false
      return this.#isUnneeded(other) && this.#routes.isSpare(other)
    })
    if (peerId !== undefined) return { peerId, reason: 'others keep the mesh together without it' }
    return this.#roomForEssential(nowMs)
  }

  /** Whether both ends have links enough without it, and it is no bridge's. */
  #isUnneeded(other: string): boolean {
    const { peerId, links } = this.#options
    if (!this.#cells.areMates(peerId, other)) {
      const isBridged = this.#cells.bridgeLinks(other).some((bridges) => bridges.includes(peerId))
      return !isBridged && this.#links.size > links.min && this.#linksOf(other) > links.min
    }
    const mates = [...this.#links.keys()].filter((mate) => this.#cells.areMates(peerId, mate)).length
    const active = activeDegree(links)
    return mates > active && this.#linksOf(other) > active
  }

  /** With as many links as there may be, one gives way to whom the ring or another cell needs. */
  #roomForEssential(nowMs: number): TopologyStep['ending'] {
    if (this.#links.size < this.#options.links.max) return null
    const isFailing = this.#failing(nowMs)
    const lacking = [...this.#choice.essential].find((peerId) => !this.#links.has(peerId) && !isFailing(peerId))
    const peerId = lacking === undefined ? null : this.makeRoomFor(lacking)
    return peerId === null ? null : { peerId, reason: 'its place is for a neighbour in the ring or a bridge' }
  }

  #worstFirst(): string[] {
    const worth = (peerId: string): number => this.#remembered.get(peerId)?.quality ?? UNKNOWN_QUALITY
    return [...this.#links.keys()].sort((a, b) => worth(a) - worth(b))
  }

  #linksOf(peerId: string): number {
    return this.recordOf(peerId)?.links.length ?? 0
  }
}
