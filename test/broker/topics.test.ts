import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  isCovered,
  isFilter,
  isReservedForForward,
  isReservedForPublish,
  isReservedForSubscribe,
  isTopic,
  matches,
  overlap,
} from '../../runtime/broker/topics.ts'

const level = fc.constantFrom('', 'a', 'b', 'c')
const topic = fc.array(level, { minLength: 1, maxLength: 4 }).map((levels) => levels.join('/'))
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { minLength: 1, maxLength: 4 }), fc.boolean())
  .map(([levels, isOpen]) => [...levels, ...(isOpen ? ['#'] : [])].join('/'))

test('a filter matches as the standard says by example', () => {
  assert.ok(matches('sport/tennis/#', 'sport/tennis'))
  assert.ok(matches('sport/tennis/+', 'sport/tennis/player1'))
  assert.ok(!matches('sport/tennis/+', 'sport/tennis/player1/ranking'))
  assert.ok(!matches('sport/+', 'sport'))
  assert.ok(matches('sport/+', 'sport/'))
  assert.ok(matches('+/+', '/finance'))
  assert.ok(matches('/+', '/finance'))
  assert.ok(!matches('+', '/finance'))
  assert.ok(!matches('#', '$SYS/a'))
  assert.ok(!matches('+/monitor/Clients', '$SYS/monitor/Clients'))
  assert.ok(matches('$SYS/#', '$SYS/a'))
})

test('a covered filter matches nothing that the covering one does not', () => {
  fc.assert(
    fc.property(filter, filter, topic, (narrow, wide, name) => {
      fc.pre(isCovered(narrow, wide) && matches(narrow, name))
      assert.ok(matches(wide, name))
    }),
  )
})

test('every filter covers itself, and # covers all', () => {
  fc.assert(fc.property(filter, (one) => assert.ok(isCovered(one, one) && isCovered(one, '#'))))
})

test('filters that match a topic in common overlap, in either order', () => {
  fc.assert(
    fc.property(filter, filter, topic, (a, b, name) => {
      assert.equal(overlap(a, b), overlap(b, a))
      if (matches(a, name) && matches(b, name)) assert.ok(overlap(a, b))
    }),
  )
})

test('filters with nothing in common do not overlap', () => {
  assert.ok(!overlap('a/+', 'b/+'))
  assert.ok(!overlap('a/b', 'a/b/c'))
  assert.ok(!overlap('marram/state', 'marram/data/+/+'))
})

test('a message is published to what is a topic', () => {
  for (const topic of ['a', '/', 'a//b', 'größe/°C', '$x', 'a b', 'x'.repeat(65_535), 'a/'.repeat(99)])
    assert.ok(isTopic(topic), topic)
  for (const topic of ['', 'a/#', '+/a', 'a\0b', 'a\u0001', 'a\u009f', 'a\ufffe', 'a\ufdd0', 'a/'.repeat(100)])
    assert.ok(!isTopic(topic), topic)
})

test('the topics that only the gateway speaks on are closed to publishers', () => {
  for (const closed of [
    '$SYS/x/new/clients',
    'marram/sync/0/a/b',
    'marram/state',
    'marram/data/c/k',
    'marram/data/c/k/get',
  ]) {
    assert.ok(isReservedForPublish(closed), closed)
  }
  assert.ok(isReservedForPublish('marram/data/c/set'))
  for (const open of ['marram/data/c/k/set', 'marram/request/status', 'tele/plug/STATE', 'marramite/x']) {
    assert.ok(!isReservedForPublish(open), open)
  }
})

test("gateways' frames and the broker's own topics are closed to subscribers", () => {
  for (const closed of ['$SYS/#', '$marram/sink', 'marram/sync/#', 'marram/sync/0123abcd/+/+', 'marram/sync']) {
    assert.ok(isReservedForSubscribe(closed), closed)
  }
  for (const open of ['#', 'marram/#', '+/sync/#', 'marram/data/#']) assert.ok(!isReservedForSubscribe(open), open)
  assert.ok(isReservedForForward('marram/sync/0123abcd/a/b') && isReservedForForward('$SYS/x'))
})

test('only well-formed filters pass', () => {
  for (const good of ['#', 'a/#', '+', '+/a/+', '/', 'a//b']) assert.ok(isFilter(good), good)
  for (const bad of ['', 'a#', 'a/#/b', 'a+', '+a/b', '##']) assert.ok(!isFilter(bad), bad)
})
