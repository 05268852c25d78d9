import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { runSession } from './engine.ts'
import { fuzz } from './fuzz.ts'
import { targetsIn } from './targets.ts'

test('SPEC I15: no changed input makes a decoder or the engine throw anything but what it says', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'marram-fuzz-'))
  t.after(() => rmSync(dir, { recursive: true }))
  const targets = targetsIn(dir)
  // One turn over all of them.
  const report = await fuzz({
    seed: 1,
    targets,
    isOver: () => true,
    // Time and memory are for the long run, `npm run fuzz`.
    msMax: Number.POSITIVE_INFINITY,
    growthMax: Number.POSITIVE_INFINITY,
  })
  assert.deepEqual(report.failures, [])
  const idle = Object.entries(report.targets).filter(([, { accepted, refused }]) => accepted + refused === 0)
  assert.deepEqual(idle, [], 'every target was tried')
})

// A member signed a batch of the last sequence there is: nobody could say what was lacking behind it, and links were closed.
for (const session of [100_164])
  test(`no hostile neighbour makes a gateway close a link with another: session ${session}`, () => {
    assert.equal(runSession(session).fault, null)
  })
