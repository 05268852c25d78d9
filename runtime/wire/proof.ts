import { equal } from '../base/bytes.ts'
import { fail, ok, type Result } from '../base/result.ts'
import type { Batch, Feed } from '../model/batch.ts'
import { decodeBatch } from './batch.ts'
import { decodeDescriptor, encodeDescriptor, feedOf } from './descriptor.ts'
import { decodeDeterministic, encodeDeterministic, type Item } from './deterministic.ts'

/**
 * Proof of a fork (protocol D19): `[descriptor, envelope, envelope]`, two signed headers of one feed with one sequence, or
 * one and the next, which names another as the one before. It proves itself to everyone who checks both signatures with the
 * key that the descriptor names.
 */
export interface ForkProof {
  readonly feed: Feed
  /** The branches part here or before. */
  readonly seq: number
  /** What each signature covers, and the signature. */
  readonly signed: readonly [Batch, Batch]
}

export function encodeProof(feed: Feed, a: Batch, b: Batch): Uint8Array {
  const envelopes = [a, b].map(({ bytes }) => envelopeOf(bytes))
  return encodeDeterministic([encodeDescriptor(feed.descriptor), ...envelopes])
}

/** Checks all but the signatures. */
export function decodeProof(meshId: Uint8Array, bytes: Uint8Array): Result<ForkProof> {
  const item = decodeDeterministic(bytes)
  if (!item.ok) return item
  const [descriptorBytes, first, second] = Array.isArray(item.value) ? (item.value as Item[]) : []
  if (!(descriptorBytes instanceof Uint8Array) || !(first instanceof Uint8Array) || !(second instanceof Uint8Array))
    return malformed('its form')
  const descriptor = decodeDescriptor(descriptorBytes.slice())
  if (!descriptor.ok) return descriptor
  const feed = feedOf(meshId, descriptor.value)
  const [a, b] = [headerOnly(meshId, first), headerOnly(meshId, second)]
  if (!a.ok) return a
  if (!b.ok) return b
  const isOfFeed = equal(a.value.header.feedId, feed.id) && equal(b.value.header.feedId, feed.id)
  const { seq } = a.value.header
  if (!isOfFeed || (b.value.header.seq !== seq && b.value.header.seq !== seq + 1)) return malformed('its headers')
  const same = b.value.header.seq === seq ? b.value.hash : b.value.header.prev
  if (equal(a.value.hash, same)) return malformed('its headers belong to one branch')
  return ok({ feed, seq, signed: [a.value, b.value] })
}

/** The signed header of a batch, without its body: the first element of the array that a batch is. */
export function envelopeOf(batch: Uint8Array): Uint8Array {
  const decoded = decodeDeterministic(batch)
  const [envelope] = decoded.ok && Array.isArray(decoded.value) ? (decoded.value as Item[]) : []
  return encodeDeterministic(envelope ?? null)
}

/** A batch without its body decodes as one with an empty body would, but for the length that its header names. */
export function headerOnly(meshId: Uint8Array, envelope: Uint8Array): Result<Batch> {
  const decoded = decodeDeterministic(envelope)
  if (!decoded.ok) return decoded
  const header = Array.isArray(decoded.value) ? (decoded.value as Item[])[2] : null
  const map = header instanceof Uint8Array ? decodeDeterministic(header) : null
  const length = map?.ok === true && map.value instanceof Map ? (map.value as ReadonlyMap<number, Item>).get(6) : null
  if (typeof length !== 'number' || length < 0 || length > 49_152) return malformed('its header')
  return decodeBatch(meshId, encodeDeterministic([decoded.value, new Uint8Array(length)]))
}

function malformed(what: string): Result<never> {
  return fail('bad-request', `the proof of a fork is malformed: ${what}`)
}
