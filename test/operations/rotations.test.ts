import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { deviceKeysFrom, peerIdOf, type DeviceKeys } from '../../runtime/crypto/identity.ts'
import { createSigner, createVerifier } from '../../runtime/crypto/signature.ts'
import type { Capability } from '../../runtime/model/capability.ts'
import { emptyDocument } from '../../runtime/model/document.ts'
import { SELF_COLLECTION } from '../../runtime/model/names.ts'
import { SILENT_LOG } from '../../runtime/ports/log.ts'
import type { Fields } from '../../runtime/model/value.ts'
import type { Successor } from '../../runtime/operations/membership.ts'
import { Rotations } from '../../runtime/operations/rotations.ts'
import { rotationBytes } from '../../runtime/wire/rotation.ts'
import { gateway, MESH, type Gateway } from './gateways.ts'

const device = (number: number): DeviceKeys =>
  deviceKeysFrom(new Uint8Array(32).fill(number), new Uint8Array(32).fill(number))
const [ADMIN, OLD, NEXT, OTHER] = [9, 2, 3, 4].map(device) as [DeviceKeys, DeviceKeys, DeviceKeys, DeviceKeys]
const idOf = ({ publicKey }: DeviceKeys): string => peerIdOf(publicKey)
const memberOf = ({ publicKey, linkPublicKey }: DeviceKeys): Capability => ({
  issuer: ADMIN.publicKey,
  subject: publicKey,
  linkKey: linkPublicKey,
  notBefore: 0,
  expires: 1e15,
  id: new Uint8Array(16),
  grants: [],
  roles: ['gateway'],
  name: 'it',
  invite: null,
})

/** Gateways that share one store, as if all had reached everyone. */
class Bench {
  readonly shared: Gateway = gateway(9)
  readonly admitted: Successor[] = []
  readonly retired: string[] = []
  readonly closed = new Set<string>()
  readonly successors = new Map<string, string[]>()
  readonly predecessors = new Map<string, string>()
  /** Keys that can't be admitted here. */
  readonly refused = new Set<string>()
  mayRetire = true
  /** Members beside the administrator and the one whose keys are replaced. */
  readonly more: DeviceKeys[] = []
  readonly warnings: unknown[] = []

  rotations(keys: DeviceKeys, succeeds: string | null = null): Rotations {
    return new Rotations({
      store: this.shared.store,
      writer: this.shared.driver,
      meshId: MESH,
      peerId: idOf(keys),
      publicKey: keys.publicKey,
      succeeds,
      verifier: createVerifier(),
      isAdministrator: () => keys === ADMIN,
      members: () => [ADMIN, OLD, ...this.more].map(memberOf),
      isClosed: (peerId) => this.closed.has(peerId),
      successors: () => this.successors,
      predecessorOf: (peerId) => this.predecessors.get(peerId) ?? null,
      admit: (_, successor) => {
        const { succeeds, publicKey } = successor
        if (this.refused.has(succeeds)) return Promise.reject(new Error('the root key is needed'))
        this.admitted.push(successor)
        this.successors.set(succeeds, [...(this.successors.get(succeeds) ?? []), peerIdOf(publicKey)])
        return Promise.resolve()
      },
      mayRetire: () => this.mayRetire,
      retire: (peerId) => {
        this.retired.push(peerId)
        this.closed.add(peerId)
        return Promise.resolve()
      },
      log: { ...SILENT_LOG, warn: (_, fields) => this.warnings.push(fields) },
    })
  }

  async ask(by: string, fields: Fields): Promise<void> {
    await this.shared.driver.write(SELF_COLLECTION, by, [{ kind: 'put', key: `rotate/${idOf(NEXT)}`, fields }])
  }
}

function askingOf(by: DeviceKeys, next: DeviceKeys, signedBy: DeviceKeys = next): { [name: string]: Uint8Array } {
  const message = rotationBytes(MESH, by.publicKey, next.publicKey, next.linkPublicKey)
  const proof = createSigner(signedBy.secretKey).sign(message)
  return { publicKey: next.publicKey, linkKey: next.linkPublicKey, proof }
}

describe('replacing a key', () => {
  test('is asked for by the old one, admitted once, and ends with the old one retired when the new one is used', async () => {
    const bench = new Bench()
    const admin = bench.rotations(ADMIN)
    await bench.rotations(OLD).ask(NEXT)
    await bench.rotations(OLD).ask(NEXT)
    await admin.step()
    await admin.step()
    const { publicKey, linkPublicKey: linkKey } = NEXT
    assert.deepEqual(bench.admitted, [{ publicKey, linkKey, succeeds: idOf(OLD) }])
    assert.deepEqual(bench.retired, [], 'the new key is not used yet')
    await bench.rotations(NEXT, idOf(OLD)).step()
    await admin.step()
    await admin.step()
    assert.deepEqual(bench.retired, [idOf(OLD)])
  })

  test('has one successor, and a member that is removed has none', async () => {
    const bench = new Bench()
    await bench.rotations(OLD).ask(NEXT)
    await bench.rotations(OLD).ask(OTHER)
    await bench.rotations(ADMIN).step()
    await bench.rotations(ADMIN).step()
    assert.equal(bench.admitted.length, 1)
    const removed = new Bench()
    removed.closed.add(idOf(OLD))
    await removed.rotations(OLD).ask(NEXT)
    await removed.rotations(ADMIN).step()
    assert.deepEqual(removed.admitted, [])
  })

  test('does not retire a member for a successor that it has not asked for, or that this gateway may not retire', async () => {
    const bench = new Bench()
    bench.successors.set(idOf(OLD), [idOf(NEXT)])
    await bench.rotations(NEXT, idOf(OLD)).step()
    const admin = bench.rotations(ADMIN)
    await admin.step()
    assert.deepEqual(bench.retired, [], 'the old key has asked for nothing')
    await bench.rotations(OLD).ask(NEXT)
    bench.mayRetire = false
    await bench.rotations(ADMIN).step()
    assert.deepEqual(bench.retired, [])
    bench.mayRetire = true
    await bench.rotations(ADMIN).step()
    assert.deepEqual(bench.retired, [idOf(OLD)])
  })

  test("does not hand a member's place to another member, or to one that was removed", async () => {
    for (const closed of [[], [idOf(NEXT)]]) {
      const bench = new Bench()
      bench.more.push(NEXT)
      for (const peerId of closed) bench.closed.add(peerId)
      await bench.rotations(OLD).ask(NEXT)
      await bench.rotations(ADMIN).step()
      assert.deepEqual(bench.admitted, [])
    }
  })

  test('begins again with other keys when those that were admitted were removed before they were used', async () => {
    const bench = new Bench()
    const admin = bench.rotations(ADMIN)
    await bench.rotations(OLD).ask(NEXT)
    await admin.step()
    bench.more.push(NEXT)
    bench.closed.add(idOf(NEXT))
    await bench.rotations(OLD).ask(OTHER)
    await admin.step()
    assert.deepEqual(
      bench.admitted.map(({ publicKey }) => peerIdOf(publicKey)),
      [idOf(NEXT), idOf(OTHER)],
    )
    assert.deepEqual(bench.retired, [])
  })

  test('begins only when the one whose place it took is closed out', async () => {
    const bench = new Bench()
    bench.predecessors.set(idOf(OLD), idOf(OTHER))
    const admin = bench.rotations(ADMIN)
    await bench.rotations(OLD).ask(NEXT)
    await admin.step()
    assert.deepEqual(bench.admitted, [])
    bench.closed.add(idOf(OTHER))
    await admin.step()
    assert.equal(bench.admitted.length, 1)
  })

  test("is not held up by another member's that fails, and that is told once", async () => {
    const bench = new Bench()
    bench.more.push(OTHER)
    bench.refused.add(idOf(OLD))
    const [last] = [5].map(device) as [DeviceKeys]
    const admin = bench.rotations(ADMIN)
    await bench.rotations(OLD).ask(NEXT)
    await bench.rotations(OTHER).ask(last)
    await admin.step()
    await admin.step()
    assert.deepEqual(
      bench.admitted.map(({ succeeds }) => succeeds),
      [idOf(OTHER)],
    )
    assert.equal(bench.warnings.length, 1)
  })

  test('is looked at again when something of it changes, and not before', async () => {
    const bench = new Bench()
    const admin = bench.rotations(ADMIN)
    await admin.step()
    await bench.rotations(OLD).ask(NEXT)
    await admin.step()
    assert.deepEqual(bench.admitted, [], 'nobody has told it')
    const change = { collection: SELF_COLLECTION, partition: idOf(OLD), key: `rotate/${idOf(NEXT)}` }
    admin.learn({ ...change, document: emptyDocument() })
    await admin.step()
    assert.equal(bench.admitted.length, 1)
  })

  for (const [what, by, fields] of [
    ['whose new key has not signed it', OLD, askingOf(OLD, NEXT, OTHER)],
    ['that was made for another old key', OLD, askingOf(OTHER, NEXT)],
    ['by nobody that is a member', OTHER, askingOf(OTHER, NEXT)],
    ['for the key that it is', OLD, askingOf(OLD, OLD)],
    ['for another link key', OLD, { ...askingOf(OLD, NEXT), linkKey: OTHER.linkPublicKey }],
    ['for a key of small order', OLD, { ...askingOf(OLD, NEXT), publicKey: new Uint8Array(32) }],
    ['without a proof', OLD, { publicKey: NEXT.publicKey, linkKey: NEXT.linkPublicKey }],
    ['with keys of another length', OLD, { ...askingOf(OLD, NEXT), linkKey: new Uint8Array(31) }],
  ] as const)
    test(`is refused when it is asked for ${what}`, async () => {
      const bench = new Bench()
      await bench.ask(idOf(by), fields)
      await bench.rotations(ADMIN).step()
      assert.deepEqual(bench.admitted, [])
    })
})
