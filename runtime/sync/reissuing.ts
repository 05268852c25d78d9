import { hex } from '../base/bytes.ts'
import { FEED_KIND_SERIES, LOCKED, OP_COUNTER, OP_DELETE, type Ops, type Shape } from '../model/batch.ts'
import { cellsOfOp, writeOf, type Document, type Source, type Write } from '../model/document.ts'
import { spaceOf } from '../model/spaces.ts'
import { compareStamps } from '../model/stamp.ts'
import type { Value } from '../model/value.ts'
import { decodeBatch } from '../wire/batch.ts'
import { decodeDescriptor, feedOf } from '../wire/descriptor.ts'
import { decodeDeterministic, type Item } from '../wire/deterministic.ts'
import { readBody } from '../wire/encryption.ts'
import type { Core } from './core.ts'
import { OpsCopy } from './liveness.ts'
import { REISSUE_PREFIX } from './sealing.ts'
import { ownFeed, writeInternal } from './writing.ts'

/**
 * Healing (protocol D20): what a seal has voided of this gateway's own writes is written again under its new incarnation,
 * with fresh stamps, where it would still win: nobody's later write is touched.
 */
export function reissueVoided<Token>(core: Core<Token>): void {
  if (core.now.monotonicMs < reissueDeadline(core)) return
  core.isReissueDue = false
  for (const { key, value } of core.surroundings.scanRecords(REISSUE_PREFIX)) {
    if (value === null) continue
    const voided = decode(core, value)
    if (voided === LOCKED) continue
    const isWritten = voided === null || voided.ops.size === 0 || writeInternal(core, voided.state, voided.ops, key)
    if (voided === null || voided.ops.size === 0) core.removeRecord(key)
    if (isWritten && voided !== null)
      core.emit('reissued', { feed: hex(voided.state.feed.id), operations: voided.ops.size })
  }
}

/** What is on its way to the disk would be made twice: only when that is answered. */
export function reissueDeadline<Token>(core: Core<Token>): number {
  const isPossible = core.isReissueDue && !core.isIncarnationLost && core.surroundings.authority.isMember()
  return isPossible && !isWriting(core) ? core.reissueAt : Number.POSITIVE_INFINITY
}

function isWriting<Token>(core: Core<Token>): boolean {
  for (const { own } of core.committing.values()) if (own?.written === null) return true
  return false
}

function decode<Token>(
  core: Core<Token>,
  value: Uint8Array,
): { readonly state: ReturnType<typeof ownFeed>; readonly ops: OpsCopy } | typeof LOCKED | null {
  const item = decodeDeterministic(value)
  const [descriptorBytes, bytes] = item.ok && Array.isArray(item.value) ? (item.value as Item[]) : []
  if (!(descriptorBytes instanceof Uint8Array) || !(bytes instanceof Uint8Array)) return null
  const descriptor = decodeDescriptor(descriptorBytes)
  const batch = decodeBatch(core.options.meshId, bytes)
  if (!descriptor.ok || !batch.ok) return null
  const feed = feedOf(core.options.meshId, descriptor.value)
  const ops = readBody(feed, batch.value.header, batch.value.body, core.surroundings.keys)
  if (!ops.ok) return ops.error.code === 'no-key' ? LOCKED : null
  const { seq, hlc } = batch.value.header
  const source: Source = { feed, seq, hlc, lsn: 0 }
  const { collection, partition, kind, encrypted } = descriptor.value
  const copies =
    kind === FEED_KIND_SERIES
      ? rowsOf(ops.value, source)
      : winning(ops.value, source, (key) => core.surroundings.document(spaceOf(feed), key))
  return { state: ownFeed(core, collection, partition, kind, encrypted), ops: copies }
}

/** Rows stay what and when they were. */
function rowsOf(ops: Ops, source: Source): OpsCopy {
  const copies = new OpsCopy(true)
  let at = 0
  for (let index = 0; index < ops.opDocs.length; index++) {
    const { kind, paths } = ops.shapes[ops.opShapes[index] as number] as Shape
    const fields = paths.map((path, i) => [path, ops.values[at + i] as Value] as const)
    at += paths.length
    const { hlc, index: place } = writeOf(source, ops.stamps?.[index] ?? null, index)
    copies.add(ops.docs[ops.opDocs[index] as number] as string, kind, fields, { hlc, index: place })
  }
  return copies
}

/** The operations, or parts of them, that nothing later has overtaken. */
function winning(ops: Ops, source: Source, documentOf: (key: string) => Document | undefined): OpsCopy {
  const copies = new OpsCopy(false)
  let at = 0
  for (let index = 0; index < ops.opDocs.length; index++) {
    const shape = ops.shapes[ops.opShapes[index] as number] as Shape
    const from = at
    at += shape.paths.length
    const key = ops.docs[ops.opDocs[index] as number] as string
    const document = documentOf(key)
    const write = writeOf(source, ops.stamps?.[index] ?? null, index)
    if (document?.deleted && compareStamps(document.deleted, write) > 0) continue
    const kept: [string, Value][] = []
    for (const [i, path] of shape.paths.entries()) {
      const value = ops.values[from + i] as Value
      const part = { kind: shape.kind, paths: [path] }
      const wins = Array.from(cellsOfOp(part, [value], 0, write), ([name]) => isAhead(document, name, write))
      if (wins.includes(true)) kept.push([path, shape.kind === OP_COUNTER ? totalOf(value, source) : value])
    }
    if (kept.length > 0 || shape.kind === OP_DELETE) copies.add(key, shape.kind, kept, null)
  }
  return copies
}

function isAhead(document: Document | undefined, name: string, write: Write): boolean {
  const cell = document?.paths.indexOf(name) ?? -1
  return cell < 0 || compareStamps(write, document?.writes[cell] as Write) > 0
}

/** What the voided incarnation had counted goes on counting as its own. */
function totalOf(value: Value, { feed }: Source): Value {
  const [added, taken, incarnation] = value as [number, number, string?]
  return [added, taken, incarnation ?? hex(feed.descriptor.incarnation)]
}
