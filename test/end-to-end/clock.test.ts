import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { StatusView } from '../../runtime/ports/operations.ts'
import { found, joined, temporaryFolder, until, untilEqual } from './harness.ts'

const MINUTE_MS = 60_000

test('a board that boots in 1970 goes by the time of its neighbour, and says so', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = await joined(t, folder, 'b', a, { clockOffMs: -Date.now() })
  await until('b knows the time', async () => (await b.json<StatusView>('status')).clock.class === 1)
  const { clock, warnings } = await b.json<StatusView>('status')
  assert.equal(clock.source, 'neighbours')
  assert.ok(Math.abs(clock.offsetMs - Date.now()) < MINUTE_MS, `its time is ${clock.offsetMs} ms from 1970`)
  assert.deepEqual(warnings, [])

  const { stamp } = await b.json<{ stamp: string }>('put', 'climate', 'kitchen', '{"temperature":21}')
  assert.ok(Math.abs(Date.parse(stamp.split('+')[0] as string) - Date.now()) < MINUTE_MS, stamp)
  await untilEqual(a, b)
})

test('alone, it warns that it has no clock to trust and goes on from when it was made', async (t) => {
  const folder = temporaryFolder()
  const b = await found(t, folder, 'b', { clockOffMs: -Date.now() })
  const { clock, warnings } = await b.json<StatusView>('status')
  assert.deepEqual([clock.class, clock.source], [0, 'none'])
  assert.match(warnings.join('\n'), /^no-trusted-clock: /m)
  const { stamp } = await b.json<{ stamp: string }>('put', 'climate', 'kitchen', '{"temperature":21}')
  assert.ok(Math.abs(Date.parse(stamp.split('+')[0] as string) - Date.now()) < MINUTE_MS, stamp)
})
