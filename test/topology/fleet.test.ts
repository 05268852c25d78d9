import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { Cells } from '../../runtime/topology/cells.ts'
import { Fleet, LINKS, type FleetOptions } from './fleet.ts'

const LINKS_MAX = LINKS.max

function shapeOf(fleet: Fleet): { readonly links: number; readonly most: number; readonly across: number } {
  const edges = fleet.edges()
  const cellOf = (index: number): string | undefined => fleet.gateways[index]?.cell
  return {
    links: edges.length,
    most: Math.max(...fleet.up().map(({ links }) => links.size)),
    across: edges.filter(([a, b]) => cellOf(a) !== cellOf(b)).length,
  }
}

function cellsOf(fleet: Fleet): Cells {
  return new Cells(
    fleet.up().map(({ peerId, cell, links }) => {
      return { peerId, cell, links: links.size, isSuperPeer: false, isMetered: false, isDialable: true }
    }),
  )
}

/** Gateways that join at once, and of which three in ten lose their power at once. */
function holds(t: TestContext, options: FleetOptions): void {
  const fleet = new Fleet(options)
  const joined = fleet.until(() => fleet.isConnected(), 120_000)
  assert.ok(joined < 30_000, `all are connected after ${joined} ms`)
  assert.ok(fleet.until(() => fleet.isSettled(20_000), 300_000) < 300_000, 'links come to rest')
  const shape = shapeOf(fleet)
  t.diagnostic(`joined after ${joined} ms: ${JSON.stringify(shape)}, ${fleet.messages} messages, ${fleet.bytes} bytes`)
  const { gateways, cells } = options
  assert.ok(fleet.isConnected())
  assert.ok(shape.links <= 3 * gateways, `${shape.links} links of ${gateways} gateways`)
  assert.ok(shape.most <= LINKS_MAX, `one has ${shape.most} links`)
  assert.ok(shape.across <= 4 * cells + gateways / 10, `${shape.across} links between ${cells} cells`)
  const view = cellsOf(fleet)
  for (const { topology, peerId } of fleet.up())
    assert.equal(topology.choice.isBridge, view.isBridge(peerId), `all agree on whether ${peerId} is a bridge`)

  const [first, ...others] = fleet.up()
  for (const gateway of [...others].sort(() => fleet.random() - 0.5).slice(0, Math.floor(gateways * 0.3)))
    fleet.vanish(gateway)
  // Nobody is told: the last neighbour notices after 45 s.
  fleet.schedule.runUntil(fleet.schedule.now + 46_000)
  const recovered = fleet.until(() => fleet.isConnected(), 120_000)
  assert.ok(recovered < 30_000, `all that are left are connected ${recovered} ms later`)
  assert.ok(fleet.until(() => fleet.isSettled(20_000), 300_000) < 300_000, 'links come to rest again')
  const after = shapeOf(fleet)
  t.diagnostic(`three in ten gone: ${JSON.stringify(after)}, connected ${recovered} ms after the last was missed`)
  assert.ok(fleet.isConnected() && first?.isUp)
  // What is left of a cell may be a full mesh.
  assert.ok(after.links <= 4 * fleet.up().length, `${after.links} links of ${fleet.up().length} gateways`)
  assert.ok(after.most <= LINKS_MAX, `one has ${after.most} links`)
}

test('gateways that know one address come to be linked in cells, and are again when three in ten vanish', (t) => {
  holds(t, { gateways: 40, cells: 3, seed: 1, join: 'bootstrap' })
})

test('gateways that hear each other in their networks come to be linked in cells as well', (t) => {
  holds(t, { gateways: 30, cells: 3, seed: 2, join: 'mdns' })
})

test('a full cell is a full mesh with the links that a gateway has by default, and nobody is dialled in vain', () => {
  const fleet = new Fleet({ gateways: 8, cells: 1, seed: 4, join: 'bootstrap' })
  fleet.until(() => fleet.isSettled(20_000), 300_000)
  assert.equal(fleet.edges().length, (8 * 7) / 2)
  const { dials } = fleet
  fleet.schedule.runUntil(fleet.schedule.now + 600_000)
  assert.deepEqual([fleet.dials, fleet.edges().length], [dials, 28])
})

test('a super-peer becomes a bridge of its cell, and may have more links than others', () => {
  const fleet = new Fleet({ gateways: 20, cells: 2, seed: 3, join: 'bootstrap', superPeers: [9] })
  fleet.until(() => fleet.isSettled(20_000), 300_000)
  assert.ok(fleet.isConnected())
  assert.ok(fleet.gateways[9]?.topology.choice.isBridge)
})
