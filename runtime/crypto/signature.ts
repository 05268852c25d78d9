import { createPublicKey, sign, verify, type KeyObject } from 'node:crypto'
import * as ed from '@noble/ed25519'
import { concat, latin1 } from '../base/bytes.ts'
import { privateKeyOf, deviceKeysFrom } from './identity.ts'

export interface Signer {
  readonly publicKey: Uint8Array
  sign(message: Uint8Array): Uint8Array
}

export interface Verifier {
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean
}

export function createSigner(secretKey: Uint8Array): Signer {
  const key = privateKeyOf('ed25519', secretKey)
  return {
    publicKey: deviceKeysFrom(secretKey, secretKey).publicKey,
    sign: (message) => new Uint8Array(sign(null, message, key)),
  }
}

const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')

export function isAdmissibleKey(publicKey: Uint8Array): boolean {
  if (publicKey.length !== 32) return false
  try {
    const point = ed.Point.fromBytes(publicKey)
    return !point.isSmallOrder() && point.isTorsionFree()
  } catch {
    return false
  }
}

export function createVerifier(cacheMax = 4096): Verifier {
  const keys = new Map<string, KeyObject | null>()
  return {
    verify(publicKey, message, signature) {
      if (signature.length !== 64) return false
      const name = latin1(publicKey)
      let key = keys.get(name)
      if (key === undefined) {
        key = isAdmissibleKey(publicKey)
          ? createPublicKey({ key: Buffer.from(concat(SPKI_PREFIX, publicKey)), format: 'der', type: 'spki' })
          : null
        if (keys.size >= cacheMax) keys.clear()
        keys.set(name, key)
      }
      return key !== null && verify(null, message, key, signature)
    },
  }
}
