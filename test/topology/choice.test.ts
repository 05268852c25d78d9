import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Cells, type Node } from '../../runtime/topology/cells.ts'
import { activeDegree, chooseLinks, type Choice, type ChoiceInput } from '../../runtime/topology/choice.ts'
import { qualityOf } from '../../runtime/topology/quality.ts'

function nodeAt(cell: string, i: number, more: Partial<Node> = {}): Node {
  const peerId = `${cell}${String(i).padStart(3, '0')}`
  return { peerId, cell, isSuperPeer: false, isMetered: false, isDialable: true, links: 0, ...more }
}

function cellOf(cell: string, count: number): Node[] {
  return Array.from({ length: count }, (_, i) => nodeAt(cell, i))
}

function choose(peerId: string, nodes: readonly Node[], more: Partial<ChoiceInput> = {}): Choice {
  return chooseLinks({
    peerId,
    cells: new Cells(nodes),
    links: { min: 2, max: 6 },
    linked: new Map(),
    kept: new Set(),
    isSought: () => false,
    isFailing: () => false,
    expected: () => 60,
    trial: null,
    nowMs: 0,
    ...more,
  })
}

/** Everybody chooses, and what anyone has chosen is linked; as often as it takes for nothing to change. */
function settle(nodes: readonly Node[], max = 6): Map<string, Set<string>> {
  const links = new Map(nodes.map(({ peerId }) => [peerId, new Set<string>()]))
  const of = (peerId: string): Set<string> => links.get(peerId) as Set<string>
  for (let round = 0; round < 20; round++) {
    let isSettled = true
    for (const { peerId } of nodes) {
      const now = nodes.map((node) => ({ ...node, links: of(node.peerId).size }))
      const linked = new Map([...of(peerId)].map((other) => [other, 90]))
      for (const other of choose(peerId, now, { linked, links: { min: 2, max } }).wanted) {
        if (of(peerId).has(other) || of(peerId).size >= max || of(other).size >= max) continue
        of(peerId).add(other)
        of(other).add(peerId)
        isSettled = false
      }
    }
    if (isSettled) return links
  }
  throw new Error('It goes on changing')
}

function isConnected(links: ReadonlyMap<string, ReadonlySet<string>>): boolean {
  const found = new Set([...links.keys()].slice(0, 1))
  for (const peerId of found) for (const next of links.get(peerId) ?? []) found.add(next)
  return found.size === links.size
}

const total = (links: ReadonlyMap<string, ReadonlySet<string>>): number =>
  [...links.values()].reduce((sum, { size }) => sum + size, 0) / 2

test('who is sought comes first, in whatever cell it is, and makes room; while it fails it costs nobody a link', () => {
  const nodes = [...cellOf('a', 12), ...cellOf('b', 3)]
  const links = { min: 2, max: 4 }
  const isSought = (peerId: string): boolean => peerId === 'b001'
  const { wanted, essential } = choose('a005', nodes, { links, isSought })
  assert.equal(wanted[0], 'b001')
  assert.ok(essential.has('b001') && wanted.length === 4)
  const isFailing = isSought
  assert.equal(choose('a005', nodes, { links, isSought, isFailing }).wanted.includes('b001'), false)
})

describe('within a cell', () => {
  test('of up to eight everybody is linked with everybody, when there may be so many links', () => {
    const links = settle(cellOf('a', 8), 16)
    assert.equal(total(links), 28)
  })

  test('of more everybody has four links or a few more, its neighbours in the ring among them', () => {
    for (const count of [9, 30, 100]) {
      const links = settle(cellOf('a', count))
      assert.ok(isConnected(links))
      assert.ok(total(links) <= 3 * count, `${total(links)} links of ${count}`)
      for (const [peerId, { size }] of links) assert.ok(size >= 4 && size <= 6, `${peerId} has ${size}`)
      for (let i = 0; i < count; i++) {
        const [one, next] = [nodeAt('a', i).peerId, nodeAt('a', (i + 1) % count).peerId]
        assert.ok(links.get(one)?.has(next), `${one} and ${next}`)
      }
    }
  })

  test('a neighbour in the ring that is not reached is passed over, and is one again when it is', () => {
    const nodes = cellOf('a', 20)
    const dead = new Set(['a001', 'a002'])
    const around = choose('a000', nodes, { isFailing: (peerId) => dead.has(peerId) })
    assert.deepEqual([...around.essential].sort(), ['a003', 'a019'])
    assert.ok(around.wanted.every((peerId) => !dead.has(peerId)))
    assert.deepEqual([...choose('a000', nodes).essential].sort(), ['a001', 'a019'])
  })

  test('there are never more than the profile allows, those that matter most first', () => {
    const nodes = [...cellOf('a', 20), ...cellOf('b', 20), ...cellOf('c', 20)]
    for (const max of [1, 2, 3, 6]) {
      for (const { peerId } of nodes) {
        const { wanted } = choose(peerId, nodes, { links: { min: 1, max } })
        assert.ok(wanted.length <= max, `${wanted.length} of ${max}`)
      }
    }
    assert.deepEqual(choose('a005', nodes, { links: { min: 1, max: 2 } }).wanted.toSorted(), ['a004', 'a006'])
  })

  test('links that the profile asks for stay', () => {
    const kept = new Set(['a010', 'b003'])
    const { wanted } = choose('a000', [...cellOf('a', 20), ...cellOf('b', 5)], { kept })
    assert.deepEqual(wanted.slice(0, 2), ['a010', 'b003'])
  })

  test('thirty others are known to take the place of a link that is lost', () => {
    const { passive, wanted } = choose('a000', cellOf('a', 100))
    assert.equal(passive.length, 30)
    assert.ok(passive.every((peerId) => !wanted.includes(peerId)))
    const lost = wanted.at(-1)
    const instead = choose('a000', cellOf('a', 100), { isFailing: (peerId) => peerId === lost }).wanted
    assert.deepEqual(instead, [...wanted.slice(0, -1), passive[0]])
  })

  test('whoever has few links is chosen before whoever has many', () => {
    const nodes = cellOf('a', 40).map((node, i) => ({ ...node, links: i === 17 || i === 23 ? 1 : 5 }))
    assert.deepEqual(choose('a000', nodes).wanted.slice(2).sort(), ['a017', 'a023'])
  })
})

describe('a better link', () => {
  const nodes = cellOf('a', 20)
  const linked = new Map([
    ['a001', 90],
    ['a019', 90],
    ['a005', 80],
    ['a008', 30],
  ])

  test('takes the place of the worst, once a minute at most', () => {
    const first = choose('a000', nodes, { linked, nowMs: 1_000 })
    assert.ok(first.trial)
    const { peerId } = first.trial
    assert.deepEqual(first.wanted, ['a001', 'a019', 'a005', 'a008', peerId])
    const during = choose('a000', nodes, { linked, trial: first.trial, nowMs: 30_000 })
    assert.deepEqual([during.wanted, during.trial], [first.wanted, first.trial])
    const better = new Map([...linked, [peerId, 85]])
    assert.deepEqual(choose('a000', nodes, { linked: better, trial: first.trial, nowMs: 30_000 }).wanted, [
      'a001',
      'a019',
      peerId,
      'a005',
    ])
  })

  test('is not looked for while the worst is nearly as good, nor in the place of a neighbour in the ring', () => {
    const good = new Map([...linked, ['a008', 50]] as [string, number][])
    assert.equal(choose('a000', nodes, { linked: good, nowMs: 1_000 }).trial, null)
    const ring = new Map([...good, ['a001', 5]] as [string, number][])
    assert.equal(choose('a000', nodes, { linked: ring, nowMs: 1_000 }).trial, null)
  })

  test('that was no better when it was one is not tried again', () => {
    const before = choose('a000', nodes, { linked, nowMs: 1_000 }).trial?.peerId
    const expected = (peerId: string): number => (peerId === before ? 20 : 60)
    assert.notEqual(choose('a000', nodes, { linked, expected, nowMs: 1_000 }).trial?.peerId, before)
    assert.equal(choose('a000', nodes, { linked, expected: () => 20, nowMs: 1_000 }).trial, null)
  })
})

describe('between cells', () => {
  test('two bridges of each keep two links to other cells, and nobody else any', () => {
    const nodes = ['a', 'b', 'c', 'd', 'e'].flatMap((cell) => cellOf(cell, 12))
    const cells = new Cells(nodes)
    const links = settle(nodes, 12)
    assert.ok(isConnected(links))
    for (const { peerId, cell } of nodes) {
      const across = [...(links.get(peerId) ?? [])].filter((other) => !cells.areMates(peerId, other))
      const isBridge = cells.bridges(cell).includes(peerId)
      assert.ok(isBridge ? across.length >= 2 : across.length === 0, `${peerId} has ${across.length}`)
    }
    const across = total(links) - ['a', 'b', 'c', 'd', 'e'].reduce((sum, cell) => sum + within(links, cell), 0)
    assert.ok(across <= 4 * 5, `${across} links between five cells`)
  })

  test('of two cells are held by both bridges of each', () => {
    const nodes = [...cellOf('a', 3), ...cellOf('b', 3)]
    const links = settle(nodes)
    assert.equal(total(links), 3 + 3 + 4)
  })

  test('a cell of one, and one mesh of a single cell, need nothing special', () => {
    assert.equal(total(settle([...cellOf('a', 1), ...cellOf('b', 1)])), 1)
    assert.equal(choose('a000', cellOf('a', 5)).isBridge, false)
    assert.deepEqual(choose('a000', cellOf('a', 1)).wanted, [])
  })

  test('the cells stay connected when the bridges of one vanish', () => {
    const nodes = ['a', 'b', 'c', 'd'].flatMap((cell) => cellOf(cell, 10))
    const gone = new Cells(nodes).bridges('b')
    const left = nodes.filter(({ peerId }) => !gone.includes(peerId))
    assert.ok(isConnected(settle(left)))
    assert.ok(new Cells(left).bridges('b').every((peerId) => !gone.includes(peerId)))
  })

  test('a super-peer is a bridge before others, one that pays for its bytes or cannot be dialled after them', () => {
    const plain = cellOf('a', 10)
    const [first, second] = new Cells([...plain, ...cellOf('b', 2)]).bridges('a')
    const of = (change: (node: Node) => Partial<Node>): readonly string[] =>
      new Cells([...plain.map((node) => ({ ...node, ...change(node) })), ...cellOf('b', 2)]).bridges('a')
    assert.equal(of(({ peerId }) => ({ isSuperPeer: peerId === 'a007' }))[0], 'a007')
    assert.equal(of(({ peerId }) => ({ isMetered: peerId === first }))[0], second)
    assert.equal(of(({ peerId }) => ({ isDialable: peerId !== first }))[0], second)
    assert.deepEqual(
      of(() => ({ isMetered: true })),
      [first, second],
      'when all pay the hash decides',
    )
  })

  test('who is a bridge changes only in the cell of whom a coming or going concerns', () => {
    const nodes = ['a', 'b', 'c'].flatMap((cell) => cellOf(cell, 10))
    const before = new Cells(nodes)
    const after = new Cells([...nodes, nodeAt('b', 77), ...cellOf('d', 3)])
    assert.deepEqual(after.bridges('a'), before.bridges('a'))
    assert.deepEqual(after.bridges('c'), before.bridges('c'))
    assert.ok(after.bridges('b').filter((peerId) => before.bridges('b').includes(peerId)).length >= 1)
  })

  test('another bridge stands in for one that is not reached', () => {
    const nodes = ['a', 'b', 'c', 'd'].flatMap((cell) => cellOf(cell, 10))
    const cells = new Cells(nodes)
    const [bridge] = cells.bridges('a')
    const [[first, second] = []] = cells.bridgeLinks(bridge as string)
    const { essential } = choose(bridge as string, nodes, { isFailing: (peerId) => peerId === first })
    assert.ok(!essential.has(first as string) && essential.has(second as string))
  })
})

function within(links: ReadonlyMap<string, ReadonlySet<string>>, cell: string): number {
  const members = [...links].filter(([peerId]) => peerId.startsWith(cell))
  return members.reduce((sum, [, its]) => sum + [...its].filter((other) => other.startsWith(cell)).length, 0) / 2
}

test('in a cell that is not full one place is left for whoever finds none elsewhere', () => {
  const of = (min: number, max: number): number => activeDegree({ min, max })
  assert.deepEqual([of(2, 6), of(1, 3), of(4, 256), of(6, 8), of(2, 1), of(0, 2)], [4, 2, 4, 6, 1, 1])
})

test('the quality of a link falls with round-trip time, loss, lag and cost, and is never out of bounds', () => {
  const best = { latencyMs: 1, loss: 0, behind: 0, upMs: 3_600_000, isRelayed: false, isMetered: false }
  assert.equal(qualityOf(best), 99)
  assert.equal(qualityOf({ ...best, latencyMs: 100 }), 50)
  const worse = [
    { latencyMs: 300 },
    { loss: 0.5 },
    { behind: 100 },
    { upMs: 0 },
    { isRelayed: true },
    { isMetered: true },
  ]
  for (const change of worse) assert.ok(qualityOf({ ...best, ...change }) < 85, JSON.stringify(change))
  assert.equal(qualityOf({ ...best, latencyMs: null, upMs: 0 }), 80, 'one that is young and not measured yet')
  assert.equal(qualityOf({ ...best, loss: 1 }), 0)
})
