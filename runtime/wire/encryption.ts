import { fail, ok, type Result } from '../base/result.ts'
import { open, seal } from '../crypto/aead.ts'
import { FLAG_ENCRYPTED, type BatchHeader, type Encryption, type Feed, type Ops } from '../model/batch.ts'
import type { BodyKeys } from '../model/keys.ts'
import { decodeBody, decodeSoundBody, type Decrypt } from './body.ts'
import { encodeDeterministic, type Item } from './deterministic.ts'

/**
 * Bodies of encrypted feeds (protocol D28): ChaCha20-Poly1305 over the compressed body, with a key of the feed's own and a
 * random nonce, bound to where the batch stands. What was encrypted is what is hashed, signed, stored and carried, so
 * whoever has no key checks and serves a batch like any other.
 */
export interface BodyKey extends Encryption {
  /** 32 bytes, see crypto/epoch-key.ts. */
  readonly key: Uint8Array
}

type Placed = Pick<BatchHeader, 'feedId' | 'seq' | 'prev' | 'hlc' | 'flags' | 'encryption'>

export function encryptBody(header: Placed, { key, nonce }: BodyKey, plain: Uint8Array): Uint8Array {
  return seal(key, nonce, associated(header), plain)
}

/**
 * The operations of a batch, as everyone who has its key reads them. Fails with `no-key` when it isn't here (yet), and with
 * `bad-request` for a body that changes nothing anywhere: one that is malformed, or isn't encrypted as its feed says.
 */
export function readBody(feed: Feed, header: BatchHeader, body: Uint8Array, keys: BodyKeys): Result<Ops> {
  const decrypt = decryptFor(feed, header, keys)
  return decrypt.ok ? decodeBody(header, body, decrypt.value) : decrypt
}

/** The same of a body whose hash was compared already. */
export function readSoundBody(feed: Feed, header: BatchHeader, body: Uint8Array, keys: BodyKeys): Result<Ops> {
  const decrypt = decryptFor(feed, header, keys)
  return decrypt.ok ? decodeSoundBody(header, body, decrypt.value) : decrypt
}

function decryptFor(feed: Feed, header: BatchHeader, keys: BodyKeys): Result<Decrypt> {
  const { encryption } = header
  const isEncrypted = (header.flags & FLAG_ENCRYPTED) !== 0
  if (feed.descriptor.encrypted !== isEncrypted) return unreadable('it is not encrypted as its feed is')
  if (!isEncrypted) return ok(ok)
  if (!encryption) return unreadable('it does not say with which key it was encrypted')
  const key = keys.of(feed, encryption.epoch)
  if (key === null) return fail('no-key', 'the key of its epoch is not here')
  return ok((body) => decrypted(header, encryption, key, body))
}

function decrypted(header: Placed, { nonce }: Encryption, key: Uint8Array, body: Uint8Array): Result<Uint8Array> {
  const plain = open(key, nonce, associated(header), body)
  return plain === null ? unreadable('it does not open with the key of its epoch') : ok(plain)
}

/** Header fields 1 to 4, 7 and 8. */
function associated({ feedId, seq, prev, hlc, flags, encryption }: Placed): Uint8Array {
  const map = new Map<number, Item>([
    [1, feedId],
    [2, seq],
    [3, prev],
    [4, hlc],
    [7, flags],
    [8, encryption?.epoch ?? 0],
  ])
  return encodeDeterministic(map)
}

function unreadable(why: string): Result<never> {
  return fail('bad-request', `the batch's body is malformed: ${why}`)
}
