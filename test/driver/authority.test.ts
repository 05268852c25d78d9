import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createVerifier } from '../../runtime/crypto/signature.ts'
import { MeshAuthority } from '../../runtime/driver/authority.ts'
import { encodeAheadSeal } from '../../runtime/wire/ahead-seal.ts'
import { BATCHES, FEED, HLC, KEYS, MESH } from '../wire/samples.ts'

test('an author voids what it has stamped later than it says so, of its own feeds alone, and that stays so', () => {
  const authority = new MeshAuthority(MESH, KEYS.publicKey, KEYS.publicKey, createVerifier(), () => false)
  const [first] = BATCHES
  assert.ok(first !== undefined)
  const { seq, hlc } = first.header
  const seal = encodeAheadSeal(FEED, first, seq)
  assert.equal(authority.learnAhead('somebody-else', seal, hlc - 1), false)
  assert.equal(authority.learnAhead(FEED.origin, seal, hlc), false, 'it was stamped no later')
  const forged = seal.slice()
  forged[forged.length - 20] = (forged[forged.length - 20] as number) ^ 1
  assert.equal(authority.learnAhead(FEED.origin, forged, hlc - 1), false, 'its signature does not verify')
  assert.equal(authority.sealOf(FEED), Number.POSITIVE_INFINITY)

  assert.ok(hlc >= HLC)
  assert.equal(authority.learnAhead(FEED.origin, seal, hlc - 1), true)
  assert.equal(authority.learnAhead(FEED.origin, seal, hlc - 1), false, 'it is known')
  authority.setRemovals({ closings: [], removals: [] })
  assert.deepEqual([authority.sealOf(FEED), authority.aheadOf(FEED)], [seq, seq])
})
