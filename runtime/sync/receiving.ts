import { equal, hex } from '../base/bytes.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import { SequenceSet } from '../model/sequences.ts'
import { decodeDescriptor, feedOf } from '../wire/descriptor.ts'
import { decodeMessages, type Marker, type Message } from '../wire/message.ts'
import { receiveBatch } from './arriving.ts'
import { hashAt } from './aside.ts'
import { receiveCells } from './comparing.ts'
import type { Core } from './core.ts'
import { storedBatch, suspect } from './damage.ts'
import type { FeedState } from './feeds.ts'
import { scopeOf } from './interest.ts'
import { greetHolding, noteHeld, noteHeldAll } from './holdings.ts'
import type { LinkState } from './link.ts'
import { probeOwn, suspectFork } from './forks.ts'
import { answerDig, answerPing } from './pinging.ts'
import { considerFeed, considerRefused } from './pulling.ts'
import { heedSeal } from './sealing.ts'

type Of<T extends Message['type']> = Extract<Message, { type: T }>

/** What each message does (SPEC, "Messages"). Nothing that a frame holds makes this throw. */
export function receiveFrame<Token>(core: Core<Token>, link: LinkState, bytes: Uint8Array): void {
  const messages = decodeMessages(bytes)
  if (!messages.ok) return core.close(link, `malformed frame: ${messages.error.message}`)
  link.receivedFrames += 1
  link.lastHeardAt = core.now.monotonicMs
  link.holding.heardAt = core.now.wallMs
  for (const message of messages.value) {
    if (message.type === 'hello') receiveHello(core, link, message)
    else if (message.type === 'bye') receiveBye(core, link, message)
    else if (link.isGreeted) receiveMessage(core, link, message)
  }
  acceptMarker(link)
}

function receiveMessage<Token>(core: Core<Token>, link: LinkState, message: Message): void {
  switch (message.type) {
    case 'feed':
      return receiveFeed(core, link, message)
    case 'have':
      return receiveHave(core, link, message)
    case 'want':
      return receiveWant(core, link, message)
    case 'data':
      for (const bytes of message.batches) receiveBatch(core, link, bytes)
      return
    case 'ack':
      return receiveAck(core, link, message)
    case 'nack':
      return receiveNack(core, link, message)
    case 'ping':
      return answerPing(core, link, message)
    case 'dig':
      return answerDig(core, link, message.buckets)
    case 'cells':
      return receiveCells(core, link, message.entries)
    case 'number':
      return link.numbers.note(message.number)
    case 'pex':
      return core.emit('exchange', { peerId: link.peerId, records: message.records })
    case 'bye':
    case 'hello':
    case 'join':
    case 'grant':
      return
  }
}

/** BYE ends the link, before any greeting too: whoever was removed is told so, with what proves it; whoever finds no place, where others are. */
function receiveBye<Token>(core: Core<Token>, link: LinkState, { reason, evidence, addresses }: Of<'bye'>): void {
  if (evidence !== undefined) core.emit('farewell', { peerId: link.peerId, reason, evidence })
  if (addresses !== undefined) core.emit('referral', { peerId: link.peerId, addresses })
  core.close(link, `the neighbour said goodbye: ${reason}`)
}

function receiveHello<Token>(core: Core<Token>, link: LinkState, message: Of<'hello'>): void {
  if (message.versions[0] > 1) return core.close(link, `it speaks protocol ${message.versions[0]} and up, this is 1`)
  link.creditLimit = Math.max(link.creditLimit, message.credit)
  if (link.isGreeted) {
    // It repeats its greeting because ours was lost.
    if (!message.features.includes('heard')) link.greetAt = 0
    return
  }
  link.isGreeted = true
  link.window.open(message.credit)
  link.name = message.name
  link.version = message.version
  link.instance = message.instance
  link.isMetered = message.features.includes('metered')
  link.wantsAll = message.cursor === null
  link.greetAt = 0
  const scope = scopeOf(core, link.peerId, message.interest)
  link.scope = scope
  greetHolding(core, link, message, scope)
  resumeCursors(core, link, message)
  for (const state of core.feeds.values()) {
    if (state.lsn > link.confirmedLsn || link.holding.isException(state)) link.pending.add(state)
  }
  core.emit('peer-up', { peerId: link.peerId, name: link.name })
}

/**
 * Both sides go on where their cursors stand; one beyond what its owner holds belongs to a store that was put back. Which feeds the
 * neighbour's cursor has passed it said with it, and we may have missed that or lost it: it counts as far as we know that.
 */
function resumeCursors<Token>(core: Core<Token>, link: LinkState, message: Of<'hello'>): void {
  const theirs = message.cursor
  const isOfUs = theirs !== null && equal(theirs.instance, core.instance) && theirs.lsn <= core.feeds.lsn
  link.theirCursorLsn = isOfUs ? theirs.lsn : 0
  link.confirmedLsn = Math.min(link.theirCursorLsn, link.holding.lsn)
  const ours = link.cursorSaid
  if (!ours || !equal(ours.instance, message.instance) || ours.lsn > message.lsn) return
  link.cursorLsn = ours.lsn
  link.savedCursorLsn = ours.lsn
}

/** FEED gives a feed a number on this link; its descriptor proves itself by its hash. */
function receiveFeed<Token>(core: Core<Token>, link: LinkState, message: Of<'feed'>): void {
  const descriptor = decodeDescriptor(message.descriptor)
  if (!descriptor.ok) return core.close(link, `malformed feed descriptor: ${descriptor.error.message}`)
  const feed = feedOf(core.options.meshId, descriptor.value)
  if (message.alias >= GATEWAY_LIMITS.feedsMax) return core.close(link, 'it numbers more feeds than there may be')
  if (!core.keeps(feed)) {
    link.strangeAliases.add(message.alias)
    return
  }
  const tooMany = core.feeds.get(feed.key) ? null : tooManyFeeds(core, feed.origin)
  if (tooMany !== null) {
    // Heads that are told of it are passed over, else it would be told again and again.
    link.strangeAliases.add(message.alias)
    const { origin, descriptor } = feed
    const { collection } = descriptor
    return core.emit('batch-refused', {
      feed: hex(feed.id),
      origin,
      collection,
      peerId: link.peerId,
      seq: 0,
      why: tooMany,
    })
  }
  link.strangeAliases.delete(message.alias)
  link.strangeTold.delete(message.alias)
  const isNew = core.feeds.get(feed.key) === undefined
  const state = core.feeds.getOrAdd(feed)
  if (isNew) heedSeal(core, state)
  link.theirAliases.set(state, message.alias)
  link.feedsByTheirAlias.set(message.alias, state)
  if (message.chain.length > 0 && core.surroundings.authority.learn(message.chain)) considerRefused(core)
}

/** Why no further feed of the author is taken; null when one is. */
function tooManyFeeds<Token>({ feeds }: Core<Token>, origin: string): string | null {
  if (feeds.size >= GATEWAY_LIMITS.feedsMax) return 'too many feeds'
  return feeds.countOf(origin) >= GATEWAY_LIMITS.feedsPerOriginMax ? 'too many feeds of its author' : null
}

/** HAVE tells what the neighbour has on its disk; with a marker, that we were told everything up to its `lsn`. */
function receiveHave<Token>(core: Core<Token>, link: LinkState, message: Of<'have'>): void {
  for (const [alias, seq, hash8, low = 1] of message.entries) {
    const state = link.feedsByTheirAlias.get(alias)
    if (!state) {
      if (link.strangeAliases.has(alias)) {
        link.strangeTold.add(alias)
        continue
      }
      core.say(link, { type: 'nack', alias, seq: 0, code: 'alias', retryAfterMs: 0 })
      continue
    }
    link.notePeerHead(state, seq)
    // Who tells does not push.
    if (state.second === link) state.second = null
    const isOther = isOtherThere(core, state, seq, hash8)
    noteHeld(core, link, state, isOther ? 0 : seq)
    link.notePromise(state, seq)
    link.peerLows.set(state, low)
    if (state.isOwn && (isOther || seq > state.tip.seq)) noteOwnHead(core, link, state, seq)
    else if (isOther) suspectFork(core, link, state, seq)
    link.owed.add(state)
    considerFeed(core, state)
  }
  link.isAckDue = true
  if (message.marker !== null) receiveMarker(link, message.marker)
}

/**
 * Whether its head is another batch than ours. Of a feed of our own also where we have written on: what was written here isn't what it has.
 * There the next one must say so too, for a header may have turned on our disk.
 */
function isOtherThere<Token>(core: Core<Token>, state: FeedState, seq: number, hash8: Uint8Array): boolean {
  const differs = (hash: Uint8Array | null): boolean => hash !== null && !equal(hash8, hash.subarray(0, 8))
  if (seq === state.head.seq) return seq > 0 && differs(state.head.hash)
  if (!state.isOwn || seq > state.head.seq || !differs(hashAt(core, state, seq))) return false
  return differs(storedBatch(core, state, seq + 1)?.header.prev ?? null)
}

/** After a lost frame we can't know what we were told: the cursor stays, and the next link tells it again. */
function receiveMarker(link: LinkState, { lsn, frames, numbered }: Marker): void {
  link.holding.peerLsn = Math.max(link.holding.peerLsn, lsn)
  if (numbered === undefined) {
    if (frames === link.receivedFrames) link.nextMarkerLsn = Math.max(link.nextMarkerLsn, lsn)
    return
  }
  if (lsn > (link.lateMarker?.lsn ?? -1)) link.lateMarker = { lsn, numbered }
}

/** A frame may have overtaken others: only when all have come is known what we were told. */
function acceptMarker(link: LinkState): void {
  const { lateMarker } = link
  if (lateMarker === null || lateMarker.numbered > link.numbers.whole) return
  link.nextMarkerLsn = Math.max(link.nextMarkerLsn, lateMarker.lsn)
  link.lateMarker = null
  link.isAckDue = true
}

/** A neighbour holds something else of our own feed than we do: our store was put back, or there is a copy of us. */
function noteOwnHead<Token>(core: Core<Token>, link: LinkState, state: FeedState, seq: number): void {
  if (core.isIncarnationLost) return
  core.emit('rollback', { feed: hex(state.feed.id), peerId: link.peerId, held: state.head.seq, there: seq })
  probeOwn(core, link, state, Math.min(seq, state.tip.seq + 1))
}

/** WANT asks for a feed from a sequence on: once, as it grows, news only, or not at all. */
function receiveWant<Token>(core: Core<Token>, link: LinkState, message: Of<'want'>): void {
  for (const [alias, from, mode, runs] of message.entries) {
    const state = link.feedsByOurAlias[alias]
    if (!state || !core.surroundings.authority.isShared(state.feed)) continue
    const wanted = runs === undefined ? null : new SequenceSet(runs)
    if (mode === 0 || mode === 1) {
      link.subscriptions.set(state, { next: Math.max(1, from), isEager: mode === 1, wanted })
      if (wanted === null) link.noteAsked(state, from)
    } else link.subscriptions.delete(state)
    link.pending.add(state)
  }
}

/** ACK tells what is on the neighbour's disk and how many more bytes of batches it will take. */
function receiveAck<Token>(core: Core<Token>, link: LinkState, message: Of<'ack'>): void {
  link.creditLimit = Math.max(link.creditLimit, message.credit)
  link.window.measure(core.now.monotonicMs, link.sentBytes, link.creditLimit)
  for (const [alias, seq] of message.entries) {
    const state = link.feedsByOurAlias[alias]
    if (!state) continue
    link.notePeerHead(state, Math.min(seq, state.head.seq))
    // What it has is another branch, perhaps: then ours is none of its batches.
    if (state.probe?.link !== link) noteHeld(core, link, state, seq)
  }
  link.lackedThere = new Set((message.lacking ?? []).flatMap((alias) => link.feedsByOurAlias[alias] ?? []))
  for (const state of link.lackedThere) link.holding.noteLacking(state)
  // What its cursor was when it greeted says nothing of what it had passed by then.
  if (message.lsn > link.theirCursorLsn) noteHeldAll(core, link, message.lsn)
}

/** NACK refuses batches of a feed: it is sent no more until the neighbour asks again. */
function receiveNack<Token>(core: Core<Token>, link: LinkState, message: Of<'nack'>): void {
  const state = link.feedsByOurAlias[message.alias]
  if (!state) return
  if (message.code === 'alias') {
    link.ourAliases.delete(state)
    link.told.delete(state)
    link.pending.add(state)
    return
  }
  if (message.code === 'shape') suspect(core, state, message.seq)
  // What it asks for by number it wants all the same.
  if (link.subscriptions.get(state)?.wanted === null) link.subscriptions.delete(state)
  core.emit('batch-refused', {
    feed: hex(state.feed.id),
    origin: state.feed.origin,
    collection: state.feed.descriptor.collection,
    by: link.peerId,
    seq: message.seq,
    why: message.code,
    retryAfterMs: message.retryAfterMs,
  })
}
