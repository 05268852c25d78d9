import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Behind } from '../../runtime/operations/evidence.ts'
import { TransferProgress, type Seen } from '../../runtime/operations/transfer-progress.ts'

const WALL_MS = 1_800_000_000_000
const at = (seconds: number): Seen => ({ atMs: seconds * 1_000, wallMs: WALL_MS + seconds * 1_000 })

function lacking(held: number, head: number, feedKey = 'feed'): Behind[] {
  return [{ feedKey, held, head }]
}

function linked(behind: readonly Behind[]): { isLinked: true; refusal: null; lacking: readonly Behind[] } {
  return { isLinked: true, refusal: null, lacking: behind }
}

test('under steady load a peer that keeps up is current although something is always on its way', () => {
  const progress = new TransferProgress()
  progress.observe(at(0), linked([]))
  for (let second = 5; second <= 300; second += 5) {
    assert.equal(progress.observe(at(second), linked(lacking(second * 10 - 3, second * 10))), 'current', `${second} s`)
  }
  const lag = 300 - (progress.confirmed?.atMs ?? 0) / 1_000
  assert.ok(lag > 0 && lag <= 10, 'what was here ten seconds ago is confirmed')
})

test('who stands still is behind, and current again when it has what was here', () => {
  const progress = new TransferProgress()
  progress.observe(at(0), linked([]))
  assert.equal(progress.observe(at(10), linked(lacking(7, 9))), 'current')
  assert.equal(progress.observe(at(20), linked(lacking(7, 12))), 'behind')
  assert.equal(progress.isSettled(at(20)), false, 'it may pass')
  assert.equal(progress.observe(at(30), linked(lacking(7, 15))), 'behind')
  assert.equal(progress.isSettled(at(30)), true)
  assert.deepEqual(progress.confirmed, at(0))
  assert.equal(progress.observe(at(31), linked(lacking(9, 16))), 'behind')
  assert.deepEqual(progress.confirmed, at(10), 'what was marked at ten')
  assert.equal(progress.observe(at(32), linked([])), 'current')
  assert.equal(progress.isSettled(at(32)), true, 'good news at once')
  assert.deepEqual(progress.confirmed, at(32))
})

test('a mark counts feed by feed, and a feed that was cut or is gone is waited for no longer', () => {
  const progress = new TransferProgress()
  const two = [...lacking(0, 5, 'one'), ...lacking(0, 5, 'two')]
  progress.observe(at(0), linked(two))
  progress.observe(at(5), linked([...lacking(5, 6, 'one'), ...lacking(4, 6, 'two')]))
  assert.equal(progress.confirmed, null)
  progress.observe(at(10), linked(lacking(5, 6, 'one')))
  assert.deepEqual(progress.confirmed, at(0))
})

test('without a link nothing is confirmed, whatever is known of the peer', () => {
  const progress = new TransferProgress()
  assert.equal(progress.observe(at(0), { isLinked: false, refusal: null, lacking: [] }), 'unreachable')
  assert.equal(progress.confirmed, null)
  assert.equal(progress.isSettled(at(9)), false)
  assert.equal(progress.isSettled(at(10)), true)
  assert.equal(progress.observe(at(11), linked(lacking(0, 100))), 'behind', 'it never had it all')
  assert.equal(progress.observe(at(12), linked([])), 'current')
})

test('what stands against it comes before all else, and is told at once', () => {
  const progress = new TransferProgress()
  assert.equal(progress.observe(at(0), { isLinked: true, refusal: 'it keeps nothing of it', lacking: [] }), 'refused')
  assert.equal(progress.isSettled(at(0)), true)
})
