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

/** What is kept longer, for gateways that are to have it first (transfers.ts). */
export interface Hold {
  /** Up to where all that are to have a feed have it: later batches do not go by their age. */
  confirmed(head: FeedHead): number
  /** While all series that have an age together take more than so many bytes, they do all the same. */
  readonly bytesMax: number
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

/**
 * Returns what went. `nowMs` is physical time where it may be believed, else null. A hold keeps what is too old; the bytes
 * that a collection may take are a bound which wins over it.
 */
export async function trimSeries(
  store: RetainedStore,
  retentionOf: (collection: string) => Retention,
  nowMs: number | null,
  hold: Hold | null = null,
): Promise<readonly Drop[]> {
  const series = new Map<string, FeedHead[]>()
  for (const head of store.heads()) {
    const { collection } = head.feed.descriptor
    if (isSeries(head.feed)) series.set(collection, [...(series.get(collection) ?? []), head])
  }
  const trim = new Trim(store, hold)
  for (const [collection, heads] of hold === null ? [] : series)
    if (retentionOf(collection).ageMs !== null) trim.overHold += bytesOf(store, collection, heads)
  for (const [collection, heads] of series) {
    const { ageMs, bytes } = retentionOf(collection)
    // Without a clock the last row that came is now.
    const now = nowMs ?? Math.max(...heads.map(({ hlc }) => msOfHlc(hlc)))
    const before = ageMs === null ? null : hlcFromMs(now - ageMs)
    const excess = bytes === null ? 0 : bytesOf(store, collection, heads) - bytes
    trim.take(heads, before, excess)
  }
  if (trim.drops.length > 0) await store.append({ batches: [], drops: trim.drops, records: [] })
  return trim.drops
}

function bytesOf(store: RetainedStore, collection: string, heads: readonly FeedHead[]): number {
  const rows = store
    .spaces()
    .filter((space) => space.collection === collection && space.isSeries === true)
    .reduce((sum, space) => sum + store.summary(space).count, 0)
  return heads.reduce((sum, { bytes }) => sum + bytes, rows * ROW_BYTES)
}

/** What one run finds to let go. */
class Trim {
  readonly drops: Drop[] = []
  /** Bytes of series that have an age: so many must go before what is held stays. */
  overHold: number
  readonly #store: RetainedStore
  readonly #hold: Hold | null

  constructor(store: RetainedStore, hold: Hold | null) {
    this.#store = store
    this.#hold = hold
    this.overHold = hold === null ? 0 : -hold.bytesMax
  }

  /**
   * The batches of a collection stamped before `before`, null where its rows have no age, and the oldest of the others until they take
   * `excess` bytes.
   */
  take(heads: readonly FeedHead[], before: Hlc | null, excess: number): void {
    const feeds = heads.map((head) => new Trimmed(this.#store, head, this.#hold))
    let freed = 0
    for (let count = 0; count < BATCHES_MAX;) {
      const found = oldestOf(feeds)
      if (found === null) break
      const { feed, oldest } = found
      const isOverBytes = freed < excess
      if (oldest.hlc >= (before ?? 0) && !isOverBytes) break
      if (oldest.seq > feed.confirmed && !isOverBytes && this.overHold <= 0) {
        feed.stop()
        continue
      }
      count += 1
      freed += oldest.bytes
      if (before !== null) this.overHold -= oldest.bytes
      feed.drop(oldest)
    }
    for (const { head, seqs } of feeds) if (!seqs.isEmpty) this.drops.push({ feed: head.feed, seqs })
  }
}

/** A feed of which the oldest batches may go. */
class Trimmed {
  readonly head: FeedHead
  /** Later ones are held. */
  readonly confirmed: number
  readonly seqs: SequenceSet = new SequenceSet()
  /** The oldest that is left; null when no further one may go. */
  oldest: Oldest | null
  readonly #batches: Generator<Oldest, undefined>

  constructor(store: RetainedStore, head: FeedHead, hold: Hold | null) {
    this.head = head
    this.confirmed = hold?.confirmed(head) ?? head.seq
    this.#batches = batchesOf(store, head)
    this.oldest = this.#next()
  }

  drop({ seq }: Oldest): void {
    this.seqs.add(seq)
    this.oldest = this.#next()
  }

  stop(): void {
    this.oldest = null
  }

  #next(): Oldest | null {
    return this.#batches.next().value ?? null
  }
}

function oldestOf(feeds: readonly Trimmed[]): { readonly feed: Trimmed; readonly oldest: Oldest } | null {
  let found: { readonly feed: Trimmed; readonly oldest: Oldest } | null = null
  for (const feed of feeds) {
    const { oldest } = feed
    if (oldest !== null && (found === null || oldest.hlc < found.oldest.hlc)) found = { feed, oldest }
  }
  return found
}

/** All but the last, the oldest first. */
function* batchesOf(store: RetainedStore, { feed, seq: last }: FeedHead): Generator<Oldest, undefined> {
  for (let from = 1, start = 0; from > start;) {
    start = from
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
    // Where nothing was read, or only what is damaged and will be mended, nothing further may go now.
  }
}
