import { createCipheriv, createDecipheriv } from 'node:crypto'
import { concat } from '../base/bytes.ts'

export const TAG = 16

/** ChaCha20-Poly1305 (RFC 8439); `nonce` has 12 bytes. */
export function seal(key: Uint8Array, nonce: Uint8Array, associated: Uint8Array, plaintext: Uint8Array): Uint8Array {
  const cipher = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: TAG })
  cipher.setAAD(associated, { plaintextLength: plaintext.length })
  return concat(cipher.update(plaintext), cipher.final(), cipher.getAuthTag())
}

/** Null when the tag is wrong. */
export function open(
  key: Uint8Array,
  nonce: Uint8Array,
  associated: Uint8Array,
  sealed: Uint8Array,
): Uint8Array | null {
  if (sealed.length < TAG) return null
  const decipher = createDecipheriv('chacha20-poly1305', key, nonce, { authTagLength: TAG })
  decipher.setAAD(associated, { plaintextLength: sealed.length - TAG })
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG))
  const plaintext = new Uint8Array(decipher.update(sealed.subarray(0, sealed.length - TAG)))
  try {
    decipher.final()
    return plaintext
  } catch {
    // What OpenSSL throws says no more than that the tag is wrong.
    return null
  }
}
