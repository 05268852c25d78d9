import { base64url, fromBase64url } from '../base/bytes.ts'
import { fail, ok, type Result } from '../base/result.ts'
import { isName } from '../model/names.ts'
import { decodeDeterministic, encodeDeterministic, type Item } from './deterministic.ts'

/** What an invite token holds (protocol D6): enough to find the mesh, to know it when found, and to be let in once. */
export interface Invite {
  readonly meshId: Uint8Array
  readonly meshName: string
  readonly rootPublicKey: Uint8Array
  /** Where members of the mesh are reached, as `mqtt://host:port`. */
  readonly addresses: readonly string[]
  /** 8 bytes. */
  readonly inviteId: Uint8Array
  /** 16 bytes, known to whoever holds the token. */
  readonly secret: Uint8Array
  /** Unix milliseconds. */
  readonly expiry: number
}

const PREFIX = 'marram1'
const TOKEN_CHARACTERS_MAX = 4_096
const ADDRESSES_MAX = 32

/** `marram1` and base64url of deterministic CBOR {1 mesh id, 2 root key, 3 addresses, 4 invite id, 5 secret, 6 expiry, 7 mesh name}. */
export function encodeInvite(invite: Invite): string {
  const map = new Map<number, Item>([
    [1, invite.meshId],
    [2, invite.rootPublicKey],
    [3, invite.addresses],
    [4, invite.inviteId],
    [5, invite.secret],
    [6, invite.expiry],
    [7, invite.meshName],
  ])
  return PREFIX + base64url(encodeDeterministic(map))
}

export function decodeInvite(token: string): Result<Invite> {
  const text = token.trim()
  if (!text.startsWith(PREFIX))
    return fail('bad-token', `Cannot join with "${text.slice(0, 20)}": a token begins with "${PREFIX}"`)
  const bytes = text.length <= TOKEN_CHARACTERS_MAX ? fromBase64url(text.slice(PREFIX.length)) : null
  const item = bytes && decodeDeterministic(bytes)
  if (!item?.ok || !(item.value instanceof Map)) return damaged()
  const map = item.value as ReadonlyMap<number, Item>
  const [meshId, rootPublicKey, addresses] = [map.get(1), map.get(2), map.get(3)]
  const [inviteId, secret, expiry, meshName] = [map.get(4), map.get(5), map.get(6), map.get(7)]
  if (!isBytes(meshId, 16) || !isBytes(rootPublicKey, 32) || !isBytes(inviteId, 8) || !isBytes(secret, 16))
    return damaged()
  if (typeof expiry !== 'number' || typeof meshName !== 'string' || !isName(meshName)) return damaged()
  if (
    !Array.isArray(addresses) ||
    addresses.length > ADDRESSES_MAX ||
    !addresses.every((address) => typeof address === 'string')
  )
    return damaged()
  return ok({ meshId, rootPublicKey, addresses: addresses as string[], inviteId, secret, expiry, meshName })
}

function damaged(): Result<never> {
  return fail('bad-token', 'Cannot join: the token is damaged, it must be copied whole')
}

function isBytes(item: Item | undefined, length: number): item is Uint8Array {
  return item instanceof Uint8Array && item.length === length
}
