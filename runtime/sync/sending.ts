import { GATEWAY_LIMITS, PROTOCOL_LIMITS } from '../base/limits.ts'
import { isSeries } from '../model/rows.ts'
import type { SequenceSet } from '../model/sequences.ts'
import { seqOfBatch } from '../wire/batch.ts'
import { encodeDescriptor } from '../wire/descriptor.ts'
import { encodeMessages, type HaveEntry, type Message } from '../wire/message.ts'
import { MESH_COLLECTION } from '../model/names.ts'
import { TIMES, type Core } from './core.ts'
import { isNamed, suspect } from './damage.ts'
import type { FeedState } from './feeds.ts'
import { isOfferDue } from './filling.ts'
import type { LinkState, Subscription } from './link.ts'
import { creditOf, isPrivileged, queuesOf } from './priority.ts'

/**
 * The one decision what to send (SPEC, "Sending"): for each link, greetings and answers first, then batches that were
 * asked for, within the credit, then news of heads, then what we confirm. Runs after every change of state.
 */

/** Room left in a frame for what goes along with batches; messages are cut so that each frame stays under the limit. */
const FRAME_BYTES = PROTOCOL_LIMITS.frameBytesMax - 4_096
const ENTRIES_PER_MESSAGE = 1_000

export function send<Token>(core: Core<Token>): void {
  core.budget.begin()
  for (const link of linksInTurn(core)) {
    greetIfDue(core, link)
    if (link.isGreeted) {
      sendBatches(core, link)
      tellHeads(core, link)
      confirm(core, link)
    }
    flush(core, link)
  }
}

/** Where bytes are scarce, whoever was sent batches longest ago has them first. */
function linksInTurn<Token>(core: Core<Token>): Iterable<LinkState> {
  if (!core.budget.isLimited) return core.links.values()
  return [...core.links.values()].sort((a, b) => a.servedAt - b.servedAt)
}

function greetIfDue<Token>(core: Core<Token>, link: LinkState): void {
  if (core.now.monotonicMs < link.greetAt) return
  // Before all is gone that is not kept any more nobody hears of this database.
  if (core.leaving.length > 0) {
    link.greetAt = core.now.monotonicMs + TIMES.greetMs
    return
  }
  link.greetAt = link.isGreeted ? Number.POSITIVE_INFINITY : core.now.monotonicMs + TIMES.greetMs
  const { options } = core
  link.grantedBytes = Math.max(link.grantedBytes, core.flow.creditBytes)
  core.say(link, {
    type: 'hello',
    versions: [1, 1],
    features: [...(link.isGreeted ? ['heard'] : []), ...(core.budget.isLimited ? ['metered'] : [])],
    instance: core.instance,
    lsn: core.feeds.lsn,
    cursor: link.cursorSaid,
    interest: core.scope.interest,
    clock: { class: core.now.trust, hlc: core.clock.last },
    credit: link.grantedBytes,
    name: options.name,
    version: options.version,
  })
}

/** DATA for every subscription that has something and while credit lasts; classes take turns, and within one the feeds. */
function sendBatches<Token>(core: Core<Token>, link: LinkState): void {
  if (link.pending.size === 0 || link.subscriptions.size === 0) return
  const queues = queuesOf(core, link)
  for (let at = link.turns.next(queues); at !== null; at = link.turns.next(queues)) {
    const queue = queues[at] as FeedState[]
    const state = queue.shift() as FeedState
    if (!core.budget.allows(core.now.monotonicMs, isPrivileged(core, state))) continue
    const sentBefore = link.sentBytes
    const progress = sendFeed(core, link, state, link.subscriptions.get(state) as Subscription, creditOf(link))
    link.turns.spend(at, link.sentBytes - sentBefore)
    if (progress === 'no credit') break
    if (progress !== 'more') continue
    queue.push(state)
    // The next decision begins with the others of its class.
    link.pending.delete(state)
    link.pending.add(state)
  }
  link.window.measure(core.now.monotonicMs, link.sentBytes, link.creditLimit)
}

type Progress = 'done' | 'more' | 'no credit'

/** At most one frame of it, within so many bytes. */
function sendFeed<Token>(
  core: Core<Token>,
  link: LinkState,
  state: FeedState,
  subscription: Subscription,
  credit: number,
): Progress {
  if (subscription.wanted !== null) return sendParts(core, link, state, subscription, subscription.wanted, credit)
  // What came from there, or elsewhere meanwhile, is not sent back.
  subscription.next = Math.max(subscription.next, link.peerHead(state) + 1)
  if (subscription.next <= state.head.seq) {
    if (isOfferDue(core, link, state, subscription.next)) {
      return sendLead(core, link, state, subscription, credit) ?? sendOffer(core, link, state, credit)
    }
    const room = Math.min(FRAME_BYTES, credit)
    if (room <= 0) return 'no credit'
    skipToLow(core, link, state, subscription)
    const batches: Uint8Array[] = []
    let bytes = 0
    const stored = core.surroundings.batches(state.feed.key, subscription.next, room)
    for (const batch of stored) {
      const isNext = isNamed(state, subscription.next, batch) && subscription.next <= state.head.seq
      if (bytes + batch.length > room || !isNext) break
      batches.push(batch)
      bytes += batch.length
      subscription.next += 1
    }
    if (batches.length === 0) {
      if (isStored(core, state, subscription.next)) return 'no credit'
      // What is lacking here stops this feed only: it is asked for again by who lacks it, or had elsewhere.
      suspect(core, state, subscription.next)
      link.subscriptions.delete(state)
      return 'done'
    }
    sayBatches(core, link, batches, bytes)
  }
  if (subscription.next <= state.head.seq) return 'more'
  link.told.set(state, subscription.next - 1)
  if (!subscription.isEager) link.subscriptions.delete(state)
  return 'done'
}

/**
 * Ahead of an offer the batch that was asked for, if it is here: who stands on another branch sees by it that they part, for of what is dead an
 * offer says nothing. Until it has come there the offer waits. Null when nothing has to.
 */
function sendLead<Token>(
  core: Core<Token>,
  link: LinkState,
  state: FeedState,
  subscription: Subscription,
  credit: number,
): Progress | null {
  const { next } = subscription
  if (subscription.isLed === true) return link.peerHead(state) < next - 1 ? 'done' : null
  const [lead] = core.surroundings.batches(state.feed.key, next, 0)
  if (next === 1 || lead === undefined || !isNamed(state, next, lead)) return null
  if (lead.length > credit) return 'no credit'
  subscription.isLed = true
  subscription.next += 1
  sayBatches(core, link, [lead], lead.length)
  return 'done'
}

/** What this gateway's retention let go of it can't send: it says from where on it can. */
function skipToLow<Token>(core: Core<Token>, link: LinkState, state: FeedState, subscription: Subscription): void {
  const low = lowOf(core, state)
  if (subscription.next >= low) return
  subscription.next = low
  sayHave(core, link, [headEntry(core, link, state)])
}

/**
 * What was asked for of an offered checkpoint; when some of it is gone, because a newer one took its place, that is offered. What is just
 * lacking here, for it was damaged, comes from others: to offer the same again would bring the same question.
 */
function sendParts<Token>(
  core: Core<Token>,
  link: LinkState,
  state: FeedState,
  subscription: Subscription,
  wanted: SequenceSet,
  credit: number,
): Progress {
  let seq = wanted.next(subscription.next)
  if (seq !== null) {
    const first = seq
    const room = Math.min(FRAME_BYTES, credit)
    if (room <= 0) return 'no credit'
    const batches: Uint8Array[] = []
    let bytes = 0
    for (const batch of core.surroundings.batches(state.feed.key, seq, room)) {
      const at = seqOfBatch(batch)
      if (seq === null || at > seq || bytes + batch.length > room) break
      if (at < seq) continue
      if (!isNamed(state, seq, batch)) break
      batches.push(batch)
      bytes += batch.length
      seq = wanted.next(seq + 1)
    }
    if (batches.length > 0) {
      subscription.next = seqOfBatch(batches.at(-1) as Uint8Array) + 1
      sayBatches(core, link, batches, bytes)
    } else if (isStored(core, state, first)) return 'no credit'
    else {
      suspect(core, state, first)
      subscription.isOfferDue ||= isDead(state, first)
      // Whoever is as far asks for what it has lost: the checkpoint tells it nothing, and the rest may be nowhere else.
      if (subscription.isOfferDue && link.peerHead(state) < state.history.baseSeq)
        return sendOffer(core, link, state, credit)
      const stored = state.history.retained.next(first + 1)
      subscription.next = stored ?? first + 1
      seq = stored === null ? null : wanted.next(stored)
    }
  }
  if (seq !== null) return 'more'
  // The checkpoint may have been among what was asked for.
  if (subscription.isOfferDue === true && !wanted.has(state.history.baseSeq))
    return sendOffer(core, link, state, credit)
  link.subscriptions.delete(state)
  return 'done'
}

/** Whether it left the log by the checkpoint that the feed is served from, or never came for its sake. */
function isDead({ history: { base } }: FeedState, seq: number): boolean {
  return base !== null && seq < base.checkpoint.floor && !base.checkpoint.live.has(seq)
}

/** Whether the batch is here, and by its name may be sent. */
function isStored<Token>(core: Core<Token>, state: FeedState, seq: number): boolean {
  const [first] = core.surroundings.batches(state.feed.key, seq, 0)
  return first !== undefined && isNamed(state, seq, first)
}

/** The checkpoint that the feed is served from: the neighbour will say what it lacks of what is live. */
function sendOffer<Token>(core: Core<Token>, link: LinkState, state: FeedState, credit: number): Progress {
  const { base } = state.history
  const [batch] = base === null ? [] : core.surroundings.batches(state.feed.key, base.seq, 0)
  const isThere = base !== null && batch !== undefined && isNamed(state, base.seq, batch)
  if (isThere && batch.length > credit) return 'no credit'
  link.subscriptions.delete(state)
  if (isThere) sayBatches(core, link, [batch], batch.length)
  else if (base !== null) suspect(core, state, base.seq)
  return 'done'
}

function sayBatches<Token>(core: Core<Token>, link: LinkState, batches: readonly Uint8Array[], bytes: number): void {
  link.sentBytes += bytes
  link.servedAt = ++core.servings
  core.budget.spend(core.now.monotonicMs, bytes)
  core.say(link, { type: 'data', batches })
}

/** The members' collection first, so that a newcomer can judge what follows. */
function inOrder(states: ReadonlySet<FeedState>): Iterable<FeedState> {
  const isOurs = ({ feed }: FeedState): boolean => feed.descriptor.collection === MESH_COLLECTION
  const ours: FeedState[] = []
  for (const state of states) if (isOurs(state)) ours.push(state)
  if (ours.length === 0) return states
  for (const state of states) if (!isOurs(state)) ours.push(state)
  return ours
}

/** HAVE (and FEED before the first mention) for feeds that the neighbour doesn't take eagerly and may not hold. */
function tellHeads<Token>(core: Core<Token>, link: LinkState): void {
  if (link.pending.size === 0) return
  const isTime = core.now.monotonicMs >= link.tellAt
  let isWaiting = false
  const entries: HaveEntry[] = []
  for (const state of inOrder(link.pending)) {
    if (link.subscriptions.has(state)) {
      if (isSent(link, state)) link.pending.delete(state)
      continue
    }
    if (!isNews(core, link, state)) {
      link.pending.delete(state)
      continue
    }
    // A feed that the neighbour never heard of is told at once; others are collected.
    if (link.told.has(state) && !isTime) {
      isWaiting = true
      continue
    }
    entries.push(headEntry(core, link, state))
    link.pending.delete(state)
  }
  sayHave(core, link, entries)
  if (!isWaiting) link.tellAt = Number.POSITIVE_INFINITY
  else if (isTime || link.tellAt === Number.POSITIVE_INFINITY) link.tellAt = core.now.monotonicMs + core.tellMs
}

/** Heads even of what was sent already: what of it got lost will be asked for again. */
export function tellHeadsOf<Token>(core: Core<Token>, link: LinkState, states: readonly FeedState[]): void {
  const { authority } = core.surroundings
  const told = states.filter((state) => {
    return state.head.seq > 0 && link.keeps(state) && authority.isShared(state.feed)
  })
  sayHave(
    core,
    link,
    told.map((state) => headEntry(core, link, state)),
  )
}

function headEntry<Token>(core: Core<Token>, link: LinkState, state: FeedState): HaveEntry {
  link.told.set(state, state.head.seq)
  const low = lowOf(core, state)
  const entry = [aliasOf(core, link, state), state.head.seq, state.head.hash.subarray(0, 8)] as const
  return low > 1 ? [...entry, low] : entry
}

/** Of a series, the first batch that this gateway's retention has left. */
function lowOf<Token>(core: Core<Token>, state: FeedState): number {
  return isSeries(state.feed) ? (core.surroundings.head(state.feed.key)?.retained.next(1) ?? 1) : 1
}

function sayHave<Token>(core: Core<Token>, link: LinkState, entries: readonly HaveEntry[]): void {
  for (let i = 0; i < entries.length; i += ENTRIES_PER_MESSAGE) {
    core.say(link, { type: 'have', entries: entries.slice(i, i + ENTRIES_PER_MESSAGE), marker: null })
  }
}

function isSent(link: LinkState, state: FeedState): boolean {
  return (link.subscriptions.get(state)?.next ?? 0) > state.head.seq
}

function isNews<Token>(core: Core<Token>, link: LinkState, state: FeedState): boolean {
  const { seq } = state.head
  if (seq === 0 || !link.keeps(state) || !core.surroundings.authority.isShared(state.feed)) return false
  return (link.told.get(state) ?? 0) < seq && (link.wantsAll || link.peerHead(state) < seq)
}

function aliasOf<Token>(core: Core<Token>, link: LinkState, state: FeedState): number {
  const known = link.ourAliases.get(state)
  if (known !== undefined) return known
  const alias = link.feedsByOurAlias.length
  link.feedsByOurAlias.push(state)
  link.ourAliases.set(state, alias)
  const { feed } = state
  // Members' feeds prove their authors along the way, so that a newcomer can begin with them.
  const chain = feed.descriptor.collection === MESH_COLLECTION ? core.surroundings.authority.chainOf(feed.origin) : []
  core.say(link, { type: 'feed', alias, descriptor: encodeDescriptor(feed.descriptor), chain })
  return alias
}

/** "You were told of everything up to here": said only when nothing is left to tell or send. */
function isMarkerDue<Token>(core: Core<Token>, link: LinkState): boolean {
  return link.isGreeted && link.pending.size === 0 && link.markedLsn < core.feeds.lsn
}

/** ACK: what came over this link and is on our disk, the cursor, and credit for what was dealt with. */
function confirm<Token>(core: Core<Token>, link: LinkState): void {
  moveCursor(core, link)
  if (!link.isAckDue) return
  link.isAckDue = false
  const entries: [number, number][] = []
  for (const state of link.owed) {
    const alias = link.theirAliases.get(state)
    // What it has is another branch, perhaps: then ours is none of its batches.
    if (alias !== undefined && state.probe?.link !== link) entries.push([alias, state.head.seq])
  }
  link.owed.clear()
  link.grantedBytes = Math.max(link.grantedBytes, link.consumedBytes + core.flow.creditBytes)
  const lacking = lackingAliases(link)
  for (let i = 0; i === 0 || i < entries.length; i += ENTRIES_PER_MESSAGE) {
    const part = entries.slice(i, i + ENTRIES_PER_MESSAGE)
    const ack = { type: 'ack', lsn: link.cursorLsn, credit: link.grantedBytes, entries: part } as const
    core.say(link, lacking.length === 0 ? ack : { ...ack, lacking })
  }
}

/** Of what the cursor has passed, what isn't here: said each time, for what was said before may be lost. */
function lackingAliases(link: LinkState): number[] {
  const aliases = [...link.strangeTold].slice(0, GATEWAY_LIMITS.lackingMax)
  for (const [state, seq] of link.lacking) {
    const alias = link.theirAliases.get(state)
    if (state.head.seq >= seq || alias === undefined) link.lacking.delete(state)
    else aliases.push(alias)
  }
  return aliases
}

/**
 * The cursor passes a marker when all that was lacking at the marker's arrival is on our disk. What is refused, or doesn't come
 * for long, holds it up no longer: it is named beside the cursor, and the neighbour tells it again on the next link. So are feeds that are
 * not kept here though the neighbour tells of them, else it would take us to have them.
 */
function moveCursor<Token>(core: Core<Token>, link: LinkState): void {
  for (;;) {
    if (!link.marker) {
      if (link.nextMarkerLsn <= link.cursorLsn || link.strangeTold.size > GATEWAY_LIMITS.lackingMax) return
      link.marker = { lsn: link.nextMarkerLsn, waiting: promisedOf(link), cameAt: core.now.monotonicMs }
    }
    const { waiting, cameAt } = link.marker
    for (const [state, seq] of waiting) {
      const isPassed = state.isRefused || state.isOwn || isStuck(core, state, cameAt)
      if (state.head.seq < seq && !(isPassed && passOver(link, state, seq))) continue
      waiting.delete(state)
    }
    if (waiting.size > 0) return
    link.cursorLsn = Math.max(link.cursorLsn, link.marker.lsn)
    link.marker = null
    link.isAckDue = true
  }
}

function isStuck<Token>(core: Core<Token>, { movedAt }: FeedState, cameAt: number): boolean {
  return core.now.monotonicMs >= Math.max(movedAt, cameAt) + TIMES.stuckMs
}

/** False when the cursor has passed so much already that it must wait. */
function passOver(link: LinkState, state: FeedState, seq: number): boolean {
  if (link.lacking.size >= GATEWAY_LIMITS.lackingMax && !link.lacking.has(state)) return false
  link.lacking.set(state, seq)
  // It is told up to where we have it before it is named.
  link.owed.add(state)
  return true
}

function promisedOf(link: LinkState): Map<FeedState, number> {
  const waiting = new Map<FeedState, number>()
  for (const [state, seq] of link.promised) if (state.head.seq < seq) waiting.set(state, seq)
  link.promised.clear()
  return waiting
}

/** Packs what there is to say into frames. */
function flush<Token>(core: Core<Token>, link: LinkState): void {
  const messages = core.outbox.get(link) ?? []
  core.outbox.delete(link)
  let frame: Message[] = []
  let room = FRAME_BYTES
  for (const message of messages) {
    const size = sizeOf(message)
    if (size > room && frame.length > 0) {
      sendFrame(core, link, frame)
      frame = []
      room = FRAME_BYTES
    }
    frame.push(message)
    room -= size
  }
  if (isMarkerDue(core, link)) {
    link.markedLsn = core.feeds.lsn
    const numbered = link.sentNumbered + (frame.some(isPromise) ? 1 : 0)
    frame.push({ type: 'have', entries: [], marker: { lsn: core.feeds.lsn, frames: link.sentFrames + 1, numbered } })
  }
  if (frame.length > 0) sendFrame(core, link, frame)
}

function sendFrame<Token>(core: Core<Token>, link: LinkState, messages: readonly Message[]): void {
  link.sentFrames += 1
  if (messages.some(isPromise)) {
    link.sentNumbered += 1
    messages = [{ type: 'number', number: link.sentNumbered }, ...messages]
  }
  const bytes = encodeMessages(messages)
  // Batches have been paid for.
  core.budget.spend(
    core.now.monotonicMs,
    bytes.length - messages.reduce((sum, message) => sum + batchBytes(message), 0),
  )
  core.outputs.push({ type: 'send', link: link.link, bytes })
}

function batchBytes(message: Message): number {
  return message.type === 'data' ? message.batches.reduce((sum, batch) => sum + batch.length, 0) : 0
}

/** What tells the neighbour of batches, whose loss it must notice. */
function isPromise(message: Message): boolean {
  return message.type === 'data' || (message.type === 'have' && message.entries.length > 0)
}

/** At most what the message takes in a frame, roughly. */
function sizeOf(message: Message): number {
  switch (message.type) {
    case 'data':
      return message.batches.reduce((sum, batch) => sum + batch.length + 5, 8)
    case 'have':
      return 16 + message.entries.length * 24
    case 'want':
      return message.entries.reduce((sum, entry) => sum + 32 + (entry[3]?.length ?? 0) * 9, 32)
    case 'ack':
      return 32 + message.entries.length * 16
    case 'cells':
      return message.entries.reduce(
        (sum, [collection, partition]) => sum + 40 + 3 * (collection.length + partition.length),
        8,
      )
    case 'feed':
      return message.chain.reduce((sum, link) => sum + link.length + 5, 300)
    default:
      return 640
  }
}
