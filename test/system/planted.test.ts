import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { mutations, runPlanted } from '../simulation/plant.ts'

/**
 * Every planted bug is noticed by the run or the test that its mutation names: most within some seconds, all together within ten
 * minutes on a board's worth of processor. None is decided by time: a run has so many seeds.
 */
describe('planted bugs are noticed', { concurrency: 2 }, () => {
  for (const mutation of mutations()) {
    test(`${mutation.name}: ${mutation.breaks}`, { timeout: 600_000 }, () => {
      const { status, lastLine } = runPlanted(mutation, [], 'pipe')
      assert.equal(status, 1, `nothing notices it: ${lastLine}`)
      assert.equal((JSON.parse(lastLine) as { ok: unknown }).ok, false)
    })
  }
})
