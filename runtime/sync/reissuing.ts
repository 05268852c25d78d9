import { hex } from '../base/bytes.ts'
import {
  LOCKED,
  OP_ADD,
  OP_COUNTER,
  OP_DELETE,
  OP_LINK,
  OP_REMOVE,
  type Feed,
  type Ops,
  type Shape,
} from '../model/batch.ts'
import { cellsOfOp, writeOf, type Document, type Source, type Write } from '../model/document.ts'
import { MESH_COLLECTION, SELF_COLLECTION } from '../model/names.ts'
import { isSeries } from '../model/rows.ts'
import { spaceOf } from '../model/spaces.ts'
import { compareStamps, type Hlc, type Stamp } from '../model/stamp.ts'
import type { Value } from '../model/value.ts'
import type { KeyValue } from '../ports/store.ts'
import { decodeBatch } from '../wire/batch.ts'
import { decodeDescriptor, feedOf } from '../wire/descriptor.ts'
import { decodeDeterministic, type Item } from '../wire/deterministic.ts'
import { readBody } from '../wire/encryption.ts'
import { BEACON_KEY } from './beacons.ts'
import type { Core } from './core.ts'
import type { FeedState } from './feeds.ts'
import { OpsCopy } from './liveness.ts'
import { futureFrom } from './future.ts'
import { REISSUE_PREFIX, reissueRecord } from './cutting.ts'
import { isWritable, ownFeed, writeInternal } from './writing.ts'
import { isAsLate, Remade, REMADE_KEY, writtenBefore, type Age } from './remade.ts'

/**
 * Healing (protocol D15, D20): what a seal has voided of this gateway's own writes is written again under its new incarnation,
 * with fresh stamps, where it would still win: nobody's later write is touched. In the order in which it was written, for the last
 * one wins; under which stamps is kept on the disk (remade.ts), for users may write before all of it is there, or it may become void too: the
 * disk may refuse some, a key be lacking, or the power go.
 */
/** What may not be written now is tried again after so many milliseconds: a right may begin, and nothing else tell of that. */
const WAIT_MS = 60_000
/** Not written again: what members say of when they wrote last, and what was to be valid for an hour of a wrong clock. */
const LEFT_OUT: ReadonlyMap<string, string> = new Map([
  [SELF_COLLECTION, BEACON_KEY],
  [MESH_COLLECTION, 'invite/'],
])

/** A batch that was voided. */
interface Voided<T = Ops> extends Age {
  readonly key: string
  readonly feed: Feed
  readonly ops: T
  readonly source: Source
  readonly bytes: Uint8Array
  /** The first operation that has not been made again. */
  readonly from: number
}

export function reissueVoided<Token>(core: Core<Token>): void {
  if (core.now.monotonicMs < reissueDeadline(core)) return
  core.isReissueDue = false
  core.isReissueHeld = false
  // What users write there doesn't show yet.
  const busy = new Set([...core.committing.values()].map(({ own }) => own?.state))
  const made = new Remade(core.surroundings.getRecord(REMADE_KEY))
  const all = voidedWrites(core, made)
  let isLeft = false
  const undone = removedAgain(core, all.filter(isReadable))
  const future = futureFrom(core)
  let isWaiting = false
  for (const voided of all) {
    const { descriptor } = voided.feed
    const state = ownFeed(core, descriptor.collection, descriptor.partition, descriptor.kind, descriptor.encrypted)
    const isBusy = busy.has(state)
    core.isReissueHeld ||= isBusy
    const isDone = !isBusy && isReadable(voided) && writeAgain(core, voided, { state, made, future, undone })
    if (isDone) continue
    made.leaveOut()
    isLeft = true
    isWaiting ||= !isWritable(core, state)
  }
  core.reissueAgainAt = isWaiting ? core.now.monotonicMs + WAIT_MS : Number.POSITIVE_INFINITY
  if (!isLeft && !core.isReissueDue && !made.isEmpty) core.removeRecord(REMADE_KEY)
}

function isReadable(voided: Voided<Ops | typeof LOCKED>): voided is Voided {
  return voided.ops !== LOCKED
}

/** All of it at once, or in parts: what had filled a batch may take more room now. False when some of it has to wait. */
function writeAgain<Token>(core: Core<Token>, voided: Voided, against: Against): boolean {
  const { state, made } = against
  const { key, feed, bytes, before } = voided
  let most = Number.POSITIVE_INFINITY
  for (let from: number | null = voided.from; from !== null;) {
    const again: Again = isSeries(feed)
      ? rowsOf(voided, from, most, core.clock.last)
      : winning(core, voided, from, most, against)
    const { ops, next } = again
    const recordsAt = (hlc: Hlc): KeyValue[] => [
      { key, value: next === null ? null : reissueRecord(feed, bytes, before, next) },
      { key: REMADE_KEY, value: made.with(hlc, voided) },
    ]
    if (ops.size > 0 && writeInternal(core, state, ops, recordsAt)) {
      made.add(state.tip.hlc, voided)
      core.emit('reissued', { feed: hex(state.feed.id), operations: ops.size })
      // When it is on the disk it is looked whether that was all.
      core.isReissueDue = true
      from = next
    } else if (ops.size > 1) most = ops.size >> 1
    // While some is on its way to the disk nothing is given up: it may be refused there, and a removal says what is not to come back.
    else if (core.isReissueDue || !isWritable(core, state)) return false
    else {
      if (ops.size === 1) tellRefused(core, voided, ops)
      if (next === null) core.removeRecord(key)
      from = next
    }
  }
  return true
}

/** One operation that fits in no batch any more: the others pass. */
function tellRefused<Token>(core: Core<Token>, { feed, source }: Voided, { docs }: Ops): void {
  const { id, origin, descriptor } = feed
  const { collection } = descriptor
  core.emit('reissue-refused', { feed: hex(id), origin, collection, seq: source.seq, key: docs[0], why: 'too-large' })
}

/** What is on its way to the disk would be made twice: only when that is answered. */
export function reissueDeadline<Token>(core: Core<Token>): number {
  if (core.isIncarnationLost || isWriting(core)) return Number.POSITIVE_INFINITY
  return Math.min(core.isReissueDue ? core.reissueAt : Number.POSITIVE_INFINITY, core.reissueAgainAt)
}

function isWriting<Token>(core: Core<Token>): boolean {
  for (const { own } of core.committing.values()) if (own?.written === null) return true
  return false
}

/** All that waits, in the order in which it was written. Of what can never be read nothing is kept. */
function voidedWrites<Token>(core: Core<Token>, made: Remade): Voided<Ops | typeof LOCKED>[] {
  const found: Voided<Ops | typeof LOCKED>[] = []
  for (const { key, value } of core.surroundings.scanRecords(REISSUE_PREFIX)) {
    const voided = value === null ? null : decode(core, made, key, value)
    if (voided === null) core.removeRecord(key)
    else found.push(voided)
  }
  return found.sort((a, b) => a.order - b.order || a.source.hlc - b.source.hlc)
}

function decode<Token>(
  core: Core<Token>,
  made: Remade,
  key: string,
  value: Uint8Array,
): Voided<Ops | typeof LOCKED> | null {
  const item = decodeDeterministic(value)
  const [descriptorBytes, bytes, before, from = 0] = item.ok && Array.isArray(item.value) ? (item.value as Item[]) : []
  if (!(descriptorBytes instanceof Uint8Array) || !(bytes instanceof Uint8Array)) return null
  const descriptor = decodeDescriptor(descriptorBytes)
  const batch = decodeBatch(core.options.meshId, bytes)
  if (!descriptor.ok || !batch.ok || typeof before !== 'number' || typeof from !== 'number') return null
  const feed = feedOf(core.options.meshId, descriptor.value)
  const ops = readBody(feed, batch.value.header, batch.value.body, core.surroundings.keys)
  if (!ops.ok && ops.error.code !== 'no-key') return null
  const { seq, hlc } = batch.value.header
  const source = { feed, seq, hlc, lsn: 0 }
  // What was made again and became void itself was written when it was written first.
  const first = made.ageAt(hlc)
  const order = first === null ? hlc : writtenBefore(first)
  return { key, feed, ops: ops.ok ? ops.value : LOCKED, source, before, order, bytes, from }
}

/** Own adds that own removals among them had seen: under a fresh stamp they would come back. */
function removedAgain<Token>(core: Core<Token>, all: readonly Voided[]): ReadonlySet<string> {
  const undone = new Set<string>()
  for (const { ops, source } of all) {
    for (const { key, shape, from } of operationsOf(ops)) {
      if (shape.kind !== OP_REMOVE) continue
      for (const [cell, , stamp] of cellsOfOp(shape, ops.values, from, writeOf(source, null, 0))) {
        if (stamp.origin === core.options.peerId) undone.add(nameOf(key, cell, stamp))
      }
    }
  }
  return undone
}

function nameOf(key: string, cell: string, { hlc, index }: Stamp): string {
  return `${key}\0${cell}\0${hlc}.${index}`
}

interface Operation {
  readonly key: string
  readonly shape: Shape
  readonly index: number
  /** Where its values begin. */
  readonly from: number
}

function* operationsOf(ops: Ops): Generator<Operation> {
  let at = 0
  for (let index = 0; index < ops.opDocs.length; index++) {
    const shape = ops.shapes[ops.opShapes[index] as number] as Shape
    yield { key: ops.docs[ops.opDocs[index] as number] as string, shape, index, from: at }
    at += shape.paths.length
  }
}

/** What is made again, and at which operation the rest begins; null when that is all. */
interface Again {
  readonly ops: OpsCopy
  readonly next: number | null
}

/**
 * Rows stay what and when they were, but for a time that has not come yet, also by a clock that was set back since. At most so many, from an
 * operation on.
 */
function rowsOf({ ops, source, before }: Voided, first: number, most: number, last: Hlc): Again {
  const copies = new OpsCopy(true)
  for (const { key, shape, index, from } of operationsOf(ops)) {
    if (index < first) continue
    if (copies.size >= most) return { ops: copies, next: index }
    const fields = shape.paths.map((path, i) => [path, ops.values[from + i] as Value] as const)
    const { hlc, index: place } = writeOf(source, ops.stamps?.[index] ?? null, index)
    copies.add(key, shape.kind, fields, hlc <= Math.min(before, last) ? { hlc, index: place } : null)
  }
  return { ops: copies, next: null }
}

interface Against {
  /** This gateway's feed there, and what was made again before. */
  readonly state: FeedState
  readonly made: Remade
  /** Later stamps are from the future. */
  readonly future: Hlc
  readonly undone: ReadonlySet<string>
}

/** The operations, or parts of them, that nothing later has overtaken. At most so many, from an operation on. */
function winning<Token>(core: Core<Token>, voided: Voided, first: number, most: number, against: Against): Again {
  const { feed, ops, source } = voided
  const copies = new OpsCopy(false)
  const leftOut = LEFT_OUT.get(feed.descriptor.collection)
  for (const { key, shape, index, from } of operationsOf(ops)) {
    if (index < first || (leftOut !== undefined && key.startsWith(leftOut))) continue
    if (copies.size >= most) return { ops: copies, next: index }
    const document = core.surroundings.document(spaceOf(feed), key)
    const write = writeOf(source, ops.stamps?.[index] ?? null, index)
    if (document?.deleted && !isAhead(voided, against, write, document.deleted)) continue
    const kept: [string, Value][] = []
    for (const [i, path] of shape.paths.entries()) {
      const part = { kind: shape.kind, paths: [path] }
      const value = withoutUndone(voided, against, part, ops.values[from + i] as Value, write, key)
      const cells = value === undefined ? [] : [...cellsOfOp(part, [value], 0, write)]
      const wins = cells.some(([cell, , stamp]) => isWinning(voided, against, shape, document, cell, stamp))
      if (wins) kept.push([path, shape.kind === OP_COUNTER ? totalOf(value as Value, source) : (value as Value)])
    }
    if (kept.length > 0 || shape.kind === OP_DELETE) copies.add(key, shape.kind, kept, null)
  }
  return { ops: copies, next: null }
}

/** Elements and links that are to be added or removed again; undefined when none are. Any other value as it is. */
function withoutUndone(
  { before }: Voided,
  { undone }: Against,
  part: Shape,
  value: Value,
  write: Write,
  key: string,
): Value | undefined {
  if (part.kind !== OP_ADD && part.kind !== OP_LINK && part.kind !== OP_REMOVE) return value
  const cells = [...cellsOfOp(part, [value], 0, write)]
  const left = (value as readonly Value[]).filter((_, i) => {
    const [cell, , stamp] = cells[i] as (typeof cells)[number]
    return part.kind === OP_REMOVE ? stamp.hlc <= before : !undone.has(nameOf(key, cell, stamp))
  })
  return left.length > 0 ? left : undefined
}

function isWinning(
  voided: Voided,
  against: Against,
  { kind }: Shape,
  document: Document | undefined,
  cell: string,
  stamp: Write,
): boolean {
  const at = document?.paths.indexOf(cell) ?? -1
  if (document === undefined || at < 0) return true
  const by = document.writes[at] as Write
  // A removal has the stamp of the add that it saw.
  if (kind === OP_REMOVE) return document.values[at] !== null && compareStamps(stamp, by) >= 0
  return isAhead(voided, against, stamp, by)
}

/** Whether the voided write is the later one. */
function isAhead(voided: Voided, { state, made, future }: Against, write: Write, by: Write): boolean {
  if (by.feed.origin === state.feed.origin) {
    const first = made.ageAt(by.hlc)
    if (first !== null) return isAsLate(voided, first)
    // What else this incarnation has written was written later.
    if (by.feed.key === state.feed.key) return false
  }
  // Of what others have stamped ahead too, and will void, just the later is made again by its author: if each gave way, all were lost.
  if (by.hlc > future) return compareStamps(write, by) > 0
  return compareStamps({ ...write, hlc: Math.min(write.hlc, voided.before) }, by) > 0
}

/** What the voided incarnation had counted goes on counting as its own. */
function totalOf(value: Value, { feed }: Source): Value {
  const [added, taken, incarnation] = value as [number, number, string?]
  return [added, taken, incarnation ?? hex(feed.descriptor.incarnation)]
}
