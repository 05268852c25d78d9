import { Bucket } from '../base/bucket.ts'
import { DISCOVERY_LIMITS } from '../base/limits.ts'
import type { Random } from '../base/random.ts'
import type { AddressSource, Hint } from '../ports/discovery.ts'
import { BackOff } from './back-off.ts'

/**
 * Which addresses are dialled, and when. Without I/O: times are monotonic milliseconds. Addresses of the profile are dialled
 * for as long as they stand there; all others are hints, which anybody may have made up. They are dialled when a link with
 * whom they lead to is wanted, when links are lacking, or when they lead to somebody who can't be reached otherwise, so often
 * and no more, and forgotten when they lead nowhere.
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
  /** Whom a link is wanted with, see choice.ts. */
  readonly wanted: ReadonlySet<string>
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
  /** Whoever is there took no link, or not for long. */
  isTurnedAway: boolean
  readonly knownAt: number
  dueAt: number
  triedAt: number
}

/** How often to look whether an address whose peer is linked, or that is our own, should be dialled again. */
const PARKED_MS = 5_000
const SELF_MS = 60_000
/** The same where no further link is wanted. */
const UNWANTED_MS = 1_000
/** Whoever is out of reach is likely on its way to somebody else: so long others go first. */
const PATIENCE_MS = 5_000
/** An attempt that failed says that the next one would, for so long. */
const FAILING_MS = 60_000
/** One of the profile's that took no link, and to which there is another way. */
const FULL_MS = 300_000
/** A link that ended sooner was none. */
const SHORT_MS = 5_000
/** An address that is told of again is worth an attempt, but not more often. */
const AGAIN_MS = 5_000
/** A board has several addresses at most; of those that it had before, a few may come back. */
const REMEMBERED_PER_PEER = 2

export class Candidates {
  readonly #options: CandidatesOptions
  readonly #known = new Map<string, Candidate>()
  readonly #dials = new Bucket(DISCOVERY_LIMITS.dialsPerSecond, DISCOVERY_LIMITS.dialsInARow)
  #preferred: ReadonlySet<string> = new Set()
  /** No address is due before; null when it is to be looked for. */
  #dueAt: number | null = null
  /** When those that were not worth a dial are looked at again, all together. */
  #unwantedAt = 0

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
    if (!this.#known.has(address) && !this.#makeRoom(hostOf(address), this.#preferred.has(peerId))) return
    const candidate = this.#known.get(address) ?? this.#add(address, nowMs)
    if (candidate.peerId === this.#options.peerId) return
    candidate.sources.add(source)
    if (!candidate.isProven) candidate.peerId = peerId
    candidate.dueAt = Math.min(candidate.dueAt, Math.max(nowMs, candidate.triedAt + AGAIN_MS))
    if (!candidate.isDialled) this.#dueFrom(candidate.dueAt)
  }

  /** Where this gateway was admitted, or somebody who had no place for it says that others are; who is there is not known. */
  refer(addresses: readonly string[], source: AddressSource, nowMs: number): void {
    for (const address of addresses) {
      if (!this.#known.has(address) && !this.#makeRoom(hostOf(address), true)) continue
      const candidate = this.#known.get(address) ?? this.#add(address, nowMs)
      candidate.sources.add(source)
    }
  }

  has(address: string): boolean {
    return this.#known.has(address)
  }

  /** Whose addresses take the place of others' when there are too many. */
  prefer(peerIds: ReadonlySet<string>): void {
    this.#preferred = peerIds
  }

  /** Of whom addresses are known, whether all of them were tried of late and led to no link. */
  failing(nowMs: number): ReadonlyMap<string, boolean> {
    const failing = new Map<string, boolean>()
    for (const { peerId, failures, isTurnedAway, triedAt } of this.#known.values()) {
      if (peerId === null) continue
      const isFailing = (failures > 0 || isTurnedAway) && triedAt + FAILING_MS > nowMs
      failing.set(peerId, isFailing && (failing.get(peerId) ?? true))
    }
    return failing
  }

  /** The source says no more that the peer is at other addresses than these. */
  withdraw(source: AddressSource, peerId: string, addresses: readonly string[]): void {
    for (const candidate of this.#known.values()) {
      if (candidate.peerId === peerId && !addresses.includes(candidate.address)) this.#withdraw(candidate, source)
    }
  }

  /** Addresses to dial now; each is to be answered with `ended`. */
  due(nowMs: number, links: LinkState): string[] {
    if (nowMs < this.deadline) return []
    this.#dueAt = null
    if (this.#unwantedAt <= nowMs) this.#unwantedAt = nowMs + UNWANTED_MS
    const due: Candidate[] = []
    for (const candidate of this.#known.values()) {
      if (candidate.isDialled || candidate.dueAt > nowMs) continue
      if (candidate.peerId !== null && links.linked.has(candidate.peerId)) {
        candidate.dueAt = nowMs + PARKED_MS
        candidate.isTurnedAway = false
      } else due.push(candidate)
    }
    // Whoever is wanted comes first; and what was just heard of does not wait behind what leads nowhere.
    const isWanted = ({ peerId }: Candidate): number => Number(peerId !== null && links.wanted.has(peerId))
    due.sort((a, b) => isWanted(b) - isWanted(a) || a.failures - b.failures)
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
    this.#dueAt = null
    candidate.isDialled = false
    candidate.triedAt = nowMs
    candidate.dueAt = nowMs + (peerId === this.#options.peerId ? SELF_MS : candidate.backOff.next(linkedMs))
    candidate.failures = peerId === null ? candidate.failures + 1 : 0
    candidate.isTurnedAway = peerId !== null && (linkedMs === null || linkedMs < SHORT_MS)
    if (peerId !== null) {
      candidate.peerId = peerId
      candidate.isProven = true
    }
    if (candidate.failures >= DISCOVERY_LIMITS.dialFailuresMax && !isKept(candidate)) this.#known.delete(address)
  }

  /** Monotonic milliseconds at which some address may be due; Infinity when none. */
  get deadline(): number {
    if (this.#dueAt !== null) return this.#dueAt
    let deadline = Number.POSITIVE_INFINITY
    for (const { isDialled, dueAt } of this.#known.values()) if (!isDialled) deadline = Math.min(deadline, dueAt)
    this.#dueAt = deadline
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
      isTurnedAway: false,
      knownAt: nowMs,
      dueAt: nowMs,
      triedAt: Number.NEGATIVE_INFINITY,
    }
    this.#known.set(address, candidate)
    this.#dueFrom(candidate.dueAt)
    return candidate
  }

  #dueFrom(dueAt: number): void {
    if (this.#dueAt !== null) this.#dueAt = Math.min(this.#dueAt, dueAt)
  }

  #withdraw(candidate: Candidate, source: AddressSource): void {
    candidate.sources.delete(source)
    if (candidate.sources.size === 0) this.#known.delete(candidate.address)
  }

  #take(candidate: Candidate, nowMs: number, links: LinkState): boolean {
    const isTaken = candidate.sources.has('bootstrap')
      ? links.linked.size < this.#options.links.max && !isFull(candidate, nowMs, links)
      : this.#isWanted(candidate, nowMs, links) && this.#dials.take(nowMs)
    if (isTaken) candidate.isDialled = true
    else candidate.dueAt = this.#unwantedAt
    return isTaken
  }

  /** A hint is worth a dial to whom a link is wanted with, while links are lacking, or to reach whom nobody else reaches. */
  #isWanted({ peerId, knownAt }: Candidate, nowMs: number, { linked, isReachable, wanted }: LinkState): boolean {
    const { min, max } = this.#options.links
    const isSought = peerId === null || wanted.has(peerId)
    const isCutOff = (): boolean => peerId !== null && nowMs >= knownAt + PATIENCE_MS && !isReachable(peerId)
    // So it is with most that are known.
    if (linked.size >= max || (linked.size >= min && !isSought && !isCutOff())) return false
    const dialled = [...this.#known.values()].filter((other) => other.isDialled && !linked.has(other.peerId ?? ''))
    const isUnderWay = peerId !== null && dialled.some((other) => other.peerId === peerId)
    const links = linked.size + dialled.filter(({ sources }) => !sources.has('bootstrap')).length
    if (isUnderWay || links >= max || dialled.length >= DISCOVERY_LIMITS.dialsAtOnce) return false
    return links < min || isSought || isCutOff()
  }

  /** False when there are enough addresses of that host, or of all, that may still lead somewhere. */
  #makeRoom(host: string, isPreferred: boolean): boolean {
    let ofHost = 0
    let worst: Candidate | null = null
    for (const other of this.#known.values()) {
      if (other.host === host && !other.isProven && !isKept(other)) ofHost += 1
      if (other.failures > (worst?.failures ?? 0) && !other.isDialled && !isKept(other)) worst = other
    }
    if (ofHost >= DISCOVERY_LIMITS.addressesPerHostMax) return false
    if (this.#known.size < DISCOVERY_LIMITS.addressesMax) return true
    const given = worst ?? (isPreferred ? this.#dispensable() : undefined)
    return given !== undefined && this.#known.delete(given.address)
  }

  #dispensable(): Candidate | undefined {
    return [...this.#known.values()].find((other) => this.#isDispensable(other))
  }

  /** Its gateway's record says it again when it is needed. */
  #isDispensable({ peerId, sources, isDialled }: Candidate): boolean {
    return !isDialled && sources.size === 1 && sources.has('exchange') && !this.#preferred.has(peerId ?? '')
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

/** Who is there has no place for us, and there is another way to it. */
function isFull({ peerId, isTurnedAway, triedAt }: Candidate, nowMs: number, { isReachable }: LinkState): boolean {
  return isTurnedAway && peerId !== null && isReachable(peerId) && nowMs < triedAt + FULL_MS
}

function hostOf(address: string): string {
  return /^[a-z]+:\/\/(.+):[0-9]+$/.exec(address)?.[1] ?? address
}
