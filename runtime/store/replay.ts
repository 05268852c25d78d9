import { equal } from '../base/bytes.ts'
import { MarramError, sentenceOf } from '../base/errors.ts'
import { LOCKED, type Batch } from '../model/batch.ts'
import { decodeBatch } from '../wire/batch.ts'
import { decodeDescriptor, feedOf } from '../wire/descriptor.ts'
import { readEntries, type RingEntry } from './entries.ts'
import { BATCH_SHOWN, type StoredFeed } from './feeds.ts'
import type { State } from './state.ts'

/**
 * Lets a ring record take effect again, as it did after its flush. Signatures are not checked: everything was verified
 * before it was written, and the record's check says that it is what was written. A body that does not decode is no
 * operations, now as then. Rejects with `storage-damaged` what no marram has written.
 *
 * `isSalvage`: the record stands behind a damaged one; batches that continue nothing are left out, for peers to send again.
 */
export function replay(state: State, meshId: Uint8Array, payload: Uint8Array, isSalvage: boolean): void {
  for (const entry of entriesOf(payload)) {
    if (entry.type === 'record') state.records.set(entry.key, entry.value)
    else if (entry.type === 'feed') replayFeed(state, meshId, entry.number, entry.descriptor)
    else if (entry.type === 'batch') replayBatch(state, meshId, entry, isSalvage)
    else replayDrop(state, entry, isSalvage)
  }
  state.settle()
}

function entriesOf(payload: Uint8Array): RingEntry[] {
  try {
    return [...readEntries(payload)]
  } catch (cause) {
    throw damage(sentenceOf(cause), cause)
  }
}

function replayFeed(state: State, meshId: Uint8Array, number: number, bytes: Uint8Array): void {
  const descriptor = decodeDescriptor(Uint8Array.from(bytes))
  if (!descriptor.ok) throw damage(descriptor.error.message)
  state.feeds.restore(feedOf(meshId, descriptor.value), number, false)
}

function replayBatch(state: State, meshId: Uint8Array, entry: RingEntry & { type: 'batch' }, isSalvage: boolean): void {
  const stored = state.feeds.byNumber(entry.feed)
  // A copy: a view would keep a whole segment of the ring in memory.
  const bytes = Uint8Array.from(entry.batch)
  const batch = decodeBatch(meshId, bytes.subarray(1))
  if (!batch.ok) throw damage(batch.error.message)
  if (stored === undefined || (entry.place === undefined && !continues(stored, batch.value))) {
    if (isSalvage) return
    throw damage(`batch ${batch.value.header.seq} of feed ${entry.feed} does not follow what is stored`)
  }
  state.feeds.expect(stored, batch.value, entry.place)
  // The state reads it, with the keys that are here now.
  state.take({ stored, batch: batch.value, ops: bytes[0] === BATCH_SHOWN ? LOCKED : null, bytes, place: entry.place })
}

function continues({ tail }: StoredFeed, { header }: Batch): boolean {
  return header.seq === tail.seq + 1 && equal(header.prev, tail.hash)
}

function replayDrop(state: State, entry: RingEntry & { type: 'drop' }, isSalvage: boolean): void {
  const stored = state.feeds.byNumber(entry.feed)
  if (stored !== undefined) {
    if (entry.end !== null && typeof entry.end === 'object') stored.tail = entry.end
    state.drop(stored, entry.seqs, entry.end)
  } else if (!isSalvage) throw damage(`feed ${entry.feed} is not known`)
}

function damage(what: string, cause?: unknown): MarramError {
  return new MarramError('storage-damaged', `Cannot replay the log: ${what}; run: marram verify --repair`, { cause })
}
