import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isAsLate, Remade, type Age } from '../../runtime/sync/remade.ts'

/** Written at that stamp, and cut at 1000. */
function at(order: number): Age {
  return { order, before: 1_000 }
}

/** Whether what was written then is later than what was made again under that stamp; null when nothing was. */
function isLater(made: Remade, hlc: number, age: Age): boolean | null {
  const first = made.ageAt(hlc)
  return first && isAsLate(age, first)
}

test('what is made again in one go is one run, which ends where something is left out', () => {
  const made = new Remade(undefined)
  made.add(2_000, at(1))
  made.add(2_001, at(2))
  made.leaveOut()
  const record = made.with(2_005, at(4))
  const stored = new Remade(record)
  assert.deepEqual(stored.ageAt(2_000), at(2))
  assert.deepEqual(stored.ageAt(2_001), at(2))
  assert.equal(stored.ageAt(2_003), null)
  assert.equal(isLater(stored, 2_001, at(3)), true)
  assert.equal(isLater(stored, 2_005, at(3)), false)
  assert.equal(made.ageAt(2_005), null)
})

test('what was stamped ahead of the time was written before all that was written after that was put right', () => {
  const made = new Remade(undefined)
  made.add(2_000, { order: 9_000, before: 1_000 })
  assert.equal(isLater(made, 2_000, { order: 8_000, before: 1_000 }), false)
  assert.equal(isLater(made, 2_000, { order: 2_001, before: 3_000 }), true)
})

test('bytes that mean nothing say that nothing was made again', () => {
  for (const bytes of [[], [0x01], [0x82, 0x01, 0x02], [0x81, 0x82, 0x01, 0x02]]) {
    assert.equal(new Remade(Uint8Array.from(bytes)).isEmpty, true)
  }
})
