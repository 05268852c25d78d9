import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { DISCOVERY_LIMITS } from '../../runtime/base/limits.ts'
import { seededRandom } from '../../runtime/base/random.ts'
import { Candidates, type LinkState } from '../../runtime/topology/candidates.ts'

const SELF = 'z'.repeat(23)
const peer = (name: string): string => name.repeat(23)

function candidates(min = 2, max = 6): Candidates {
  return new Candidates({ peerId: SELF, links: { min, max }, random: seededRandom(1) })
}

function links(
  linked: readonly string[] = [],
  reachable: readonly string[] = [],
  wanted: readonly string[] = [],
): LinkState {
  return { linked: new Set(linked), isReachable: (peerId) => reachable.includes(peerId), wanted: new Set(wanted) }
}

/** Every attempt fails until nothing is due any more; how often each address was dialled. */
function failAll(known: Candidates, state: LinkState, untilMs: number): Map<string, number> {
  const dials = new Map<string, number>()
  for (let nowMs = 0; nowMs < untilMs; nowMs += 100) {
    for (const address of known.due(nowMs, state)) {
      dials.set(address, (dials.get(address) ?? 0) + 1)
      known.ended(address, { peerId: null, linkedMs: null }, nowMs)
    }
  }
  return dials
}

describe('addresses of the profile', () => {
  test('are dialled for ever, and no more when they are taken out', () => {
    const known = candidates()
    known.setBootstrap(['mqtt://10.0.0.1:1883'], 0)
    const dials = failAll(known, links(), 3_600_000).get('mqtt://10.0.0.1:1883') ?? 0
    assert.ok(dials > 120 && dials < 1_000, `${dials} times in an hour`)
    known.setBootstrap([], 3_600_000)
    assert.deepEqual(known.due(4_000_000, links()), [])
    assert.deepEqual(known.addresses(), [])
  })

  test('whose gateway has no place, and is reached over others, rest for minutes; when it is out of reach they do not', () => {
    const known = candidates()
    known.setBootstrap(['mqtt://10.0.0.1:1883'], 0)
    known.due(0, links())
    known.ended('mqtt://10.0.0.1:1883', { peerId: peer('a'), linkedMs: 50 }, 1_000)
    assert.deepEqual(known.due(60_000, links([peer('b')], [peer('a'), peer('b')])), [])
    assert.deepEqual(known.due(62_000, links([peer('b')], [peer('b')])), ['mqtt://10.0.0.1:1883'])
    known.ended('mqtt://10.0.0.1:1883', { peerId: peer('a'), linkedMs: 50 }, 63_000)
    assert.deepEqual(known.due(400_000, links([peer('b')], [peer('a'), peer('b')])), ['mqtt://10.0.0.1:1883'])
  })

  test('where this gateway was admitted are tried until somebody was found there', () => {
    const known = candidates(1, 6)
    known.admitted(['mqtt://10.0.0.1:1883'], 0)
    const state = links([peer('b')], [peer('a')])
    assert.deepEqual(known.due(0, state), ['mqtt://10.0.0.1:1883'])
    known.ended('mqtt://10.0.0.1:1883', { peerId: null, linkedMs: null }, 0)
    assert.deepEqual(known.due(60_000, state), ['mqtt://10.0.0.1:1883'])
    known.ended('mqtt://10.0.0.1:1883', { peerId: peer('a'), linkedMs: 10_000 }, 70_000)
    assert.deepEqual(known.due(200_000, state), [], 'it is reached over others')
  })

  test('are dialled although there are enough links, up to the most', () => {
    const known = candidates(1, 2)
    known.setBootstrap(['mqtt://10.0.0.1:1883'], 0)
    assert.deepEqual(known.due(0, links([peer('a'), peer('b')])), [])
    assert.deepEqual(known.due(2_000, links([peer('a')])), ['mqtt://10.0.0.1:1883'])
  })
})

describe('hints', () => {
  test('are dialled while links are lacking, or when nobody else reaches whom they lead to', () => {
    const known = candidates(2, 6)
    known.hint({ address: 'mqtt://10.0.0.1:1883', peerId: peer('a') }, 'mdns', 0)
    const reachable = [peer('a'), peer('b'), peer('c')]
    assert.deepEqual(known.due(0, links([peer('b'), peer('c')], reachable)), [])
    assert.deepEqual(known.due(2_000, links([peer('b')], reachable)), ['mqtt://10.0.0.1:1883'])
    known.ended('mqtt://10.0.0.1:1883', { peerId: null, linkedMs: null }, 2_000)
    assert.deepEqual(known.due(60_000, links([peer('b'), peer('c')], [peer('b')])), ['mqtt://10.0.0.1:1883'])
  })

  test('are dialled when a link with whom they lead to is wanted, and before all others', () => {
    const known = candidates(2, 6)
    for (const name of ['a', 'b', 'c'])
      known.hint({ address: `mqtt://10.0.0.${name.charCodeAt(0)}:1883`, peerId: peer(name) }, 'exchange', 0)
    const reachable = ['a', 'b', 'c', 'x', 'y'].map(peer)
    const linked = [peer('x'), peer('y')]
    assert.deepEqual(known.due(0, links(linked, reachable)), [])
    assert.deepEqual(known.due(2_000, links(linked, reachable, [peer('c')])), ['mqtt://10.0.0.99:1883'])
    assert.equal(known.due(4_000, links([], reachable, [peer('b')]))[0], 'mqtt://10.0.0.98:1883')
  })

  test('to whom nobody reaches yet wait a little while there are links enough: somebody else may be about to', () => {
    const known = candidates(1, 6)
    known.hint({ address: 'mqtt://10.0.0.1:1883', peerId: peer('a') }, 'mdns', 0)
    assert.deepEqual(known.due(0, links([peer('b')])), [])
    assert.deepEqual(known.due(3_000, links([peer('b')])), [])
    assert.deepEqual(known.due(6_000, links([peer('b')])), ['mqtt://10.0.0.1:1883'])
  })

  test('say of whom they lead to that it fails when all of them did of late', () => {
    const known = candidates()
    const isFailing = (nowMs: number): boolean | undefined => known.failing(nowMs).get(peer('a'))
    assert.equal(isFailing(0), undefined)
    known.hint({ address: 'mqtt://10.0.0.1:1883', peerId: peer('a') }, 'mdns', 0)
    assert.equal(isFailing(0), false, 'it was not tried yet')
    known.due(0, links())
    known.ended('mqtt://10.0.0.1:1883', { peerId: peer('a'), linkedMs: 50 }, 1_000)
    assert.equal(isFailing(2_000), true, 'it had no place')
    assert.equal(isFailing(62_000), false, 'it is worth another attempt')
    known.hint({ address: 'mqtt://10.0.1.1:1883', peerId: peer('a') }, 'mdns', 2_000)
    assert.equal(isFailing(2_000), false, 'there is another way to it')
  })

  test('of those that are preferred take the place of others that are only told of, when there are too many', () => {
    const known = candidates()
    for (let i = 0; i < DISCOVERY_LIMITS.addressesMax; i++)
      known.hint({ address: `mqtt://10.0.${i}.1:1883`, peerId: String(i).padStart(23, 'a') }, 'exchange', 0)
    known.hint({ address: 'mqtt://10.1.0.1:1883', peerId: peer('b') }, 'exchange', 0)
    assert.equal(known.has('mqtt://10.1.0.1:1883'), false)
    known.prefer(new Set([peer('b')]))
    known.hint({ address: 'mqtt://10.1.0.1:1883', peerId: peer('b') }, 'exchange', 0)
    assert.equal(known.has('mqtt://10.1.0.1:1883'), true)
    assert.equal(known.addresses().length, DISCOVERY_LIMITS.addressesMax)
  })

  test('never bring more links than there may be', () => {
    const known = candidates(2, 3)
    for (const name of ['a', 'b', 'c', 'd'])
      known.hint({ address: `mqtt://10.0.0.${name.charCodeAt(0)}:1883`, peerId: peer(name) }, 'mdns', 0)
    assert.equal(known.due(6_000, links([peer('y')])).length, 2)
  })

  test('are forgotten when they lead nowhere, however often they failed; those that led to the mesh are not', () => {
    const known = candidates()
    known.hint({ address: 'mqtt://10.0.0.1:1883', peerId: peer('a') }, 'mdns', 0)
    known.hint({ address: 'mqtt://10.0.0.2:1883', peerId: peer('b') }, 'mdns', 0)
    assert.equal(known.worked('mqtt://10.0.0.2:1883', peer('b')), true)
    assert.equal(known.worked('mqtt://10.0.0.2:1883', peer('b')), false, 'it is remembered already')
    const dials = failAll(known, links(), 3_600_000)
    assert.equal(dials.get('mqtt://10.0.0.1:1883'), DISCOVERY_LIMITS.dialFailuresMax)
    assert.ok((dials.get('mqtt://10.0.0.2:1883') ?? 0) > 100)
    assert.deepEqual(known.addresses(), [
      { address: 'mqtt://10.0.0.2:1883', peerIds: [peer('b')], from: ['remembered', 'mdns'] },
    ])
  })

  test('that were told of again are tried soon, whatever their back-off was, but not at once', () => {
    const known = candidates()
    const hint = { address: 'mqtt://10.0.0.1:1883', peerId: peer('a') }
    known.hint(hint, 'mdns', 0)
    for (let i = 0; i < 7; i++) {
      assert.deepEqual(known.due(i * 60_000, links()), [hint.address])
      known.ended(hint.address, { peerId: null, linkedMs: null }, i * 60_000)
    }
    known.hint(hint, 'mdns', 360_001)
    assert.deepEqual(known.due(360_001, links()), [])
    assert.deepEqual(known.due(365_000, links()), [hint.address])
  })

  test('to this gateway itself, or to whom it has a link to, are not dialled', () => {
    const known = candidates()
    known.hint({ address: 'mqtt://10.0.0.1:1883', peerId: SELF }, 'mdns', 0)
    known.hint({ address: 'mqtt://10.0.0.2:1883', peerId: peer('b') }, 'mdns', 0)
    assert.deepEqual(known.due(0, links([peer('b')])), [])
    assert.deepEqual(known.due(60_000, links([])), ['mqtt://10.0.0.2:1883'])
    known.ended('mqtt://10.0.0.2:1883', { peerId: SELF, linkedMs: null }, 60_000)
    known.hint({ address: 'mqtt://10.0.0.2:1883', peerId: peer('b') }, 'mdns', 66_000)
    assert.deepEqual(known.due(119_000, links([])), [], 'it was found to be its own')
  })

  test('to one peer are dialled one after the other', () => {
    const known = candidates()
    known.hint({ address: 'mqtt://10.0.0.1:1883', peerId: peer('a') }, 'mdns', 0)
    known.hint({ address: 'mqtt://10.0.1.1:1883', peerId: peer('a') }, 'mdns', 0)
    const [first] = known.due(0, links())
    assert.deepEqual(known.due(2_000, links()), [])
    known.ended(first as string, { peerId: null, linkedMs: null }, 2_000)
    assert.deepEqual(known.due(3_000, links()), ['mqtt://10.0.1.1:1883'])
  })

  test('of a flood take bounded memory and bounded dials, and displace nothing that led to the mesh', () => {
    const known = candidates()
    known.hint({ address: 'mqtt://10.0.0.1:1883', peerId: peer('a') }, 'mdns', 0)
    known.worked('mqtt://10.0.0.1:1883', peer('a'))
    let dials = 0
    for (let i = 0; i < 100_000; i++) {
      const host = `10.${1 + (i % 3)}.${(i >> 8) % 256}.${i % 256}`
      known.hint({ address: `mqtt://${host}:${1 + (i % 60_000)}`, peerId: peer('b') }, 'mdns', i)
      if (i % 100 !== 0) continue
      for (const address of known.due(i, links())) {
        dials += 1
        known.ended(address, { peerId: null, linkedMs: null }, i)
      }
    }
    assert.ok(known.addresses().length <= DISCOVERY_LIMITS.addressesMax)
    assert.ok(known.addresses().some(({ address }) => address === 'mqtt://10.0.0.1:1883'))
    assert.ok(
      dials > 0 && dials <= DISCOVERY_LIMITS.dialsInARow + 100 * DISCOVERY_LIMITS.dialsPerSecond,
      `${dials} dials`,
    )
  })

  test('of one host are so many and no more', () => {
    const known = candidates()
    for (let port = 1; port <= 1_000; port++)
      known.hint({ address: `mqtt://10.0.0.1:${port}`, peerId: peer('a') }, 'mdns', 0)
    assert.equal(known.addresses().length, DISCOVERY_LIMITS.addressesPerHostMax)
  })

  test('that several are said to be at stand until the last of them withdraws, and are dialled for each of them', () => {
    const known = candidates(1, 6)
    const hint = { address: 'mqtt://10.0.0.1:1883', peerId: peer('a') }
    const liar = peer('m')
    known.hint(hint, 'exchange', 0)
    known.hint({ ...hint, peerId: liar }, 'exchange', 0)
    assert.deepEqual(known.addresses(), [{ address: hint.address, peerIds: [peer('a'), liar], from: ['exchange'] }])
    const state = links([liar], [liar])
    assert.deepEqual(known.due(6_000, state), [hint.address], 'a link with the liar does not count for the other')
    known.ended(hint.address, { peerId: null, linkedMs: null }, 6_000)
    known.withdraw('exchange', liar, [])
    assert.deepEqual(known.addresses(), [{ address: hint.address, peerIds: [peer('a')], from: ['exchange'] }])
    assert.deepEqual(known.due(60_000, state), [hint.address])
    known.ended(hint.address, { peerId: peer('a'), linkedMs: 20_000 }, 80_000)
    known.hint({ ...hint, peerId: liar }, 'exchange', 80_000)
    assert.deepEqual(known.due(200_000, links([peer('a')], [], [liar])), [], 'who is there has proven it')
    known.withdraw('exchange', peer('a'), ['mqtt://10.0.0.9:1883'])
    assert.deepEqual(
      known.due(300_000, links([peer('a')], [], [liar])),
      [hint.address],
      'it says itself that it has moved',
    )
  })

  test('at which somebody else has proven to be lead nobody to whom they are said to lead', () => {
    const known = candidates()
    const hint = { address: 'mqtt://10.0.0.1:1883', peerId: peer('m') }
    known.hint(hint, 'exchange', 0)
    known.due(0, links())
    known.ended(hint.address, { peerId: peer('a'), linkedMs: 600_000 }, 600_000)
    const failing = known.failing(900_000)
    assert.deepEqual([failing.get(peer('m')), failing.get(peer('a'))], [true, false])
    known.hint({ ...hint, address: 'mqtt://10.0.0.2:1883' }, 'exchange', 900_000)
    assert.equal(known.failing(900_000).get(peer('m')), false, 'it may be somewhere else')
  })

  test('that are made up for the host of another give way to its own, as soon as they fail or it is preferred', () => {
    for (const isPreferred of [false, true]) {
      const known = candidates()
      const own = { address: 'mqtt://10.0.0.1:1883', peerId: peer('a') }
      for (let port = 1; port <= DISCOVERY_LIMITS.addressesPerHostMax; port++)
        known.hint({ address: `mqtt://10.0.0.1:${port}`, peerId: peer('m') }, 'exchange', 0)
      known.hint(own, 'exchange', 0)
      assert.equal(known.has(own.address), false)
      if (isPreferred) known.prefer(new Set([peer('a')]))
      else for (const address of known.due(0, links())) known.ended(address, { peerId: null, linkedMs: null }, 0)
      known.hint(own, 'exchange', 1_000)
      assert.equal(known.has(own.address), true)
      assert.equal(known.addresses().length, DISCOVERY_LIMITS.addressesPerHostMax)
    }
  })

  test('may be said to lead to so many and no more, the latest', () => {
    const known = candidates()
    for (let i = 0; i < 100; i++)
      known.hint({ address: 'mqtt://10.0.0.1:1883', peerId: String(i).padStart(23, 'a') }, 'mdns', 0)
    const [{ peerIds } = { peerIds: [] }] = known.addresses()
    assert.equal(peerIds.length, DISCOVERY_LIMITS.claimsPerAddressMax)
    assert.equal(peerIds.at(-1), '99'.padStart(23, 'a'))
  })

  test('of an address of the profile are no reason not to dial it', () => {
    const known = candidates()
    const hint = { address: 'mqtt://10.0.0.1:1883', peerId: peer('m') }
    known.setBootstrap([hint.address], 0)
    known.hint(hint, 'exchange', 0)
    assert.deepEqual(known.due(0, links([peer('m')])), [hint.address])
    assert.deepEqual(known.listed(), [])
    known.ended(hint.address, { peerId: peer('a'), linkedMs: 10_000 }, 10_000)
    assert.deepEqual(known.listed(), [peer('a')])
    assert.deepEqual(known.due(60_000, links([peer('a')])), [])
  })

  test('that are withdrawn and told of again while they are dialled are not dialled a second time', () => {
    const known = candidates()
    const hint = { address: 'mqtt://10.0.0.1:1883', peerId: peer('a') }
    known.hint(hint, 'exchange', 0)
    assert.deepEqual(known.due(0, links()), [hint.address])
    known.withdraw('exchange', peer('a'), [])
    assert.deepEqual(known.addresses(), [])
    known.hint(hint, 'exchange', 1_000)
    assert.deepEqual(known.due(6_000, links()), [])
    known.ended(hint.address, { peerId: null, linkedMs: null }, 10_000)
    assert.deepEqual(known.due(60_000, links()), [hint.address], 'that attempt has ended')
    known.withdraw('exchange', peer('a'), [])
    known.ended(hint.address, { peerId: null, linkedMs: null }, 70_000)
    assert.equal(known.has(hint.address), false, 'nobody says any more that it leads anywhere')
  })

  test('withdrawn by their source go, unless another one knows them', () => {
    const known = candidates()
    for (const source of ['exchange', 'mdns'] as const)
      known.hint({ address: 'mqtt://10.0.0.1:1883', peerId: peer('a') }, source, 0)
    known.hint({ address: 'mqtt://10.0.0.2:1883', peerId: peer('a') }, 'exchange', 0)
    known.withdraw('exchange', peer('a'), [])
    assert.deepEqual(known.addresses(), [{ address: 'mqtt://10.0.0.1:1883', peerIds: [peer('a')], from: ['mdns'] }])
  })
})

describe('referrals', () => {
  const referred = (i: number): string => `mqtt://10.9.${i >> 8}.${i & 255}:1883`

  test('are dialled while links are lacking, and no more', () => {
    const known = candidates(2, 6)
    known.referred(peer('f'), [referred(1)], 0)
    assert.deepEqual(known.due(0, links([peer('b'), peer('c')], [])), [])
    assert.deepEqual(known.due(2_000, links([peer('b')], [])), [referred(1)])
  })

  test('of one gateway are heard once in five minutes', () => {
    const known = candidates()
    for (let nowMs = 0; nowMs < 300_000; nowMs += 1_000) known.referred(peer('f'), [referred(nowMs / 1_000)], nowMs)
    known.referred(peer('g'), [referred(1_000)], 200_000)
    assert.deepEqual(
      known.addresses().map(({ address }) => address),
      [referred(0), referred(1_000)],
    )
    known.referred(peer('f'), [referred(300)], 300_000)
    assert.equal(known.has(referred(300)), true)
  })

  test('that lead nowhere do not keep from dialling those that are out of reach', () => {
    const known = candidates(4, 8)
    const hint = { address: 'mqtt://10.0.0.1:1883', peerId: peer('a') }
    known.hint(hint, 'exchange', 0)
    for (let i = 0; i < 3; i++) {
      assert.deepEqual(known.due(i * 60_000, links()), [hint.address])
      known.ended(hint.address, { peerId: null, linkedMs: null }, i * 60_000)
    }
    const addresses = Array.from({ length: DISCOVERY_LIMITS.referralsMax }, (_, i) => referred(i))
    known.referred(peer('f'), addresses, 180_000)
    // Each attempt at what does not answer lasts for ten seconds.
    for (let nowMs = 180_000; nowMs < 240_000; nowMs += 10_000) {
      const due = known.due(nowMs, links())
      if (due.includes(hint.address)) return
      for (const address of due) known.ended(address, { peerId: null, linkedMs: null }, nowMs + 9_999)
    }
    assert.fail('it was not dialled for a minute')
  })
})

test('what led to the mesh before a restart is known to lead to whom it led', () => {
  const known = candidates()
  const address = 'mqtt://10.0.0.1:1883'
  known.recall({ address, peerId: peer('a'), from: ['exchange', 'bootstrap'] }, 0)
  known.hint({ address, peerId: peer('m') }, 'exchange', 0)
  const remembered = { address, peerId: peer('a'), from: ['remembered', 'exchange'] }
  assert.deepEqual(known.remembered(), [remembered])
  assert.deepEqual(known.due(0, links([peer('m')])), [address])
})

test('what is remembered is bounded, for each peer and in all, the latest first to stay', () => {
  const known = candidates()
  for (let i = 0; i < 3; i++) {
    known.hint({ address: `mqtt://10.0.0.${i}:1883`, peerId: peer('a') }, 'mdns', 0)
    known.worked(`mqtt://10.0.0.${i}:1883`, peer('a'))
  }
  assert.deepEqual(
    known.remembered().map(({ address }) => address),
    ['mqtt://10.0.0.1:1883', 'mqtt://10.0.0.2:1883'],
  )
  for (let i = 0; i < 100; i++) {
    const peerId = String(i).padStart(23, 'a')
    known.hint({ address: `mqtt://10.0.1.${i}:1883`, peerId }, 'mdns', 0)
    known.worked(`mqtt://10.0.1.${i}:1883`, peerId)
  }
  assert.equal(known.remembered().length, DISCOVERY_LIMITS.rememberedMax)
  assert.equal(known.remembered().at(-1)?.address, 'mqtt://10.0.1.99:1883')
})
