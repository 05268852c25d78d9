import { hex } from '../base/bytes.ts'
import { sha256Hex } from '../crypto/hash.ts'
import type { FeedHead } from '../model/batch.ts'
import { isLive, type Document } from '../model/document.ts'
import type { Value } from '../model/value.ts'
import type { Space } from '../ports/store.ts'
import { ByteWriter } from './byte-writer.ts'

/**
 * A space's digest is the sum modulo 2^256 of its live documents' contributions, so it follows every change without
 * reading the rest, whatever the order (AdHash, Bellare and Micciancio 1997: made to find silent divergence between honest
 * gateways; against forgery stand signatures).
 */

/** What a document adds to the digest of its space. */
export function contributionOf({ isSeries }: Space, key: string, document: Document): bigint {
  if (isSeries === true) return isLive(document) ? ROW_CONTRIBUTION : 0n
  return hashOf(key, document)
}

/** SHA-256 of the key and the live cells in the order of their paths; 0 for a document that isn't live. */
function hashOf(key: string, document: Document): bigint {
  const { paths, values, writes } = document
  const live: number[] = []
  for (let i = 0; i < values.length; i++) if (values[i] !== null) live.push(i)
  if (live.length === 0) return 0n
  live.sort((a, b) => ((paths[a] as string) < (paths[b] as string) ? -1 : 1))
  const writer = new ByteWriter(Buffer.allocUnsafe(256))
  writer.text(key)
  writer.natural(live.length)
  for (const i of live) {
    const write = writes[i] as Document['writes'][number]
    writer.text(paths[i] as string)
    writer.value(values[i] as Value, true)
    writer.natural(write.hlc)
    writer.natural(write.index)
    writer.text(write.origin)
  }
  return BigInt(`0x${sha256Hex(writer.view())}`)
}

/** What a feed of a series adds to the digest of its space. */
export function contributionOfHead({ feed, seq, hash }: FeedHead): bigint {
  const writer = new ByteWriter(Buffer.allocUnsafe(64))
  writer.raw(feed.id)
  writer.natural(seq)
  writer.raw(hash)
  return BigInt(`0x${sha256Hex(writer.view())}`)
}

/** A row is never changed, so nobody need hash it: all ones, which no hash is. */
export const ROW_CONTRIBUTION: bigint = (1n << 256n) - 1n

/** `digest` with `removed` taken out and `added` put in. */
export function exchange(digest: bigint, removed: bigint, added: bigint): bigint {
  return BigInt.asUintN(256, digest - removed + added)
}

/** 32 bytes, most significant first. */
export function bytesOf(digest: bigint): Uint8Array {
  return new Uint8Array(Buffer.from(digest.toString(16).padStart(64, '0'), 'hex'))
}

export function bigintOf(bytes: Uint8Array): bigint {
  return BigInt(`0x${hex(bytes)}`)
}
