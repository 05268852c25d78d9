import { Bucket } from '../base/bucket.ts'
import { DISCOVERY_LIMITS } from '../base/limits.ts'
import type { Random } from '../base/random.ts'
import type { AddressSource, Hint } from '../ports/discovery.ts'
import { BackOff } from './back-off.ts'

/**
 * Which addresses are dialled, and when. Without I/O: times are monotonic milliseconds. Addresses of the profile are dialled
 * for as long as they stand there; all others are hints, which anybody may have made up. They are dialled when links are
 * wanted or when they lead to somebody who can't be reached otherwise, so often and no more, and forgotten when they lead
 * nowhere.
 */
export interface CandidatesOptions {
  /** Our own. */
  readonly peerId: string
  readonly links: { readonly min: number; readonly max: number }
  readonly random: Random
}

/** What is known of the links when it is asked whom to dial. */
export interface LinkState {
  readonly linked: ReadonlySet<string>
  /** Whether there is a way over other gateways' links. */
  readonly isReachable: (peerId: string) => boolean
  /** Whether a link of our own with it is wanted whatever other ways there are, and there is room for it. */
  readonly isSought: (peerId: string) => boolean
}

export interface DialOutcome {
  /** Who proved to be there, or null. */
  readonly peerId: string | null
  /** How long the link was up; null when none came about. */
  readonly linkedMs: number | null
}

export interface KnownAddress {
  readonly address: string
  /** Who proved to be there, or else who is said to. */
  readonly peerId: string | null
  readonly from: readonly AddressSource[]
}

/** An address over which a link came about, to be tried after a restart. */
export interface RememberedAddress {
  readonly address: string
  readonly peerId: string
  readonly from: readonly AddressSource[]
}

interface Candidate {
  readonly address: string
  readonly host: string
  readonly sources: Set<AddressSource>
  readonly backOff: BackOff
  peerId: string | null
  /** Whether `peerId` proved to be there. */
  isProven: boolean
  isDialled: boolean
  failures: number
  dueAt: number
  triedAt: number
}

/** How often to look whether an address whose peer is linked, or that is our own, should be dialled again. */
const PARKED_MS = 5_000
const SELF_MS = 60_000
/** The same where no further link is wanted. */
const UNWANTED_MS = 1_000
/** An address that is told of again is worth an attempt, but not more often. */
const AGAIN_MS = 5_000
/** A board has several addresses at most; of those that it had before, a few may come back. */
const REMEMBERED_PER_PEER = 2

export class Candidates {
  readonly #options: CandidatesOptions
  readonly #known = new Map<string, Candidate>()
  readonly #dials = new Bucket(DISCOVERY_LIMITS.dialsPerSecond, DISCOVERY_LIMITS.dialsInARow)

  constructor(options: CandidatesOptions) {
    this.#options = options
  }

  /** Addresses of the profile: those that are gone from it are hints, if they are known otherwise as well. */
  setBootstrap(addresses: readonly string[], nowMs: number): void {
    for (const candidate of this.#known.values())
      if (!addresses.includes(candidate.address)) this.#withdraw(candidate, 'bootstrap')
    for (const address of addresses) (this.#known.get(address) ?? this.#add(address, nowMs)).sources.add('bootstrap')
  }

  hint({ address, peerId }: Hint, source: AddressSource, nowMs: number): void {
    if (peerId === this.#options.peerId) return
    if (!this.#known.has(address) && !this.#makeRoom(hostOf(address))) return
    const candidate = this.#known.get(address) ?? this.#add(address, nowMs)
    if (candidate.peerId === this.#options.peerId) return
    candidate.sources.add(source)
    if (!candidate.isProven) candidate.peerId = peerId
    candidate.dueAt = Math.min(candidate.dueAt, Math.max(nowMs, candidate.triedAt + AGAIN_MS))
  }

  /** The source says no more that the peer is at other addresses than these. */
  withdraw(source: AddressSource, peerId: string, addresses: readonly string[]): void {
    for (const candidate of this.#known.values()) {
      if (candidate.peerId === peerId && !addresses.includes(candidate.address)) this.#withdraw(candidate, source)
    }
  }

  /** Addresses to dial now; each is to be answered with `ended`. */
  due(nowMs: number, links: LinkState): string[] {
    const due: Candidate[] = []
    for (const candidate of this.#known.values()) {
      if (candidate.isDialled || candidate.dueAt > nowMs) continue
      if (candidate.peerId !== null && links.linked.has(candidate.peerId)) candidate.dueAt = nowMs + PARKED_MS
      else due.push(candidate)
    }
    // What was just heard of does not wait behind what leads nowhere.
    due.sort((a, b) => a.failures - b.failures)
    return due.filter((candidate) => this.#take(candidate, nowMs, links)).map(({ address }) => address)
  }

  /** A link over the address has come about. True when the addresses to remember are others than before. */
  worked(address: string, peerId: string): boolean {
    const candidate = this.#known.get(address)
    if (!candidate) return false
    const isNew = candidate.peerId !== peerId || !candidate.sources.has('remembered')
    candidate.peerId = peerId
    candidate.isProven = true
    candidate.failures = 0
    if (candidate.sources.has('bootstrap') || !isNew) return false
    candidate.sources.add('remembered')
    // The last one in the map is the one that worked last.
    this.#known.delete(address)
    this.#known.set(address, candidate)
    this.#forgetOldest(peerId)
    return true
  }

  ended(address: string, { peerId, linkedMs }: DialOutcome, nowMs: number): void {
    const candidate = this.#known.get(address)
    if (!candidate) return
    candidate.isDialled = false
    candidate.triedAt = nowMs
    candidate.dueAt = nowMs + (peerId === this.#options.peerId ? SELF_MS : candidate.backOff.next(linkedMs))
    candidate.failures = peerId === null ? candidate.failures + 1 : 0
    if (peerId !== null) {
      candidate.peerId = peerId
      candidate.isProven = true
    }
    if (candidate.failures >= DISCOVERY_LIMITS.dialFailuresMax && !isKept(candidate)) this.#known.delete(address)
  }

  /** Monotonic milliseconds at which some address may be due; Infinity when none. */
  get deadline(): number {
    let deadline = Number.POSITIVE_INFINITY
    for (const { isDialled, dueAt } of this.#known.values()) if (!isDialled) deadline = Math.min(deadline, dueAt)
    return deadline
  }

  addresses(): readonly KnownAddress[] {
    return [...this.#known.values()].map(({ address, peerId, sources }) => ({ address, peerId, from: [...sources] }))
  }

  /** Oldest first. */
  remembered(): readonly RememberedAddress[] {
    return this.addresses().flatMap(({ address, peerId, from }) =>
      peerId !== null && from.includes('remembered') ? [{ address, peerId, from }] : [],
    )
  }

  #add(address: string, nowMs: number): Candidate {
    const candidate: Candidate = {
      address,
      host: hostOf(address),
      sources: new Set(),
      backOff: new BackOff(this.#options.random),
      peerId: null,
      isProven: false,
      isDialled: false,
      failures: 0,
      dueAt: nowMs,
      triedAt: Number.NEGATIVE_INFINITY,
    }
    this.#known.set(address, candidate)
    return candidate
  }

  #withdraw(candidate: Candidate, source: AddressSource): void {
    candidate.sources.delete(source)
    if (candidate.sources.size === 0) this.#known.delete(candidate.address)
  }

  #take(candidate: Candidate, nowMs: number, links: LinkState): boolean {
    const isTaken = candidate.sources.has('bootstrap')
      ? links.linked.size < this.#options.links.max
      : this.#isWanted(candidate, links) && this.#dials.take(nowMs)
    if (isTaken) candidate.isDialled = true
    else candidate.dueAt = nowMs + UNWANTED_MS
    return isTaken
  }

  /** A hint is worth a dial while links are lacking, to reach whom nobody else reaches, or who is sought. */
  #isWanted({ peerId }: Candidate, { linked, isReachable, isSought }: LinkState): boolean {
    const { min, max } = this.#options.links
    const dialled = [...this.#known.values()].filter((other) => other.isDialled && !linked.has(other.peerId ?? ''))
    const isUnderWay = peerId !== null && dialled.some((other) => other.peerId === peerId)
    const links = linked.size + dialled.filter(({ sources }) => !sources.has('bootstrap')).length
    if (isUnderWay || dialled.length >= DISCOVERY_LIMITS.dialsAtOnce) return false
    if (peerId !== null && isSought(peerId)) return true
    if (links >= max) return false
    return links < min || peerId === null || !isReachable(peerId)
  }

  /** False when there are enough addresses of that host, or of all, that may still lead somewhere. */
  #makeRoom(host: string): boolean {
    const all = [...this.#known.values()]
    const ofHost = all.filter((other) => other.host === host && !other.isProven && !isKept(other))
    if (ofHost.length >= DISCOVERY_LIMITS.addressesPerHostMax) return false
    if (all.length < DISCOVERY_LIMITS.addressesMax) return true
    const failing = all.filter((other) => other.failures > 0 && !other.isDialled && !isKept(other))
    const worst = failing.reduce<Candidate | null>((a, b) => (a && a.failures >= b.failures ? a : b), null)
    return worst !== null && this.#known.delete(worst.address)
  }

  #forgetOldest(peerId: string): void {
    const kept = [...this.#known.values()].filter(({ sources }) => sources.has('remembered'))
    const ofPeer = kept.filter((other) => other.peerId === peerId)
    for (const candidate of [
      ...ofPeer.slice(0, Math.max(0, ofPeer.length - REMEMBERED_PER_PEER)),
      ...kept.slice(0, Math.max(0, kept.length - DISCOVERY_LIMITS.rememberedMax)),
    ])
      this.#withdraw(candidate, 'remembered')
  }
}

/** The profile's are dialled for ever, and those that led to the mesh before. */
function isKept({ sources }: Candidate): boolean {
  return sources.has('bootstrap') || sources.has('remembered')
}

function hostOf(address: string): string {
  return /^[a-z]+:\/\/(.+):[0-9]+$/.exec(address)?.[1] ?? address
}
