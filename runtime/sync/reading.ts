import { equal } from '../base/bytes.ts'
import type { Result } from '../base/result.ts'
import { sha256 } from '../crypto/hash.ts'
import type { Batch, Feed, Ops } from '../model/batch.ts'
import type { BodyKeys } from '../model/keys.ts'
import { decodeBatch } from '../wire/batch.ts'
import { readSoundBody } from '../wire/encryption.ts'

/** How bytes become batches and batches operations: pure, so that whoever runs many gateways at once need read each just once. */
export interface Reading {
  /** The batch, or a sentence about why its bytes are no batch; its signature is not checked. */
  batch(bytes: Uint8Array): Batch | string
  /** What a batch of the feed that was read, or made, changes; see wire/encryption.ts. */
  ops(feed: Feed, batch: Batch, keys: BodyKeys): Result<Ops>
}

export function readingOf(meshId: Uint8Array): Reading {
  return {
    batch(bytes) {
      const decoded = decodeBatch(meshId, bytes)
      if (!decoded.ok) return decoded.error.message
      const { header, body } = decoded.value
      // The signature covers the header, and through it the body.
      return equal(sha256(body), header.bodyHash) ? decoded.value : 'its body is not the one that was signed'
    },
    ops: (feed, { header, body }, keys) => readSoundBody(feed, header, body, keys),
  }
}
