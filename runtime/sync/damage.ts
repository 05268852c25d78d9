import { equal, hex } from '../base/bytes.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import type { Batch } from '../model/batch.ts'
import { SequenceSet } from '../model/sequences.ts'
import { feedIdOfBatch, seqOfBatch } from '../wire/batch.ts'
import type { Core } from './core.ts'
import type { FeedState } from './feeds.ts'
import type { LinkState } from './link.ts'
import { holesOf } from './mending.ts'
import { considerFeed, spoil } from './pulling.ts'

/**
 * Batches that nobody can take. A frame comes as it was sent, or not at all: what is wrong with a batch in a sound frame was so
 * on the sender's disk, or is somebody's work, and says nothing against other feeds. So the batch alone is refused (NACK `shape`)
 * and the feed asked for elsewhere; who gets that NACK looks at its stored copy, and when it is damaged has it mended like any hole.
 */

/** Shorter bytes name no feed and sequence. */
const NAMED_BYTES_MIN = 64

/** The stored batch, or null when it is gone; or damaged, which then is seen to. */
export function storedBatch<Token>(core: Core<Token>, state: FeedState, seq: number): Batch | null {
  const [bytes] = core.surroundings.batches(state.feed.key, seq, 0)
  const batch = bytes !== undefined && isNamed(state, seq, bytes) ? core.reading.batch(bytes) : null
  if (batch !== null && typeof batch !== 'string') return batch
  suspect(core, state, seq)
  return null
}

/** A neighbour sent bytes that are no batch: of which feed they were is read where sound ones have it. */
export function refuseBytes<Token>(core: Core<Token>, link: LinkState, bytes: Uint8Array, why: string): void {
  const state = bytes.length < NAMED_BYTES_MIN ? undefined : core.feeds.getById(feedIdOfBatch(bytes))
  const seq = state === undefined ? 0 : seqOfBatch(bytes)
  // Senders look at both before they send: this isn't damage.
  if (state === undefined || !Number.isSafeInteger(seq) || seq < 1) return core.close(link, `malformed batch: ${why}`)
  link.consumedBytes += bytes.length
  link.isAckDue = true
  refuseDamaged(core, link, state, seq, why)
}

/** A neighbour's copy of a batch is of no use: the feed is asked for elsewhere, and of this link again after a while. */
export function refuseDamaged<Token>(
  core: Core<Token>,
  link: LinkState,
  state: FeedState,
  seq: number,
  why: string,
): void {
  link.damaged += 1
  if (link.damaged > GATEWAY_LIMITS.damagedPerLinkMax) return core.close(link, 'it sent too many damaged batches')
  const { feed } = state
  core.emit('batch-refused', {
    feed: hex(feed.id),
    origin: feed.origin,
    collection: feed.descriptor.collection,
    peerId: link.peerId,
    seq,
    why: 'shape',
    detail: why,
  })
  const alias = link.theirAliases.get(state)
  if (alias !== undefined) core.say(link, { type: 'nack', alias, seq, code: 'shape', retryAfterMs: 0 })
  spoil(core, link, state, seq)
  if (state.parent === link) state.parent = null
  considerFeed(core, state)
}

/**
 * Looks at a stored batch that somebody could not use, or that isn't what it should be: a damaged one leaves the log, and a sound one too
 * when it `isStray`.
 */
export function suspect<Token>(core: Core<Token>, state: FeedState, seq: number, isStray: boolean = false): void {
  const name = `${state.feed.key} ${seq}`
  if (!state.history.retained.has(seq) || core.suspected.has(name) || core.cutting.has(state)) return
  const [bytes] = core.surroundings.batches(state.feed.key, seq, 0)
  const batch = bytes === undefined ? 'it is missing' : core.reading.batch(bytes)
  core.suspected.add(name)
  if (typeof batch === 'string') return takeOut(core, state, seq, batch)
  const { header } = batch
  if (!equal(header.feedId, state.feed.id)) return takeOut(core, state, seq, 'it belongs to another feed')
  // What follows it in the log was found in its place.
  if (header.seq !== seq) return takeOut(core, state, seq, 'it is missing')
  const ticket = core.nextTicket()
  core.checking.set(ticket, { state, seq, isStray })
  core.outputs.push({ type: 'verify', ticket, feed: state.feed, batch })
}

/** The answer to a `verify` that `suspect` asked for; false when the ticket isn't one of those. */
export function receiveCheck<Token>(core: Core<Token>, ticket: number, isValid: boolean): boolean {
  const check = core.checking.get(ticket)
  if (check === undefined) return false
  core.checking.delete(ticket)
  const { state, seq, isStray } = check
  if (!isValid) takeOut(core, state, seq, 'its signature does not verify')
  else if (isStray) takeOut(core, state, seq, 'it is of another branch', isStray)
  else {
    core.suspected.delete(`${state.feed.key} ${seq}`)
    lookBefore(core, state, seq)
  }
  return true
}

/**
 * A stored batch is sound. If the chain leads from it to the head, what lies before it is what it names, or damaged, or of another branch:
 * of a gap of several a neighbour may have filled a part, and only the last shows by what comes after it that it belongs there.
 */
export function lookBefore<Token>(core: Core<Token>, state: FeedState, seq: number): void {
  const { retained, base } = state.history
  const isOfChain = retained.has(seq - 1) && seq > (base?.checkpoint.floor ?? 1)
  if (!isOfChain || retained.runEnd(seq) < state.head.seq) return
  const [batch, before] = [storedBatch(core, state, seq), storedBatch(core, state, seq - 1)]
  if (batch !== null && before !== null && !equal(batch.header.prev, before.hash)) suspect(core, state, seq - 1, true)
}

/** What a damaged one had changed stays as it is, for it was merged when it was whole; what a stray had goes. */
function takeOut<Token>(core: Core<Token>, state: FeedState, seq: number, why: string, isStray: boolean = false): void {
  const { feed } = state
  const seqs = SequenceSet.of([seq])
  core.stopCompaction(state)
  const ticket = core.nextTicket()
  core.committing.set(ticket, { arrivals: [], own: null, damaged: { state, seqs } })
  core.outputs.push({ type: 'commit', ticket, batches: [], drops: [{ feed, seqs, isDamaged: !isStray }], records: [] })
  core.emit('batch-damaged', {
    feed: hex(feed.id),
    origin: feed.origin,
    collection: feed.descriptor.collection,
    seq,
    why,
  })
}

/** A damaged batch is out of the log, or the disk refused that, and it will be found again. */
export function tookOut<Token>(
  core: Core<Token>,
  { state, seqs }: { readonly state: FeedState; readonly seqs: SequenceSet },
  isOut: boolean,
): void {
  for (const seq of seqs.values()) core.suspected.delete(`${state.feed.key} ${seq}`)
  if (!isOut) return
  state.history.retained.delete(seqs)
  state.holes = holesOf(state)
  if (state.holes.isEmpty) return
  core.holed.add(state)
  core.mendAt = core.now.monotonicMs
}

/** Whether the bytes name the feed and sequence under which they are stored: what doesn't is not sent. */
export function isNamed(state: FeedState, seq: number, bytes: Uint8Array): boolean {
  return bytes.length >= NAMED_BYTES_MIN && seqOfBatch(bytes) === seq && equal(feedIdOfBatch(bytes), state.feed.id)
}
