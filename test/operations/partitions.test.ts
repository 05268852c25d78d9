import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gateway, type Gateway } from './gateways.ts'

/** What this gateway keeps of others' partitions is of one collection with its own. */
async function write(to: Gateway, written: readonly (readonly [partition: string, key: string])[]): Promise<void> {
  for (const [partition, key] of written)
    await to.driver.write('climate', partition, [{ kind: 'put', key, fields: { partition } }])
}

function pages({ documents }: Gateway, limit: number): string[][] {
  const pages: string[][] = []
  for (let after: string | undefined; ;) {
    const found = [...documents.list('climate', { limit, ...(after !== undefined && { after }) })]
    if (found.length === 0) return pages
    pages.push(found.map(({ key, value }) => `${key} ${value['partition'] as string}`))
    after = found.at(-1)?.key
  }
}

test('pages go through all partitions by key and leave nothing out', async (t) => {
  const home = gateway(1, { isSeries: false })
  t.after(() => home.driver.close())
  const keys = ['a', 'm', 'z', '\u{1F33F}', '\uFFFD']
  await write(home, [...keys.map((key) => ['north', key] as const), ['south', 'b'], ['south', 'c'], ['south', 'y']])
  const all = [...home.documents.list('climate')].map(({ key }) => key)
  assert.deepEqual(all, ['a', 'b', 'c', 'm', 'y', 'z', '\uFFFD', '\u{1F33F}'])
  assert.deepEqual(pages(home, 2).flat(), pages(home, 100).flat())
  assert.equal(pages(home, 2).length, 4)
  assert.equal(home.documents.count('climate'), 8)
})

test('documents of one key in several partitions are on one page', async (t) => {
  const home = gateway(2, { isSeries: false })
  t.after(() => home.driver.close())
  await write(home, [
    ['north', 'a'],
    ['north', 'b'],
    ['south', 'b'],
    ['south', 'c'],
  ])
  assert.deepEqual(pages(home, 2), [['a north', 'b north', 'b south'], ['c south']])
})

test('of a series the last row of a key is the last one of all partitions', async (t) => {
  const home = gateway(3)
  t.after(() => home.driver.close())
  const write = (partition: string, key: string, n: number): Promise<unknown> =>
    home.driver.write('readings', partition, [{ kind: 'row', key, fields: { n } }])
  await write('south', 'a', 1)
  await write('north', 'a', 2)
  await write('north', 'b', 3)
  await write('south', 'b', 4)
  const values = (query: Parameters<Gateway['documents']['list']>[1]): unknown[] =>
    [...home.documents.list('readings', query)].map(({ value }) => value['n'])
  assert.deepEqual(values({}), [1, 2, 3, 4])
  assert.deepEqual(values({ latest: true }), [2, 4])
  assert.equal(home.documents.count('readings', { latest: true }), 2)
  assert.deepEqual(values({ latest: true, where: 'n < 4' }), [2], 'an older row is not the last one')
  const [{ key, row } = { key: '', row: '' }] = [...home.documents.list('readings', { latest: true, limit: 1 })]
  assert.deepEqual(values({ latest: true, after: `${key}\0${row}` }), [4])
})

test('what is in a partition of others is not said to be deleted', async (t) => {
  const home = gateway(4, { isSeries: false })
  t.after(() => home.driver.close())
  await write(home, [
    ['north', 'a'],
    ['', 'b'],
    ['north', 'b'],
  ])
  await assert.rejects(home.documents.delete('climate', 'a'), {
    code: 'not-supported',
    message: /in the partition "north"/,
  })
  await home.documents.delete('climate', 'b')
  assert.deepEqual(home.documents.get('climate', 'b')?.value, { partition: 'north' })
  await assert.rejects(home.documents.delete('climate', 'none'), { code: 'not-found' })
})
