import { sha256 } from '../../runtime/crypto/hash.ts'
import type { BatchHeader } from '../../runtime/model/batch.ts'
import { signedBytes } from '../../runtime/wire/batch.ts'
import { encodeDeterministic, type Item } from '../../runtime/wire/deterministic.ts'

/** What a header holds that this version's own encoder would never write. */
export interface ForgedHeader extends Omit<BatchHeader, 'bodyHash' | 'bodyLength'> {
  /** Keys of later versions. */
  readonly more?: readonly (readonly [number, Item])[]
}

/** A batch with any header at all, and a sound signature: what its author alone can make. */
export function forgedBatch(
  meshId: Uint8Array,
  header: ForgedHeader,
  body: Uint8Array,
  sign: (message: Uint8Array) => Uint8Array,
): Uint8Array {
  const map = new Map<number, Item>([
    [1, header.feedId],
    [2, header.seq],
    [3, header.prev],
    [4, header.hlc],
    [5, sha256(body)],
    [6, body.length],
    [7, header.flags],
    ...(header.minReader === 1 ? [] : [[10, header.minReader] as const]),
    ...(header.more ?? []),
  ])
  const headerBytes = encodeDeterministic(map)
  const signature = sign(signedBytes(meshId, headerBytes))
  return encodeDeterministic([[PROTECTED, new Map(), headerBytes, signature], body])
}

const PROTECTED = Uint8Array.of(0xa1, 0x01, 0x32)
