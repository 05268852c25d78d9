import assert from 'node:assert/strict'
import { test } from 'node:test'
import { waitOf } from '../../runtime/profile/wait.ts'

test('a wait is a number of gateways or "durable", from an address as from JSON', () => {
  assert.deepEqual(waitOf('2', '10s'), { wait: 2, timeoutMs: 10_000 })
  assert.deepEqual(waitOf(2, '1m'), { wait: 2, timeoutMs: 60_000 })
  assert.deepEqual(waitOf('durable', null), { wait: 0 })
  assert.deepEqual(waitOf(undefined, undefined), {})
})

test('anything else is refused', () => {
  for (const [wait, timeout] of [
    ['two', null],
    [-1, null],
    [1.5, null],
    [true, null],
    [1, 10],
    [1, '10'],
  ] as const) {
    assert.throws(() => waitOf(wait, timeout), { code: 'bad-request' })
  }
})
