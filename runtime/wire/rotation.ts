import { concat, utf8 } from '../base/bytes.ts'

/**
 * What a gateway's next key signs so that it may take the place of the one that asks for it (`marram rotate`): nobody else
 * can have another's key succeed its own. 32 bytes each but the mesh's id, which has 16.
 */
export function rotationBytes(
  meshId: Uint8Array,
  publicKey: Uint8Array,
  nextPublicKey: Uint8Array,
  nextLinkKey: Uint8Array,
): Uint8Array {
  return concat(utf8('marram1/rotate'), meshId, publicKey, nextPublicKey, nextLinkKey)
}
