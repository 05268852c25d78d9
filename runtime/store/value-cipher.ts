import { hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto'
import { utf8 } from '../base/bytes.ts'
import { open, seal, TAG } from '../crypto/aead.ts'

const SALT_BYTES = 16
const HEAD_BYTES = SALT_BYTES + 8
/** Of a store's life some hundred openings are read side by side. */
const KEYS_MAX = 256
const CHECK = utf8('marram store')
const INFO = utf8('marram store value 1')

/** What a sealed value is longer than the plain one, in bytes. */
export const SEAL_BYTES: number = HEAD_BYTES + TAG

/** Where a value stands: sealed for one place, it opens in no other. */
export interface ValuePlace {
  readonly table: string
  readonly key: Uint8Array
}

/**
 * Encrypts what a store keeps (`storage.encryption: values`), by ChaCha20-Poly1305 under a key that is derived from the owner's
 * for each opening of the store, so that a count is a nonce that never comes twice:
 *
 *     sealed = salt 16 bytes, count u64, ciphertext, tag 16 bytes      key = HKDF-SHA256(owner's key, salt)
 */
export class ValueCipher {
  readonly #ownersKey: Uint8Array
  readonly #salt = randomBytes(SALT_BYTES)
  readonly #keys = new Map<string, Uint8Array>()
  #count = 0

  /** `ownersKey` has 32 bytes. */
  constructor(ownersKey: Uint8Array) {
    this.#ownersKey = ownersKey
  }

  seal(place: ValuePlace, value: Uint8Array): Uint8Array {
    const head = Buffer.allocUnsafe(HEAD_BYTES)
    this.#salt.copy(head)
    head.writeBigUInt64BE(BigInt((this.#count += 1)), SALT_BYTES)
    return Buffer.concat([head, seal(this.#keyOf(head), nonceOf(head), associatedOf(place), value)])
  }

  /** Null when it was not sealed there under this key, or has changed since. */
  open(place: ValuePlace, sealed: Uint8Array): Uint8Array | null {
    if (sealed.length < SEAL_BYTES) return null
    const head = Buffer.from(sealed.buffer, sealed.byteOffset, HEAD_BYTES)
    return open(this.#keyOf(head), nonceOf(head), associatedOf(place), sealed.subarray(HEAD_BYTES))
  }

  /** Kept in the store to tell another key when it is opened. */
  check(): Uint8Array {
    return this.seal({ table: 'meta', key: CHECK }, CHECK)
  }

  accepts(check: Uint8Array): boolean {
    const opened = this.open({ table: 'meta', key: CHECK }, check)
    return opened !== null && opened.length === CHECK.length && timingSafeEqual(opened, CHECK)
  }

  #keyOf(head: Buffer): Uint8Array {
    const salt = head.toString('latin1', 0, SALT_BYTES)
    let key = this.#keys.get(salt)
    if (key === undefined) {
      key = new Uint8Array(hkdfSync('sha256', this.#ownersKey, head.subarray(0, SALT_BYTES), INFO, 32))
      if (this.#keys.size >= KEYS_MAX) this.#keys.clear()
      this.#keys.set(salt, key)
    }
    return key
  }
}

function nonceOf(head: Buffer): Uint8Array {
  return Buffer.concat([Buffer.alloc(4), head.subarray(SALT_BYTES)])
}

function associatedOf({ table, key }: ValuePlace): Uint8Array {
  return Buffer.concat([Buffer.from(`${table}\0`), key])
}
