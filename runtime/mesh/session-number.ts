import { randomBytes } from '../crypto/identity.ts'

/** 32 random bits: tells frames of one handshake from those of another on the same inbox. */
export function drawSession(): number {
  return new DataView(randomBytes(4).buffer).getUint32(0)
}
