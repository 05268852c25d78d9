import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { HybridClock } from '../../runtime/model/clock.ts'
import { compareStamps, formatStamp, hlcFromMs, HLC_MAX, LAST_MS, msOfHlc } from '../../runtime/model/stamp.ts'

const EPOCH = Date.UTC(2020, 0, 1)
const END = Date.UTC(2159, 0, 1)
const time = fc.integer({ min: EPOCH, max: END })
const stamp = fc.record({ hlc: fc.nat({ max: 3 }), index: fc.nat({ max: 2 }), origin: fc.constantFrom('a', 'b', 'c') })

test('a stamp holds its millisecond from 2020 to 2159, as a safe integer', () => {
  fc.assert(
    fc.property(time, (ms) => {
      assert.equal(msOfHlc(hlcFromMs(ms)), ms)
      assert.ok(Number.isSafeInteger(hlcFromMs(ms)))
    }),
  )
})

test('later milliseconds have greater stamps, with room for 2,048 between', () => {
  fc.assert(fc.property(time, (ms) => assert.equal(hlcFromMs(ms + 1) - hlcFromMs(ms), 2048)))
})

test('times outside are held at the ends', () => {
  for (const ms of [0, -1e15, EPOCH - 1, EPOCH]) assert.equal(hlcFromMs(ms), 0)
  assert.equal(hlcFromMs(1e18), HLC_MAX)
})

test('stamps are in one total order: time, index, author', () => {
  fc.assert(
    fc.property(stamp, stamp, stamp, (a, b, c) => {
      assert.equal(Math.sign(compareStamps(a, b)), 0 - Math.sign(compareStamps(b, a)))
      assert.equal(compareStamps(a, b) === 0, a.hlc === b.hlc && a.index === b.index && a.origin === b.origin)
      if (compareStamps(a, b) <= 0 && compareStamps(b, c) <= 0) assert.ok(compareStamps(a, c) <= 0)
    }),
  )
  assert.ok(compareStamps({ hlc: 1, index: 9, origin: 'z' }, { hlc: 2, index: 0, origin: 'a' }) < 0)
  assert.ok(compareStamps({ hlc: 1, index: 0, origin: 'z' }, { hlc: 1, index: 1, origin: 'a' }) < 0)
})

test('a stamp is readable', () => {
  const hlc = hlcFromMs(Date.UTC(2026, 10, 23, 17, 21, 54)) + 5
  assert.equal(formatStamp({ hlc, index: 2, origin: 'me' }), '2026-11-23T17:21:54.000Z+5.2@me')
})

const event = fc.oneof(
  fc.record({ is: fc.constant('next' as const), ms: fc.oneof(time, fc.integer({ min: 0, max: 1000 })) }),
  fc.record({ is: fc.constant('observe' as const), hlc: fc.nat({ max: hlcFromMs(END) }) }),
)

test('SPEC I17: a clock only goes up, whatever the physical time and the others do', () => {
  fc.assert(
    fc.property(fc.nat({ max: hlcFromMs(END) }), fc.array(event, { maxLength: 30 }), (floor, events) => {
      const clock = new HybridClock(floor)
      let greatest = floor
      for (const step of events) {
        if (step.is === 'observe') {
          clock.observe(step.hlc)
          greatest = Math.max(greatest, step.hlc)
        } else {
          const next = clock.next(step.ms)
          assert.ok(next > greatest)
          assert.ok(next >= hlcFromMs(Math.min(step.ms, LAST_MS)))
          greatest = next
        }
        assert.equal(clock.last, greatest)
      }
    }),
  )
})

test('a clock follows the physical time when that is ahead, and counts when it stands still or goes back', () => {
  const clock = new HybridClock(0)
  const first = clock.next(EPOCH + 1000)
  assert.equal(first, hlcFromMs(EPOCH + 1000))
  assert.deepEqual([clock.next(EPOCH + 1000), clock.next(EPOCH), clock.next(0)], [first + 1, first + 2, first + 3])
  assert.equal(clock.next(EPOCH + 2000), hlcFromMs(EPOCH + 2000))
})

test('more writes than a millisecond holds carry into the next', () => {
  const clock = new HybridClock(0)
  for (let i = 0; i < 2048; i++) clock.next(EPOCH + 1000)
  assert.equal(msOfHlc(clock.last), EPOCH + 1000)
  assert.equal(msOfHlc(clock.next(EPOCH + 1000)), EPOCH + 1001)
})

test('a clock at its end is a bug, never a stamp that compares wrongly', () => {
  assert.throws(() => new HybridClock(HLC_MAX - 1).next(0), /the hybrid clock has room/)
})
