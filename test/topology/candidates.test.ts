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
  sought: readonly string[] = [],
): LinkState {
  return {
    linked: new Set(linked),
    isReachable: (peerId) => reachable.includes(peerId),
    isSought: (peerId) => sought.includes(peerId),
  }
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

  test('that lead to somebody who is sought are dialled whatever other ways and links there are, once at a time', () => {
    const known = candidates(2, 3)
    known.hint({ address: 'mqtt://10.0.0.1:1883', peerId: peer('a') }, 'exchange', 0)
    known.hint({ address: 'mqtt://10.0.0.2:1883', peerId: peer('a') }, 'exchange', 0)
    const linked = [peer('b'), peer('c'), peer('d')]
    assert.deepEqual(known.due(0, links(linked, [peer('a')])), [])
    assert.deepEqual(known.due(2_000, links(linked, [peer('a')], [peer('a')])), ['mqtt://10.0.0.1:1883'])
    assert.deepEqual(known.due(4_000, links(linked, [peer('a')], [peer('a')])), [])
    known.ended('mqtt://10.0.0.1:1883', { peerId: null, linkedMs: null }, 4_000)
    assert.deepEqual(known.due(4_100, links(linked, [peer('a')], [peer('a')])), [])
    assert.equal(known.due(6_000, links(linked, [peer('a')], [peer('a')])).length, 1)
    assert.deepEqual(known.due(600_000, links([peer('a')], [], [peer('a')])), [], 'it is linked')
  })

  test('never bring more links than there may be', () => {
    const known = candidates(2, 3)
    for (const name of ['a', 'b', 'c', 'd'])
      known.hint({ address: `mqtt://10.0.0.${name.charCodeAt(0)}:1883`, peerId: peer(name) }, 'mdns', 0)
    assert.equal(known.due(0, links([peer('y')])).length, 2)
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
      { address: 'mqtt://10.0.0.2:1883', peerId: peer('b'), from: ['mdns', 'remembered'] },
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

  test('withdrawn by their source go, unless another one knows them', () => {
    const known = candidates()
    for (const source of ['exchange', 'mdns'] as const)
      known.hint({ address: 'mqtt://10.0.0.1:1883', peerId: peer('a') }, source, 0)
    known.hint({ address: 'mqtt://10.0.0.2:1883', peerId: peer('a') }, 'exchange', 0)
    known.withdraw('exchange', peer('a'), [])
    assert.deepEqual(known.addresses(), [{ address: 'mqtt://10.0.0.1:1883', peerId: peer('a'), from: ['mdns'] }])
  })
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
