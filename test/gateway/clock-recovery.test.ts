import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ClockRecovery } from '../../runtime/gateway/clock-recovery.ts'
import type { Incarnation } from '../../runtime/gateway/incarnation.ts'
import type { Running } from '../../runtime/gateway/running.ts'
import type { ClockDoubt } from '../../runtime/sync/weighing.ts'

const NOW_MS = Date.UTC(2027, 0, 1)

/** Of a gateway whose own stamps are ahead of the time that it believes. */
function ahead(clockDoubt: ClockDoubt | null): { readonly recovery: ClockRecovery; readonly setBacks: () => number } {
  let setBacks = 0
  const driver = { view: { isClockAhead: true, clockDoubt }, time: { wallMs: NOW_MS, trust: 2 } }
  const replace = async (isDue: () => boolean, act: () => Promise<void>): Promise<boolean> => {
    if (isDue()) await act()
    return isDue()
  }
  const incarnation = { id: '', waitMs: () => 0, renewedAt: () => {}, setBack: () => {} }
  const recovery = new ClockRecovery({
    store: { heads: () => [] },
    running: { driver, replace } as unknown as Running,
    incarnation: incarnation as unknown as Incarnation,
    notBefore: () => 0,
    keepIncarnation: () => Promise.resolve(),
    onSetBack: () => (setBacks += 1),
    log: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
  })
  return { recovery, setBacks: () => setBacks }
}

test('a clock that is ahead is set back, and the warning says so', async () => {
  const { recovery, setBacks } = ahead(null)
  assert.match(recovery.warning ?? '', /^clock-ahead: .* it is set back /)
  await recovery.step()
  assert.equal(setBacks(), 1)
})

const DOUBTS: readonly (readonly [ClockDoubt, RegExp])[] = [
  ['outvoted', /^clock-doubted: .* nothing is set back.* set that right/],
  ['tied', /^clock-doubted: .* for a day.* set right whichever clock is wrong/],
  ['alone', /^clock-ahead: .* for five minutes.* link another gateway that knows the time/],
]
for (const [doubt, says] of DOUBTS) {
  test(`while it is ${doubt} it is not, and the warning says what is to be done`, async () => {
    const { recovery, setBacks } = ahead(doubt)
    assert.match(recovery.warning ?? '', says)
    await recovery.step()
    assert.equal(setBacks(), 0)
  })
}
