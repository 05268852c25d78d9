import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hex } from '../../runtime/base/bytes.ts'
import { sha256 } from '../../runtime/crypto/hash.ts'
import { deviceKeysFrom } from '../../runtime/crypto/identity.ts'
import { createSigner } from '../../runtime/crypto/signature.ts'
import { MESH_COLLECTION } from '../../runtime/model/names.ts'
import { Membership } from '../../runtime/operations/membership.ts'
import { gateway, MESH } from './gateways.ts'

const keys = deviceKeysFrom(new Uint8Array(32).fill(2), new Uint8Array(32).fill(2))
const inviteId = new Uint8Array(8).fill(7)
const secret = new Uint8Array(16).fill(8)
const request = {
  inviteId,
  secret,
  publicKey: keys.publicKey,
  linkKey: keys.linkPublicKey,
  name: 'new',
  handshakeHash: new Uint8Array(32),
  signature: new Uint8Array(64),
}

function administrator(): { membership: Membership; invite: (fields: object | null) => Promise<unknown> } {
  const { store, driver } = gateway(9)
  const signer = createSigner(new Uint8Array(32).fill(9))
  const membership = new Membership({
    store,
    writer: driver,
    meshId: MESH,
    meshName: 'test',
    rootPublicKey: signer.publicKey,
    administratorChain: () => [],
    publicKey: signer.publicKey,
    sign: (message) => signer.sign(message),
    root: () => null,
    wallMs: () => 1_000,
    hlc: () => 5,
    addresses: () => [],
    member: () => null,
    capabilities: () => [],
    passOn: () => Promise.resolve(),
    administrators: () => [],
  })
  const key = `invite/${hex(inviteId)}`
  const invite = (fields: object | null): Promise<unknown> =>
    driver.write(MESH_COLLECTION, '', [
      fields === null ? { kind: 'delete', key } : { kind: 'put', key, fields: fields as Record<string, number> },
    ])
  return { membership, invite }
}

test('an invite of another administrator that has not come here yet is no reason to refuse a newcomer for good', async () => {
  const { membership, invite } = administrator()
  assert.deepEqual(await membership.admit(request), { refusal: 'cannot-enrol', addresses: [] })
  await invite({ hash: sha256(secret), role: 'gateway', uses: 1, expiry: 2_000, until: 2 ** 53 - 1 })
  assert.deepEqual(await membership.admit({ ...request, secret: inviteId }), { refusal: 'unknown' })
  assert.ok('chain' in (await membership.admit(request)))
})

test('an invite that was taken back is refused for good', async () => {
  const { membership, invite } = administrator()
  await invite({ hash: sha256(secret), role: 'gateway', uses: 1, expiry: 2_000, until: 2 ** 53 - 1 })
  await invite(null)
  assert.deepEqual(await membership.admit(request), { refusal: 'unknown' })
})

test('an invite is for a time of which a date can be made', async () => {
  const { membership } = administrator()
  for (const expiresMs of [0, -1, Number.NaN, 99_999_999 * 86_400_000, 'soon' as unknown as number])
    await assert.rejects(membership.invite({ expiresMs }), { code: 'bad-request' }, String(expiresMs))
  assert.equal((await membership.invite({ expiresMs: 3_600_000 })).expires, new Date(3_601_000).toISOString())
})
