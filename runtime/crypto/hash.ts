import { createHash, hash } from 'node:crypto'

/** SHA-256 of the parts one after the other; 32 bytes. */
export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts
  if (parts.length === 1 && only) return new Uint8Array(hash('sha256', only, 'buffer'))
  const hasher = createHash('sha256')
  for (const part of parts) hasher.update(part)
  return new Uint8Array(hasher.digest())
}

/** The same of one part, in hexadecimal. */
export function sha256Hex(part: Uint8Array): string {
  return hash('sha256', part)
}
