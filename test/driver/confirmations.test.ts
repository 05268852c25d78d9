import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GATEWAY_LIMITS } from '../../runtime/base/limits.ts'
import { Confirmations } from '../../runtime/driver/confirmations.ts'
import type { Written } from '../../runtime/ports/writer.ts'

const FAR = 1_000_000

function written(sequence: number, feedKey = 'feed'): Written {
  return { hlc: sequence, index: 0, origin: 'me', feedKey, sequence }
}

/** What the other gateways hold can be set. */
function setUp(): { held: number[]; confirmations: Confirmations } {
  const held: number[] = []
  return { held, confirmations: new Confirmations(() => held) }
}

test('those who wait hear as soon as enough other gateways hold their batch, in whatever order they confirm', async () => {
  const { held, confirmations } = setUp()
  const heard: string[] = []
  const waits = [
    confirmations.wait(written(3), 1, FAR).then((count) => heard.push(`3 by one: ${count}`)),
    confirmations.wait(written(3), 2, FAR).then((count) => heard.push(`3 by two: ${count}`)),
    confirmations.wait(written(5), 1, FAR).then((count) => heard.push(`5 by one: ${count}`)),
  ]
  held.push(2, 0)
  confirmations.confirmed(['feed'])
  held.splice(0, 2, 2, 3)
  confirmations.confirmed(['feed'])
  await waits[0]
  assert.deepEqual(heard, ['3 by one: 1'])
  held.splice(0, 2, 5, 3)
  confirmations.confirmed(['another', 'feed'])
  await Promise.all(waits)
  assert.deepEqual(heard, ['3 by one: 1', '3 by two: 2', '5 by one: 1'])
})

test('what is held already is not waited for', async () => {
  const { held, confirmations } = setUp()
  held.push(7, 9, 3)
  assert.equal(await confirmations.wait(written(7), 2, FAR), 2)
})

test('when the time is up, who waits goes or the gateway stops, the answer is how many hold it by then', async () => {
  const { held, confirmations } = setUp()
  held.push(4, 1)
  assert.equal(await confirmations.wait(written(2), 2, 1), 1)
  const gone = new AbortController()
  const aborted = confirmations.wait(written(2), 2, FAR, gone.signal)
  gone.abort()
  assert.equal(await aborted, 1)
  const left = confirmations.wait(written(2), 2, FAR)
  confirmations.close()
  assert.equal(await left, 1)
  assert.equal(await confirmations.wait(written(2), 2, FAR), 1)
})

test('so many may wait and no more, and each that is answered makes room', async () => {
  const { held, confirmations } = setUp()
  const waits = Array.from({ length: GATEWAY_LIMITS.confirmationsMax }, (_, i) =>
    confirmations.wait(written(1, `feed ${i}`), 1, FAR),
  )
  assert.equal(confirmations.hasRoom, false)
  held.push(1)
  confirmations.confirmed(['feed 5'])
  await waits[5]
  assert.equal(confirmations.hasRoom, true)
  confirmations.close()
})
