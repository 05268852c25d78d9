import type { FeedHead } from '../model/batch.ts'
import type { BodyKeys } from '../model/keys.ts'
import { isSeries } from '../model/rows.ts'
import { SequenceSet } from '../model/sequences.ts'
import { hlcFromMs, msOfHlc, type Hlc } from '../model/stamp.ts'
import type { Documents, Drop, Log } from '../ports/store.ts'
import { decodeBatch } from '../wire/batch.ts'
import { readBody } from '../wire/encryption.ts'

/**
 * How long a series keeps its rows is each gateway's own (protocol D9): whole batches go, the oldest first, when they are
 * older than the profile says or when the collection takes more room. The last batch of a feed stays, so that its head
 * can be told. Others may keep more.
 */
export interface Retention {
  readonly ageMs: number | null
  /** Of signed batches and readable rows together. */
  readonly bytes: number | null
}

export interface RetainedStore extends Log, Documents {
  readonly keys: BodyKeys
}

const READ_BYTES = 262_144
/** One run lets go of at most so many batches; the next one goes on. */
const BATCHES_MAX = 4_096
/** About what a row takes besides its batch. */
const ROW_BYTES = 200
const ANY_MESH = new Uint8Array(16)

interface Oldest {
  readonly seq: number
  readonly hlc: Hlc
  readonly bytes: number
}

/** Returns how many batches went. `nowMs` is physical time where it may be believed, else null. */
export async function trimSeries(
  store: RetainedStore,
  retentionOf: (collection: string) => Retention,
  nowMs: number | null,
): Promise<number> {
  const series = new Map<string, FeedHead[]>()
  for (const head of store.heads()) {
    const { collection } = head.feed.descriptor
    if (isSeries(head.feed)) series.set(collection, [...(series.get(collection) ?? []), head])
  }
  const drops: Drop[] = []
  for (const [collection, heads] of series) {
    const { ageMs, bytes } = retentionOf(collection)
    // Without a clock the last row that came is now.
    const now = nowMs ?? Math.max(...heads.map(({ hlc }) => msOfHlc(hlc)))
    const before = ageMs === null ? 0 : hlcFromMs(now - ageMs)
    const excess = bytes === null ? 0 : bytesOf(store, collection, heads) - bytes
    drops.push(...oldestOf(store, heads, before, excess))
  }
  if (drops.length > 0) await store.append({ batches: [], drops, records: [] })
  return drops.reduce((sum, { seqs }) => sum + seqs.size, 0)
}

function bytesOf(store: RetainedStore, collection: string, heads: readonly FeedHead[]): number {
  const rows = store
    .spaces()
    .filter((space) => space.collection === collection && space.isSeries === true)
    .reduce((sum, space) => sum + store.summary(space).count, 0)
  return heads.reduce((sum, { bytes }) => sum + bytes, rows * ROW_BYTES)
}

/** The batches stamped before `before`, and the oldest of the others until they take `excess` bytes. */
function oldestOf(store: RetainedStore, heads: readonly FeedHead[], before: Hlc, excess: number): Drop[] {
  const feeds = heads.map((head) => ({ head, seqs: new SequenceSet(), batches: batchesOf(store, head) }))
  const next = feeds.map(({ batches }) => batches.next())
  let freed = 0
  for (let count = 0; count < BATCHES_MAX; count++) {
    let oldest = -1
    next.forEach((result, i) => {
      const best = next[oldest]
      if (!result.done && (best === undefined || best.done || result.value.hlc < best.value.hlc)) oldest = i
    })
    const [feed, found] = [feeds[oldest], next[oldest]]
    if (!feed || !found || found.done) break
    const { seq, hlc, bytes } = found.value
    if (hlc >= before && freed >= excess) break
    freed += bytes
    feed.seqs.add(seq)
    next[oldest] = feed.batches.next()
  }
  return feeds.filter(({ seqs }) => !seqs.isEmpty).map(({ head, seqs }) => ({ feed: head.feed, seqs }))
}

/** All but the last, the oldest first. */
function* batchesOf(store: RetainedStore, { feed, seq: last }: FeedHead): Generator<Oldest, undefined> {
  for (let from = 1; ;) {
    const read = store.batches(feed.key, from, READ_BYTES)
    for (const bytes of read) {
      const batch = decodeBatch(ANY_MESH, bytes)
      if (!batch.ok) continue
      const { header, body } = batch.value
      if (header.seq >= last) return
      const ops = readBody(feed, header, body, store.keys)
      yield {
        seq: header.seq,
        hlc: header.hlc,
        bytes: bytes.length + (ops.ok ? ops.value.opDocs.length : 0) * ROW_BYTES,
      }
      from = header.seq + 1
    }
    if (read.length === 0) return
  }
}
