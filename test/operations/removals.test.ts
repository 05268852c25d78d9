import assert from 'node:assert/strict'
import { test } from 'node:test'
import { peerIdOf } from '../../runtime/crypto/identity.ts'
import { createVerifier } from '../../runtime/crypto/signature.ts'
import { farewellTo, readFarewell, type FarewellJudge } from '../../runtime/operations/farewell.ts'
import { Removals, type RemovalRequest } from '../../runtime/operations/removals.ts'
import { gateway, link, MESH, until, type Gateway } from './gateways.ts'

const LOST = peerIdOf(new Uint8Array(32).fill(99))
const RETIRED: RemovalRequest = { reason: 'retire', since: null, isHasty: true }
const REVOKED: RemovalRequest = { reason: 'revoke', since: null, isHasty: true }

/** As an administrator's; `warrant` is its root's word, where it has one. */
function removalsOf(
  own: Gateway,
  warrant: Uint8Array | null,
  mayRemove: FarewellJudge['mayRemove'],
  members: readonly string[] = [LOST],
): Removals {
  return new Removals({
    store: own.store,
    writer: own.driver,
    peerId: own.peer.peerId,
    members: () => members,
    isRemoved: () => false,
    isAdministrator: (peerId) => peerId === own.peer.peerId || warrant !== null,
    mayRemove,
    isClosed: () => true,
    isSealed: () => false,
    keeps: () => true,
    keepsAll: () => true,
    warrant: () => warrant,
  })
}

test('what two administrators ask for at one time stands side by side, and each sees its own through', async () => {
  const [a, b] = [gateway(41), gateway(42)]
  const [ofA, ofB] = [a, b].map((own) => removalsOf(own, null, () => true)) as [Removals, Removals]
  await ofA.remove(LOST, RETIRED)
  await ofB.remove(LOST, REVOKED)
  link(a, b, 1)
  const reasons = (removals: Removals): unknown =>
    Object.fromEntries(removals.closings().map(({ by, reason }) => [by, reason]))
  const both = { [a.peer.peerId]: 'retire', [b.peer.peerId]: 'revoke' }
  await until('both have both', () => [ofA, ofB].every((each) => each.closings().length === 2))
  assert.deepEqual([reasons(ofA), reasons(ofB)], [both, both])
  await ofA.step()
  await ofB.step()
  await until('both are sealed', () => ofA.states().every(({ isSealed }) => isSealed) && ofA.states().length === 2)
  for (const { driver } of [a, b]) await driver.close()
})

test('who waits for a silent gateway does not keep that one from being removed', async () => {
  const own = gateway(45)
  const [waiting, silent] = ['a'.repeat(23), 'b'.repeat(23)] as const
  const removals = removalsOf(own, null, () => true, [waiting, silent])
  await removals.remove(waiting, { ...RETIRED, isHasty: false })
  await removals.remove(silent, RETIRED)
  assert.equal(await removals.step(), true, 'the first still waits')
  assert.deepEqual(
    removals.states().map(({ closing, isSealed }) => [closing.origin, isSealed]),
    [
      [waiting, false],
      [silent, true],
    ],
  )
  await own.driver.close()
})

test('what the rights do not accept removes nobody, and is no evidence where another is', async () => {
  const word = new Uint8Array(64).fill(1)
  const mayRemove: FarewellJudge['mayRemove'] = (_, warrant) => warrant !== null
  // The first by its key is the one without the root's word.
  const [first, second] = [gateway(43), gateway(44)].sort((one, other) =>
    one.peer.peerId < other.peer.peerId ? -1 : 1,
  )
  assert.ok(first && second)
  await removalsOf(first, null, mayRemove).remove(LOST, REVOKED)
  link(first, second, 1)
  const removals = removalsOf(second, word, mayRemove)
  await until('it has come', () => farewellTo(second.store, { mayRemove, chainOf: () => [] }, LOST) !== null)
  assert.deepEqual(removals.closings(), [])
  await removals.remove(LOST, RETIRED)
  const evidence = farewellTo(second.store, { mayRemove, chainOf: () => [] }, LOST)
  assert.ok(evidence)
  const verifier = createVerifier()
  const judge = { learn: () => false, permits: () => true, mayRemove }
  const read = readFarewell(MESH, LOST, evidence, judge, (...signed) => verifier.verify(...signed))
  assert.deepEqual([read?.by, read?.reason, read?.warrant], [second.peer.peerId, 'retire', word])
  assert.equal(
    readFarewell(MESH, first.peer.peerId, evidence, judge, (...signed) => verifier.verify(...signed)),
    null,
  )
  for (const { driver } of [first, second]) await driver.close()
})
