import { equal } from '../base/bytes.ts'
import { fail, ok, type Result } from '../base/result.ts'
import type { Batch, Feed, Ops } from '../model/batch.ts'
import { NO_KEYS } from '../model/keys.ts'
import { SELF_COLLECTION } from '../model/names.ts'
import { decodeBatch } from './batch.ts'
import { decodeDescriptor, encodeDescriptor, feedOf } from './descriptor.ts'
import { decodeDeterministic, encodeDeterministic, type Item } from './deterministic.ts'
import { readBody } from './encryption.ts'

/**
 * What a member has said of itself, as others tell it on (protocol D20): `[descriptor, batch]`, a batch of its own `$self`. It proves
 * itself to everyone who checks the signature with the key that the descriptor names, whatever has become of the feed.
 */
export interface Testimony {
  readonly feed: Feed
  readonly batch: Batch
  readonly ops: Ops
}

export function encodeTestimony({ descriptor }: Feed, { bytes }: Batch): Uint8Array {
  return encodeDeterministic([encodeDescriptor(descriptor), bytes])
}

/** Checks all but the signature. */
export function decodeTestimony(meshId: Uint8Array, bytes: Uint8Array): Result<Testimony> {
  const item = decodeDeterministic(bytes)
  if (!item.ok) return item
  const [descriptorBytes, batchBytes] = Array.isArray(item.value) ? (item.value as Item[]) : []
  if (!(descriptorBytes instanceof Uint8Array) || !(batchBytes instanceof Uint8Array)) return malformed('its form')
  const descriptor = decodeDescriptor(descriptorBytes.slice())
  if (!descriptor.ok) return descriptor
  const feed = feedOf(meshId, descriptor.value)
  const { collection, partition } = feed.descriptor
  if (collection !== SELF_COLLECTION || partition !== feed.origin) return malformed('it is not of its author')
  const batch = decodeBatch(meshId, batchBytes)
  if (!batch.ok) return batch
  const { header, body } = batch.value
  if (!equal(header.feedId, feed.id)) return malformed('its batch is of another feed')
  const ops = readBody(feed, header, body, NO_KEYS)
  return ops.ok ? ok({ feed, batch: batch.value, ops: ops.value }) : ops
}

function malformed(what: string): Result<never> {
  return fail('bad-request', `what is told of a member's words is malformed: ${what}`)
}
