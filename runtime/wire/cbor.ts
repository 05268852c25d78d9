import { Decoder, Encoder } from 'cbor-x'
import { concat } from '../base/bytes.ts'
import { PROTOCOL_LIMITS } from '../base/limits.ts'
import { fail, ok, type Result } from '../base/result.ts'
import { scan } from './scan.ts'

/** Bodies and messages: CBOR of JSON values and byte strings, scanned strictly before cbor-x sees it. */

const encoder = new Encoder({ useRecords: false, variableMapSize: true, tagUint8Array: false })
// int64AsNumber is missing from the typings; the scan has made sure that such integers are safe.
const decoder = new Decoder({ useRecords: false, mapsAsObjects: true, int64AsNumber: true } as object)

/** A message's array, its entries and theirs; a body's columns and a value in one of them. */
const DEPTH = { message: PROTOCOL_LIMITS.messageDepthMax, body: PROTOCOL_LIMITS.valueDepthMax + 3 }

/** A copy of its own: cbor-x gives slices of a shared buffer. */
export function encodeValue(value: unknown): Uint8Array {
  return new Uint8Array(encoder.encode(value))
}

/** A CBOR sequence (RFC 8742) of the values, likewise. */
export function encodeSequence(values: readonly unknown[]): Uint8Array {
  return concat(...values.map((value): Uint8Array => encoder.encode(value)))
}

/** Exactly one item. Byte strings are views of `bytes`. */
export function decodeValue(bytes: Uint8Array): Result<unknown> {
  const limits = { depthMax: DEPTH.body, itemsMax: PROTOCOL_LIMITS.itemsPerMessageMax, isSequence: false }
  const scanned = scan(bytes, limits)
  return scanned.ok ? guarded(() => decoder.decode(bytes) as unknown) : scanned
}

/** The items of a CBOR sequence. Byte strings are views of `bytes`. */
export function decodeSequence(bytes: Uint8Array): Result<unknown[]> {
  const limits = { depthMax: DEPTH.message, itemsMax: PROTOCOL_LIMITS.itemsPerMessageMax, isSequence: true }
  const scanned = scan(bytes, limits)
  return scanned.ok ? guarded(() => decoder.decodeMultiple(bytes) as unknown[]) : scanned
}

/** What passes the scan decodes; should cbor-x see it otherwise, it is one more malformed input. */
function guarded<T>(decode: () => T): Result<T> {
  try {
    return ok(decode())
  } catch (error) {
    return fail('bad-request', error instanceof Error ? error.message : 'it does not decode')
  }
}
