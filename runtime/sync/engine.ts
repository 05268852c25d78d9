import { equal } from '../base/bytes.ts'
import type { Batch, ChainPosition } from '../model/batch.ts'
import { SELF_COLLECTION } from '../model/names.ts'
import { forgetBeacon, writeBeacon } from './beacons.ts'
import type { BudgetView } from './budget.ts'
import { noteExamined, type Divergence } from './comparing.ts'
import { compact, compactDeadline } from './compacting.ts'
import { Core, giveCreditBack, TIMES, type Accepted, type Arrival, type Committed, type Cut } from './core.ts'
import type { Place, Scope } from '../model/interest.ts'
import type { FeedState } from './feeds.ts'
import { probeDeadline, retryProbes } from './forks.ts'
import { applyCheckpoints, historiesOf, noteHistory } from './gating.ts'
import { heldBy, holdingOf, noteAdvance, type Holding } from './holdings.ts'
import { lookBefore, tookOut } from './damage.ts'
import { keptSince, leave, leaveDeadline, leaveFailed, left, saidScopeOf, sayInterest, scopeOf } from './interest.ts'
import { LinkState } from './link.ts'
import { mendDeadline, mendHoles, noteHoles } from './mending.ts'
import { forgetDigests, pingIfDue } from './pinging.ts'
import { considerRefused, replaceParent, retryBehind, retryDeadline } from './pulling.ts'
import { contentOf, fillOn, receiveVerdict } from './arriving.ts'
import { receiveFrame } from './receiving.ts'
import { shareOut } from './sharing.ts'
import { recoverClock, recoverDeadline } from './overrun.ts'
import { reissueDeadline, reissueVoided } from './reissuing.ts'
import { feedCut } from './cutting.ts'
import { applySeals, noteStatement } from './sealing.ts'
import { send } from './sending.ts'
import type { Told } from './timekeeping.ts'
import { dropDead, dropDeadline, dropFailed, dropped, settleTrash } from './trash.ts'
import type { CommitBatch, EngineOptions, Input, Now, Output, Surroundings } from './types.ts'
import { noteNeighboursTime, type ClockDoubt } from './weighing.ts'
import { isCheckpoint } from '../wire/checkpoint.ts'
import { addWrite, cutBatches, tokensOf, writeDeadline, writtenOf } from './writing.ts'

/**
 * The sync engine, without I/O: `handle` an input, `poll` outputs until there is none, call `handle` with `time` at
 * `deadline`. The same inputs give the same outputs, byte for byte. SPEC.md says what it promises.
 */
export class Engine<Token> {
  readonly #core: Core<Token>
  #isDecided = true

  constructor(options: EngineOptions, surroundings: Surroundings) {
    this.#core = new Core(
      options,
      surroundings,
      (publicKey, incarnation) => equal(publicKey, options.publicKey) && equal(incarnation, options.incarnation),
    )
  }

  handle(now: Now, input: Input<Token>): void {
    this.#core.now = this.#core.time.read(now)
    this.#isDecided = false
    this.#change(input)
  }

  /** The next output, or undefined when everything is said. */
  poll(): Output<Token> | undefined {
    if (!this.#isDecided) {
      this.#isDecided = true
      this.#decide()
    }
    return this.#core.outputs.shift()
  }

  /** Monotonic milliseconds at which `handle` wants a `time` input; Infinity when never. */
  get deadline(): number {
    const core = this.#core
    let deadline = Math.min(
      writeDeadline(core),
      retryDeadline(core),
      core.shareAt,
      compactDeadline(core),
      core.beaconAt,
      core.sealsAt,
      dropDeadline(core),
      leaveDeadline(core),
      core.sayInterestAt,
      probeDeadline(core),
      mendDeadline(core),
      core.budget.deadline,
      reissueDeadline(core),
      recoverDeadline(core),
    )
    for (const link of core.links.values()) deadline = Math.min(deadline, link.greetAt, link.tellAt, pingDeadline(link))
    return deadline
  }

  /** What time it is, and how far that is to be believed. */
  time(now: Now): Told {
    return this.#core.time.read(now)
  }

  /** The links alone of `view`. */
  get links(): readonly LinkView[] {
    return [...this.#core.links.values()].map(linkViewOf)
  }

  /** Figures for `status` and `peers`; reading them changes nothing. */
  get view(): EngineView {
    return viewOf(this.#core)
  }

  /** Up to where each other gateway is known to have a feed on its disk, in no order; see `confirmed`. */
  heldBy(feedKey: string): readonly number[] {
    const state = this.#core.feeds.get(feedKey)
    return state ? heldBy(this.#core, state) : []
  }

  /** Whether a member keeps what is written there, as far as it has said. */
  isKeptBy(peerId: string, place: Place): boolean {
    return keptSince(this.#core, peerId, place) !== null
  }

  /** What a member keeps, as far as it has said and may. */
  scopeOf(peerId: string): Scope {
    return saidScopeOf(this.#core, peerId)
  }

  /** Whether there is a link over which it has greeted. */
  isUp(peerId: string): boolean {
    for (const link of this.#core.links.values()) if (link.peerId === peerId && link.isGreeted) return true
    return false
  }

  /** What a member has not confirmed to have, be it that it doesn't keep it or was never linked. */
  lackingAt(peerId: string): readonly FeedLag[] {
    const holding = this.#core.holdings.get(peerId)
    return lagOf(this.#core, (state) => holding?.heldAbout(state) ?? 0)
  }

  #change(input: Input<Token>): void {
    const core = this.#core
    switch (input.type) {
      case 'link-up': {
        const { link, peerId } = input
        const cursor = core.cursorOf(peerId)
        core.links.set(link, new LinkState(link, holdingOf(core, peerId), cursor, core.now.monotonicMs))
        return
      }
      case 'link-down':
        return linkDown(core, input.link)
      case 'frame': {
        const link = core.links.get(input.link)
        if (link) receiveFrame(core, link, input.bytes)
        return
      }
      case 'write':
        return addWrite(core, input.write)
      case 'verified':
        return receiveVerdict(core, input.ticket, input.isValid)
      case 'committed':
        return committed(core, input.ticket)
      case 'commit-failed':
        return commitFailed(core, input)
      case 'authority-changed':
        // Others may tell what members had said.
        core.beacons.clear()
        applySeals(core)
        // What checkpoints wait for may be void from its beginning.
        core.gatedVersion = -1
        closeOtherRights(core)
        forgetDigests(core)
        // What it was encrypted with may be here now.
        core.isReissueDue = true
        return considerRefused(core)
      case 'examined':
        return noteExamined(core, input)
      case 'spent':
        return core.budget.spend(core.now.monotonicMs, input.bytes)
      case 'time':
        return
    }
  }

  #decide(): void {
    const core = this.#core
    retryBehind(core)
    shareOut(core)
    retryProbes(core)
    mendHoles(core)
    for (const link of core.links.values()) pingIfDue(core, link)
    if (core.now.monotonicMs >= core.sealsAt) applySeals(core)
    applyCheckpoints(core)
    settleTrash(core)
    recoverClock(core)
    reissueVoided(core)
    sayInterest(core)
    writeBeacon(core)
    compact(core)
    cutBatches(core)
    commitArrivals(core)
    dropDead(core)
    leave(core)
    send(core)
    tellConfirmed(core)
  }
}

/** What a neighbour may have is settled when it greets. */
function closeOtherRights<Token>(core: Core<Token>): void {
  for (const link of core.links.values()) {
    const { scope } = link
    const isOther = scopeOf(core, link.peerId, scope.interest).name !== scope.name
    if (link.isGreeted && isOther) core.close(link, 'its rights have changed')
  }
}

function tellConfirmed<Token>(core: Core<Token>): void {
  if (core.confirmed.size === 0) return
  core.outputs.push({ type: 'confirmed', feedKeys: [...core.confirmed].map(({ feed }) => feed.key) })
  core.confirmed.clear()
}

/** Everything verified goes to the disk with one commit, but for what has to wait until a feed has jumped. */
function commitArrivals<Token>(core: Core<Token>): void {
  const waiting = core.verified.filter((arrival) => waitsForJump(core, arrival))
  const arrivals = waiting.length === 0 ? core.verified : core.verified.filter((arrival) => !waiting.includes(arrival))
  const records = core.dueRecords(arrivals.length > 0)
  if (arrivals.length === 0 && records.length === 0) return
  core.verified = waiting
  const batches: CommitBatch[] = arrivals.map((arrival) => ({
    feed: arrival.state.feed,
    batch: arrival.batch,
    ops: contentOf(core, arrival),
    ...(arrival.place !== undefined && { place: arrival.place }),
  }))
  const histories = historiesOf(core, arrivals)
  const ticket = core.nextTicket()
  for (const { state } of arrivals) state.committing()
  core.committing.set(ticket, { arrivals, own: null, records })
  core.outputs.push({ type: 'commit', ticket, batches, records: [...records, ...histories] })
}

/** The disk may refuse what a feed jumps by, and take a later checkpoint, with a record that names the refused one as the feed's base. */
function waitsForJump<Token>(core: Core<Token>, { state, batch, place }: Accepted): boolean {
  if (place !== 'aside' || !state.isCommitting || !isCheckpoint(batch.header)) return false
  const isJump = (other: Accepted): boolean => other.state === state && typeof other.place === 'object'
  return [...core.committing.values()].some(({ arrivals }) => arrivals.some(isJump))
}

function committed<Token>(core: Core<Token>, ticket: number): void {
  const commit = core.committing.get(ticket)
  if (!commit) return
  core.committing.delete(ticket)
  if (commit.drops) dropped(core, commit.drops)
  if (commit.damaged) tookOut(core, commit.damaged, true)
  if (commit.cut) cutCommitted(core, commit.cut)
  if (commit.left) left(core, commit.left)
  giveCreditBack(commit.arrivals)
  for (const { link, state, batch, place, isMissing } of commit.arrivals) {
    // What members have said of it is judged anew.
    if (isMissing === true) state.acked.clear()
    const headBefore = state.head.seq
    state.movedAt = core.now.monotonicMs
    noteAdvance(core, state, typeof place === 'object')
    core.feeds.advance(state, batch.header.seq, headAfter(state, batch, place))
    noteHistory(core, state, batch, place, headBefore)
    if (typeof place === 'object') noteHoles(core, state)
    if (state.feed.descriptor.collection === SELF_COLLECTION) noteStatement(core)
    forgetBeacon(core, state)
    state.answered(true)
    if (link !== null && state.fill?.wanted.isEmpty === true) fillOn(core, link, state, batch)
    spread(core, state)
    if (link === null) continue
    link.noteBrought(state, batch.header.seq)
    link.owed.add(state)
    link.isAckDue = true
  }
  // All that came together is there now.
  for (const { state, batch, isMissing } of commit.arrivals)
    if (isMissing === true) lookBefore(core, state, batch.header.seq)
  if (commit.own) ownCommitted(core, commit.own)
}

function ownCommitted<Token>(core: Core<Token>, own: NonNullable<Committed<Token>['own']>): void {
  const { state, batch, written } = own
  noteAdvance(core, state)
  core.feeds.advance(state, batch.header.seq, headAfter(state, batch, undefined))
  noteHistory(core, state, batch, undefined, 0)
  forgetBeacon(core, state)
  state.answered(true)
  if (written !== null) {
    written.queue.settled()
    core.isReissueDue ||= core.isReissueHeld
    const all = writtenOf(written.draft, state.feed, batch)
    core.outputs.push({ type: 'written', tokens: tokensOf(written.draft), written: all })
  }
  spread(core, state)
}

function headAfter(state: FeedState, batch: Batch, place: Arrival['place']): ChainPosition {
  if (place === undefined) return { seq: batch.header.seq, hash: batch.hash, hlc: batch.header.hlc }
  return place === 'aside' ? state.head : place
}

/** A head moved: every link may have to be told or sent it, or be told that we hold what it told us. */
function spread<Token>(core: Core<Token>, state: FeedState): void {
  for (const link of core.links.values()) {
    link.pending.add(state)
    if (link.marker?.waiting.has(state) || link.peerHead(state) >= state.head.seq) {
      link.owed.add(state)
      link.isAckDue = true
    }
  }
}

function cutCommitted<Token>(core: Core<Token>, cut: Cut): void {
  const { state } = cut
  feedCut(core, cut)
  if (state.feed.origin === core.options.peerId) core.isReissueDue = true
}

/** Nothing of it was written: writers are told, received batches are asked for again later. */
function commitFailed<Token>(core: Core<Token>, input: Extract<Input<Token>, { type: 'commit-failed' }>): void {
  const commit = core.committing.get(input.ticket)
  if (!commit) return
  core.committing.delete(input.ticket)
  if (commit.records !== undefined && commit.records.length > 0) core.keepAgain(commit.records)
  if (commit.drops) dropFailed(core)
  if (commit.damaged) tookOut(core, commit.damaged, false)
  if (commit.left) leaveFailed(core)
  if (commit.cut) {
    const { state } = commit.cut
    core.cutting.delete(state)
    state.goBack(state.head)
  }
  giveCreditBack(commit.arrivals)
  for (const { link, state, batch, isMissing } of commit.arrivals) {
    if (isMissing === true) {
      state.holes.add(batch.header.seq)
      core.holed.add(state)
    }
    if (link === null) state.isRestoreDue = true
    state.answered(false)
    state.parent = null
    core.behind.add(state)
  }
  if (!commit.own) return
  const { state, written } = commit.own
  state.answered(false)
  // It may have been the beacon, or a checkpoint by which deletes were to go.
  if (state.feed.descriptor.collection === SELF_COLLECTION) core.beaconStaleAt = 0
  state.history.hasTombstones = true
  if (written === null) {
    core.isReissueDue = true
    core.reissueAt = core.now.monotonicMs + TIMES.refusedMs
    return
  }
  written.queue.settled()
  core.isReissueDue ||= core.isReissueHeld
  const tokens = [...tokensOf(written.draft), ...written.queue.drain().flatMap((write) => write.token ?? [])]
  core.outputs.push({ type: 'write-failed', tokens, code: input.code })
}

function linkDown<Token>(core: Core<Token>, id: number): void {
  const link = core.links.get(id)
  if (!link) return
  core.links.delete(id)
  core.outbox.delete(link)
  core.keepCursor(link)
  link.holding.isSaveDue ||= link.isGreeted
  noteNeighboursTime(core)
  replaceParent(core, link)
  if (link.isGreeted) core.emit('peer-down', { peerId: link.peerId, name: link.name })
}

function pingDeadline(link: LinkState): number {
  return link.isGreeted ? link.pingAt : Number.POSITIVE_INFINITY
}

/** What the engine knows of a linked neighbour. */
export interface LinkView {
  readonly link: number
  readonly peerId: string
  readonly name: string
  readonly version: string
  readonly isGreeted: boolean
  readonly latencyMs: number | null
  /** The share of pings that went unanswered lately. */
  readonly loss: number
  /** Feeds of which it has not confirmed what it was told or sent before the last ping. */
  readonly behind: number
  readonly upAt: number
  readonly lastHeardAt: number
}

/** A feed of which the batches after `held` are lacking somewhere, up to `head`. */
export interface FeedLag {
  readonly feedKey: string
  readonly held: number
  readonly head: number
}

/** What is known of a neighbour's disk, whether it is linked now or not. */
export interface HoldingView {
  readonly peerId: string
  readonly name: string
  readonly version: string
  /** When it was heard last, in Unix milliseconds by this gateway's clock. */
  readonly heardAt: number
  /** Feeds of which it has not confirmed everything. */
  readonly lag: readonly FeedLag[]
}

export interface EngineView {
  readonly budget: BudgetView | null
  readonly feeds: number
  readonly lsn: number
  readonly clock: number
  /** The clock is far ahead of the time that is believed: a new incarnation is to set it back. */
  readonly isClockAhead: boolean
  /** Why that waits all the same; null when it doesn't. */
  readonly clockDoubt: ClockDoubt | null
  readonly waitingWrites: number
  readonly links: readonly LinkView[]
  readonly holdings: readonly HoldingView[]
  /** Places that neighbours show differently with the same batches. */
  readonly diverged: readonly Divergence[]
  /** What no other gateway has confirmed. */
  readonly unconfirmed: readonly FeedLag[]
}

function viewOf<Token>(core: Core<Token>): EngineView {
  let waitingWrites = 0
  for (const queue of core.queues.values()) waitingWrites += queue.waitingOps
  return {
    budget: core.budget.view(core.now.monotonicMs),
    feeds: core.feeds.size,
    lsn: core.feeds.lsn,
    clock: core.clock.last,
    isClockAhead: core.isClockAhead,
    clockDoubt: core.clockDoubt,
    waitingWrites,
    links: [...core.links.values()].map(linkViewOf),
    diverged: [...core.diverged.values()].map((each) => ({ ...each })),
    holdings: [...core.holdings.values()].map((holding) => holdingViewOf(core, holding)),
    unconfirmed: lagOf(core, (state) => {
      let held = 0
      for (const holding of core.holdings.values()) held = Math.max(held, holding.heldAbout(state))
      return held
    }),
  }
}

function linkViewOf(state: LinkState): LinkView {
  const { link, peerId, name, version, isGreeted, latencyMs, loss, upAt, lastHeardAt } = state
  return { link, peerId, name, version, isGreeted, latencyMs, loss, behind: state.unconfirmed.size, upAt, lastHeardAt }
}

function holdingViewOf<Token>(core: Core<Token>, holding: Holding): HoldingView {
  const { peerId, name, version, heardAt } = holding
  const lag = lagOf(core, (state) => (holding.keeps(state) ? holding.heldAbout(state) : state.head.seq))
  return { peerId, name, version, heardAt, lag }
}

function lagOf<Token>(core: Core<Token>, heldOf: (state: FeedState) => number): FeedLag[] {
  const lag: FeedLag[] = []
  for (const state of core.feeds.values()) {
    const head = state.head.seq
    if (head === 0) continue
    const held = heldOf(state)
    if (held < head && core.surroundings.authority.isShared(state.feed))
      lag.push({ feedKey: state.feed.key, held, head })
  }
  return lag
}
