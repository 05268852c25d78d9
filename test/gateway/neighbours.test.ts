import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Neighbours, type NeighboursOptions } from '../../runtime/gateway/neighbours.ts'
import type { Discovery } from '../../runtime/ports/discovery.ts'
import { SILENT_LOG } from '../../runtime/ports/log.ts'

/** A gateway with multicast DNS, of which it says what began and what ended. */
function searching(): { readonly neighbours: Neighbours; readonly said: string[] } {
  const said: string[] = []
  const mdns = (_: unknown, isAnnounced: boolean): Discovery => ({
    start: () => void said.push(isAnnounced ? 'announces' : 'seeks'),
    close: () => Promise.resolve(void said.push('closed')),
    figures: () => assert.fail(),
  })
  const neighbours = new Neighbours({
    meshId: new Uint8Array(16),
    peerId: 'self',
    publicKey: new Uint8Array(32),
    sources: ['mdns'],
    store: { getRecord: () => undefined, append: () => Promise.resolve() },
    links: { min: 1, max: 2 },
    hlc: () => 1,
    own: () => ({ addresses: [], cell: 'c', isSuperPeer: false, isMetered: false }),
    measures: () => new Map(),
    isMember: () => false,
    isRemoved: () => false,
    isSought: () => false,
    sign: () => new Uint8Array(64),
    onLearned: () => {},
    mdns,
    random: () => 0,
    log: SILENT_LOG,
    monotonicMs: () => 0,
  } as unknown as NeighboursOptions)
  return { neighbours, said }
}

test('a gateway that is let in announces itself in place of merely seeking', async () => {
  const { neighbours, said } = searching()
  neighbours.seek()
  neighbours.join([], [])
  assert.deepEqual(said, ['seeks', 'closed', 'announces'])
  await neighbours.leave()
})

test('who is let in while it stops is announced to nobody', async () => {
  const { neighbours, said } = searching()
  neighbours.seek()
  await neighbours.leave()
  neighbours.join([], [])
  assert.deepEqual(said, ['seeks', 'closed'])
})
