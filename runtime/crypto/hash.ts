import { hash } from 'node:crypto'
import { concat } from '../base/bytes.ts'

/** SHA-256 of the parts one after the other; 32 bytes. */
export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  // Parts are short: one call over a copy of all costs less than a hasher that is told one after the other.
  const [only] = parts
  return new Uint8Array(hash('sha256', parts.length === 1 && only ? only : concat(...parts), 'buffer'))
}

/** The same of one part, in hexadecimal. */
export function sha256Hex(part: Uint8Array): string {
  return hash('sha256', part)
}
