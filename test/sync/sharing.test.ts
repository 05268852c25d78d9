import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Batch } from '../../runtime/model/batch.ts'
import { Author } from './author.ts'
import { catchUp } from './catching-up.ts'
import { Played } from './played.ts'

/** About 4 MB, in all. */
const MANY = { feeds: 20, batchesPerFeed: 20, bytes: 10_000 }
const ONE = { feeds: 1, batchesPerFeed: 400, bytes: 10_000 }
const COUNTED = { flow: { budget: { bytesPerSecond: 1_000_000, bytesPerDay: null } } }

describe('who comes back after long catches up over all its links', () => {
  for (const rates of [
    [10, 100, 100],
    [100, 10, 100],
  ]) {
    test(`twenty feeds over links of ${rates.join(', ')} kB/s take about as long as all of them need, and come once (SPEC I22)`, () => {
      const { ms, leastMs, copies, bytes } = catchUp({ ...MANY, rates })
      assert.ok(ms < leastMs * 1.3, `it took ${ms} ms, of ${leastMs}`)
      assert.ok(copies <= 1.05, `${copies} copies`)
      assert.ok(
        bytes.every((each) => each > 0),
        `a link brought nothing: ${bytes.join(', ')}`,
      )
    })
  }

  test('one feed goes on over a link that is faster, and stays there', () => {
    const { ms, leastMs, copies, bytes } = catchUp({ ...ONE, rates: [10, 100, 100] })
    assert.ok(ms < leastMs * 3, `it took ${ms} ms, of ${leastMs}`)
    assert.ok(copies <= 1.1, `${copies} copies`)
    assert.ok((bytes[0] as number) < 400_000, `the slow link brought ${bytes[0]}`)
  })

  test('what a neighbour that counts its bytes was asked for goes on over others', () => {
    const { bytes } = catchUp({ ...MANY, rates: [100, 50], engine: (index) => (index === 1 ? COUNTED : {}) })
    assert.ok((bytes[0] as number) < 400_000, `it sent ${bytes[0]}`)
  })

  test('a neighbour that counts its bytes takes nothing over, however fast it is', () => {
    const { bytes } = catchUp({ ...MANY, rates: [50, 1_000], engine: (index) => (index === 2 ? COUNTED : {}) })
    assert.equal(bytes[1], 0)
  })
})

test('who claims what it has not gets no more time by sending what is of no use', () => {
  const played = new Played()
  const author = new Author(played, 1)
  for (let i = 0; i < 20; i++) author.put(`key-${i}`, { temperature: i })
  author.push(1)
  author.tell(20)
  played.pass(2_500)
  let ms = 0
  for (; ms < 30_000; ms += 500) {
    played.say({ type: 'data', batches: [(author.batches[0] as Batch).bytes] })
    if (played.pass(500).some(({ type }) => type === 'want')) break
  }
  assert.ok(ms < 10_000, `what it claims was asked for again after ${ms} ms`)
})
