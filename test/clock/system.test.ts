import assert from 'node:assert/strict'
import { beforeEach, describe, test } from 'node:test'
import type { ClockProbe } from '../../runtime/clock/probe.ts'
import { SystemClock } from '../../runtime/clock/system.ts'

const BUILT = Date.UTC(2026, 10, 23)
const NOW = Date.UTC(2027, 0, 1)
const HOUR_MS = 3_600_000
const DECADES_MS = 70 * 365 * 24 * HOUR_MS

describe('the system’s clock', () => {
  let wallMs: number
  let monotonicMs: number
  let marks: { timesyncd: string | null; rtc: string | null }
  let clock: SystemClock

  const probe = (source: 'timesyncd' | 'rtc'): ClockProbe => ({ source, look: () => Promise.resolve(marks[source]) })

  beforeEach(() => {
    wallMs = NOW
    monotonicMs = 5_000
    marks = { timesyncd: null, rtc: null }
    clock = new SystemClock({
      buildMs: BUILT,
      probes: [probe('timesyncd'), probe('rtc')],
      wallMs: () => wallMs,
      monotonicMs: () => monotonicMs,
    })
  })

  function pass(ms: number): void {
    wallMs += ms
    monotonicMs += ms
  }

  test('is not believed when nothing vouches for it', async () => {
    assert.equal(clock.trust(), 0)
    await clock.check()
    assert.deepEqual([clock.trust(), clock.source], [0, null])
  })

  test('is of class 2 by the first that vouches for it, and not when that has gone', async () => {
    marks.rtc = 'a'
    await clock.check()
    assert.deepEqual([clock.trust(), clock.source], [2, 'rtc'])
    marks.timesyncd = 'b'
    await clock.check()
    assert.deepEqual([clock.trust(), clock.source], [2, 'timesyncd'])
    marks = { timesyncd: null, rtc: null }
    await clock.check()
    assert.equal(clock.trust(), 0)
  })

  test('is believed from the moment that it is set at the first time, however far it jumps then', async () => {
    wallMs = 0
    await clock.check()
    assert.equal(clock.trust(), 0)
    wallMs = NOW
    marks.timesyncd = 'a'
    await clock.check()
    assert.equal(clock.trust(), 2)
  })

  test('is not believed before the program was built, whoever vouches for it', async () => {
    wallMs = BUILT - 1
    marks.timesyncd = 'a'
    await clock.check()
    assert.equal(clock.trust(), 0)
  })

  for (const [where, jumpMs] of [
    ['forward', DECADES_MS],
    ['back', -2 * HOUR_MS],
  ] as const) {
    test(`is not believed from the moment that it jumps ${where}, until something confirms it anew`, async () => {
      marks.timesyncd = 'a'
      await clock.check()
      pass(60_000)
      assert.equal(clock.trust(), 2)
      wallMs += jumpMs
      assert.equal(clock.trust(), 0)
      await clock.check()
      assert.equal(clock.trust(), 0, 'what vouched before the jump vouches no more')
      marks.timesyncd = 'b'
      await clock.check()
      assert.equal(clock.trust(), 2)
    })
  }

  test('is believed again when it comes back from a jump', async () => {
    marks.timesyncd = 'a'
    await clock.check()
    wallMs += DECADES_MS
    await clock.check()
    wallMs -= DECADES_MS
    await clock.check()
    assert.equal(clock.trust(), 2)
  })

  test('that jumped is believed when another confirms it: a machine that slept', async () => {
    marks.timesyncd = 'a'
    await clock.check()
    wallMs += 8 * HOUR_MS
    marks.rtc = 'agrees'
    await clock.check()
    assert.deepEqual([clock.trust(), clock.source], [2, 'rtc'])
  })

  test('may drift and be corrected by less than an hour at a time, however far in the end', async () => {
    marks.timesyncd = 'a'
    for (let i = 0; i < 10; i++) {
      pass(15_000)
      wallMs += HOUR_MS / 2
      await clock.check()
      assert.equal(clock.trust(), 2)
    }
  })
})
