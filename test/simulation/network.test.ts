import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../../runtime/base/random.ts'
import { Network } from './network.ts'
import { Schedule } from './schedule.ts'

const ORIGINAL = 0
const OTHER = 1
const COPY = 2

test('nobody is linked with a gateway and with a copy of its card at once, nor these two with each other', () => {
  const schedule = new Schedule()
  const linked = new Map<number, number>()
  const seen = new Set<number>()
  const network = new Network({
    random: seededRandom(1),
    schedule,
    note: () => {},
    isUp: () => true,
    peerId: (index) => (index === OTHER ? 'other' : 'original'),
    linkUp: (index, link, peer) => {
      if (index !== OTHER) return assert.equal(peer, OTHER)
      linked.set(link, peer)
      seen.add(peer)
      assert.equal(linked.size, 1)
    },
    linkDown: (_, link) => void linked.delete(link),
    frame: () => {},
    lies: (_from, _link, bytes) => [bytes],
  })
  network.dial(ORIGINAL, OTHER)
  network.dial(OTHER, COPY)
  network.dial(ORIGINAL, COPY)
  schedule.runUntil(120_000)
  assert.deepEqual(seen, new Set([ORIGINAL, COPY]))
})
