import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { grantsOf } from '../../runtime/access/roles.ts'
import { hex } from '../../runtime/base/bytes.ts'
import type { Document } from '../../runtime/model/document.ts'
import { HLC_MAX, type Hlc } from '../../runtime/model/stamp.ts'
import type { Value } from '../../runtime/model/value.ts'
import { deviceKeysFrom, peerIdOf, type DeviceKeys } from '../../runtime/crypto/identity.ts'
import { createSigner, createVerifier } from '../../runtime/crypto/signature.ts'
import type { Feed } from '../../runtime/model/batch.ts'
import { MeshAuthority } from '../../runtime/driver/authority.ts'
import { AHEAD_PREFIX } from '../../runtime/sync/overrun.ts'
import { encodeAheadSeal } from '../../runtime/wire/ahead-seal.ts'
import { encodeCapability } from '../../runtime/wire/capability.ts'
import { feedOf } from '../../runtime/wire/descriptor.ts'
import { warrantBytes } from '../../runtime/wire/warrant.ts'
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

describe('what a removed administrator gave', () => {
  const [root, thief, member, minted] = [1, 2, 3, 4].map((number) =>
    deviceKeysFrom(new Uint8Array(32).fill(number), new Uint8Array(32).fill(number)),
  ) as [DeviceKeys, DeviceKeys, DeviceKeys, DeviceKeys]
  const idOf = ({ publicKey }: DeviceKeys): string => peerIdOf(publicKey)
  let ids = 0
  const given = (issuer: DeviceKeys, subject: DeviceKeys, role: string): Uint8Array => {
    const claims = {
      issuer: issuer.publicKey,
      subject: subject.publicKey,
      linkKey: subject.linkPublicKey,
      notBefore: 5,
      expires: HLC_MAX,
      id: new Uint8Array(16).fill(++ids),
      grants: grantsOf(role) ?? [],
      roles: [role],
      name: 'it',
      invite: null,
    }
    return encodeCapability(claims, MESH, (message) => createSigner(issuer.secretKey).sign(message))
  }
  const administrators = [given(root, thief, 'admin')]
  const [known, late] = [
    [given(thief, member, 'gateway'), ...administrators],
    [given(thief, minted, 'gateway'), ...administrators],
  ]
  const closing = (): Parameters<MeshAuthority['setRemovals']>[0]['closings'][number] => {
    const warrant = createSigner(root.secretKey).sign(warrantBytes(MESH, idOf(thief)))
    return { origin: idOf(thief), reason: 'revoke', since: null, by: idOf(root), isHasty: false, warrant }
  }
  const removals = (): Parameters<MeshAuthority['setRemovals']>[0]['removals'] => [
    {
      removal: { origin: idOf(thief), reason: 'revoke', seals: new Map(), bound: new Set() },
      warrant: closing().warrant,
    },
  ]
  const feedOfKey = ({ publicKey }: DeviceKeys): Feed =>
    feedOf(MESH, {
      collection: 'climate',
      partition: '',
      publicKey,
      incarnation: new Uint8Array(8),
      kind: 0,
      encrypted: false,
    })
  const authority = (): MeshAuthority =>
    new MeshAuthority(MESH, root.publicKey, KEYS.publicKey, createVerifier(), () => false)

  test('counts while that one belongs, and then what stands in documents; what was only shown is void', () => {
    const all = authority()
    all.stand(`member/${idOf(thief)}`, administrators)
    all.stand(`member/${idOf(member)}`, known)
    assert.notEqual(all.admit(late), null)
    assert.equal(all.permits(feedOfKey(minted), 6), true)
    all.setRemovals({ closings: [closing()], removals: [] })
    assert.deepEqual([all.isClosed(idOf(member)), all.isClosed(idOf(minted))], [false, true])
    assert.deepEqual([all.permits(feedOfKey(member), 6), all.permits(feedOfKey(minted), 6)], [true, false])
    assert.equal(all.sealOf(feedOfKey(minted)), Number.POSITIVE_INFINITY, 'until what stands is known for good')
    all.setRemovals({ closings: [closing()], removals: removals() })
    assert.deepEqual([all.sealOf(feedOfKey(minted)), all.isRemoved(idOf(minted))], [1, true])
    assert.equal(all.sealOf(feedOfKey(member)), Number.POSITIVE_INFINITY)
    // Its document comes late: it was a member all along.
    all.stand(`member/${idOf(minted)}`, late)
    all.setRemovals({ closings: [closing()], removals: removals() })
    assert.deepEqual([all.isClosed(idOf(minted)), all.permits(feedOfKey(minted), 6)], [false, true])
    // And the document turns out to be void.
    assert.equal(all.stand(`member/${idOf(minted)}`, null), true)
    all.setRemovals({ closings: [closing()], removals: removals() })
    assert.equal(all.isRemoved(idOf(minted)), true)
  })

  test('is the same whatever was heard first', () => {
    const removed = authority()
    removed.stand(`member/${idOf(thief)}`, administrators)
    removed.setRemovals({ closings: [closing()], removals: removals() })
    assert.equal(removed.admit(late), null, 'nobody is let in by it any more')
    removed.stand(`member/${idOf(member)}`, known)
    removed.setRemovals({ closings: [closing()], removals: removals() })
    assert.deepEqual([removed.permits(feedOfKey(member), 6), removed.permits(feedOfKey(minted), 6)], [true, false])
  })

  test('of one whose right has ended what no document holds may have been given since', () => {
    assert.equal(authority().isGivenLate(late, HLC_MAX - 1), false, 'nothing else is known')
    const ended = authority()
    ended.stand(`member/${idOf(member)}`, known)
    assert.equal(ended.isGivenLate(known, HLC_MAX), false)
    assert.equal(ended.isGivenLate(late, HLC_MAX - 1), false)
    assert.equal(ended.isGivenLate(late, HLC_MAX), true)
    assert.equal(ended.isGivenLate(administrators, HLC_MAX), false, 'the root gave it')
  })
})
