import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { equal } from '../base/bytes.ts'
import { PROTOCOL_LIMITS } from '../base/limits.ts'
import { fail, ok, type Result } from '../base/result.ts'
import { sha256 } from '../crypto/hash.ts'
import type { BatchHeader, Ops } from '../model/batch.ts'
import { decodeValue, encodeValue } from './cbor.ts'

export function encodeBody(ops: Ops): { body: Uint8Array; flags: number } {
  const raw = encodeValue([
    ops.docs,
    ops.shapes.map((shape) => [shape.kind, ...shape.paths]),
    ops.opDocs,
    ops.opShapes,
    ops.values,
  ])
  if (raw.length < 200) return { body: raw, flags: 0 }
  const deflated = deflateRawSync(raw, { level: 1 })
  return deflated.length < raw.length ? { body: new Uint8Array(deflated), flags: 1 } : { body: raw, flags: 0 }
}

export function decodeBody(header: BatchHeader, body: Uint8Array): Result<Ops> {
  if (!equal(sha256(body), header.bodyHash)) return fail('bad-request', 'hash')
  try {
    const raw = header.flags & 1 ? inflateRawSync(body, { maxOutputLength: PROTOCOL_LIMITS.bodyBytesMax }) : body
    const value = decodeValue(raw)
    if (!value.ok) return value
    const [docs, shapes, opDocs, opShapes, values] = value.value as [
      string[],
      [number, ...string[]][],
      number[],
      number[],
      never[],
    ]
    return ok({ docs, shapes: shapes.map(([kind, ...paths]) => ({ kind, paths })), opDocs, opShapes, values })
  } catch (error) {
    return fail('bad-request', String(error))
  }
}
