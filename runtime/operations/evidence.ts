import { msOfHlc } from '../model/stamp.ts'
import type { LagView } from '../ports/operations.ts'
import type { Log } from '../ports/store.ts'
import { decodeBatch } from '../wire/batch.ts'
import { equal } from '../base/bytes.ts'
import { sha256 } from '../crypto/hash.ts'
import type { Verifier } from '../crypto/signature.ts'

/** What stored batches prove and how far a neighbour is behind, read from the log itself. */

/** Of so many feeds that lag the oldest missing batch is read for its age; in all so many bytes are read to count them. */
const LAG_FEEDS_READ = 256
const LAG_BYTES_READ = 1_048_576

/** Whether the stored batch is the one its author signed: place in its feed, body hash and signature, checked now. */
export function isBatchValid(
  store: Log,
  meshId: Uint8Array,
  verifier: Verifier,
  feedKey: string,
  seq: number,
): boolean {
  const feed = store.head(feedKey)?.feed
  const [bytes] = store.batches(feedKey, seq, 1)
  if (!feed || !bytes) return false
  const batch = decodeBatch(meshId, bytes)
  if (!batch.ok || batch.value.header.seq !== seq) return false
  const { header, body, signed, signature } = batch.value
  return equal(sha256(body), header.bodyHash) && verifier.verify(feed.descriptor.publicKey, signed, signature)
}

/** A feed of which somebody holds only the batches up to `held`. */
export interface Behind {
  readonly feedKey: string
  readonly held: number
  readonly head: number
}

/**
 * Batches and bytes that are missing there, and the age in seconds of the oldest of them. What has left the log nobody will be
 * sent. Of many feeds only some are read: the others count with the average size of their batches.
 */
export function lagOf(store: Log, meshId: Uint8Array, behind: readonly Behind[], wallMs: number): LagView {
  const lag = { batches: 0, bytes: 0, seconds: 0 }
  let room = LAG_BYTES_READ
  behind.forEach(({ feedKey, held, head }, i) => {
    const whole = store.head(feedKey)
    const missing = whole?.retained.within(held + 1, head).size ?? 0
    if (!whole || missing === 0) return
    const read = i < LAG_FEEDS_READ ? store.batches(feedKey, held + 1, room).slice(0, missing) : []
    const bytes = read.reduce((sum, batch) => sum + batch.length, 0)
    room = Math.max(0, room - bytes)
    lag.batches += missing
    lag.bytes += bytes + Math.round((missing - read.length) * (whole.bytes / whole.retained.size))
    lag.seconds = Math.max(lag.seconds, ageOf(meshId, read[0], wallMs))
  })
  return lag
}

function ageOf(meshId: Uint8Array, bytes: Uint8Array | undefined, wallMs: number): number {
  const batch = bytes && decodeBatch(meshId, bytes)
  return batch?.ok ? Math.max(0, (wallMs - msOfHlc(batch.value.header.hlc)) / 1_000) : 0
}
