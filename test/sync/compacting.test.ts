import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Played } from './played.ts'

const MINUTE_MS = 60_000
/** Less dead than that isn't worth a checkpoint. */
const NOT_WORTH_BYTES = 1_200

function writeAndDelete(played: Played): void {
  for (let i = 0; i < 12; i++) {
    played.gateway.write('climate', { kind: 'put', key: `hall-${i}`, fields: { temperature: i } })
    played.pass(100)
    played.gateway.write('climate', { kind: 'delete', key: `hall-${i}` })
    played.pass(100)
  }
}

function bytesLeft(played: Played): number {
  return played.gateway.disk.head(played.ownFeed('climate').key)?.bytes ?? 0
}

test('SPEC I30: deletes that are written after all earlier ones went go too', () => {
  const played = new Played(false)
  for (let round = 0; round < 3; round++) {
    writeAndDelete(played)
    assert.ok(bytesLeft(played) > NOT_WORTH_BYTES)
    played.pass(5 * MINUTE_MS)
    assert.ok(bytesLeft(played) <= NOT_WORTH_BYTES, `in round ${round} ${bytesLeft(played)} bytes are left of nothing`)
  }
})

test('SPEC I30: deletes that were too young when the feed was compacted for its size go later', () => {
  const played = new Played(false)
  writeAndDelete(played)
  for (let i = 0; i < 30; i++) {
    played.gateway.write('climate', { kind: 'put', key: 'hall', fields: { temperature: i } })
    played.pass(1_000)
  }
  writeAndDelete(played)
  played.pass(6 * MINUTE_MS)
  assert.ok(bytesLeft(played) <= NOT_WORTH_BYTES, `${bytesLeft(played)} bytes are left of nothing`)
})
