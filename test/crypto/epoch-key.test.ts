import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hex } from '../../runtime/base/bytes.ts'
import { bodyKeyOf, isEpoch, isKeyOf, newEpochKey, numberOfEpoch } from '../../runtime/crypto/epoch-key.ts'

test('an epoch is named by its number and by its key: a later one is greater, another key is not its own', () => {
  const first = newEpochKey(1)
  const second = newEpochKey(2)
  const other = newEpochKey(2)
  assert.deepEqual(
    [first, second].map(({ epoch }) => numberOfEpoch(epoch)),
    [1, 2],
  )
  assert.ok(second.epoch > first.epoch)
  assert.notEqual(second.epoch, other.epoch)
  for (const { epoch, key } of [first, second]) assert.ok(isEpoch(epoch) && isKeyOf(epoch, key))
  assert.equal(isKeyOf(second.epoch, other.key), false)
  assert.equal(isKeyOf(second.epoch, second.key.subarray(1)), false)
  for (const none of [0, 5, -1, 1.5, 2 ** 53, Number.NaN, '1', null]) assert.equal(isEpoch(none), false)
  assert.ok(isEpoch(newEpochKey(2 ** 29 - 1).epoch), 'the greatest that fits')
})

test('each feed has a key of its own', () => {
  const key = new Uint8Array(32).fill(1)
  const [a, b] = [1, 2].map((fill) => bodyKeyOf(key, new Uint8Array(16).fill(fill)))
  assert.ok(a && b)
  assert.notDeepEqual(a, b)
  assert.equal(hex(a), '6aebf9c70b372109d0a1e0fbc7be63f486d0b42b52d9b755e2099f64290bc1b9')
})
