import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hex } from '../../runtime/base/bytes.ts'
import type { Document } from '../../runtime/model/document.ts'
import type { Hlc } from '../../runtime/model/stamp.ts'
import type { Value } from '../../runtime/model/value.ts'
import { createVerifier } from '../../runtime/crypto/signature.ts'
import { MeshAuthority } from '../../runtime/driver/authority.ts'
import { AHEAD_PREFIX } from '../../runtime/sync/overrun.ts'
import { encodeAheadSeal } from '../../runtime/wire/ahead-seal.ts'
import { BATCHES, FEED, HLC, KEYS, MESH } from '../wire/samples.ts'

/** A field for each, as it was written under a stamp. */
function saying(...fields: readonly (readonly [path: string, value: Value, hlc: Hlc])[]): Document {
  const writes = fields.map(([, , hlc]) => ({ hlc, index: 0, origin: FEED.origin, feed: FEED, seq: 1, lsn: 1 }))
  return {
    deleted: null,
    paths: fields.map(([path]) => path),
    values: fields.map(([, value]) => value),
    writes,
    lsn: 1,
  }
}

const KEY = AHEAD_PREFIX + hex(FEED.id)

test('an author voids what it has stamped later than it says so, of its own feeds alone, as long as it says so', () => {
  const authority = new MeshAuthority(MESH, KEYS.publicKey, KEYS.publicKey, createVerifier(), () => false)
  const [first] = BATCHES
  assert.ok(first !== undefined)
  const { seq, hlc } = first.header
  const seal = encodeAheadSeal(FEED, first, seq)
  const sealed = saying(['sealed', seal, hlc - 1])
  assert.equal(authority.learnAhead('somebody-else', KEY, sealed), false)
  assert.equal(authority.learnAhead(FEED.origin, `${KEY}0`, sealed), false, 'its document is of another feed')
  assert.equal(authority.learnAhead(FEED.origin, KEY, saying(['sealed', seal, hlc])), false, 'it was stamped no later')
  const beside = saying(['early', 1, hlc - 1], ['sealed', seal, hlc])
  assert.equal(authority.learnAhead(FEED.origin, KEY, beside), false, 'what stands beside it says nothing')
  const forged = seal.slice()
  forged[forged.length - 20] = (forged[forged.length - 20] as number) ^ 1
  const unsigned = saying(['sealed', forged, hlc - 1])
  assert.equal(authority.learnAhead(FEED.origin, KEY, unsigned), false, 'its signature does not verify')
  assert.equal(authority.sealOf(FEED), Number.POSITIVE_INFINITY)

  assert.ok(hlc >= HLC)
  assert.equal(authority.learnAhead(FEED.origin, KEY, sealed), true)
  assert.equal(authority.learnAhead(FEED.origin, KEY, sealed), false, 'it is known')
  assert.equal(authority.learnAhead('somebody-else', KEY, saying()), false)
  authority.setRemovals({ closings: [], removals: [] })
  assert.deepEqual([authority.sealOf(FEED), authority.aheadOf(FEED)], [seq, seq])
  assert.equal(authority.learnAhead(FEED.origin, KEY, saying()), true, 'it says so no more')
  assert.equal(authority.sealOf(FEED), Number.POSITIVE_INFINITY)
})
