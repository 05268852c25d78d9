import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isPartOf, isTouched, isWithin, Scope } from '../../runtime/model/interest.ts'

const place = (collection: string, partition = ''): { collection: string; partition: string } => ({
  collection,
  partition,
})

test('a pattern takes in a collection, the partitions that begin so, or all that is not the system’s', () => {
  assert.ok(isWithin('*', place('climate', 'north')))
  assert.ok(!isWithin('*', place('$mesh')))
  assert.ok(isWithin('climate', place('climate', 'north')))
  assert.ok(!isWithin('climate', place('climates')))
  assert.ok(isWithin('climate/nor', place('climate', 'north/hall')))
  assert.ok(!isWithin('climate/nor', place('climate', 'south')))
  assert.ok(!isWithin('climate/nor', place('climate')))
  assert.ok(isWithin('climate/', place('climate')))
  assert.ok(!isWithin('', place('climate')))
})

test('a collection, or a pattern, is touched when some of it may be kept', () => {
  assert.ok(isTouched(['meters', 'climate/north'], 'climate'))
  assert.ok(!isTouched(['meters'], 'climate'))
  assert.ok(isTouched(['*'], 'climate'))
  assert.ok(!isTouched(['climates'], 'climate'))
  assert.ok(isTouched(['climate/north'], 'climate/no') && isTouched(['climate/no'], 'climate/north'))
  assert.ok(!isTouched(['climate/north'], 'climate/south'))
  assert.ok(isTouched(['climate/north'], '*') && !isTouched([], '*'))
})

const patterns = fc.constantFrom('*', 'a', 'b', 'a/', 'a/x', 'a/xy', 'b/x')
const places = fc.record({
  collection: fc.constantFrom('a', 'b', 'ab'),
  partition: fc.constantFrom('', 'x', 'xy', 'z'),
})

test('what is part of a pattern is within it wherever it is', () => {
  fc.assert(
    fc.property(patterns, patterns, places, (pattern, other, at) => {
      if (isPartOf(pattern, other) && isWithin(pattern, at)) assert.ok(isWithin(other, at))
    }),
  )
})

test('a scope is what interest and rights have in common, and the system’s collections; equal scopes have one name', () => {
  fc.assert(
    fc.property(fc.array(patterns), fc.array(patterns), places, (interest, readable, at) => {
      const scope = new Scope(interest, readable)
      const isCovered = [interest, readable].every((list) => list.some((pattern) => isWithin(pattern, at)))
      assert.equal(scope.covers(at), isCovered)
      assert.ok(scope.covers(place('$self', 'somebody')))
      assert.equal(new Scope(interest.toReversed(), [...readable, ...readable]).name, scope.name)
    }),
  )
})
