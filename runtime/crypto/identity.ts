import { createPrivateKey, createPublicKey, randomBytes as nodeRandomBytes, type KeyObject } from 'node:crypto'
import { base32, concat, utf8 } from '../base/bytes.ts'
import { sha256 } from './hash.ts'

/** A device's two key pairs, raw, 32 bytes each: Ed25519 signs batches, X25519 opens links. */
export interface DeviceKeys {
  readonly secretKey: Uint8Array
  readonly publicKey: Uint8Array
  readonly linkSecretKey: Uint8Array
  readonly linkPublicKey: Uint8Array
}

export function generateDeviceKeys(): DeviceKeys {
  return deviceKeysFrom(randomBytes(32), randomBytes(32))
}

export function deviceKeysFrom(secretKey: Uint8Array, linkSecretKey: Uint8Array): DeviceKeys {
  return {
    secretKey,
    publicKey: rawPublicKey(privateKeyOf('ed25519', secretKey)),
    linkSecretKey,
    linkPublicKey: rawPublicKey(privateKeyOf('x25519', linkSecretKey)),
  }
}

/** 23 characters of base32 over SHA-256: the longest client id that every MQTT broker accepts (protocol D1). */
export function peerIdOf(publicKey: Uint8Array): string {
  return base32(sha256(utf8('marram1/peer'), publicKey).subarray(0, 14))
}

/** 16 bytes (protocol D4). */
export function meshIdOf(rootPublicKey: Uint8Array, name: string): Uint8Array {
  return sha256(utf8('marram1/mesh'), rootPublicKey, utf8(name)).slice(0, 16)
}

export function randomBytes(length: number): Uint8Array {
  return new Uint8Array(nodeRandomBytes(length))
}

/** 23 random characters: the MQTT client id of one connection. */
export function randomClientId(): string {
  return base32(randomBytes(14))
}

const PKCS8_PREFIX = {
  ed25519: Buffer.from('302e020100300506032b657004220420', 'hex'),
  x25519: Buffer.from('302e020100300506032b656e04220420', 'hex'),
}

/** RFC 8410: a raw 32-byte private key as a KeyObject. */
export function privateKeyOf(kind: 'ed25519' | 'x25519', secretKey: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.from(concat(PKCS8_PREFIX[kind], secretKey)), format: 'der', type: 'pkcs8' })
}

/** RFC 8410: the raw 32-byte public key of a private one. */
export function rawPublicKey(privateKey: KeyObject): Uint8Array {
  return new Uint8Array(createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(-32))
}
