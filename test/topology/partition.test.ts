import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PartitionWatch } from '../../runtime/topology/partition.ts'

const KNOWN = ['a', 'b', 'c', 'd']

test('who is out of reach for a minute is told of, together with who went at about the same time', () => {
  const watch = new PartitionWatch()
  assert.deepEqual(watch.look(0, KNOWN, new Set(KNOWN)), [])
  assert.deepEqual(watch.look(5_000, KNOWN, new Set(['a', 'b', 'c'])), [])
  assert.deepEqual(watch.look(10_000, KNOWN, new Set(['a', 'b'])), [])
  assert.deepEqual(watch.look(60_000, KNOWN, new Set(['a', 'b'])), [])
  assert.deepEqual(watch.look(65_000, KNOWN, new Set(['a', 'b'])), [
    { name: 'partition', peers: ['d', 'c'], reachable: 2, unreachable: 2 },
  ])
  assert.deepEqual(watch.look(90_000, KNOWN, new Set(['a', 'b'])), [], 'once')
  assert.deepEqual(watch.look(95_000, KNOWN, new Set(['a', 'b', 'c'])), [
    { name: 'healed', peers: ['c'], reachable: 3, unreachable: 1 },
  ])
  assert.deepEqual([...watch.cutOff], ['d'])
})

test('who is away for less than a minute is not told of, neither when going nor when coming', () => {
  const watch = new PartitionWatch()
  watch.look(0, KNOWN, new Set(['a', 'b', 'c']))
  assert.deepEqual(watch.look(55_000, KNOWN, new Set(KNOWN)), [])
  watch.look(56_000, KNOWN, new Set(['a', 'b', 'c']))
  assert.deepEqual(watch.look(115_000, KNOWN, new Set(['a', 'b', 'c'])), [])
})

test('a member that was removed from the mesh is out of reach no more', () => {
  const watch = new PartitionWatch()
  watch.look(0, KNOWN, new Set(['a', 'b', 'c']))
  assert.equal(watch.look(60_000, KNOWN, new Set(['a', 'b', 'c'])).length, 1)
  assert.deepEqual(watch.look(65_000, ['a', 'b', 'c'], new Set(['a', 'b', 'c'])), [])
  assert.equal(watch.cutOff.size, 0)
})
