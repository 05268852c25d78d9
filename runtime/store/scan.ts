import type { ScanRange } from '../ports/store.ts'
import type { Base, BaseDocument, KeyRange } from './base.ts'
import { compareUtf8, lowerBound } from './order.ts'
import type { SpaceTable } from './space.ts'

/** Backwards, nearly always the first is wanted and no other. */
const BACK_PAGE = 4

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

/** The same backwards, all that begin with `prefix`. */
export function* scanBack(space: SpaceTable, base: Base, prefix: string): Iterable<FoundKey> {
  const keys = space.freshKeys()
  let fresh = lowerBound(keys, prefix)
  while (fresh < keys.length && keys[fresh]?.startsWith(prefix) === true) fresh += 1
  const nextFresh = (): string | undefined => {
    fresh -= 1
    const key = keys[fresh]
    return key?.startsWith(prefix) === true ? key : undefined
  }
  let next = nextFresh()
  for (const { key, bytes } of baseBack(space, base, prefix)) {
    for (; next !== undefined && compareUtf8(next, key) > 0; next = nextFresh()) yield { key: next, bytes: null }
    if (next === key) next = nextFresh()
    yield { key, bytes }
  }
  for (; next !== undefined; next = nextFresh()) yield { key: next, bytes: null }
}

function* baseBack(space: SpaceTable, base: Base, prefix: string): Iterable<BaseDocument> {
  if (!space.isInBase) return
  for (let before: string | null = null; ;) {
    const found: BaseDocument[] = base.documentsBack(space.number, prefix, before, BACK_PAGE)
    yield* found
    if (found.length < BACK_PAGE) return
    before = found.at(-1)?.key ?? null
  }
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
