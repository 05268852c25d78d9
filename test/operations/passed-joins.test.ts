import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deviceKeysFrom, generateDeviceKeys, peerIdOf, type DeviceKeys } from '../../runtime/crypto/identity.ts'
import { createSigner, createVerifier } from '../../runtime/crypto/signature.ts'
import { isLive } from '../../runtime/model/document.ts'
import { fieldsOf } from '../../runtime/model/fields.ts'
import { MESH_COLLECTION, SELF_COLLECTION } from '../../runtime/model/names.ts'
import type { JoinRequest } from '../../runtime/ports/enroller.ts'
import { PassedJoins } from '../../runtime/operations/passed-joins.ts'
import { entriesOf } from '../../runtime/operations/reading.ts'
import { SILENT_LOG } from '../../runtime/ports/log.ts'
import { gateway, MESH, type Gateway } from './gateways.ts'

const device = (number: number): DeviceKeys =>
  deviceKeysFrom(new Uint8Array(32).fill(number), new Uint8Array(32).fill(number))
const [ADMIN, OTHER_ADMIN, MEMBER] = [9, 8, 2].map(device) as [DeviceKeys, DeviceKeys, DeviceKeys]
const MEMBER_ID = peerIdOf(MEMBER.publicKey)

function requestOf(keys: DeviceKeys, signedBy: DeviceKeys = keys): JoinRequest {
  const handshakeHash = new Uint8Array(32).fill(7)
  return {
    inviteId: new Uint8Array(8).fill(1),
    secret: new Uint8Array(16).fill(2),
    publicKey: keys.publicKey,
    linkKey: keys.linkPublicKey,
    name: 'new',
    handshakeHash,
    signature: createSigner(signedBy.secretKey).sign(handshakeHash),
  }
}

/** Gateways that share one store, as if all had reached everyone. */
class Bench {
  readonly shared: Gateway = gateway(9)
  readonly admitted: JoinRequest[] = []
  readonly administrators: DeviceKeys[] = [OTHER_ADMIN, ADMIN]
  atMs = 0
  /** The disk takes nothing. */
  isFull = false

  joins(keys: DeviceKeys): PassedJoins {
    return new PassedJoins({
      store: this.shared.store,
      writer: {
        write: (...write) =>
          this.isFull ? Promise.reject(new Error('the disk is full')) : this.shared.driver.write(...write),
      },
      meshId: MESH,
      peerId: peerIdOf(keys.publicKey),
      linkSecretKey: keys.linkSecretKey,
      verifier: createVerifier(),
      isAdministrator: () => keys !== MEMBER,
      administratorKeys: () => this.administrators.map(({ linkPublicKey }) => linkPublicKey),
      members: () => [ADMIN, MEMBER].map(({ publicKey }) => peerIdOf(publicKey)),
      admit: (request) => {
        if (this.isFull) return Promise.reject(new Error('the disk is full'))
        this.admitted.push(request)
        return Promise.resolve()
      },
      log: SILENT_LOG,
      monotonicMs: () => this.atMs,
    })
  }

  get waiting(): readonly { readonly key: string; readonly sealed: readonly Uint8Array[] }[] {
    const self = { collection: SELF_COLLECTION, partition: MEMBER_ID }
    const live = [...entriesOf(this.shared.store, self, 'join/')].filter(({ document }) => isLive(document))
    return live.map(({ key, document }) => {
      return { key, sealed: fieldsOf(document)['sealed'] as unknown as Uint8Array[] }
    })
  }
}

test('a request is passed on once, sealed to each administrator, and decided by one', async () => {
  const bench = new Bench()
  const request = requestOf(generateDeviceKeys())
  const member = bench.joins(MEMBER)
  await member.pass(request)
  await member.pass(request)
  const [{ sealed } = { sealed: [] }, ...more] = bench.waiting
  assert.deepEqual([sealed.length, more.length], [2, 0])
  for (const one of sealed) assert.ok(!Buffer.from(one).includes(Buffer.from(request.secret)))
  const admin = bench.joins(ADMIN)
  await admin.step()
  await admin.step()
  assert.deepEqual(bench.admitted, [request])
})

test('a request is not taken from another member, nor made up for a key that has not asked', async () => {
  const bench = new Bench()
  await bench.joins(MEMBER).pass(requestOf(generateDeviceKeys(), generateDeviceKeys()))
  await bench.joins(ADMIN).step()
  assert.deepEqual(bench.admitted, [], 'somebody else has signed it')

  const copied = new Bench()
  await copied.joins(MEMBER).pass(requestOf(generateDeviceKeys()))
  const [{ key, sealed } = { key: '', sealed: [] }] = copied.waiting
  const other = peerIdOf(ADMIN.publicKey)
  await copied.shared.driver.write(SELF_COLLECTION, MEMBER_ID, [{ kind: 'delete', key }])
  await copied.shared.driver.write(SELF_COLLECTION, other, [
    { kind: 'put', key, fields: { sealed: sealed.map((one) => one.slice()) } },
  ])
  await copied.joins(ADMIN).step()
  assert.deepEqual(copied.admitted, [], 'it was sealed for the member that passed it on')
})

test('what is decided or old is taken away, so that few wait and others have a place', async () => {
  const bench = new Bench()
  const member = bench.joins(MEMBER)
  const keys = Array.from({ length: 20 }, () => generateDeviceKeys())
  for (const each of keys) await member.pass(requestOf(each))
  assert.equal(bench.waiting.length, 16)
  const decided = peerIdOf((keys[0] as DeviceKeys).publicKey)
  await bench.shared.driver.write(MESH_COLLECTION, '', [
    { kind: 'put', key: `member/${decided}`, fields: { name: 'new' } },
  ])
  await member.step()
  assert.equal(bench.waiting.length, 15)
  await member.pass(requestOf(keys[17] as DeviceKeys))
  assert.equal(bench.waiting.length, 16)
  // Another process finds them and counts from then on.
  const restarted = bench.joins(MEMBER)
  bench.atMs = 1_000
  await restarted.step()
  bench.atMs += 600_001
  await restarted.step()
  assert.equal(bench.waiting.length, 0)
})

test('bytes from hell among what was passed on hold nothing up', async () => {
  const bench = new Bench()
  const sealedOf: unknown[] = [1, 'x', [], [1], [new Uint8Array(0)], [new Uint8Array(90)]]
  for (const [i, sealed] of sealedOf.entries())
    await bench.shared.driver.write(SELF_COLLECTION, MEMBER_ID, [
      { kind: 'put', key: `join/${i}`, fields: { sealed: sealed as never } },
    ])
  const request = requestOf(generateDeviceKeys())
  await bench.joins(MEMBER).pass(request)
  await bench.joins(ADMIN).step()
  assert.deepEqual(bench.admitted, [request])
})

test('what a full disk does not take is passed on, and decided, when it takes it', async () => {
  const bench = new Bench()
  const request = requestOf(generateDeviceKeys())
  const [member, admin] = [bench.joins(MEMBER), bench.joins(ADMIN)]
  bench.isFull = true
  await assert.rejects(member.pass(request))
  bench.isFull = false
  await member.pass(request)
  assert.equal(bench.waiting.length, 1)
  bench.isFull = true
  await assert.rejects(admin.step())
  bench.isFull = false
  await admin.step()
  assert.deepEqual(bench.admitted, [request])
})
