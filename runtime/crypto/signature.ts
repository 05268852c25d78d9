import { createHash, createPublicKey, sign, verify, type KeyObject } from 'node:crypto'
import { Point } from '@noble/ed25519'
import { concat, equal, latin1 } from '../base/bytes.ts'
import { privateKeyOf, rawPublicKey } from './identity.ts'

/**
 * Ed25519 (RFC 8032) with exactly one predicate (protocol D3), for verifiers differ on crafted signatures and gateways
 * must not: a key is admitted when it is canonical, not of small order and free of torsion; a signature is valid when
 * S < L and the bytes of R are those of [S]B - [k]A, without multiplying by the cofactor. For admitted keys node:crypto
 * implements that; @noble/ed25519 judges keys, and tests both.
 */
export interface Signer {
  /** 32 bytes. */
  readonly publicKey: Uint8Array
  /** 64 bytes. */
  sign(message: Uint8Array): Uint8Array
}

export interface Verifier {
  /** False for anything that isn't valid, wrong lengths included; never throws. */
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean
}

const SIGNATURE_BYTES = 64
const KEY_BYTES = 32
/** RFC 8410: what stands before the raw key in its DER encoding. */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')

/** `secretKey` is the 32-byte seed. */
export function createSigner(secretKey: Uint8Array): Signer {
  const key = privateKeyOf('ed25519', secretKey)
  return {
    publicKey: rawPublicKey(key),
    sign: (message) => new Uint8Array(sign(null, message, key)),
  }
}

/** Keeps the `keysMax` keys that were used last, so that each is judged once: that costs as much as eight signatures. */
export function createVerifier(keysMax = 4_096): Verifier {
  const keys = new Map<string, KeyObject | null>()
  const keyOf = (publicKey: Uint8Array): KeyObject | null => {
    const name = latin1(publicKey)
    const known = keys.get(name)
    const key = known === undefined ? admitted(publicKey) : known
    keys.delete(name)
    keys.set(name, key)
    const [oldest] = keys.keys()
    if (keys.size > keysMax && oldest !== undefined) keys.delete(oldest)
    return key
  }
  return {
    verify: (publicKey, message, signature) => {
      if (signature.length !== SIGNATURE_BYTES || publicKey.length !== KEY_BYTES) return false
      const key = keyOf(publicKey)
      return key !== null && verify(null, message, key, signature)
    },
  }
}

/** Canonical encoding of a point that is neither of small order nor carries torsion. */
export function isAdmissibleKey(publicKey: Uint8Array): boolean {
  const point = pointOf(publicKey)
  return point !== null && !point.isSmallOrder() && point.isTorsionFree()
}

/** The same predicate in JavaScript alone, ten times slower: the oracle of the tests. */
export function verifyPortable(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== SIGNATURE_BYTES || !isAdmissibleKey(publicKey)) return false
  const R = signature.subarray(0, KEY_BYTES)
  const S = scalarOf(signature.subarray(KEY_BYTES))
  const order = Point.CURVE().n
  if (S >= order) return false
  const k = scalarOf(createHash('sha512').update(R).update(publicKey).update(message).digest()) % order
  const A = Point.fromBytes(publicKey)
  return equal(times(Point.BASE, S).subtract(times(A, k)).toBytes(), R)
}

function admitted(publicKey: Uint8Array): KeyObject | null {
  if (!isAdmissibleKey(publicKey)) return null
  return createPublicKey({ key: Buffer.from(concat(SPKI_PREFIX, publicKey)), format: 'der', type: 'spki' })
}

function pointOf(publicKey: Uint8Array): Point | null {
  if (publicKey.length !== KEY_BYTES) return null
  try {
    return Point.fromBytes(publicKey)
  } catch {
    // Noble throws for what is no point or no canonical encoding of one.
    return null
  }
}

/** Noble refuses to multiply by zero. */
function times(point: Point, scalar: bigint): Point {
  return scalar === 0n ? Point.ZERO : point.multiply(scalar, false)
}

/** Little-endian. */
function scalarOf(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`)
}
