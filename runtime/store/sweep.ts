import { GATEWAY_LIMITS } from '../base/limits.ts'
import type { FeedHead } from '../model/batch.ts'
import { encodeDescriptor } from '../wire/descriptor.ts'
import { ByteWriter } from './byte-writer.ts'
import { batchKey, documentKey, linkKey, MARK_KEY, numberKey, Slice, type Database } from './database.ts'
import { isBlank } from './documents.ts'
import type { SequenceSet } from '../model/sequences.ts'
import type { StoredBatch, StoredFeed } from './feeds.ts'
import { encodeDocument, encodeHead, encodeMark, encodeSpace } from './layout.ts'
import type { Position } from './ring-record.ts'
import type { Entry, SpaceTable } from './space.ts'
import type { State } from './state.ts'

interface SweptFeed {
  readonly stored: StoredFeed
  readonly head: FeedHead
  readonly batches: readonly (readonly [number, StoredBatch])[]
  readonly dropped: SequenceSet
}

/**
 * Takes to LMDB what the ring holds before `position`: batches, documents, records, and at the end heads and the mark. It
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
  const writer = new SweepWriter(database, state)
  for (const feed of feeds) await putBatches(writer, feed)
  // In key order, so that neighbours share LMDB's pages.
  for (const entry of documents.toSorted(byPlace)) if (writer.document(entry)) await writer.commit()
  for (const [key, value] of records) if (writer.record(key, value)) await writer.commit()
  // With the mark, in one transaction: replay begins at the mark and must find the heads that belong to it.
  // And what has left the log: replay reads it once more to know which documents it touched.
  for (const { stored, head, dropped } of feeds) {
    writer.slice.put('heads', numberKey(stored.number), encodeHead(head))
    for (const seq of dropped.values()) writer.slice.remove('batches', batchKey(stored.number, seq))
  }
  writer.slice.put('meta', MARK_KEY, mark)
  await writer.commit()
  await database.flushed()
  for (const { stored, batches, dropped } of feeds) state.feeds.release(stored, batches, dropped)
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
    const { retained, damaged, locked } = stored
    const head = { ...stored.head, retained: retained.clone(), damaged: damaged.clone(), locked: locked.clone() }
    const batches = [...stored.recent].sort(([a], [b]) => a - b)
    feeds.push({ stored, head, batches, dropped: stored.dropped.clone() })
  }
  return feeds
}

async function putBatches(writer: SweepWriter, { stored, batches }: SweptFeed): Promise<void> {
  for (const [seq, batch] of batches) if (writer.batch(stored.number, seq, batch)) await writer.commit()
}

function byPlace(a: Entry, b: Entry): number {
  if (a.space !== b.space) return a.space.number - b.space.number
  // UTF-16 order, which is nearly LMDB's: it saves pages and need not be exact.
  return a.key < b.key ? -1 : 1
}

const LINKED = Uint8Array.of(1)

/** Gathers one transaction after the other. */
class SweepWriter {
  readonly #database: Database
  readonly #state: State
  #slice = new Slice()
  #bytes = 0
  #documents = newDocumentBuffer()
  #spaces = new Set<SpaceTable>()

  constructor(database: Database, state: State) {
    this.#database = database
    this.#state = state
  }

  /** The transaction that is being gathered. */
  get slice(): Slice {
    return this.#slice
  }

  /** True when the slice should be committed now. */
  batch(feed: number, seq: number, batch: StoredBatch): boolean {
    this.#slice.put('batches', batchKey(feed, seq), batch)
    this.#bytes += batch.length
    return this.#isFull()
  }

  /** True when the slice should be committed now. */
  document(entry: Entry): boolean {
    const { space, key, document } = entry
    space.refresh(entry)
    space.settleInBase(entry)
    this.#spaces.add(space)
    this.#putLinks(entry)
    const place = documentKey(space.number, key)
    if (isBlank(document)) this.#slice.remove('documents', place)
    else this.#slice.put('documents', place, this.#encode(entry))
    return this.#isFull()
  }

  /** True when the slice should be committed now. */
  record(key: string, value: Uint8Array | null): boolean {
    if (value === null) this.#slice.remove('records', Buffer.from(key))
    else this.#slice.put('records', Buffer.from(key), value)
    this.#bytes += key.length + (value?.length ?? 0)
    return this.#isFull()
  }

  /** With the feeds and the summaries that belong to what was put: documents name feeds by number. */
  async commit(): Promise<void> {
    const slice = this.#slice
    for (const stored of this.#state.feeds.takeNew()) {
      slice.put('feeds', numberKey(stored.number), encodeDescriptor(stored.feed.descriptor))
    }
    for (const { collection, partition, isSeries, isEncrypted, number, summaryInBase } of this.#spaces) {
      slice.put(
        'spaces',
        numberKey(number),
        encodeSpace({ collection, partition, isSeries, isEncrypted, ...summaryInBase }),
      )
    }
    const spaces = this.#spaces
    this.#slice = new Slice()
    this.#bytes = 0
    this.#documents = newDocumentBuffer()
    this.#spaces = new Set()
    await this.#database.commit(slice)
    for (const space of spaces) space.isInBase = true
  }

  #putLinks(entry: Entry): void {
    const { space, key, links, linksInBase: before } = entry
    for (const target of links) {
      if (!before.includes(target)) this.#slice.put('links', linkKey(target, space.number, key), LINKED)
    }
    for (const target of before) {
      if (!links.includes(target)) this.#slice.remove('links', linkKey(target, space.number, key))
    }
    entry.linksInBase = links
  }

  #encode({ document, contribution }: Entry): Uint8Array {
    const from = this.#documents.length
    encodeDocument(this.#documents, { document, contribution }, (feed) => this.#state.feeds.adopt(feed).number)
    return this.#documents.view(from)
  }

  #isFull(): boolean {
    return this.#bytes + this.#documents.length >= GATEWAY_LIMITS.sweepSliceBytes
  }
}

function newDocumentBuffer(): ByteWriter {
  return new ByteWriter(Buffer.allocUnsafeSlow(GATEWAY_LIMITS.sweepSliceBytes))
}
