import assert from 'node:assert/strict'
import { test } from 'node:test'
import { grantedOf, untilOf } from '../../runtime/operations/granting.ts'
import { HLC_MAX, hlcFromMs } from '../../runtime/model/stamp.ts'

const NOW = Date.UTC(2026, 10, 28)

test('an end is a time or how long from now, and nothing that could be meant otherwise', () => {
  assert.equal(untilOf('Cannot invite', undefined, NOW), HLC_MAX)
  assert.equal(untilOf('Cannot invite', '30d', NOW), hlcFromMs(NOW + 30 * 86_400_000))
  assert.equal(untilOf('Cannot invite', '2027-01-01', NOW), hlcFromMs(Date.UTC(2027, 0, 1)))
  // A unit that was forgotten: as a year it would be an end.
  for (const until of ['32', '49', 'in 32', 30 as unknown as string])
    assert.throws(() => grantedOf({ role: 'gateway', until }, 0, NOW), /must be a time like/, String(until))
})
