import { msOfHlc } from '../model/stamp.ts'
import type { LagView } from '../ports/operations.ts'
import type { Log } from '../ports/store.ts'
import { decodeBatch } from '../wire/batch.ts'
import { decodeBody } from '../wire/body.ts'
import type { Verifier } from '../crypto/signature.ts'

/** What stored batches prove and how far a neighbour is behind, read from the log itself. */

const LAG_READ_BYTES = 1_048_576

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
  return decodeBody(header, body).ok && verifier.verify(feed.descriptor.publicKey, signed, signature)
}

/** A feed of which somebody holds only the batches up to `held`. */
export interface Behind {
  readonly feedKey: string
  readonly held: number
  readonly head: number
}

/** Batches and bytes that are missing there, and the age in seconds of the oldest of them. */
export function lagOf(store: Log, meshId: Uint8Array, behind: readonly Behind[], wallMs: number): LagView {
  const lag = { batches: 0, bytes: 0, seconds: 0 }
  for (const { feedKey, held, head } of behind) {
    const missing = head - held
    const read = store.batches(feedKey, held + 1, LAG_READ_BYTES).slice(0, missing)
    const bytes = read.reduce((sum, batch) => sum + batch.length, 0)
    lag.batches += missing
    // Beyond what is read at once, the rest counts with the average of the feed.
    const whole = store.head(feedKey)
    lag.bytes += bytes + Math.round((missing - read.length) * (whole ? whole.bytes / whole.seq : 0))
    lag.seconds = Math.max(lag.seconds, ageOf(meshId, read[0], wallMs))
  }
  return lag
}

function ageOf(meshId: Uint8Array, bytes: Uint8Array | undefined, wallMs: number): number {
  const batch = bytes && decodeBatch(meshId, bytes)
  return batch?.ok ? Math.max(0, (wallMs - msOfHlc(batch.value.header.hlc)) / 1_000) : 0
}
