import assert from 'node:assert/strict'
import { test } from 'node:test'
import { settlementOf, type Chain } from '../../runtime/access/branches.ts'

const FORK = 2

/** A chain of these batches, named by what they are called. */
function chain(...names: readonly string[]): Chain {
  return names.map((name) => ({ seq: Number.parseInt(name, 10), hash8: name, hlc: 1 }))
}

test('of two names that are said of one batch of a branch neither counts, and what all have confirmed stays confirmed', () => {
  const whole = chain('1', '2', '3', '4', '5')
  const asked = ['one', 'other'].map((origin) => ({ origin, since: 0, below: 0 }))
  const statements = new Map([
    ['one', [whole]],
    ['other', [chain('1', '2', '3-false', '4', '5'), whole]],
  ])
  const { seq, branch } = settlementOf(FORK, statements, asked)
  assert.equal(seq, 5)
  assert.deepEqual([...branch.values()], ['1', '2', '4', '5'])
})

test('what just one who took two branches for one has confirmed of both is settled on that of which it is', () => {
  const asked = ['one', 'other'].map((origin) => ({ origin, since: 0, below: 0 }))
  const statements = new Map([
    ['one', [chain('1', '2-b', '3-b', '4-b')]],
    // Of these the second would come first, if it were told apart by what neither leads to nor counts.
    ['other', [chain('1', '2-b', '3-b', '5-a', '6-a')]],
    ['author', [chain('1', '2-a', '3-a', '4-a', '5-a', '6-a')]],
  ])
  const { seq, branch } = settlementOf(FORK, statements, asked)
  assert.equal(seq, 3)
  assert.deepEqual([...branch.values()], ['1', '2-b', '3-b'])
})

test('where nobody says what leads to what all have confirmed, all keep the branch that is confirmed farthest beside it', () => {
  const asked = [{ origin: 'liar', since: 0, below: 0 }]
  const statements = new Map([
    ['liar', [chain('9'), chain('1', '2-b', '3-b')]],
    ['author', [chain('1', '2-a', '3-a', '4-a'), chain('1', '2-b', '3-b', '4-b')]],
  ])
  const { seq, branch } = settlementOf(FORK, statements, asked)
  assert.equal(seq, 9)
  assert.deepEqual([...branch.values()], ['1', '2-b', '3-b', '4-b', '9'])
})

test('nobody else says what lies between two batches of a branch, nor which of two counts where a liar names another', () => {
  const asked = ['one', 'other'].map((origin) => ({ origin, since: 0, below: 0 }))
  const statements = new Map([
    ['one', [chain('2', '4', '5')]],
    ['other', [chain('2', '4', '5'), chain('2-false', '4', '5'), chain('2-false'), chain('3-false')]],
  ])
  const { seq, branch } = settlementOf(FORK, statements, asked)
  assert.equal(seq, 5)
  assert.deepEqual([...branch.values()], ['4', '5'])
})

test('of branches that nobody has confirmed farther than others all take the same, in whatever order they hear of them', () => {
  const asked = [{ origin: 'liar', since: 0, below: 0 }]
  const said: [string, readonly Chain[]][] = [
    ['liar', [chain('9')]],
    ['author', [chain('1', '2-b', '3-b', '4-b')]],
    ['reader', [chain('1', '2-a', '3-a')]],
    ['other', [chain('1', '2-c', '3-c', '4-c', '5-c')]],
  ]
  const orders = [said, said.toReversed(), [...said.slice(2), ...said.slice(0, 2)]]
  const found = orders.map((order) => [...settlementOf(FORK, new Map(order), asked).branch.values()].join(' '))
  assert.deepEqual(new Set(found).size, 1, found.join(', '))
})

test('where somebody says another stamp of a batch than the rest, all take the same, in whatever order they hear of it', () => {
  const asked = ['liar', 'late'].map((origin) => ({ origin, since: origin === 'late' ? 5 : 0, below: 0 }))
  const named = (hlc: number): Chain => [1, 2, 3].map((seq) => ({ seq, hash8: `${seq}`, hlc }))
  const said: [string, readonly Chain[]][] = [
    ['author', [named(9)]],
    ['liar', [named(1)]],
  ]
  const found = [said, said.toReversed()].map((order) => settlementOf(FORK, new Map(order), asked).seq)
  assert.deepEqual(found, [0, 0])
})
