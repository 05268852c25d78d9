import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../../runtime/base/random.ts'
import { generateDeviceKeys } from '../../runtime/crypto/identity.ts'
import type { Channel } from '../../runtime/mesh/channel.ts'
import { Mesh } from '../../runtime/mesh/mesh.ts'
import type { LinkPeer } from '../../runtime/ports/link.ts'
import { SILENT_LOG } from '../../runtime/ports/log.ts'
import { Candidates } from '../../runtime/topology/candidates.ts'

interface Asked {
  readonly reachable: readonly string[]
  readonly sought: readonly string[]
  readonly surplus: string | null
}

/** A gateway with one link, to `first`, and no room for another. */
function full({ reachable, sought, surplus }: Asked): {
  readonly mesh: Mesh
  readonly offer: (peerId: string) => boolean
} {
  const peerId = 'z'.repeat(23)
  const mesh = new Mesh({
    keys: generateDeviceKeys(),
    peerId,
    meshId: new Uint8Array(16),
    chain: () => [],
    admit: () => null,
    farewell: () => null,
    candidates: new Candidates({ peerId, links: { min: 1, max: 1 }, random: seededRandom(1) }),
    onRemember: () => {},
    isReachable: (other) => reachable.includes(other),
    isSought: (other) => sought.includes(other),
    surplus: () => surplus,
    relays: [],
    random: seededRandom(1),
    linksMax: 1,
    handler: { up: () => {}, frame: () => {}, down: () => {} },
    enroller: () => Promise.reject(new Error('nobody joins here')),
    log: SILENT_LOG,
    monotonicMs: () => performance.now(),
  })
  const transport = { send: () => true, close: () => {} }
  const offer = (other: string): boolean =>
    mesh.established({ peerId: other, name: other } as LinkPeer, {} as Channel, transport, true) !== null
  assert.ok(offer('first'))
  return { mesh, offer }
}

test('a gateway without room takes one whom others reach only when it is sought and a link is to spare', () => {
  const second = { reachable: ['second'], surplus: 'first' }
  assert.equal(full({ ...second, sought: [] }).offer('second'), false)
  const { mesh, offer } = full({ ...second, sought: ['second'] })
  assert.ok(offer('second'))
  assert.deepEqual([mesh.isLinkedTo('first'), mesh.isLinkedTo('second')], [false, true])
  assert.equal(full({ reachable: ['second'], sought: ['second'], surplus: null }).offer('second'), false)
  assert.ok(full({ reachable: [], sought: [], surplus: 'first' }).offer('second'), 'whom nobody else reaches')
})
