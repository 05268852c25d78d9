import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { trimSeries, type Hold, type Retention } from '../../runtime/operations/retention.ts'
import { verifyStore } from '../../runtime/store/verify.ts'
import { gateway, link, MESH, until, type Gateway } from './gateways.ts'

const numbers = ({ documents }: Gateway): unknown[] => [...documents.list('readings')].map(({ value }) => value['n'])

async function write(to: Gateway, from: number, count: number): Promise<void> {
  for (let n = from; n < from + count; n++) await to.documents.put('readings', 'sensor', { n })
}

/** How many batches went. */
async function trimmed(...args: Parameters<typeof trimSeries>): Promise<number> {
  return (await trimSeries(...args)).reduce((sum, { seqs }) => sum + seqs.size, 0)
}

test('retention lets whole batches go, the oldest first, and a newcomer begins where its neighbour does', async () => {
  const [a, b, c] = [gateway(1), gateway(2), gateway(3)]
  await write(a, 0, 50)
  const head = [...a.store.heads()][0]
  assert.ok(head)
  const all = head.bytes + 50 * 200
  assert.equal(await trimmed(a.store, () => ({ ageMs: null, bytes: all }), null), 0)
  assert.equal(await trimmed(a.store, () => ({ ageMs: null, bytes: all * 0.51 }), null), 25)
  const rest = Array.from({ length: 25 }, (_, i) => i + 25)
  assert.deepEqual(numbers(a), rest)
  assert.equal(a.documents.count('readings'), 25)
  assert.equal(a.documents.summaries().get('readings')?.kind, 'series')
  const { seq, retained } = [...a.store.heads()][0] ?? assert.fail()
  assert.deepEqual([seq, [...retained.runs]], [50, [26, 50]], 'the head stays')

  link(a, b, 1)
  await until('the newcomer has what is left', () => b.documents.count('readings') === 25)
  assert.deepEqual(numbers(b), rest)
  assert.deepEqual(b.documents.digest(), a.documents.digest())
  await write(a, 50, 10)
  await until('rows go on', () => b.documents.count('readings') === 35)
  await write(b, 1_000, 3)
  await until('both ways', () => a.documents.count('readings') === 38)

  // Each keeps as much as it likes; only what is newer than what it holds is sent.
  assert.equal(await trimmed(b.store, () => ({ ageMs: null, bytes: 1 }), null), 36)
  assert.deepEqual(new Set(numbers(b)), new Set([59, 1_002]))
  assert.deepEqual(b.documents.digest(), a.documents.digest())
  link(b, c, 2)
  await until('what its neighbour has', () => c.documents.count('readings') === 2)
  await write(a, 60, 5)
  await until('through the one between', () => c.documents.count('readings') === 7)
  link(a, c, 3)
  await write(c, 2_000, 1)
  await until('and back', () => a.documents.count('readings') === 44)
  assert.deepEqual(c.documents.digest(), a.documents.digest())
  for (const { store } of [a, b, c]) {
    const verified = await verifyStore(store, { meshId: MESH, verify: () => true })
    assert.deepEqual([verified.bad, verified.differences], [[], 0])
  }
  for (const { driver } of [a, b, c]) await driver.close()
})

test('rows go by age, and without a clock by the age of the last one', async () => {
  const a = gateway(4)
  await write(a, 0, 5)
  const keep = { ageMs: 3_600_000, bytes: null }
  assert.equal(await trimmed(a.store, () => keep, Date.now()), 0)
  assert.equal(await trimmed(a.store, () => keep, null), 0)
  assert.equal(await trimmed(a.store, () => keep, Date.now() + 7_200_000), 4, 'all but the last')
  assert.deepEqual(numbers(a), [4])
  assert.equal(await trimmed(a.store, () => keep, Date.now() + 7_200_000), 0)
  await a.driver.close()
})

describe('what a chosen gateway is to have first', () => {
  const hold = (confirmed: number, bytesMax = Number.POSITIVE_INFINITY): Hold => ({
    confirmed: () => confirmed,
    bytesMax,
  })
  const muchLater = (): number => Date.now() + 7_200_000

  test('outlasts its age, but not what the collection may take', async () => {
    const a = gateway(5)
    await write(a, 0, 10)
    const keep = { ageMs: 3_600_000, bytes: null as number | null }
    assert.equal(await trimmed(a.store, () => keep, muchLater(), hold(4)), 4)
    assert.deepEqual(numbers(a), [4, 5, 6, 7, 8, 9])
    assert.equal(await trimmed(a.store, () => keep, muchLater(), hold(4)), 0)
    assert.equal(await trimmed(a.store, () => ({ ageMs: null, bytes: null }), muchLater(), hold(4)), 0)
    const { bytes } = [...a.store.heads()][0] ?? assert.fail()
    const room = (bytes + 6 * 200) / 2
    assert.equal(await trimmed(a.store, () => ({ ...keep, bytes: room }), muchLater(), hold(4)), 3)
    assert.deepEqual(numbers(a), [7, 8, 9])
    assert.equal(await trimmed(a.store, () => keep, muchLater(), hold(9)), 2, 'as soon as it has it')
    await a.driver.close()
  })

  test('goes by its age all the same where all series together take too much room, and no more than that', async () => {
    const a = gateway(6)
    await write(a, 0, 10)
    const { bytes } = [...a.store.heads()][0] ?? assert.fail()
    const room = ((bytes + 10 * 200) * 7) / 10
    const keep = { ageMs: 3_600_000, bytes: null }
    assert.equal(await trimmed(a.store, () => keep, Date.now(), hold(0, room)), 0, 'none of it is too old')
    assert.equal(await trimmed(a.store, () => keep, muchLater(), hold(0, room)), 3)
    assert.deepEqual(numbers(a), [3, 4, 5, 6, 7, 8, 9])
    await a.driver.close()
  })

  test('is not dropped for what series without an age take', async () => {
    const a = gateway(9)
    await write(a, 0, 10)
    const { bytes } = [...a.store.heads()][0] ?? assert.fail()
    const ofReadings = bytes + 10 * 200
    for (let n = 0; n < 40; n++) await a.documents.put('samples', 'sensor', { n })
    const retentionOf = (collection: string): Retention => ({
      ageMs: collection === 'readings' ? 3_600_000 : null,
      bytes: null,
    })
    assert.equal(await trimmed(a.store, retentionOf, muchLater(), hold(0, ofReadings)), 0)
    assert.equal(numbers(a).length, 10)
    await a.driver.close()
  })

  test('of one author holds up no other', async () => {
    const [a, b] = [gateway(7), gateway(8)]
    link(a, b, 1)
    await write(a, 0, 5)
    await until('both have them', () => b.documents.count('readings') === 5)
    await write(b, 100, 5)
    const keep = { ageMs: 3_600_000, bytes: null }
    const ofA: Hold = { confirmed: ({ feed, seq }) => (feed.origin === a.peer.peerId ? 0 : seq), bytesMax: 1e9 }
    assert.equal(await trimmed(b.store, () => keep, muchLater(), ofA), 4)
    assert.deepEqual(new Set(numbers(b)), new Set([0, 1, 2, 3, 4, 104]))
    for (const { driver } of [a, b]) await driver.close()
  })
})

test('rows that were exported come back once, whoever has taken them', async () => {
  const [a, b] = [gateway(21), gateway(22)]
  link(a, b, 21)
  await write(a, 0, 2)
  await write(b, 2, 2)
  await until('all rows are here', () => a.documents.count('readings') === 4)
  const digest = a.documents.digest()
  const rows = [...a.documents.list('readings')]
  for (const { key, value, row = '' } of rows) {
    const { stamp } = await a.documents.put('readings', key, value, { row })
    assert.equal(stamp.slice(-23), row.slice(-23), 'its author stays')
  }
  assert.deepEqual([...a.documents.list('readings')], rows)
  assert.deepEqual(a.documents.digest(), digest)
  const elsewhere = gateway(23)
  for (let times = 0; times < 2; times++)
    for (const { key, value, row = '' } of rows) await elsewhere.documents.put('readings', key, value, { row })
  assert.deepEqual(numbers(elsewhere), [0, 1, 2, 3])
  for (const { driver } of [a, b, elsewhere]) await driver.close()
})

test('how long ago is by the time that stamps go by, whatever the clock of the machine says', async () => {
  let aheadMs = 86_400_000
  const ahead = gateway(24, { wallMs: () => Date.now() + aheadMs })
  await write(ahead, 0, 2)
  aheadMs += 7_200_000
  assert.equal(ahead.documents.count('readings', { from: '1h' }), 0)
  assert.equal(ahead.documents.count('readings', { from: '3h', to: '1h' }), 2)
  await ahead.driver.close()
})

test('a damaged batch at the end of a feed holds up nothing but its feed', async () => {
  const [a, b] = [gateway(25), gateway(26)]
  link(a, b, 25)
  await write(a, 0, 3)
  await write(b, 3, 3)
  await until('all rows are here', () => a.documents.count('readings') === 6)
  const [damaged] = [...a.store.heads()].filter(({ feed }) => feed.origin === b.peer.peerId)
  const { store } = a
  const batches = store.batches.bind(store)
  let reads = 0
  store.batches = (key, from, bytes) => {
    assert.ok((reads += 1) < 1_000, 'it reads the same again and again')
    const read = batches(key, from, bytes)
    return key === damaged?.feed.key ? [...read.slice(0, -1), ...read.slice(-1).map(() => new Uint8Array(9))] : read
  }
  assert.equal(await trimmed(store, () => ({ ageMs: 1_000, bytes: null }), Date.now() + 60_000), 4)
  for (const { driver } of [a, b]) await driver.close()
})
