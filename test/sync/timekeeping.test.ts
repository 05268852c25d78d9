import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { LAST_MS } from '../../runtime/model/stamp.ts'
import type { LinkState } from '../../runtime/sync/link.ts'
import { Timekeeper } from '../../runtime/sync/timekeeping.ts'
import type { Now } from '../../runtime/sync/types.ts'

const BUILT = Date.UTC(2026, 10, 23)
const STORED = Date.UTC(2026, 11, 24)
const NOW = Date.UTC(2027, 0, 1)
const DAY_MS = 86_400_000

const of1970 = (monotonicMs: number): Now => ({ wallMs: monotonicMs, trust: 0, monotonicMs })

function neighbours(...offsets: readonly (number | null)[]): LinkState[] {
  return offsets.map((clockOffsetMs) => ({ clockOffsetMs }) as LinkState)
}

describe('what time it is', () => {
  test('class 2 is the system’s clock', () => {
    const now = { wallMs: NOW, trust: 2, monotonicMs: 5 } as const
    assert.deepEqual(new Timekeeper(BUILT, STORED).read(now), { ...now, source: 'system' })
  })

  for (const wallMs of [0, NOW, Date.UTC(2099, 0, 1)]) {
    test(`without anybody to believe it goes on from what is stored, though the system says ${new Date(wallMs).getUTCFullYear()}`, () => {
      const time = new Timekeeper(BUILT, STORED)
      time.read({ wallMs, trust: 0, monotonicMs: 1_000 })
      const later = time.read({ wallMs, trust: 0, monotonicMs: 61_000.7 })
      assert.deepEqual([later.wallMs, later.trust, later.source], [STORED + 60_000, 0, 'none'])
    })
  }

  test('with nothing stored it is when the program was built', () => {
    assert.equal(new Timekeeper(BUILT, 0).read(of1970(7)).wallMs, BUILT)
  })

  test('class 1 is the median of what neighbours of class 2 say, of two the earlier', () => {
    const time = new Timekeeper(BUILT, STORED)
    const said = (...offsets: readonly (number | null)[]): [number, number] => {
      time.noteNeighbours(neighbours(...offsets), 0)
      const { wallMs, trust } = time.read(of1970(1_000))
      return [wallMs - 1_000, trust]
    }
    assert.deepEqual(said(NOW), [NOW, 1])
    assert.deepEqual(said(NOW + 9, NOW), [NOW, 1])
    assert.deepEqual(said(null, NOW + DAY_MS, NOW, NOW - 5, null), [NOW, 1])
  })

  test('what was believed is believed for a day after the last that said so, then only gone on from', () => {
    const time = new Timekeeper(BUILT, STORED)
    time.noteNeighbours(neighbours(NOW), 0)
    time.read(of1970(0))
    time.noteNeighbours(neighbours(null), 0)
    const kept = time.read(of1970(DAY_MS - 1))
    assert.deepEqual([kept.wallMs, kept.trust, kept.source], [NOW + DAY_MS - 1, 1, 'kept'])
    const older = time.read(of1970(DAY_MS))
    assert.deepEqual([older.wallMs, older.trust, older.source], [NOW + DAY_MS, 0, 'none'])
  })

  test('whoever has said so within a day knows the time, linked or not, and the system when it is of class 2', () => {
    const time = new Timekeeper(BUILT, STORED)
    const said = (peerId: string, clockOffsetMs: number | null): LinkState => ({ peerId, clockOffsetMs }) as LinkState
    const known = (monotonicMs: number, trust: 0 | 2): number[] => {
      const times = time.known({ wallMs: STORED + monotonicMs, trust, monotonicMs, source: 'none' }).values()
      return Array.from(times, (ms) => ms - monotonicMs)
    }
    time.noteNeighbours([said('a', NOW), said('a', NOW + 1), said('b', NOW + 2), said('c', null)], 0)
    assert.deepEqual(known(0, 2), [STORED, NOW + 1, NOW + 2])
    time.noteNeighbours([said('b', NOW + 3)], 5)
    assert.deepEqual(known(DAY_MS - 1, 0), [NOW + 1, NOW + 3])
    assert.deepEqual(known(DAY_MS, 0), [NOW + 3])
    assert.deepEqual(known(DAY_MS + 5, 0), [])
  })

  test('a clock that lost its sign of truth in a jump is not followed', () => {
    const time = new Timekeeper(BUILT, STORED)
    time.read({ wallMs: NOW, trust: 2, monotonicMs: 0 })
    const { wallMs, trust } = time.read({ wallMs: Date.UTC(2099, 0, 1), trust: 0, monotonicMs: 1_000 })
    assert.deepEqual([wallMs, trust], [NOW + 1_000, 1])
  })

  test('what a neighbour says was said half a round trip ago, and counts only when it is of class 2 and can be right', () => {
    const time = new Timekeeper(BUILT, Date.UTC(2099, 0, 1))
    const now = of1970(1_000)
    assert.equal(time.offsetOf({ class: 2, ms: NOW }, now, 40), NOW + 20 - 1_000)
    assert.equal(time.offsetOf({ class: 1, ms: NOW }, now, 40), null)
    assert.equal(time.offsetOf({ class: 2, ms: BUILT - 1 }, now, 40), null)
    assert.equal(time.offsetOf({ class: 2, ms: LAST_MS + 1 }, now, 40), null)
    assert.equal(time.offsetOf(undefined, now, 40), null)
  })
})
