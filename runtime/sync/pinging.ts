import { concat, equal } from '../base/bytes.ts'
import { sha256 } from '../crypto/hash.ts'
import type { Message } from '../wire/message.ts'
import { compareIfDue } from './comparing.ts'
import { TIMES, type Core } from './core.ts'
import { bucketOf, type FeedState } from './feeds.ts'
import { noteEqual } from './holdings.ts'
import type { LinkState } from './link.ts'
import { tellHeadsOf } from './sending.ts'
import { noteNeighboursTime } from './weighing.ts'

/**
 * Life signs. A ping also carries what makes lost frames harmless: how many bytes of batches were sent (credit of lost
 * ones is given back) and a digest of all heads (if it goes on differing, the heads that differ are told again). Its answer
 * says what time it is. Whoever is silent for longer than its answers take otherwise is asked again at once: one that lost its
 * power is given up in half a minute, one that is busy or behind a slow line in three quarters of one.
 */

const EMPTY_BUCKET = new Uint8Array(8)
/** Pings between two such looks, at most. */
const RESYNC_WAIT_MAX = 8
/** Feeds that are told again at once. */
const UNCONFIRMED_MAX = 256

export function pingIfDue<Token>(core: Core<Token>, link: LinkState): void {
  const { monotonicMs } = core.now
  if (!link.isGreeted || monotonicMs < link.pingAt) return
  const regularAt = (link.unanswered.at(-1) ?? Number.NEGATIVE_INFINITY) + core.pingMs
  if (monotonicMs < regularAt && link.lastHeardAt > regularAt - core.pingMs) {
    // It is alive, and its answer is behind what else it says.
    link.pingAt = regularAt
    return
  }
  link.pingAt = monotonicMs + core.pingMs
  link.loss = link.loss * 0.75 + (link.unanswered.length > 0 ? 0.25 : 0)
  if (link.unanswered.length >= TIMES.pingsMissedMax) return core.close(link, 'it does not answer')
  const overdueMs = link.roundTrip.timeoutMs * 2 ** link.unanswered.length
  link.pingAt = Math.min(link.pingAt, monotonicMs + overdueMs)
  link.unanswered.push(monotonicMs)
  link.pingNonce += 1
  core.say(link, ping(core, link, link.pingNonce, false))
  // One that only asks whether it is still there says nothing of what it might lack.
  if (monotonicMs < regularAt) return
  tellUnconfirmed(core, link)
  compareIfDue(core, link)
}

/**
 * What the neighbour was told or sent and hasn't confirmed from one ping to the next may be lost, or its confirmation: it is told
 * again, more and more seldom as long as that brings nothing. What it says itself to lack it knows already.
 */
function tellUnconfirmed<Token>(core: Core<Token>, link: LinkState): void {
  const unconfirmed = new Set<FeedState>()
  for (const state of core.feeds.values()) {
    const isTold = (link.told.get(state) ?? 0) >= state.head.seq && state.head.seq > 0
    if (isTold && link.holding.held(state) < state.head.seq && !link.lackedThere.has(state)) unconfirmed.add(state)
    if (unconfirmed.size >= UNCONFIRMED_MAX) break
  }
  const still = [...unconfirmed].filter((state) => link.unconfirmed.has(state))
  link.unconfirmed = unconfirmed
  if (still.length === 0) link.againWait = 1
  else if (++link.pingsSinceAgain > link.againWait) {
    link.pingsSinceAgain = 0
    link.againWait = Math.min(link.againWait * 2, RESYNC_WAIT_MAX)
    tellHeadsOf(core, link, still)
  }
}

export function answerPing<Token>(
  core: Core<Token>,
  link: LinkState,
  message: Extract<Message, { type: 'ping' }>,
): void {
  noteLost(link, message.sentBytes)
  if (message.isReply) {
    const sentAt = link.unanswered[link.unanswered.length - 1 - (link.pingNonce - message.nonce)]
    if (sentAt === undefined) return
    link.pingAt = (link.unanswered.at(-1) as number) + core.pingMs
    link.unanswered.length = 0
    link.latencyMs = core.now.monotonicMs - sentAt
    link.roundTrip.note(link.latencyMs)
    link.clockOffsetMs = core.time.offsetOf(message.clock, core.now, link.latencyMs)
    link.futureOffsetMs = message.clock?.class ? message.clock.ms - core.now.monotonicMs : null
    noteNeighboursTime(core)
    return
  }
  core.say(link, ping(core, link, message.nonce, true))
  resyncIfDifferent(core, link, message.digest)
}

/** Bytes that were sent and never came will not come any more: they no longer count against the credit. */
function noteLost(link: LinkState, sentBytes: number): void {
  // More than it may send it can't have sent.
  const lost = Math.min(sentBytes, link.grantedBytes) - link.receivedBytes
  if (lost <= 0) return
  link.receivedBytes += lost
  link.consumedBytes += lost
  link.isAckDue = true
}

/** Digests differ for a moment whenever something is under way; when they go on doing so, it is looked into by buckets. */
function resyncIfDifferent<Token>(core: Core<Token>, link: LinkState, digest: Uint8Array): void {
  if (equal(digest, headsDigest(core, link))) {
    noteEqual(core, link)
    link.resyncWait = 1
    link.pingsSinceResync = 0
    return
  }
  link.pingsSinceResync += 1
  if (link.pingsSinceResync <= link.resyncWait) return
  link.pingsSinceResync = 0
  link.resyncWait = Math.min(link.resyncWait * 2, RESYNC_WAIT_MAX)
  core.say(link, { type: 'dig', buckets: concat(...bucketDigests(core, link)) })
}

/** Has the neighbour tell its heads of these feeds, with those in their buckets, whatever it has told. */
export function askHeadsOf<Token>(core: Core<Token>, link: LinkState, states: readonly FeedState[]): void {
  const buckets = bucketDigests(core, link)
  for (const state of states) buckets[bucketOf(state)] = EMPTY_BUCKET
  core.say(link, { type: 'dig', buckets: concat(...buckets) })
}

/** The neighbour's digests by bucket: all heads of those that differ are told again, whatever of them was told or sent. */
export function answerDig<Token>(core: Core<Token>, link: LinkState, buckets: Uint8Array): void {
  const differing = new Set<number>()
  bucketDigests(core, link).forEach((digest, i) => {
    if (!equal(digest, buckets.subarray(i * 8, i * 8 + 8))) differing.add(i)
  })
  if (differing.size === 0) return
  tellHeadsOf(
    core,
    link,
    [...core.feeds.values()].filter((state) => differing.has(bucketOf(state))),
  )
  core.emit('resync', { peerId: link.peerId, buckets: differing.size })
}

function ping<Token>(core: Core<Token>, link: LinkState, nonce: number, isReply: boolean): Message {
  const clock = isReply ? { class: core.now.trust, ms: Math.floor(core.now.wallMs) } : undefined
  return {
    type: 'ping',
    nonce,
    isReply,
    digest: headsDigest(core, link),
    sentBytes: link.sentBytes,
    ...(clock && { clock }),
  }
}

/** Feeds may be shared now that were not. */
export function forgetDigests<Token>(core: Core<Token>): void {
  for (const link of core.links.values()) {
    link.bucketDigests.length = 0
    link.headsDigest = null
  }
}

/** SHA-256 over the digests of the buckets; 8 bytes. */
function headsDigest<Token>(core: Core<Token>, link: LinkState): Uint8Array {
  if (link.headsDigest?.version !== core.feeds.version) {
    const digest = sha256(concat(...bucketDigests(core, link))).slice(0, 8)
    link.headsDigest = { version: core.feeds.version, digest }
  }
  return link.headsDigest.digest
}

/**
 * For each bucket, 8 bytes of SHA-256 over (feed id, sequence, 8 bytes of head hash) of its shared feeds that both sides keep, in
 * order of ids.
 */
function bucketDigests<Token>(core: Core<Token>, link: LinkState): Uint8Array[] {
  return core.feeds.bucketVersions.map((version, bucket) => {
    const known = link.bucketDigests[bucket]
    if (known?.version === version) return known.digest
    const digest = bucketDigest(core, link, bucket)
    link.bucketDigests[bucket] = { version, digest }
    return digest
  })
}

function bucketDigest<Token>(core: Core<Token>, link: LinkState, bucket: number): Uint8Array {
  const states = core.feeds.inBucket(bucket).filter((state) => {
    return state.head.seq > 0 && link.keeps(state) && core.surroundings.authority.isShared(state.feed)
  })
  if (states.length === 0) return EMPTY_BUCKET
  states.sort((a, b) => (a.feed.key < b.feed.key ? -1 : 1))
  return sha256(concat(...states.map(headBytes))).slice(0, 8)
}

function headBytes(state: FeedState): Uint8Array {
  const bytes = new Uint8Array(32)
  bytes.set(state.feed.id)
  new DataView(bytes.buffer).setFloat64(16, state.head.seq)
  bytes.set(state.head.hash.subarray(0, 8), 24)
  return bytes
}
