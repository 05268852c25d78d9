import { equal } from '../base/bytes.ts'
import { fail, ok, type Result } from '../base/result.ts'
import type { Batch, Feed } from '../model/batch.ts'
import { decodeDescriptor, encodeDescriptor, feedOf } from './descriptor.ts'
import { decodeDeterministic, encodeDeterministic, type Item } from './deterministic.ts'
import { envelopeOf, headerOnly } from './proof.ts'

/**
 * What an author whose clock had run ahead says of a feed of its own (protocol D15): `[descriptor, envelope, from]`, the signed
 * header of the first batch that is stamped ahead, and the sequence from which all is void. It counts when that batch is stamped
 * later than the document that holds this.
 */
export interface AheadSeal {
  readonly feed: Feed
  /** What its signature covers, and the signature; its body is empty. */
  readonly first: Batch
  /** Its sequence, or an earlier one: what checkpoints let go that are void with it leaves the feed whole up to there alone. */
  readonly from: number
}

export function encodeAheadSeal(feed: Feed, { bytes }: Batch, from: number): Uint8Array {
  return encodeDeterministic([encodeDescriptor(feed.descriptor), envelopeOf(bytes), from])
}

/** Checks all but the signature and the stamp. */
export function decodeAheadSeal(meshId: Uint8Array, bytes: Uint8Array): Result<AheadSeal> {
  const item = decodeDeterministic(bytes)
  if (!item.ok) return item
  const [descriptorBytes, envelope, from] = Array.isArray(item.value) ? (item.value as Item[]) : []
  if (!(descriptorBytes instanceof Uint8Array) || !(envelope instanceof Uint8Array)) return malformed('its form')
  const descriptor = decodeDescriptor(descriptorBytes.slice())
  if (!descriptor.ok) return descriptor
  const feed = feedOf(meshId, descriptor.value)
  const first = headerOnly(meshId, envelope)
  if (!first.ok) return first
  const { feedId, seq } = first.value.header
  if (!equal(feedId, feed.id)) return malformed('its header')
  if (typeof from !== 'number' || !Number.isSafeInteger(from) || from < 1 || from > seq)
    return malformed('its sequence')
  return ok({ feed, first: first.value, from })
}

function malformed(what: string): Result<never> {
  return fail('bad-request', `the seal of a feed that ran ahead is malformed: ${what}`)
}
