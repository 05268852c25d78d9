import assert from 'node:assert/strict'
import { test } from 'node:test'
import { amountText, batchesText, spanText } from '../../runtime/cli/amount.ts'
import { lagText } from '../../runtime/cli/lag.ts'

test('one of a thing is not told in the plural, and a time has the unit that it is read in', () => {
  assert.deepEqual([amountText(0, 'row'), amountText(1, 'row'), batchesText(1)], ['0 rows', '1 row', '1 batch'])
  const spans = [0, 1.4, 119, 120, 3_600, 7_200, 100_000, 172_800, 31_536_000]
  assert.deepEqual(spans.map(spanText), ['0 s', '1 s', '119 s', '2 min', '60 min', '2 h', '28 h', '2 d', '365 d'])
  assert.equal(lagText({ batches: 1, bytes: 212, seconds: 90_000 }), '1 batch, 212 B, 25 h')
})
