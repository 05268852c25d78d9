import { concat, equal } from '../base/bytes.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import { Scope } from '../model/interest.ts'
import type { SequenceSet } from '../model/sequences.ts'
import { decodeValue, encodeValue } from '../wire/cbor.ts'
import type { Core } from './core.ts'
import type { FeedState } from './feeds.ts'
import { isOfScope, scopeOf } from './interest.ts'
import type { LinkState } from './link.ts'

/**
 * What each neighbour has on its disk, by its own word: ACK and HAVE are said after the flush, so they stay true when the link
 * goes, and are kept over restarts. Counted is what a neighbour has confirmed, never what it was sent.
 *
 * As for the cursor (cursors.ts) one number says nearly all: the neighbour holds everything up to our number `lsn`. Beside it
 * stand single feeds: those that have moved since, with the head that it confirmed last, and those that it lacks although
 * the number has passed them, because it refuses them.
 */

const PREFIX = 'sync/held/'
/** A holding that has changed goes along with a commit at most so often; by itself only for the time of the last contact. */
const SAVE_MS = 30_000
const SAVE_CONTACT_MS = 3_600_000

export class Holding {
  readonly peerId: string
  /** The neighbour's database, and its own number of its last batch: when one is another or the other has fallen, it was put back. */
  instance: Uint8Array = new Uint8Array(8)
  peerLsn = 0
  /** What it keeps: of the rest it holds nothing. */
  scope: Scope = new Scope(['*'], ['*'])
  name = ''
  version = ''
  /** Everything up to this number of ours, but for `feeds`. */
  lsn = 0
  /** Heads that it has confirmed, the latest news last. */
  readonly feeds: Map<FeedState, number> = new Map<FeedState, number>()
  /** When it was heard last, in Unix milliseconds by this gateway's clock. */
  heardAt = 0
  /** When it was saved last, monotonic, and what it said; whether there is something new, and whether that can't wait. */
  savedAt = 0
  savedHeardAt = 0
  isChanged = false
  isSaveDue = false
  /** Entries at which it is worth looking for some to let go. */
  pruneAt: number = GATEWAY_LIMITS.heldFeedsMax * 2

  constructor(peerId: string) {
    this.peerId = peerId
  }

  /** Whether the neighbour keeps the feed, as it has greeted last. */
  keeps({ feed }: FeedState): boolean {
    return isOfScope(this.peerId, this.scope, feed)
  }

  /** Up to where it holds the feed: what it has said, or what follows from its number. */
  held(state: FeedState): number {
    if (!this.keeps(state)) return 0
    const said = this.feeds.get(state)
    if (said !== undefined) return Math.min(said, state.head.seq)
    return state.lsn <= this.lsn ? state.head.seq : 0
  }

  /**
   * The same for the eye: of a feed that has moved since it was last saved what it said is lost in a crash, but each batch that
   * came since has raised the number by one. A feed that jumped has come farther with fewer batches: then only those count that
   * are here, and those that it jumped over only when the jump is older than the number for certain.
   */
  heldAbout(state: FeedState): number {
    if (!this.keeps(state) || this.feeds.has(state) || state.lsn <= this.lsn) return this.held(state)
    const since = state.lsn - this.lsn
    const { head, history } = state
    if (state.isOwn) return Math.max(0, head.seq - since)
    const hasJumpedSince = history.baseSeq > 0 && since > head.seq - history.baseSeq
    return lastBefore(history.retained.within(1, hasJumpedSince ? history.preJump : head.seq), since)
  }

  /** It said that it holds so much: later statements count, also lower ones. */
  say(state: FeedState, seq: number): void {
    this.feeds.delete(state)
    this.feeds.set(state, seq)
    this.isChanged = true
  }

  /** False when that is nothing new. */
  confirm(lsn: number): boolean {
    if (lsn <= this.lsn) return false
    this.lsn = lsn
    this.isChanged = true
    return true
  }

  /** Its number has passed the feed, or will, although it lacks some of it. */
  noteLacking(state: FeedState): void {
    if (!this.feeds.has(state)) this.say(state, 0)
  }

  /** It holds everything that we hold. */
  confirmAll(lsn: number): void {
    for (const [state, seq] of this.feeds) if (seq < state.head.seq) this.feeds.set(state, state.head.seq)
    this.confirm(lsn)
  }

  /** Its database is another, or an older state of the one it was. */
  reset(instance: Uint8Array, scope: Scope): void {
    // What it was thought to hold before must not be thought again after a crash.
    this.isSaveDue ||= scope.name !== this.scope.name
    this.instance = instance.slice()
    this.scope = scope
    this.feeds.clear()
    this.lsn = 0
    this.isChanged = true
    this.savedAt = Number.NEGATIVE_INFINITY
  }

  /** It lacks some of the feed although its number has passed it. */
  lacks(state: FeedState): boolean {
    const said = this.feeds.get(state)
    return said !== undefined && said < state.head.seq
  }

  /** It lacks some of the feed although its number has passed it: only this entry says so. */
  isException(state: FeedState): boolean {
    return state.lsn <= this.lsn && this.lacks(state)
  }

  /**
   * Lets go of the oldest entries that its number says as well. When there are far too many, also of those from which only a
   * lower bound is left then: never of one without which it would seem to hold more than it does.
   */
  prune(): void {
    const { heldFeedsMax } = GATEWAY_LIMITS
    const isFull = this.feeds.size > heldFeedsMax * 16
    let more = this.feeds.size - heldFeedsMax
    for (const state of this.feeds.keys()) {
      if (more <= 0) break
      more -= 1
      if (this.isException(state)) continue
      if (state.lsn <= this.lsn || isFull) this.feeds.delete(state)
    }
    this.pruneAt = Math.max(heldFeedsMax, this.feeds.size) * 2
  }
}

/** The last sequence but so many; 0 when there are no more. */
function lastBefore({ runs }: SequenceSet, count: number): number {
  let left = count
  for (let i = runs.length - 2; i >= 0; i -= 2) {
    const [first, last] = [runs[i] as number, runs[i + 1] as number]
    if (last - left >= first) return last - left
    left -= last - first + 1
  }
  return 0
}

/** The neighbour's holding, made when it is heard of first; of too many the one that was silent longest gives way. */
export function holdingOf<Token>(core: Core<Token>, peerId: string): Holding {
  const known = core.holdings.get(peerId)
  if (known) return known
  if (core.holdings.size >= GATEWAY_LIMITS.peersKnownMax) forgetOldest(core)
  const holding = new Holding(peerId)
  core.holdings.set(peerId, holding)
  return holding
}

function forgetOldest<Token>(core: Core<Token>): void {
  const linked = new Set([...core.links.values()].map(({ peerId }) => peerId))
  let oldest: Holding | null = null
  for (const holding of core.holdings.values()) {
    if (!linked.has(holding.peerId) && (oldest === null || holding.heardAt < oldest.heardAt)) oldest = holding
  }
  if (oldest === null) return
  core.holdings.delete(oldest.peerId)
  core.removeRecord(PREFIX + oldest.peerId)
}

/** A neighbour greets: what it had confirmed still counts unless its store is another, or was put back. */
export function greetHolding<Token>(
  core: Core<Token>,
  link: LinkState,
  { instance, lsn: peerLsn }: { readonly instance: Uint8Array; readonly lsn: number },
  scope: Scope,
): void {
  const { holding } = link
  const isSame = equal(holding.instance, instance) && peerLsn >= holding.peerLsn && holding.scope.name === scope.name
  if (!isSame) holding.reset(instance, scope)
  holding.peerLsn = peerLsn
  holding.name = link.name
  holding.version = link.version
  holding.isChanged = true
  noteConfirmed(core, null)
}

/** A neighbour has said that it holds the feed up to `seq`: of an own feed not ours where it has more than we wrote. */
export function noteHeld<Token>(core: Core<Token>, link: LinkState, state: FeedState, seq: number): void {
  link.holding.say(state, state.isOwn && seq > state.head.seq ? 0 : seq)
  noteConfirmed(core, state)
}

/** A neighbour has sent the batch `seq`: nothing is sent that isn't on the sender's disk. */
export function noteSent(link: LinkState, state: FeedState, seq: number): void {
  const { holding } = link
  if (seq > (holding.feeds.get(state) ?? holding.held(state))) holding.say(state, seq)
}

/** Those who wait for confirmations of an own feed look again; null: of any. */
function noteConfirmed<Token>(core: Core<Token>, state: FeedState | null): void {
  if (state === null) for (const own of core.queues.keys()) core.confirmed.add(own)
  else if (state.isOwn) core.confirmed.add(state)
}

/** A neighbour has said that it holds everything up to our number `lsn`. */
export function noteHeldAll<Token>(core: Core<Token>, link: LinkState, lsn: number): void {
  if (link.holding.confirm(Math.min(lsn, core.feeds.lsn))) noteConfirmed(core, null)
}

/** Its digest of all heads is ours: so it has all that we have. */
export function noteEqual<Token>(core: Core<Token>, link: LinkState): void {
  link.holding.confirmAll(core.feeds.lsn)
  noteConfirmed(core, null)
}

/**
 * A feed is about to move: whoever holds it by its number alone is noted with what it holds. When it begins with a jump that is nothing,
 * though the number may have passed parts of it.
 */
export function noteAdvance<Token>(core: Core<Token>, state: FeedState, isJump: boolean = false): void {
  if (state.head.seq === 0 && !isJump) return
  for (const holding of core.holdings.values()) {
    if (!holding.keeps(state)) continue
    if (!holding.feeds.has(state)) holding.feeds.set(state, Math.min(state.head.seq, holding.heldAbout(state)))
    if (holding.feeds.size > holding.pruneAt) holding.prune()
  }
}

/** The feed was cut: what others hold above the cut is of another branch. */
export function noteCut<Token>(core: Core<Token>, state: FeedState): void {
  for (const holding of core.holdings.values()) {
    if (!holding.keeps(state)) continue
    const held = holding.heldAbout(state)
    holding.feeds.set(state, Math.min(held, state.head.seq))
    holding.isChanged = true
  }
}

/** Who holds the feed, and up to where: neighbours that are members, as far as they have confirmed it. */
export function heldBy<Token>(core: Core<Token>, state: FeedState): number[] {
  const { authority } = core.surroundings
  if (!authority.isShared(state.feed)) return []
  return [...core.holdings.values()]
    .filter((holding) => !authority.isClosed(holding.peerId) && holding.keeps(state))
    .map((holding) => holding.held(state))
}

/** Records of holdings that are due: with a commit that happens anyway, or when a link has gone. */
export function takeDueHoldings<Token>(core: Core<Token>, isCommitting: boolean): { key: string; value: Uint8Array }[] {
  const { monotonicMs } = core.now
  const due: Holding[] = []
  for (const holding of core.holdings.values()) {
    const age = monotonicMs - holding.savedAt
    const isDue = isCommitting && holding.isChanged && age >= SAVE_MS
    const isOld = Number.isFinite(age) && age >= SAVE_CONTACT_MS && holding.heardAt > holding.savedHeardAt
    if (holding.isSaveDue || isDue || isOld) due.push(holding)
  }
  return due.map((holding) => {
    holding.savedAt = monotonicMs
    holding.savedHeardAt = holding.heardAt
    holding.isChanged = false
    holding.isSaveDue = false
    return { key: PREFIX + holding.peerId, value: encodeHolding(holding) }
  })
}

/** The disk refused them. */
export function keepHoldingAgain<Token>(core: Core<Token>, key: string): boolean {
  const holding = key.startsWith(PREFIX) ? core.holdings.get(key.slice(PREFIX.length)) : undefined
  if (holding) holding.isSaveDue = true
  return holding !== undefined
}

export function loadHoldings<Token>(core: Core<Token>): void {
  for (const { key, value } of core.surroundings.scanRecords(PREFIX)) {
    if (value === null || core.holdings.size >= GATEWAY_LIMITS.peersKnownMax) continue
    const holding = decodeHolding(core, key.slice(PREFIX.length), value)
    if (holding) core.holdings.set(holding.peerId, holding)
  }
}

/** `[instance, its lsn, our lsn, heard at, name, version, feed ids, sequences, interest]`: exceptions first, then the feeds that moved last. */
function encodeHolding(holding: Holding): Uint8Array {
  const feeds = [...holding.feeds].toReversed()
  const exceptions = feeds.filter(([state]) => holding.isException(state))
  const others = feeds.filter(([state]) => !holding.isException(state))
  const { heldFeedsMax } = GATEWAY_LIMITS
  const kept = [...exceptions, ...others].slice(0, heldFeedsMax)
  const leftOut = exceptions.slice(heldFeedsMax).map(([state]) => state.lsn - 1)
  const { instance, peerLsn, lsn, heardAt, name, version } = holding
  return encodeValue([
    instance,
    peerLsn,
    Math.min(lsn, ...leftOut),
    Math.max(0, Math.floor(heardAt)),
    name,
    version,
    concat(...kept.map(([{ feed }]) => feed.id)),
    kept.map(([, seq]) => seq),
    holding.scope.interest,
  ])
}

/** Null for bytes that mean nothing: then nothing is known of what the neighbour holds. */
function decodeHolding<Token>(core: Core<Token>, peerId: string, bytes: Uint8Array): Holding | null {
  const decoded = decodeValue(bytes)
  if (!decoded.ok || !Array.isArray(decoded.value)) return null
  const [instance, peerLsn, lsn, heardAt, name, version, ids, seqs, interest = ['*']] = decoded.value as unknown[]
  const isWhole =
    instance instanceof Uint8Array &&
    instance.length === 8 &&
    isCount(peerLsn) &&
    isCount(lsn) &&
    isCount(heardAt) &&
    typeof name === 'string' &&
    typeof version === 'string' &&
    ids instanceof Uint8Array &&
    Array.isArray(seqs) &&
    seqs.every(isCount) &&
    ids.length === seqs.length * 16 &&
    Array.isArray(interest)
  if (!isWhole) return null
  const scope = scopeOf(core, peerId, interest as string[])
  const known = { instance: instance.slice(), peerLsn, heardAt, name, version, scope }
  const holding = Object.assign(new Holding(peerId), known)
  // A number above ours was said of a store that is gone; the one that is here may come as far.
  if (lsn > core.feeds.lsn) {
    holding.isSaveDue = true
    return holding
  }
  holding.lsn = lsn
  // Saved with the latest first.
  for (let i = seqs.length - 1; i >= 0; i--) {
    const state = core.feeds.getById(ids.subarray(i * 16, i * 16 + 16))
    if (state) holding.feeds.set(state, seqs[i] as number)
  }
  return holding
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
