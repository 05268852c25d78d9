import { Decoder, Encoder } from 'cbor-x'
import { fail, ok, type Result } from '../base/result.ts'

const encoder = new Encoder({ useRecords: false, variableMapSize: true, tagUint8Array: false })
const decoder = new Decoder({ useRecords: false, mapsAsObjects: true, int64AsNumber: true } as object)

export function encodeValue(value: unknown): Uint8Array {
  return new Uint8Array(encoder.encode(value))
}

export function decodeValue(bytes: Uint8Array): Result<unknown> {
  try {
    return ok(decoder.decode(bytes) as unknown)
  } catch (error) {
    return fail('bad-request', String(error))
  }
}

export function decodeSequence(bytes: Uint8Array): Result<unknown[]> {
  try {
    return ok(decoder.decodeMultiple(bytes) as unknown[])
  } catch (error) {
    return fail('bad-request', String(error))
  }
}
