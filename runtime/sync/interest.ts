import { concat, latin1, utf8 } from '../base/bytes.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import { sha256 } from '../crypto/hash.ts'
import type { Feed, FeedHead } from '../model/batch.ts'
import { isPartOf, isWithin, Scope, type Place } from '../model/interest.ts'
import { isSystemName, SELF_COLLECTION } from '../model/names.ts'
import { SequenceSet } from '../model/sequences.ts'
import { hlcFromMs, type Hlc } from '../model/stamp.ts'
import type { Value } from '../model/value.ts'
import type { KeyValue } from '../ports/store.ts'
import { decodeValue, encodeValue } from '../wire/cbor.ts'
import { TIMES, type Core } from './core.ts'
import { CURSOR_PREFIX } from './cursors.ts'
import { historyKey } from './history.ts'
import { voidedRecords } from './aside.ts'
import type { Asked, EngineOptions, Surroundings } from './types.ts'
import { addInternalWrite } from './writing.ts'

/**
 * What this gateway keeps (protocol D25). It is the same for as long as the engine lives: who wants it changed starts another
 * engine, which greets its neighbours anew, under another name of its database, once all that it keeps no longer is gone. So
 * neither side can take a number, a digest or a confirmation for what it meant before. What a gateway wrote itself it keeps in
 * any case: nobody else could write on behind it.
 */
const SCOPE_KEY = 'sync/interest'
const LEAVING_KEY = 'sync/leaving'
const EVERYTHING: readonly string[] = ['*']
/** The document in which a member says what it keeps: `kept`, a list of `[pattern, since]`. */
const INTEREST_KEY = 'interest'
/** What was said and isn't on the disk after so many milliseconds is said again. */
const SAY_MS = 10_000

/** A feed that is not kept any more, and what is left of it. */
export interface Leaving {
  readonly feed: Feed
  readonly retained: SequenceSet
}

/** What the engine begins with. */
export interface Opening {
  readonly scope: Scope
  /** Names this database and what it keeps: cursors and holdings of others belong to it. 8 bytes. */
  readonly instance: Uint8Array
  readonly kept: readonly FeedHead[]
  readonly leaving: Leaving[]
  readonly lsn: number
  /** To be on the disk before anything that comes over a link. */
  readonly records: readonly KeyValue[]
}

export function openInterest(options: EngineOptions, surroundings: Surroundings): Opening {
  const scope = new Scope(options.interest ?? EVERYTHING, ownRights(options, surroundings))
  const before = decodeScope(surroundings.getRecord(SCOPE_KEY))
  const isChanged = before.scope.name !== scope.name
  const changes = before.changes + (isChanged ? 1 : 0)
  const listed = surroundings.getRecord(LEAVING_KEY)
  const leftBefore = new Set(listed === undefined ? [] : idsIn(listed))
  const kept: FeedHead[] = []
  const leaving: Leaving[] = []
  let lsn = 0
  for (const head of surroundings.heads()) {
    lsn = Math.max(lsn, head.lsn)
    const isKept = !leftBefore.has(head.feed.key) && isOfScope(options.peerId, scope, head.feed)
    if (isKept) kept.push(head)
    else if (head.seq > 0 || !head.retained.isEmpty) leaving.push({ feed: head.feed, retained: head.retained.clone() })
  }
  const records = isChanged ? recordsOf(surroundings, scope, changes, leaving) : []
  return { scope, instance: instanceOf(options.incarnation, changes), kept, leaving, lsn, records }
}

/** What was written before the first admission is kept whatever it is. */
function ownRights({ peerId }: EngineOptions, { authority }: Surroundings): readonly string[] {
  return authority.isMember() ? authority.readable(peerId) : EVERYTHING
}

export function isOfScope(peerId: string, scope: Scope, { origin, descriptor }: Feed): boolean {
  return scope.covers(descriptor) || origin === peerId
}

function instanceOf(incarnation: Uint8Array, changes: number): Uint8Array {
  return changes === 0 ? incarnation : sha256(concat(incarnation, utf8(`interest ${changes}`))).slice(0, 8)
}

/** Cursors tell of what was kept before. */
function recordsOf(
  surroundings: Surroundings,
  { interest, readable }: Scope,
  changes: number,
  leaving: readonly Leaving[],
): KeyValue[] {
  const cursors = surroundings.scanRecords(CURSOR_PREFIX).map(({ key }) => ({ key, value: null }))
  const ids = leaving.length === 0 ? null : concat(...leaving.map(({ feed }) => feed.id))
  return [
    { key: SCOPE_KEY, value: encodeValue([changes, interest, readable]) },
    { key: LEAVING_KEY, value: ids },
    ...cursors,
  ]
}

/** Whether what is kept now is on the disk, and nothing of what cursors told before. */
export function isStored({ name }: Scope, surroundings: Surroundings): boolean {
  return decodeScope(surroundings.getRecord(SCOPE_KEY)).scope.name === name
}

function decodeScope(bytes: Uint8Array | undefined): { readonly changes: number; readonly scope: Scope } {
  const decoded = bytes === undefined ? null : decodeValue(bytes)
  const [changes, interest, readable] = decoded?.ok && Array.isArray(decoded.value) ? (decoded.value as unknown[]) : []
  if (typeof changes !== 'number' || !Array.isArray(interest) || !Array.isArray(readable)) {
    return { changes: 0, scope: new Scope(EVERYTHING, EVERYTHING) }
  }
  return { changes, scope: new Scope(interest as string[], readable as string[]) }
}

function* idsIn(bytes: Uint8Array): Generator<string> {
  for (let at = 0; at + 16 <= bytes.length; at += 16) yield latin1(bytes.subarray(at, at + 16))
}

/** What a neighbour gets: what it said to keep, of what it may have by the time that is believed. */
export function scopeOf<Token>(core: Core<Token>, peerId: string, interest: readonly string[]): Scope {
  const { now, surroundings } = core
  const known = interest.slice(0, GATEWAY_LIMITS.interestPatternsMax)
  return new Scope(known, surroundings.authority.readable(peerId, now.trust > 0 ? hlcFromMs(now.wallMs) : 0))
}

/** Lets go of what is not kept any more, some with each commit. */
export function leave<Token>(core: Core<Token>): void {
  const [next] = core.leaving
  if (next === undefined || core.isLeaving || core.now.monotonicMs < core.leaveAt) return
  // With it go the cursors that tell of what is leaving.
  if (!core.isScopeStored) return leaveFailed(core)
  core.isLeaving = true
  const seqs = firstOf(next.retained, core.history.leaveBatches)
  const isLast = seqs.size === next.retained.size
  const ticket = core.nextTicket()
  core.committing.set(ticket, { arrivals: [], own: null, left: seqs })
  core.outputs.push({
    type: 'commit',
    ticket,
    batches: [],
    drops: [{ feed: next.feed, seqs, isLeft: true }],
    records: isLast ? lastRecords(core, next.feed) : [],
  })
}

export function leaveDeadline<Token>({ leaving, isLeaving, leaveAt }: Core<Token>): number {
  return leaving.length === 0 || isLeaving ? Number.POSITIVE_INFINITY : leaveAt
}

function firstOf(retained: SequenceSet, most: number): SequenceSet {
  const seqs = new SequenceSet()
  let count = 0
  for (const seq of retained.values()) {
    if (count++ === most) break
    seqs.add(seq)
  }
  return seqs
}

function lastRecords<Token>(core: Core<Token>, feed: Feed): KeyValue[] {
  const keys = [historyKey(feed), ...voidedRecords(core, feed)]
  if (core.leaving.length === 1) keys.push(LEAVING_KEY)
  return keys.map((key) => ({ key, value: null }))
}

/** Some of it is gone from the disk. */
export function left<Token>(core: Core<Token>, seqs: SequenceSet): void {
  const [first] = core.leaving
  core.isLeaving = false
  first?.retained.delete(seqs)
  core.leftBatches += seqs.size
  if (first?.retained.isEmpty !== true) return
  core.leaving.shift()
  core.leftFeeds += 1
  if (core.leaving.length === 0) core.emit('left', { feeds: core.leftFeeds, batches: core.leftBatches })
}

/** The disk refused it. */
export function leaveFailed<Token>(core: Core<Token>): void {
  core.isLeaving = false
  core.leaveAt = core.now.monotonicMs + TIMES.refusedMs
}

/**
 * Says to all what we keep, and since when, unless that is said already: nobody is asked to confirm what it does not keep. What we keep
 * anew we say when we have heard what there is: a stamp behind what others have settled without us, of a clock that is behind, would
 * undo that.
 */
export function sayInterest<Token>(core: Core<Token>): void {
  if (core.now.monotonicMs < core.sayInterestAt) return
  core.sayInterestAt = Number.POSITIVE_INFINITY
  const { peerId } = core.options
  const said = keptBy(core, peerId)
  const { interest } = core.scope
  if (!core.surroundings.authority.isMember() || core.isIncarnationLost) return
  if (isSame(said, interest)) return
  core.sayInterestAt = core.now.monotonicMs + SAY_MS
  // What had to wait for its time is on its way when that has come.
  if (!hasHeardAll(core)) core.unheardAt = core.now.monotonicMs
  const isAbreast = core.now.monotonicMs >= core.unheardAt + 2 * SAY_MS
  const sinceOf = (pattern: string): Hlc | null => {
    // What is part of what was kept before has been kept as long.
    const before = said.filter((one) => isPartOf(pattern, one.pattern)).map(({ since }) => since)
    if (before.length > 0) return Math.min(...before)
    return isAbreast ? core.clock.next(core.now.wallMs) : null
  }
  const kept = interest.flatMap((pattern): Kept[] => {
    const since = sinceOf(pattern)
    return since === null ? [] : [{ pattern, since }]
  })
  if (
    kept.length < interest.length &&
    isSame(
      said,
      kept.map(({ pattern }) => pattern),
    )
  )
    return
  const value = kept.map(({ pattern, since }): Value => [pattern, since])
  addInternalWrite(core, SELF_COLLECTION, peerId, [{ kind: 'put', key: INTEREST_KEY, fields: { kept: value } }])
}

function isSame(said: readonly Kept[], patterns: readonly string[]): boolean {
  return said.length === patterns.length && said.every(({ pattern }) => patterns.includes(pattern))
}

/** All that a neighbour had told is here, and nothing waits for its time, but for what is so far ahead that its author will void it. */
function hasHeardAll<Token>(core: Core<Token>): boolean {
  for (const { deferredUntilMs } of core.feeds.values()) {
    const aheadMs = deferredUntilMs - core.now.wallMs
    if (aheadMs > 0 && aheadMs < TIMES.aheadMs) return false
  }
  for (const { cursorLsn } of core.links.values()) if (cursorLsn > 0) return true
  return false
}

/** A pattern that a member keeps, and the stamp since which it does. */
export interface Kept {
  readonly pattern: string
  readonly since: Hlc
}

const ALWAYS_ALL: readonly Kept[] = [{ pattern: '*', since: 0 }]

/** What a member says to keep: all, as long as it says nothing. */
function keptBy<Token>(core: Core<Token>, origin: string): readonly Kept[] {
  const known = core.interests.get(origin)
  if (known !== undefined) return known
  const document = core.surroundings.document({ collection: SELF_COLLECTION, partition: origin }, INTEREST_KEY)
  const value = document?.values[document.paths.indexOf('kept')]
  const kept = Array.isArray(value) ? (value as readonly Value[]).flatMap(keptOf) : ALWAYS_ALL
  core.interests.set(origin, kept)
  return kept
}

function keptOf(entry: Value): Kept[] {
  const [pattern, since] = Array.isArray(entry) ? (entry as readonly Value[]) : []
  return typeof pattern === 'string' && typeof since === 'number' ? [{ pattern, since }] : []
}

/** The stamp since which a member keeps a place, 0 for always; null when it doesn't. Of signed documents alone. */
export function keptSince<Token>(core: Core<Token>, origin: string, place: Place): Hlc | null {
  if (isSystemName(place.collection)) return 0
  if (!core.surroundings.authority.readable(origin).some((pattern) => isWithin(pattern, place))) return null
  const covering = keptBy(core, origin).filter(({ pattern }) => isWithin(pattern, place))
  return covering.length === 0 ? null : Math.min(...covering.map(({ since }) => since))
}

/** What a member keeps of what it may. Of signed documents alone. */
export function saidScopeOf<Token>(core: Core<Token>, origin: string): Scope {
  const patterns = keptBy(core, origin).map(({ pattern }) => pattern)
  return new Scope(patterns, core.surroundings.authority.readable(origin))
}

/** Of one that may write there: asked for its acknowledgements since when it keeps the feed; null when nobody asks it, as it doesn't. */
export function askedIn<Token>(core: Core<Token>, feed: Feed, one: Asked): Asked | null {
  const since = keptSince(core, one.origin, feed.descriptor)
  return since === null ? null : { ...one, since: Math.max(since, one.since) }
}
