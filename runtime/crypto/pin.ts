import type { X509Certificate } from 'node:crypto'
import { sha256 } from './hash.ts'

/** SHA-256 of a certificate's public key (RFC 7469 2.4), 32 bytes: it stays when the certificate is made anew. */
export function pinOf(certificate: X509Certificate): Uint8Array {
  return sha256(certificate.publicKey.export({ format: 'der', type: 'spki' }))
}
