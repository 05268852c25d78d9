import { codeOf, type ErrorCode } from '../base/errors.ts'
import { FEED_KIND_SERIES, FEED_KIND_STATE, type Batch, type Feed, type FeedDescriptor } from '../model/batch.ts'
import { isSystemName, placeOf } from '../model/names.ts'
import { spaceOf } from '../model/spaces.ts'
import type { Hlc } from '../model/stamp.ts'
import { ok } from '../base/result.ts'
import type { KeyValue } from '../ports/store.ts'
import type { WriteOp, Written } from '../ports/writer.ts'
import { encodeBatch, type NewBatch } from '../wire/batch.ts'
import { feedOf } from '../wire/descriptor.ts'
import type { Attempt } from './ahead.ts'
import type { BodyKey } from '../wire/encryption.ts'
import { draftOf, halves, WriteQueue, type Draft } from './author.ts'
import type { Core, OwnBatch } from './core.ts'
import { historiesOf } from './gating.ts'
import { mayKeepDead } from './liveness.ts'
import type { FeedState } from './feeds.ts'
import { countsAs } from './mending.ts'
import type { LocalWrite } from './types.ts'

/** Local writes on their way into batches of this gateway's own feeds. */

export function addWrite<Token>(core: Core<Token>, write: LocalWrite<Token>): void {
  const kind = write.ops[0]?.kind === 'row' ? FEED_KIND_SERIES : FEED_KIND_STATE
  const isAdded = queueOf(core, write.collection, write.partition, kind).add(write, core.now.monotonicMs)
  if (!isAdded)
    core.outputs.push({ type: 'write-failed', tokens: write.token === null ? [] : [write.token], code: 'overloaded' })
}

/** Cuts and signs what is due, each batch a commit of its own; the next waits for the disk unless it is full. */
export function cutBatches<Token>(core: Core<Token>): void {
  if (core.isIncarnationLost) return failWaiting(core)
  for (const [state, queue] of core.queues) {
    if (state.isRewinding) continue
    for (let cut = queue.cut(core.now.monotonicMs); cut !== null; cut = queue.cut(core.now.monotonicMs)) {
      writeBatch(core, state, queue, cut)
    }
  }
}

/** The next incarnation takes them. */
function failWaiting<Token>(core: Core<Token>): void {
  for (const queue of core.queues.values()) {
    const tokens = queue.drain().flatMap((write) => write.token ?? [])
    if (tokens.length > 0) core.outputs.push({ type: 'write-failed', tokens, code: 'incarnation-lost' })
  }
}

export function writeDeadline<Token>(core: Core<Token>): number {
  let deadline = Number.POSITIVE_INFINITY
  for (const queue of core.queues.values()) deadline = Math.min(deadline, queue.deadline)
  return deadline
}

/** What a batch's writers are told, once it is on the disk. */
export function writtenOf<Token>(draft: Draft<Token>, feed: Feed, { header }: Batch): Written[] {
  const { hlc, seq: sequence } = header
  const { key: feedKey, origin } = feed
  return draft.lastIndexes.flatMap((index, i) =>
    draft.writes[i]?.token === null ? [] : { hlc, index, origin, feedKey, sequence },
  )
}

export function tokensOf<Token>({ writes }: { readonly writes: readonly LocalWrite<Token>[] }): Token[] {
  return writes.flatMap((write) => write.token ?? [])
}

/** A write that the engine makes by itself: nobody waits for it. */
export function addInternalWrite<Token>(
  core: Core<Token>,
  collection: string,
  partition: string,
  ops: readonly WriteOp[],
): void {
  addWrite(core, { collection, partition, ops, token: null })
}

/**
 * A batch that the engine makes by itself in an own feed, and records that go with it, by its stamp; false when it would be too large, may not
 * be written, or its key isn't here.
 */
export function writeInternal<Token>(
  core: Core<Token>,
  state: FeedState,
  content: NewBatch['ops'],
  recordsAt: (hlc: Hlc) => readonly KeyValue[] = () => [],
): boolean {
  if (core.isIncarnationLost) return false
  const key = 'body' in content ? undefined : keyFor(core, state)
  if (key === null) return false
  const hlc = core.clock.next(core.now.wallMs)
  return mayWrite(core, state, hlc) && makeBatch(core, state, { hlc, content, key }, null, recordsAt(hlc))
}

/** Nobody would take a batch that is written without the right to it, nor what comes after it. Before its admission nobody is asked. */
function mayWrite<Token>({ surroundings }: Core<Token>, { feed }: FeedState, hlc: Hlc): boolean {
  const { authority } = surroundings
  return !authority.isMember() || authority.permits(feed, hlc)
}

/** Whether a batch can be made in an own feed now, if it isn't too large. */
export function isWritable<Token>(core: Core<Token>, state: FeedState): boolean {
  return !core.isIncarnationLost && keyFor(core, state) !== null && mayWrite(core, state, core.clock.last)
}

/** This gateway's own feed there. */
export function ownFeed<Token>(
  core: Core<Token>,
  collection: string,
  partition: string,
  kind: number = FEED_KIND_STATE,
  encrypted: boolean = false,
): FeedState {
  const { publicKey, incarnation, meshId } = core.options
  return core.feeds.getOrAdd(feedOf(meshId, { publicKey, incarnation, collection, partition, kind, encrypted }))
}

function writeBatch<Token>(
  core: Core<Token>,
  state: FeedState,
  queue: WriteQueue<Token>,
  writes: readonly LocalWrite<Token>[],
): void {
  const key = keyFor(core, state)
  if (key === null) return failCut(core, queue, writes, 'no-key')
  const hlc = core.clock.next(core.now.wallMs)
  if (!mayWrite(core, state, hlc)) return failCut(core, queue, writes, 'not-permitted')
  const attempt = queue.ahead.attempt({ feed: state.feed, seq: state.tip.seq + 1, hlc, lsn: 0 }, countsAs(core, state))
  const draft = readableDraft(writes, attempt, isWrittenByOthers(core, state))
  if (draft === null) return split(core, state, queue, writes, 'storage-damaged')
  if (!makeBatch(core, state, { hlc, content: draft.ops, key }, { draft, queue }))
    return split(core, state, queue, writes, 'too-large')
  attempt.succeeded()
}

/** Null when one of them is to a document that can't be read: no counter begins anew for that. */
function readableDraft<Token>(
  writes: readonly LocalWrite<Token>[],
  attempt: Attempt,
  isShared: boolean,
): Draft<Token> | null {
  try {
    return draftOf(writes, attempt, isShared)
  } catch (error) {
    if (codeOf(error) === 'storage-damaged') return null
    throw error
  }
}

/** Where nobody else writes, nobody else's values are written over. */
function isWrittenByOthers<Token>(core: Core<Token>, { feed }: FeedState): boolean {
  return core.feeds
    .in(placeOf(feed.descriptor))
    .some(({ feed: { origin }, head }) => origin !== feed.origin && head.seq > 0)
}

/** With what the next batch is encrypted: undefined in a feed that isn't, null when the key isn't here. */
function keyFor<Token>(core: Core<Token>, { feed }: FeedState): BodyKey | null | undefined {
  return feed.descriptor.encrypted ? core.surroundings.keys.current(feed) : undefined
}

interface Next {
  readonly hlc: Hlc
  readonly content: NewBatch['ops']
  readonly key: BodyKey | undefined
}

/** Signs the next batch of an own feed and sends it to the disk; false when it can't be made. */
function makeBatch<Token>(
  core: Core<Token>,
  state: FeedState,
  { hlc, content, key }: Next,
  written: OwnBatch<Token>['written'],
  records: readonly KeyValue[] = [],
): boolean {
  const encoded = encodeBatch({
    meshId: core.options.meshId,
    feed: state.feed,
    seq: state.tip.seq + 1,
    prev: state.tip.hash,
    hlc,
    ops: content,
    clockClass: core.now.trust,
    ...(key && { key }),
    sign: (message) => core.surroundings.sign(message),
  })
  // What the others will read is what is stored here too: no limit may be seen differently by an author and the rest.
  const isOps = !('body' in content)
  const read = encoded.ok && isOps ? core.opsOf(state.feed, encoded.value) : ok(null)
  if (!encoded.ok || !read.ok) return false
  const batch = encoded.value
  if (read.value !== null && mayKeepDead(read.value)) state.history.hasTombstones = true
  state.verified = { seq: batch.header.seq, hash: batch.hash, hlc: batch.header.hlc }
  state.tip = state.verified
  const histories = historiesOf(core, [{ state, batch }])
  state.committing()
  const ticket = core.nextTicket()
  core.committing.set(ticket, { arrivals: [], own: { state, batch, written } })
  core.outputs.push({
    type: 'commit',
    ticket,
    batches: [{ feed: state.feed, batch, ops: read.value }],
    records: [...histories, ...records],
  })
  return true
}

/** What makes no batch, for `why`, is made two; a single write is refused. */
function split<Token>(
  core: Core<Token>,
  state: FeedState,
  queue: WriteQueue<Token>,
  writes: readonly LocalWrite<Token>[],
  why: 'too-large' | 'storage-damaged',
): void {
  const parts = halves(writes)
  if (!parts) return failCut(core, queue, writes, why)
  queue.started()
  for (const part of parts) writeBatch(core, state, queue, part)
}

function failCut<Token>(
  core: Core<Token>,
  queue: WriteQueue<Token>,
  writes: readonly LocalWrite<Token>[],
  code: ErrorCode,
): void {
  queue.settled()
  core.outputs.push({ type: 'write-failed', tokens: tokensOf({ writes }), code })
}

function queueOf<Token>(core: Core<Token>, collection: string, partition: string, kind: number): WriteQueue<Token> {
  const encrypted = !isSystemName(collection) && core.surroundings.keys.isEncrypted(collection)
  const name = `${kind} ${encrypted ? 'encrypted ' : ''}${collection}/${partition}`
  const known = core.queuesByPlace.get(name)
  if (known) return known
  const { options } = core
  const descriptor: FeedDescriptor = {
    publicKey: options.publicKey,
    incarnation: options.incarnation,
    collection,
    partition,
    kind,
    encrypted,
  }
  const feed = feedOf(options.meshId, descriptor)
  const queue = new WriteQueue<Token>(options.batchOpsMax, options.batchDelayMs, (key) =>
    core.surroundings.documentToWrite(spaceOf(feed), key),
  )
  core.queuesByPlace.set(name, queue)
  core.queues.set(core.feeds.getOrAdd(feed), queue)
  return queue
}
