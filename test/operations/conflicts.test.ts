import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Value } from '../../runtime/model/value.ts'
import { gateway, link, until, unlink, type Gateway } from './gateways.ts'

const put = (to: Gateway, fields: { readonly [path: string]: Value }): Promise<unknown> =>
  to.documents.put('climate', 'kitchen', fields)

const value = ({ documents }: Gateway, field: string): Value | undefined =>
  documents.get('climate', 'kitchen')?.value[field]

const told = ({ documents }: Gateway): unknown[] =>
  [...documents.conflicts()].map(({ field, won, lost }) => [field, won.value, lost.value])

const digests = (...all: readonly Gateway[]): boolean =>
  new Set(all.map(({ documents }) => JSON.stringify(documents.digest()))).size === 1

test('writes one after the other are no conflict, in whatever direction and however often', async () => {
  const [a, b, c] = [gateway(1, { isSeries: false }), gateway(2, { isSeries: false }), gateway(3, { isSeries: false })]
  link(a, b, 1)
  link(b, c, 2)
  for (let n = 0; n < 20; n++) {
    const author = [a, b, c, b][n % 4] as Gateway
    await put(author, { temperature: n, [`own ${n % 3}`]: n })
    if (n % 5 === 0) await put(author, { temperature: n })
    await until('all have it', () => digests(a, b, c))
  }
  // One who comes late gets feeds one after the other: what lost long ago was seen by who wrote over it.
  const late = gateway(4, { isSeries: false })
  link(c, late, 3)
  await until('the newcomer has all', () => digests(a, b, c, late))
  for (const each of [a, b, c, late]) assert.deepEqual(told(each), [])
  for (const { driver } of [a, b, c, late]) await driver.close()
})

test('of writes that had not seen each other both sides tell which was lost, by whom and why', async () => {
  const [a, b] = [gateway(1, { isSeries: false }), gateway(2, { isSeries: false })]
  link(a, b, 1)
  await put(a, { temperature: 1, room: 'K', same: 1 })
  await until('b has it', () => digests(a, b))
  unlink(a, b, 1)
  await put(a, { temperature: 2, room: 'by a', same: 5 })
  await put(a, { temperature: 3 })
  await new Promise((resolve) => setTimeout(resolve, 5))
  await put(b, { temperature: 4, room: 'by b', same: 5, alone: true })
  link(a, b, 2)
  await until('both are equal', () => digests(a, b))
  assert.equal(value(a, 'temperature'), 4)
  for (const each of [a, b]) {
    const [...conflicts] = each.documents.conflicts()
    const temperature = conflicts.filter(({ field }) => field === 'temperature').at(0)
    assert.deepEqual([temperature?.won.value, temperature?.lost.value], [4, 3])
    assert.deepEqual([temperature?.won.author, temperature?.lost.author], [b.peer.peerId, a.peer.peerId])
    assert.match(temperature?.won.stamp ?? '', /^20.*@/)
    assert.match(temperature?.why ?? '', /later/)
    assert.ok(
      conflicts.some(({ field, won, lost }) => field === 'room' && won.value === 'by b' && lost.value === 'by a'),
    )
    assert.ok(conflicts.every(({ field }) => field !== 'same' && field !== 'alone'))
    assert.deepEqual([...each.documents.conflicts({ collection: 'other' })], [])
    assert.equal([...each.documents.conflicts({ limit: 1 })].length, 1)
  }
  const before = told(b).length
  // Seen by now: no conflict.
  await put(a, { temperature: 9 })
  await until('b has it', () => digests(a, b))
  assert.equal(told(b).length, before)
  for (const { driver } of [a, b]) await driver.close()
})

test('conflicts survive a restart, and the oldest give way', async () => {
  const [a, b] = [gateway(1, { isSeries: false }), gateway(2, { isSeries: false })]
  const fields = (by: string): { [path: string]: string } =>
    Object.fromEntries(Array.from({ length: 600 }, (_, i) => [`field ${i}`, `${by} ${i}`]))
  await put(a, fields('a'))
  await a.documents.put('climate', 'cellar', fields('a'))
  await put(b, fields('b'))
  await b.documents.put('climate', 'cellar', fields('b'))
  link(a, b, 1)
  // The later writes win, so they are equal before b has heard what was lost.
  await until('both have heard of all', () => [a, b].every((each) => told(each).length === 1_000))
  assert.ok(digests(a, b))
  for (const each of [a, b]) {
    assert.deepEqual(each.store.crash(true).conflicts(), [...each.documents.conflicts()])
  }
})
