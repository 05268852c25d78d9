import { concat, latin1, utf8 } from '../base/bytes.ts'
import { fail, ok, type Result } from '../base/result.ts'
import { sha256 } from '../crypto/hash.ts'
import { peerIdOf } from '../crypto/identity.ts'
import type { Feed, FeedDescriptor } from '../model/batch.ts'
import { isCollectionName, isPartition } from '../model/names.ts'
import { decodeDeterministic, encodeDeterministic } from './deterministic.ts'

/** Deterministic CBOR: [public key, incarnation, collection, partition, kind, encrypted]. */
export function encodeDescriptor(descriptor: FeedDescriptor): Uint8Array {
  const { publicKey, incarnation, collection, partition, kind, encrypted } = descriptor
  return encodeDeterministic([publicKey, incarnation, collection, partition, kind, encrypted])
}

/** The byte strings are copies. */
export function decodeDescriptor(bytes: Uint8Array): Result<FeedDescriptor> {
  const item = decodeDeterministic(bytes)
  if (!item.ok) return item
  if (!Array.isArray(item.value) || item.value.length !== 6) return fail('bad-request', 'a descriptor has six elements')
  const [publicKey, incarnation, collection, partition, kind, encrypted] = item.value as unknown[]
  if (!(publicKey instanceof Uint8Array) || publicKey.length !== 32)
    return fail('bad-request', 'a public key has 32 bytes')
  if (!(incarnation instanceof Uint8Array) || incarnation.length !== 8)
    return fail('bad-request', 'an incarnation has 8 bytes')
  if (typeof collection !== 'string' || !isCollectionName(collection))
    return fail('bad-request', 'the collection has no valid name')
  if (typeof partition !== 'string' || !isPartition(partition))
    return fail('bad-request', 'the partition has no valid name')
  if (typeof kind !== 'number' || kind < 0 || kind > 255) return fail('bad-request', 'the kind is not one of 0 to 255')
  if (typeof encrypted !== 'boolean') return fail('bad-request', 'encrypted must be true or false')
  return ok({ publicKey: publicKey.slice(), incarnation: incarnation.slice(), collection, partition, kind, encrypted })
}

/** The feed of a descriptor: its id is a hash of all of it and of the mesh, so nobody can lie about either. */
export function feedOf(meshId: Uint8Array, descriptor: FeedDescriptor): Feed {
  const { publicKey, incarnation, collection, partition, kind, encrypted } = descriptor
  const parts = [
    meshId,
    publicKey,
    incarnation,
    new Uint8Array([kind]),
    new Uint8Array([encrypted ? 1 : 0]),
    utf8(collection),
    utf8(partition),
  ]
  const prefixed = parts.map((part) => concat(new Uint8Array([part.length]), part))
  const id = sha256(utf8('marram1/feed'), ...prefixed).slice(0, 16)
  return { id, key: latin1(id), descriptor, origin: peerIdOf(publicKey) }
}
