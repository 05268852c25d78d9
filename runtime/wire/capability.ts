import { concat, utf8 } from '../base/bytes.ts'
import { fail, ok, type Result } from '../base/result.ts'
import type { Verifier } from '../crypto/signature.ts'
import { RIGHT_ADMIN, type Capability, type Grant } from '../model/capability.ts'
import { MESH_COLLECTION } from '../model/names.ts'
import { decodeDeterministic, encodeDeterministic, type Item } from './deterministic.ts'

/**
 * Capabilities (protocol D4): CWT claims (RFC 8392, RFC 8747) in a COSE_Sign1, deterministic CBOR. Claims: 1 issuer's
 * key, 2 subject's key, 4 expires, 5 not before, 7 id, 8 link key, -70001 grants, -70003 roles, -70004 name, -70005 invite.
 */
const PROTECTED = Uint8Array.of(0xa1, 0x01, 0x32) // {1: -19}, Ed25519 by RFC 9864
const CAPABILITY_BYTES_MAX = 4_096
const GRANTS_MAX = 64
const CHAIN_MAX = 2

export function encodeCapability(
  capability: Capability,
  meshId: Uint8Array,
  sign: (message: Uint8Array) => Uint8Array,
): Uint8Array {
  const claims = new Map<number, Item>([
    [1, capability.issuer],
    [2, capability.subject],
    [4, capability.expires],
    [5, capability.notBefore],
    [7, capability.id],
    [8, capability.linkKey],
    [-70001, capability.grants.map(({ pattern, rights }) => [pattern, rights])],
    [-70003, capability.roles],
    [-70004, capability.name],
  ])
  if (capability.invite) claims.set(-70005, capability.invite)
  const payload = encodeDeterministic(claims)
  return encodeDeterministic([PROTECTED, new Map(), payload, sign(signedBytes(meshId, payload))])
}

/**
 * The capability of a chain's first link, when the chain is sound: leaf first, each signed by the issuer it names, the
 * last by the mesh's root; a leaf that the root didn't sign needs an administrator behind it. At most two long: who names
 * administrators is the root alone.
 */
export function verifyChain(
  meshId: Uint8Array,
  rootPublicKey: Uint8Array,
  chain: readonly Uint8Array[],
  verifier: Verifier,
): Result<Capability> {
  if (chain.length < 1 || chain.length > CHAIN_MAX)
    return fail('not-permitted', `a chain has 1 or ${CHAIN_MAX} capabilities`)
  let issuer = rootPublicKey
  let leaf: Capability | null = null
  for (const bytes of chain.toReversed()) {
    if (leaf && !isAdministrator(leaf)) return fail('not-permitted', 'its issuer is no administrator')
    const opened = open(meshId, bytes, issuer, verifier)
    if (!opened.ok) return opened
    leaf = opened.value
    issuer = leaf.subject
  }
  if (leaf && chain.length > 1 && isAdministrator(leaf))
    return fail('not-permitted', 'administrators are appointed by the root alone')
  return leaf ? ok(leaf) : fail('not-permitted', 'the chain is empty')
}

function isAdministrator(capability: Capability): boolean {
  return capability.grants.some(({ pattern, rights }) => pattern === MESH_COLLECTION && (rights & RIGHT_ADMIN) !== 0)
}

function open(meshId: Uint8Array, bytes: Uint8Array, issuer: Uint8Array, verifier: Verifier): Result<Capability> {
  if (bytes.length > CAPABILITY_BYTES_MAX)
    return fail('too-large', `a capability has at most ${CAPABILITY_BYTES_MAX} bytes`)
  const item = decodeDeterministic(bytes)
  if (!item.ok) return item
  if (!Array.isArray(item.value) || item.value.length !== 4) return malformed('envelope')
  const [protectedHeader, unprotected, payload, signature] = item.value as Item[]
  if (!isBytes(protectedHeader, 3) || Buffer.compare(protectedHeader, PROTECTED) !== 0) return malformed('algorithm')
  if (!(unprotected instanceof Map) || unprotected.size > 0) return malformed('unprotected header')
  if (!(payload instanceof Uint8Array) || !isBytes(signature, 64)) return malformed('signature')
  const capability = decodeClaims(payload)
  if (!capability.ok) return capability
  if (Buffer.compare(capability.value.issuer, issuer) !== 0)
    return fail('not-permitted', 'it was issued by somebody else')
  if (!verifier.verify(issuer, signedBytes(meshId, payload), signature))
    return fail('not-permitted', 'its signature is wrong')
  return capability
}

function decodeClaims(payload: Uint8Array): Result<Capability> {
  const item = decodeDeterministic(payload)
  if (!item.ok) return item
  if (!(item.value instanceof Map)) return malformed('claims')
  const claims = item.value as ReadonlyMap<number, Item>
  const [issuer, subject, linkKey, id] = [claims.get(1), claims.get(2), claims.get(8), claims.get(7)]
  const [expires, notBefore, name] = [claims.get(4), claims.get(5), claims.get(-70004)]
  const [grants, roles, invite] = [claims.get(-70001), claims.get(-70003), claims.get(-70005) ?? null]
  if (!isBytes(issuer, 32) || !isBytes(subject, 32) || !isBytes(linkKey, 32) || !isBytes(id, 16))
    return malformed('keys')
  if (!isCount(expires) || !isCount(notBefore)) return malformed('times')
  if (typeof name !== 'string' || name.length > 63) return malformed('name')
  if (!Array.isArray(grants) || grants.length > GRANTS_MAX || !grants.every(isGrant)) return malformed('grants')
  if (!Array.isArray(roles) || roles.length > GRANTS_MAX || !roles.every((role) => typeof role === 'string'))
    return malformed('roles')
  if (invite !== null && !isBytes(invite, 8)) return malformed('invite')
  return ok({
    issuer: issuer.slice(),
    subject: subject.slice(),
    linkKey: linkKey.slice(),
    id: id.slice(),
    expires,
    notBefore,
    name,
    grants: (grants as [string, number][]).map(([pattern, rights]): Grant => ({ pattern, rights })),
    roles: roles as string[],
    invite: invite && invite.slice(),
  })
}

/** RFC 9052 4.4, with external data that bind the mesh and keep capabilities and batches apart. */
function signedBytes(meshId: Uint8Array, payload: Uint8Array): Uint8Array {
  return encodeDeterministic(['Signature1', PROTECTED, concat(utf8('marram1/cap'), meshId), payload])
}

function isGrant(item: Item): boolean {
  return Array.isArray(item) && item.length === 2 && typeof item[0] === 'string' && isCount(item[1])
}

function isBytes(item: Item | undefined, length: number): item is Uint8Array {
  return item instanceof Uint8Array && item.length === length
}

function isCount(item: Item | undefined): item is number {
  return typeof item === 'number' && item >= 0
}

function malformed(what: string): Result<never> {
  return fail('bad-request', `the capability's ${what} is malformed`)
}
