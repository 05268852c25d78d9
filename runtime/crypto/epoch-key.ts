import { hkdfSync } from 'node:crypto'
import { utf8 } from '../base/bytes.ts'
import { sha256 } from './hash.ts'
import { randomBytes } from './identity.ts'

/**
 * Keys of encrypted collections (protocol D28). An epoch is named by its number and 24 bits that only its key gives
 * (`number · 2^24 + bits`): two administrators who begin one at the same time name two, everyone takes the greater one to
 * write with, and a key that belongs to another epoch is told at once.
 */
export interface EpochKey {
  readonly epoch: number
  /** 32 bytes. */
  readonly key: Uint8Array
}

export const EPOCH_KEY_BYTES = 32
const NAME_BITS = 2 ** 24
const NUMBER_MAX = 2 ** 29 - 1
const NO_SALT = new Uint8Array(0)

export function newEpochKey(number: number): EpochKey {
  const key = randomBytes(EPOCH_KEY_BYTES)
  return { epoch: epochOf(number, key), key }
}

/** The epoch of this number that has this key. */
export function epochOf(number: number, key: Uint8Array): number {
  return number * NAME_BITS + nameOf(key)
}

/** As people count them, from 1. */
export function numberOfEpoch(epoch: number): number {
  return Math.floor(epoch / NAME_BITS)
}

export function isEpoch(epoch: unknown): epoch is number {
  return (
    Number.isSafeInteger(epoch) && numberOfEpoch(epoch as number) >= 1 && numberOfEpoch(epoch as number) <= NUMBER_MAX
  )
}

export function isKeyOf(epoch: number, key: Uint8Array): boolean {
  return key.length === EPOCH_KEY_BYTES && epoch % NAME_BITS === nameOf(key)
}

/** The key of one feed's bodies: a nonce drawn twice in two feeds gives nothing away. HKDF-SHA256 (RFC 5869), no salt. */
export function bodyKeyOf(epochKey: Uint8Array, feedId: Uint8Array): Uint8Array {
  const info = new Uint8Array([...utf8('marram1/body'), ...feedId])
  return new Uint8Array(hkdfSync('sha256', epochKey, NO_SALT, info, 32))
}

function nameOf(key: Uint8Array): number {
  const [a = 0, b = 0, c = 0] = sha256(utf8('marram1/epoch'), key)
  return a * 65_536 + b * 256 + c
}
