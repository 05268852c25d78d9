import type { ScanRange } from '../ports/store.ts'
import type { Base, BaseDocument, KeyRange } from './base.ts'
import { compareUtf8, lowerBound } from './order.ts'
import type { SpaceTable } from './space.ts'

/** A key in a space; `bytes` is its document as LMDB has it, null when only the table has it. */
export interface FoundKey {
  readonly key: string
  readonly bytes: Uint8Array | null
}

/** The keys of a space from the table and from LMDB in one order, without end: the caller takes what it wants. */
export function* scanKeys(space: SpaceTable, base: Base, range: ScanRange): Iterable<FoundKey> {
  const prefix = range.prefix ?? ''
  const start = range.start !== undefined && compareUtf8(range.start, prefix) > 0 ? range.start : prefix
  const keyRange = { prefix, start, isAfter: range.isAfter === true && start === range.start, limit: range.limit }
  const fresh = freshFrom(space, keyRange)
  let nextFresh = fresh.next()
  for (const { key, bytes } of baseFrom(space, base, keyRange)) {
    while (nextFresh.done !== true && compareUtf8(nextFresh.value, key) < 0) {
      yield { key: nextFresh.value, bytes: null }
      nextFresh = fresh.next()
    }
    // A sweep under way may have brought a fresh key to LMDB already.
    if (nextFresh.done !== true && nextFresh.value === key) nextFresh = fresh.next()
    yield { key, bytes }
  }
  for (; nextFresh.done !== true; nextFresh = fresh.next()) yield { key: nextFresh.value, bytes: null }
}

function* freshFrom(space: SpaceTable, { prefix, start, isAfter }: KeyRange): Generator<string, void, undefined> {
  const keys = space.freshKeys()
  for (let i = lowerBound(keys, start); i < keys.length; i++) {
    const key = keys[i] as string
    if (isAfter && key === start) continue
    if (!key.startsWith(prefix)) return
    yield key
  }
}

function* baseFrom(space: SpaceTable, base: Base, range: KeyRange): Iterable<BaseDocument> {
  if (!space.isInBase) return
  for (let next = range; ;) {
    const found = base.documents(space.number, next)
    yield* found
    const last = found.at(-1)
    if (last === undefined || found.length < next.limit) return
    next = { ...next, start: last.key, isAfter: true }
  }
}
