import type { BatchHeader, Feed, Ops } from '../model/batch.ts'
import { emptyDocument, keepCells, mergeOps, type Document, type Write } from '../model/document.ts'
import type { BodyKeys } from '../model/keys.ts'
import { shownOps } from '../model/rows.ts'
import { decodeBatch } from '../wire/batch.ts'
import { readBody } from '../wire/encryption.ts'
import { BATCH_SHOWN, type SequencedBatch, type StoredBatch } from './feeds.ts'

/** Only the signature depends on the mesh, and it isn't looked at here. */
const ANY_MESH = new Uint8Array(16)

/** What a stored batch of a feed changes; null for one that is only forwarded, means nothing or is locked. */
export function opsOfStored(
  feed: Feed,
  stored: StoredBatch,
  bodyKeys: BodyKeys,
): { readonly header: BatchHeader; readonly ops: Ops } | null {
  const batch = stored[0] === BATCH_SHOWN ? decodeBatch(ANY_MESH, stored.subarray(1)) : null
  if (batch?.ok !== true) return null
  const ops = readBody(feed, batch.value.header, batch.value.body, bodyKeys)
  const { header } = batch.value
  return ops.ok ? { header, ops: shownOps(ops.value, feed, header.hlc) } : null
}

/** What of a document rests on such writes. */
export function partOf({ deleted, lsn, paths, values, writes }: Document, isSuch: (write: Write) => boolean): Document {
  const isKept = deleted !== null && isSuch(deleted)
  const part = { deleted: isKept ? deleted : null, lsn, paths, values: [...values], writes: [...writes] }
  keepCells(part, (i) => isSuch(writes[i] as Write))
  return part
}

/** The documents under `keys` as the batches of the feeds make them, with `lsn` as their number; blank ones among them. */
export function foldDocuments(
  feeds: Iterable<{ readonly feed: Feed; readonly batches: Iterable<SequencedBatch> }>,
  keys: ReadonlySet<string>,
  lsn: number,
  bodyKeys: BodyKeys,
): Map<string, Document> {
  const documents = new Map([...keys].map((key) => [key, emptyDocument()]))
  for (const { feed, batches } of feeds) {
    for (const { bytes } of batches) {
      const found = opsOfStored(feed, bytes, bodyKeys)
      if (found === null || !found.ops.docs.some((key) => keys.has(key))) continue
      const { seq, hlc } = found.header
      mergeOps(
        found.ops,
        { feed, seq, hlc, lsn },
        (key) => documents.get(key) ?? emptyDocument(),
        () => {},
      )
    }
  }
  return documents
}
