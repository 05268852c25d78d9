import { GATEWAY_LIMITS } from '../base/limits.ts'
import type { FeedHead } from '../model/batch.ts'
import { encodeDescriptor } from '../wire/descriptor.ts'
import { ByteWriter } from './codec.ts'
import { batchKey, documentKey, MARK_KEY, numberKey, Slice, type Database } from './database.ts'
import { isBlank } from './documents.ts'
import type { StoredBatch, StoredFeed } from './feeds.ts'
import { encodeDocument, encodeHead, encodeMark, encodeSpace } from './layout.ts'
import type { Position } from './ring-record.ts'
import type { Entry, SpaceTable } from './space.ts'
import type { State } from './state.ts'

interface SweptFeed {
  readonly stored: StoredFeed
  readonly head: FeedHead
}

/**
 * Takes to LMDB what the ring holds before `position`: batches, documents, and at the end heads, records and the mark. It
 * goes in slices of one transaction each, so that the event loop is never held up, and appends go on meanwhile. Replaying
 * the ring over a sweep that a crash cut short gives the same state, because merging is idempotent and because every
 * transaction leaves a space's summary equal to the documents that are there.
 *
 * Resolves when the disk has flushed all of it. Rejects when LMDB has failed: it must not be written again in this process.
 */
export async function sweep(database: Database, state: State, position: Position): Promise<void> {
  const mark = encodeMark({ position, lsn: state.feeds.lsn })
  const feeds = takeFeeds(state)
  const documents = state.documents.takeDirty()
  const records = state.records.recent()
  await putBatches(database, state, feeds)
  await putDocuments(database, state, documents)
  const last = new Slice()
  for (const { stored, head } of feeds) last.put('heads', numberKey(stored.number), encodeHead(head))
  for (const [key, value] of records) putRecord(last, Buffer.from(key), value)
  last.put('meta', MARK_KEY, mark)
  await database.commit(last)
  await database.flushed()
  for (const { stored, head } of feeds) state.feeds.release(stored, head.seq)
  state.documents.release(documents)
  state.records.release(records)
  state.makeRoom()
}

/** Heads as they are now: those that advance later are swept again. */
function takeFeeds(state: State): SweptFeed[] {
  const feeds: SweptFeed[] = []
  for (const stored of state.feeds.all()) {
    if (stored.isHeadSwept || stored.head === null) continue
    stored.isHeadSwept = true
    feeds.push({ stored, head: stored.head })
  }
  return feeds
}

async function putBatches(database: Database, state: State, feeds: readonly SweptFeed[]): Promise<void> {
  for (const { stored, head } of feeds) {
    const from = stored.recentFrom
    const batches = stored.recent.slice(0, head.seq - from + 1)
    for (let i = 0; i < batches.length;) {
      const slice = new Slice()
      putNewFeeds(slice, state)
      for (let bytes = 0; i < batches.length && bytes < GATEWAY_LIMITS.sweepSliceBytes; i++) {
        const batch = batches[i] as StoredBatch
        slice.put('batches', batchKey(stored.number, from + i), batch)
        bytes += batch.length
      }
      await database.commit(slice)
    }
  }
}

/** In key order, so that neighbours share LMDB's pages. */
async function putDocuments(database: Database, state: State, documents: readonly Entry[]): Promise<void> {
  const sorted = documents.toSorted(byPlace)
  for (let i = 0; i < sorted.length;) {
    const slice = new Slice()
    putNewFeeds(slice, state)
    const spaces = new Set<SpaceTable>()
    const writer = new ByteWriter(Buffer.allocUnsafeSlow(2 * GATEWAY_LIMITS.sweepSliceBytes))
    for (; i < sorted.length && writer.length < GATEWAY_LIMITS.sweepSliceBytes; i++) {
      const entry = sorted[i] as Entry
      spaces.add(entry.space)
      putDocument(slice, state, entry, writer)
    }
    for (const space of spaces) putSpace(slice, space)
    await database.commit(slice)
  }
}

function putDocument(slice: Slice, state: State, entry: Entry, writer: ByteWriter): void {
  const { space, key, document } = entry
  space.refresh(entry)
  space.settleInBase(entry)
  const place = documentKey(space.number, key)
  if (isBlank(document)) return slice.remove('documents', place)
  const from = writer.length
  const stored = { document, contribution: entry.contribution }
  encodeDocument(writer, stored, (feed) => state.feeds.adopt(feed).number)
  slice.put('documents', place, writer.view(from))
}

function putSpace(slice: Slice, space: SpaceTable): void {
  const { collection, partition, summaryInBase } = space
  space.isInBase = true
  slice.put('spaces', numberKey(space.number), encodeSpace({ collection, partition, ...summaryInBase }))
}

function putRecord(slice: Slice, key: Buffer, value: Uint8Array | null): void {
  if (value === null) slice.remove('records', key)
  else slice.put('records', key, value)
}

/** Documents and batches name feeds by number, so a feed comes to LMDB with the first transaction that may name it. */
function putNewFeeds(slice: Slice, state: State): void {
  for (const stored of state.feeds.takeNew()) {
    slice.put('feeds', numberKey(stored.number), encodeDescriptor(stored.feed.descriptor))
  }
}

function byPlace(a: Entry, b: Entry): number {
  if (a.space !== b.space) return a.space.number - b.space.number
  // UTF-16 order, which is nearly LMDB's: it saves pages and need not be exact.
  return a.key < b.key ? -1 : 1
}
