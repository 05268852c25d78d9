import assert from 'node:assert/strict'
import { test } from 'node:test'
import { randomInteger, seededRandom } from '../../runtime/base/random.ts'
import { Reach } from '../../runtime/topology/reach.ts'

const PEERS = Array.from({ length: 12 }, (_, i) => `peer-${i}`)
/** One of them is no member. */
const isOther = (peerId: string): boolean => peerId !== 'peer-11'

test('who can be reached is the same whether it is followed change by change or found anew', () => {
  for (let seed = 1; seed <= 200; seed++) {
    const random = seededRandom(seed)
    const pick = (): string => PEERS[randomInteger(random, 0, PEERS.length - 1)] as string
    const followed = new Reach(isOther)
    const neighbours = new Set<string>()
    const links = new Map<string, string[]>()
    for (let step = 0; step < 60; step++) {
      const peerId = pick()
      if (random() < 0.15) {
        if (neighbours.delete(peerId)) followed.linkDown(peerId)
        else {
          neighbours.add(peerId)
          followed.linkUp(peerId)
        }
      } else {
        links.set(peerId, [...new Set([pick(), pick(), pick()])])
        followed.tell(peerId, links.get(peerId) ?? [])
      }
      const anew = new Reach(isOther)
      for (const [teller, told] of links) anew.tell(teller, told)
      for (const neighbour of neighbours) anew.linkUp(neighbour)
      assert.deepEqual([...followed.all()].sort(), [...anew.all()].sort(), `seed ${seed}, step ${step}`)
    }
  }
})

test('of a link that only one of its ends tells of nobody is reached', () => {
  const reach = new Reach(() => true)
  reach.linkUp('a')
  assert.deepEqual([...reach.all()], ['a'])
  reach.tell('a', ['b'])
  assert.deepEqual([...reach.all()], ['a'])
  reach.tell('b', ['a', 'c'])
  assert.deepEqual([...reach.all()], ['a', 'b'])
  reach.tell('c', ['b'])
  reach.tell('b', ['c'])
  assert.deepEqual([...reach.all()], ['a'])
})
