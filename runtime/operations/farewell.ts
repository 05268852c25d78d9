import { CLOSE_PREFIX, closingOf, type Closing } from '../access/removals.ts'
import { equal } from '../base/bytes.ts'
import { sha256 } from '../crypto/hash.ts'
import type { Feed } from '../model/batch.ts'
import { emptyDocument, mergeOps, type Document } from '../model/document.ts'
import { fieldsOf } from '../model/fields.ts'
import { MESH_COLLECTION } from '../model/names.ts'
import type { Documents, Log } from '../ports/store.ts'
import { decodeBatch, seqOfBatch } from '../wire/batch.ts'
import { decodeBody } from '../wire/body.ts'
import { decodeDescriptor, encodeDescriptor, feedOf } from '../wire/descriptor.ts'
import { entriesOf } from './reading.ts'

/**
 * How a member learns that it was removed: whoever refuses it sends the administrator's batch that says so, with what
 * proves that administrator. `[descriptor, batch, capability...]`; so no single member can make another believe it.
 */
export function farewellTo(
  store: Documents & Log,
  rights: Pick<FarewellJudge, 'mayRemove'> & { chainOf(origin: string): readonly Uint8Array[] },
  origin: string,
): readonly Uint8Array[] | null {
  const space = { collection: MESH_COLLECTION, partition: '' }
  const asked = [...entriesOf(store, space, `${CLOSE_PREFIX}${origin}/`)].flatMap(({ key, document }) => {
    const closing = closingOf(key, fieldsOf(document))
    return closing === null ? [] : [{ closing, document }]
  })
  // What the rights don't accept here they may accept there.
  const isAccepted = ({ closing }: (typeof asked)[number]): boolean => rights.mayRemove(origin, closing.warrant)
  const inOrder = asked.sort((a, b) => Number(isAccepted(b)) - Number(isAccepted(a)))
  for (const { document } of inOrder) {
    const write = document.writes[document.paths.indexOf('reason')]
    const [batch] = write === undefined ? [] : store.batches(write.feed.key, write.seq, 0)
    if (write === undefined || batch === undefined || seqOfBatch(batch) !== write.seq) continue
    return [encodeDescriptor(write.feed.descriptor), batch, ...rights.chainOf(write.feed.origin)]
  }
  return null
}

export interface FarewellJudge {
  /** Verifies and remembers what proves the author. */
  learn(chain: readonly Uint8Array[]): boolean
  permits(feed: Feed, hlc: number): boolean
  mayRemove(origin: string, warrant: Uint8Array | null): boolean
}

/** What is proven of the removal of `peerId`; null when nothing is. */
export function readFarewell(
  meshId: Uint8Array,
  peerId: string,
  evidence: readonly Uint8Array[],
  judge: FarewellJudge,
  verify: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean,
): Closing | null {
  const [descriptorBytes, batchBytes, ...chain] = evidence
  if (descriptorBytes === undefined || batchBytes === undefined) return null
  const descriptor = decodeDescriptor(descriptorBytes)
  const batch = decodeBatch(meshId, batchBytes)
  if (!descriptor.ok || !batch.ok || descriptor.value.collection !== MESH_COLLECTION) return null
  const feed = feedOf(meshId, descriptor.value)
  const { header, body, signed, signature } = batch.value
  judge.learn(chain)
  const isOurs = equal(header.feedId, feed.id) && equal(sha256(body), header.bodyHash)
  if (!isOurs || !judge.permits(feed, header.hlc) || !verify(descriptor.value.publicKey, signed, signature)) return null
  const ops = decodeBody(header, body)
  if (!ops.ok) return null
  const documents = new Map<string, Document>()
  const source = { feed, seq: header.seq, hlc: header.hlc, lsn: 0 }
  const find = (key: string): Document => {
    const document = documents.get(key) ?? emptyDocument()
    documents.set(key, document)
    return document
  }
  mergeOps(ops.value, source, find, () => {})
  for (const [key, document] of documents) {
    const closing = closingOf(key, fieldsOf(document))
    if (closing?.origin === peerId && judge.mayRemove(peerId, closing.warrant)) return closing
  }
  return null
}
