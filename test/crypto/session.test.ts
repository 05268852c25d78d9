import assert from 'node:assert/strict'
import { test } from 'node:test'
import { utf8 } from '../../runtime/base/bytes.ts'
import { seededRandom, randomInteger } from '../../runtime/base/random.ts'
import { createSession, SESSION_OVERHEAD, type Session } from '../../runtime/crypto/session.ts'

function pair(): [Session, Session] {
  const [a, b] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)]
  return [createSession({ id: 7, send: a, receive: b }), createSession({ id: 7, send: b, receive: a })]
}

test('a frame opens once, costs 27 bytes, and not at all in another session', () => {
  const [alice, bob] = pair()
  const frame = alice.seal(utf8('hello'))
  assert.equal(frame.length, 5 + SESSION_OVERHEAD)
  assert.deepEqual(bob.open(frame), utf8('hello'))
  assert.equal(bob.open(frame), null, 'a replay')
  const other = createSession({ id: 8, send: new Uint8Array(32).fill(2), receive: new Uint8Array(32).fill(1) })
  assert.equal(other.open(alice.seal(utf8('hello'))), null)
  assert.equal(bob.open(new Uint8Array(10)), null)
})

test('a bit flipped anywhere in a frame makes it worthless, and the frame itself still opens', () => {
  const [alice, bob] = pair()
  const frame = alice.seal(utf8('hello'))
  for (let at = 0; at < frame.length; at++) {
    const forged = frame.slice()
    forged[at] = (forged[at] as number) ^ 0x10
    assert.equal(bob.open(forged), null, `byte ${at}`)
  }
  assert.deepEqual(bob.open(frame), utf8('hello'))
})

test('frames out of order open once each within the window, older ones never', () => {
  const random = seededRandom(5)
  const [alice, bob] = pair()
  const frames = Array.from({ length: 500 }, (_, i) => ({
    i,
    bytes: alice.seal(utf8(`${i}`)),
    at: i + randomInteger(random, 0, 40),
  }))
  frames.sort((a, b) => a.at - b.at)
  for (const { i, bytes } of frames) {
    assert.deepEqual(bob.open(bytes), utf8(`${i}`))
    assert.equal(bob.open(bytes), null)
  }
  const [carol, dan] = pair()
  const old = carol.seal(utf8('old'))
  for (let i = 0; i < 64; i++) dan.open(carol.seal(utf8('new')))
  assert.equal(dan.open(old), null)
})
