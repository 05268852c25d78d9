import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../../runtime/base/random.ts'
import { BackOff } from '../../runtime/topology/back-off.ts'

test('the first retry after a link comes within a second, later ones spread over at most 30 s', () => {
  const random = seededRandom(3)
  const backOff = new BackOff(random)
  assert.ok(backOff.next(60_000) <= 1_000)
  const waits = Array.from({ length: 50 }, () => backOff.next(null))
  assert.ok(Math.max(...waits) <= 30_000 && Math.max(...waits) > 10_000)
  assert.ok(new Set(waits.slice(10)).size > 30, 'jittered')
  assert.ok(backOff.next(10) > 1_000 || backOff.next(10) > 1_000, 'a link that lasted a moment does not begin anew')
  assert.ok(backOff.next(60_000) <= 1_000)
})
