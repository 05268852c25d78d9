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
  /** Who proved to be there, or else all who are said to. */
  readonly peerIds: readonly string[]
  readonly from: readonly AddressSource[]
}

/** An address over which a link came about, to be tried after a restart. */
export interface RememberedAddress {
  readonly address: string
  readonly peerId: string
  readonly from: readonly AddressSource[]
}

/** Sources of what anybody may have made up. */
type Hearsay = Extract<AddressSource, 'mdns' | 'exchange'>

interface Candidate {
  readonly address: string
  readonly host: string
  /** That know it whoever is there. */
  readonly sources: Set<AddressSource>
  /** Who is said to be there, and by which sources; who was said to last comes last. Anybody may say so of any address. */
  readonly claims: Map<string, Set<Hearsay>>
  readonly backOff: BackOff
  /** Who proved to be there. */
  peerId: string | null
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
/** One of the profile's that took no link, and to which there is another way; and who told then where others are. */
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
  /** Who said where others are, and when. */
  readonly #referredAt = new Map<string, number>()
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

  hint({ address, peerId }: Hint, source: Hearsay, nowMs: number): void {
    if (peerId === this.#options.peerId) return
    if (!this.#known.has(address) && !this.#makeRoom(hostOf(address), this.#preferred.has(peerId))) return
    const candidate = this.#known.get(address) ?? this.#add(address, nowMs)
    if (candidate.peerId === this.#options.peerId) return
    claim(candidate, peerId, source)
    candidate.dueAt = Math.min(candidate.dueAt, Math.max(nowMs, candidate.triedAt + AGAIN_MS))
    if (!candidate.isDialled) this.#dueFrom(candidate.dueAt)
  }

  /** An address over which a link came about before a restart. */
  recall({ address, peerId, from }: RememberedAddress, nowMs: number): void {
    const candidate = this.#known.get(address) ?? this.#add(address, nowMs)
    candidate.sources.add('remembered')
    candidate.peerId = peerId
    for (const source of from) if (source === 'mdns' || source === 'exchange') claim(candidate, peerId, source)
  }

  /** Where this gateway was admitted, which is remembered; who is there is not known. */
  admitted(addresses: readonly string[], nowMs: number): void {
    this.#refer(addresses, 'remembered', nowMs)
  }

  /** Somebody whom this gateway dialled had no place for it and says where others are: heard once in a while from each. */
  referred(from: string, addresses: readonly string[], nowMs: number): void {
    for (const [peerId, atMs] of this.#referredAt) if (nowMs >= atMs + FULL_MS) this.#referredAt.delete(peerId)
    if (this.#referredAt.has(from)) return
    this.#referredAt.set(from, nowMs)
    this.#refer(addresses, 'exchange', nowMs)
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
    for (const candidate of this.#known.values()) {
      const { failures, isTurnedAway, triedAt } = candidate
      const isFailing = (failures > 0 || isTurnedAway) && triedAt + FAILING_MS > nowMs
      // Whoever is said to be where somebody else has proven to be is not there.
      for (const peerId of new Set([...peersOf(candidate), ...candidate.claims.keys()])) {
        const isOther = candidate.peerId !== null && candidate.peerId !== peerId
        failing.set(peerId, (isFailing || isOther) && (failing.get(peerId) ?? true))
      }
    }
    return failing
  }

  /** The source says no more that the peer is at other addresses than these; what is said of others there stands. */
  withdraw(source: Hearsay, peerId: string, addresses: readonly string[]): void {
    for (const candidate of this.#known.values()) {
      const sources = addresses.includes(candidate.address) ? undefined : candidate.claims.get(peerId)
      if (!sources?.delete(source) || sources.size > 0) continue
      candidate.claims.delete(peerId)
      // It may have moved, and somebody else have its address now.
      if (candidate.peerId === peerId && candidate.claims.size > 0) candidate.peerId = null
      this.#forgetUnknown(candidate)
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
      const peers = isKept(candidate) ? provenOf(candidate) : peersOf(candidate)
      if (peers.length > 0 && peers.every((peerId) => links.linked.has(peerId))) {
        candidate.dueAt = nowMs + PARKED_MS
        candidate.isTurnedAway = false
      } else due.push(candidate)
    }
    // Whoever is wanted comes first; what was just heard of does not wait behind what leads nowhere, and last comes that of
    // which nobody says where it leads.
    const isWanted = (candidate: Candidate): number =>
      Number(peersOf(candidate).some((peerId) => links.wanted.has(peerId)))
    const isVain = (candidate: Candidate): number =>
      Number(candidate.failures > 0 && peersOf(candidate).length === 0 && !isKept(candidate))
    due.sort((a, b) => isWanted(b) - isWanted(a) || isVain(a) - isVain(b) || a.failures - b.failures)
    return due.filter((candidate) => this.#take(candidate, nowMs, links)).map(({ address }) => address)
  }

  /** A link over the address has come about. True when the addresses to remember are others than before. */
  worked(address: string, peerId: string): boolean {
    const candidate = this.#known.get(address)
    if (!candidate) return false
    const isNew = candidate.peerId !== peerId || !candidate.sources.has('remembered')
    candidate.peerId = peerId
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
    if (peerId !== null) candidate.peerId = peerId
    if (candidate.failures >= DISCOVERY_LIMITS.dialFailuresMax && !isKept(candidate)) this.#known.delete(address)
    this.#forgetUnknown(candidate)
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
    return [...this.#known.values()].flatMap((candidate) => {
      const from = [...sourcesOf(candidate)]
      return from.length > 0 ? [{ address: candidate.address, peerIds: peersOf(candidate), from }] : []
    })
  }

  /** Who proved to be at addresses of the profile. */
  listed(): readonly string[] {
    return [...this.#known.values()].flatMap((candidate) =>
      candidate.sources.has('bootstrap') ? provenOf(candidate) : [],
    )
  }

  /** Oldest first. */
  remembered(): readonly RememberedAddress[] {
    return this.addresses().flatMap(({ address, peerIds: [peerId], from }) =>
      peerId !== undefined && from.includes('remembered') ? [{ address, peerId, from }] : [],
    )
  }

  #refer(addresses: readonly string[], source: AddressSource, nowMs: number): void {
    for (const address of addresses) {
      if (!this.#known.has(address) && !this.#makeRoom(hostOf(address), true)) continue
      const candidate = this.#known.get(address) ?? this.#add(address, nowMs)
      candidate.sources.add(source)
    }
  }

  #add(address: string, nowMs: number): Candidate {
    const candidate: Candidate = {
      address,
      host: hostOf(address),
      sources: new Set(),
      claims: new Map(),
      backOff: new BackOff(this.#options.random),
      peerId: null,
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
    this.#forgetUnknown(candidate)
  }

  /** One that is being dialled stays until that has ended, so that nobody dials it a second time. */
  #forgetUnknown({ address, sources, claims, isDialled }: Candidate): void {
    if (sources.size === 0 && claims.size === 0 && !isDialled) this.#known.delete(address)
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
  #isWanted(candidate: Candidate, nowMs: number, { linked, isReachable, wanted }: LinkState): boolean {
    const { min, max } = this.#options.links
    const peers = peersOf(candidate).filter((peerId) => !linked.has(peerId))
    // Anybody may say that somebody is anywhere: what this gateway knows itself is worth a dial all the same.
    const isWorthIt =
      peers.length === 0
        ? isKept(candidate)
        : peers.some((peerId) => wanted.has(peerId)) ||
          (nowMs >= candidate.knownAt + PATIENCE_MS && peers.some((peerId) => !isReachable(peerId)))
    // So it is with most that are known.
    if (linked.size >= max || (linked.size >= min && !isWorthIt)) return false
    const lacking = (of: Candidate): string[] => peersOf(of).filter((peerId) => !linked.has(peerId))
    const dialled = [...this.#known.values()].filter(
      (other) => other.isDialled && (peersOf(other).length === 0 || lacking(other).length > 0),
    )
    const underWay = new Set(dialled.flatMap(peersOf))
    const isUnderWay = peers.length > 0 && peers.every((peerId) => underWay.has(peerId))
    const links = linked.size + dialled.filter(({ sources }) => !sources.has('bootstrap')).length
    if (isUnderWay || links >= max || dialled.length >= DISCOVERY_LIMITS.dialsAtOnce) return false
    return links < min || isWorthIt
  }

  /** False when there are enough addresses of that host, or of all, that may still lead somewhere. */
  #makeRoom(host: string, isPreferred: boolean): boolean {
    const isOfHost = (other: Candidate): boolean => other.host === host && other.peerId === null && !isKept(other)
    let ofHost = 0
    for (const other of this.#known.values()) if (isOfHost(other)) ofHost += 1
    const isHostFull = ofHost >= DISCOVERY_LIMITS.addressesPerHostMax
    if (!isHostFull && this.#known.size < DISCOVERY_LIMITS.addressesMax) return true
    const given = this.#leastUse(isHostFull ? isOfHost : () => true, isPreferred)
    return given !== undefined && this.#known.delete(given.address)
  }

  /** Of a crowd the one that failed most, or, for one that is preferred, one that can be spared. */
  #leastUse(isOfCrowd: (candidate: Candidate) => boolean, isPreferred: boolean): Candidate | undefined {
    let worst: Candidate | undefined
    let dispensable: Candidate | undefined
    for (const other of this.#known.values()) {
      if (!isOfCrowd(other)) continue
      if (other.failures > (worst?.failures ?? 0) && !other.isDialled && !isKept(other)) worst = other
      if (isPreferred && worst === undefined && dispensable === undefined && this.#isDispensable(other))
        dispensable = other
    }
    return worst ?? dispensable
  }

  /** Its gateway's record says it again when it is needed. */
  #isDispensable(candidate: Candidate): boolean {
    const sources = sourcesOf(candidate)
    const isPreferred = peersOf(candidate).some((peerId) => this.#preferred.has(peerId))
    return !candidate.isDialled && sources.size === 1 && sources.has('exchange') && !isPreferred
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

/** Of so many at most as of who is said to be at one address: who was said to longest ago goes. */
function claim({ claims }: Candidate, peerId: string, source: Hearsay): void {
  const sources = claims.get(peerId) ?? new Set()
  claims.delete(peerId)
  claims.set(peerId, sources.add(source))
  const [oldest] = claims.keys()
  if (claims.size > DISCOVERY_LIMITS.claimsPerAddressMax && oldest !== undefined) claims.delete(oldest)
}

function sourcesOf({ sources, claims }: Candidate): ReadonlySet<AddressSource> {
  return new Set([...sources, ...[...claims.values()].flatMap((its) => [...its])])
}

function provenOf({ peerId }: Candidate): string[] {
  return peerId === null ? [] : [peerId]
}

/** Who proved to be there, or else all who are said to. */
function peersOf(candidate: Candidate): string[] {
  return candidate.peerId === null ? [...candidate.claims.keys()] : provenOf(candidate)
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
