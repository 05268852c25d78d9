import assert from 'node:assert/strict'
import { test } from 'node:test'
import { grantsOf } from '../../runtime/access/roles.ts'
import { generateDeviceKeys, type DeviceKeys } from '../../runtime/crypto/identity.ts'
import { createSigner, createVerifier } from '../../runtime/crypto/signature.ts'
import type { Capability } from '../../runtime/model/capability.ts'
import { encodeCapability, verifyChain } from '../../runtime/wire/capability.ts'
import { decodeInvite, encodeInvite } from '../../runtime/wire/invite.ts'

const MESH = new Uint8Array(16).fill(4)
const verifier = createVerifier()
const [root, admin, member] = [generateDeviceKeys(), generateDeviceKeys(), generateDeviceKeys()]

function capability(issuer: DeviceKeys, subject: DeviceKeys, role: string, meshId = MESH): Uint8Array {
  const claims: Capability = {
    issuer: issuer.publicKey,
    subject: subject.publicKey,
    linkKey: subject.linkPublicKey,
    notBefore: 5,
    expires: 2 ** 53 - 1,
    id: new Uint8Array(16).fill(1),
    grants: grantsOf(role) ?? [],
    roles: [role],
    name: 'näme',
    invite: role === 'admin' ? null : new Uint8Array(8),
  }
  return encodeCapability(claims, meshId, (message) => createSigner(issuer.secretKey).sign(message))
}

const verified = (chain: Uint8Array[], meshId = MESH): boolean =>
  verifyChain(meshId, root.publicKey, chain, verifier).ok

test('a chain is sound from the root, through at most one administrator', () => {
  const adminCapability = capability(root, admin, 'admin')
  const leaf = verifyChain(MESH, root.publicKey, [capability(admin, member, 'gateway'), adminCapability], verifier)
  assert.ok(leaf.ok)
  assert.deepEqual([leaf.value.subject, leaf.value.name, leaf.value.notBefore], [member.publicKey, 'näme', 5])
  assert.equal(verified([adminCapability]), true)
  assert.equal(verified([]), false)
  assert.equal(verified([capability(admin, member, 'gateway')]), false, 'not from the root')
  assert.equal(
    verified([capability(admin, member, 'gateway'), capability(root, admin, 'gateway')]),
    false,
    'its issuer is no administrator',
  )
  assert.equal(
    verified([capability(member, member, 'admin'), adminCapability]),
    false,
    'not issued by whom the chain names',
  )
  assert.equal(verified([capability(admin, member, 'gateway'), adminCapability, adminCapability]), false, 'too long')
  assert.equal(verified([adminCapability], new Uint8Array(16)), false, 'another mesh')
})

test('no byte of a capability can be changed', () => {
  const sound = capability(root, admin, 'admin')
  for (let at = 0; at < sound.length; at++) {
    const changed = sound.slice()
    changed[at] = (changed[at] as number) ^ 0x20
    assert.equal(verified([changed]), false, `byte ${at}`)
    assert.equal(verified([sound.subarray(0, at)]), false, `cut at ${at}`)
  }
})

test('an invite comes back as it was made; what is damaged is no token', () => {
  const invite = {
    meshId: MESH,
    meshName: 'greenhouse',
    rootPublicKey: root.publicKey,
    addresses: ['mqtt://10.0.0.2:1883'],
    inviteId: new Uint8Array(8).fill(2),
    secret: new Uint8Array(16).fill(3),
    expiry: 1_800_000_000_000,
  }
  const token = encodeInvite(invite)
  const read = decodeInvite(` ${token}\n`)
  assert.ok(read.ok)
  assert.deepEqual({ ...read.value, meshId: [...read.value.meshId] }, { ...invite, meshId: [...MESH] })
  for (const damaged of ['', 'marram1', token.slice(0, -1), token.slice(1), `${token}A`, 'marram1!!!!']) {
    const refused = decodeInvite(damaged)
    assert.equal(refused.ok, false, damaged.slice(0, 20))
    assert.equal(refused.ok || refused.error.code, 'bad-token')
  }
})
