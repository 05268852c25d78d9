import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  answerOf,
  closingOf,
  fieldsOfAnswer,
  fieldsOfClosing,
  fieldsOfRemoval,
  keyOfClosing,
  removalOf,
  sealsAbove,
  type Closing,
  type Holding,
} from '../../runtime/access/removals.ts'
import { Seals, type Removal } from '../../runtime/access/seals.ts'
import type { Fields } from '../../runtime/model/value.ts'

const id = (n: number): Uint8Array => new Uint8Array(16).fill(n)
const key = (n: number): string => String.fromCharCode(n).repeat(16)
const holding = (n: number, seq: number): Holding => ({ feedId: id(n), seq, hash8: new Uint8Array(8).fill(seq) })

test('what is written of a removal is read as it was meant, however many feeds it names', () => {
  const closing: Closing = {
    origin: 'p',
    reason: 'revoke',
    since: 77,
    by: 'a',
    isHasty: true,
    warrant: new Uint8Array(64),
  }
  assert.deepEqual(closingOf(keyOfClosing(closing), fieldsOfClosing(closing)), closing)
  const holdings = Array.from({ length: 700 }, (_, i) => holding(i % 256, i + 1))
  assert.deepEqual(answerOf(fieldsOfAnswer(holdings)), holdings)
  assert.deepEqual(answerOf(fieldsOfAnswer([])), [], 'nothing held is an answer')
  const seals = new Map(Array.from({ length: 256 }, (_, i) => [key(i), i + 1]))
  const removal: Removal = { origin: 'p', reason: 'retire', seals, bound: new Set([key(1)]) }
  assert.deepEqual(removalOf('seal/p/a', fieldsOfRemoval(removal, null)), { removal, warrant: null })
})

test('what is malformed says nothing', () => {
  const closing: Fields = { reason: 'retire' }
  assert.notEqual(closingOf('close/p/a', closing), null)
  assert.equal(closingOf('close/p', closing), null, 'by nobody')
  assert.equal(closingOf('member/p/a', closing), null)
  assert.equal(closingOf('close/p/a', { ...closing, reason: 'dislike' }), null)
  assert.equal(closingOf('close/p/a', { ...closing, since: 'noon' }), null)
  assert.equal(removalOf('seal/p', { reason: 'retire' }), null, 'by nobody')
  for (const seq of [0, -1, 1.5, '1']) {
    assert.equal(removalOf('seal/p/a', { reason: 'retire', 'seals/0': [[id(1), seq]] }), null)
    assert.equal(answerOf({ count: 1, 'held/0': [[id(1), seq, new Uint8Array(8)]] }), null)
  }
  assert.equal(answerOf({ 'held/0': [] }), null)
})

test('a lost gateway is sealed behind the most that anybody holds of it', () => {
  const seals = sealsAbove([[holding(1, 5), holding(2, 1)], [holding(1, 9)], []])
  assert.deepEqual(
    [...seals],
    [
      [key(1), 10],
      [key(2), 2],
    ],
  )
})

test('seals are the same in whatever order statements arrive, the least wins, and what no removal names is void', () => {
  const removals: Removal[] = [
    { origin: 'p', reason: 'retire', seals: new Map([[key(1), 9]]), bound: new Set() },
    { origin: 'p', reason: 'revoke', seals: new Map([[key(1), 4]]), bound: new Set([key(7)]) },
  ]
  for (const order of [removals, removals.toReversed()]) {
    const seals = new Seals()
    seals.addFork(key(2), 3)
    for (const removal of order) seals.addRemoval(removal)
    assert.equal(seals.of({ key: key(1), origin: 'p' }), 4)
    assert.equal(seals.of({ key: key(2), origin: 'p' }), 1, 'nobody held it when its author was removed')
    assert.equal(seals.of({ key: key(2), origin: 'q' }), 3, 'of somebody else the fork alone')
    assert.equal(seals.of({ key: key(3), origin: 'q' }), Number.POSITIVE_INFINITY)
    assert.equal(seals.isClosed('p'), true)
    assert.equal(seals.ackedBelow('p', { key: key(7), origin: 'q' }), Number.POSITIVE_INFINITY)
    assert.equal(seals.ackedBelow('p', { key: key(8), origin: 'q' }), null)
  }
})
