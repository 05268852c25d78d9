import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connectAsync } from 'mqtt'
import type { DocumentView, WalkStep } from '../../runtime/ports/operations.ts'
import type { Conflict } from '../../runtime/ports/store.ts'
import { found, joined, marram, temporaryFolder, until, untilEqual, type GatewayProcess } from './harness.ts'

const collections = JSON.stringify({
  readings: { kind: 'series', retain: { age: '30d', bytes: '500MiB' } },
  meters: { fields: { total: { type: 'counter' }, tags: { type: 'set' }, feeds: { type: 'link' } } },
  '*': { kind: 'state' },
})
const sources = JSON.stringify([{ id: 'plugs', preset: 'tasmota', collection: 'readings' }])
const set = [`collections=${collections}`, `sources=${sources}`]

async function lines<T>(gateway: GatewayProcess, ...args: readonly string[]): Promise<T[]> {
  const text = await gateway.run(...args, '--json')
  return text === '' ? [] : text.split('\n').map((line) => JSON.parse(line) as T)
}

test('counters, sets and links of two gateways that were cut off add up, and survive a kill', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a', { set })
  const b = await joined(t, folder, 'b', a, { set })
  await a.run('put', 'meters', 'm1', '{"total":{"$add":5},"tags":{"$add":["a","b"]},"feeds":{"$link":["pumps/p1"]}}')
  await untilEqual(a, b)
  await a.stop('SIGKILL')
  await b.run('put', 'meters', 'm1', '{"total":{"$add":7},"tags":{"$add":["c"],"$remove":["b"]},"note":"b"}')
  await b.stop()
  await a.start({ set })
  await a.run('put', 'meters', 'm1', '{"total":{"$add":-2},"tags":{"$add":["b"]},"note":"a"}')
  await b.start({ set })
  await untilEqual(a, b)
  for (const gateway of [a, b]) {
    const { value } = await gateway.json<DocumentView>('get', 'meters', 'm1')
    assert.deepEqual(value, { feeds: ['pumps/p1'], note: 'a', tags: ['a', 'b', 'c'], total: 10 })
    const [lost, ...others] = await lines<Conflict>(gateway, 'conflicts', 'meters')
    assert.deepEqual([lost?.field, lost?.won.value, lost?.lost.value, others], ['note', 'a', 'b', []])
    const [link] = await lines<WalkStep>(gateway, 'walk', 'pumps', 'p1', '--reverse')
    assert.deepEqual([link?.collection, link?.key, link?.field], ['meters', 'm1', 'feeds'])
  }
  const shown = await a.run('get', 'meters', 'm1', '--provenance')
  assert.equal(shown.match(/signature valid/g)?.length, 7, shown)
  const refused = await marram('put', 'meters', 'm1', '{"total":3}', '--dir', a.dir)
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /\$add/)
  await a.stop()
  assert.match(await a.run('conflicts'), /won +"a"[^]*lost +"b"/)
  assert.equal((await lines<WalkStep>(a, 'walk', 'meters', 'm1')).length, 1, 'read from the store that nobody runs')
  const verified = await a.json<{ bad: []; differences: number }>('verify')
  assert.deepEqual([verified.bad, verified.differences], [[], 0])
})

test('what plugs say becomes rows of a series, on a gateway whose profile does not name it too', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a', { set })
  const b = await joined(t, folder, 'b', a)
  const plug = await connectAsync(a.address, { protocolVersion: 4 })
  t.after(() => plug.end(true))
  const watcher = await connectAsync(b.address, { protocolVersion: 4 })
  t.after(() => watcher.end(true))
  const seen: string[] = []
  watcher.on('message', (topic, payload) => seen.push(`${topic} ${payload.toString()}`))
  await watcher.subscribeAsync('marram/data/readings/#', { qos: 1 })
  for (let power = 1; power <= 20; power++) {
    await plug.publishAsync('tele/plug-1/SENSOR', JSON.stringify({ ENERGY: { Power: power } }), { qos: 1 })
  }
  const count = async (gateway: GatewayProcess): Promise<number> =>
    (await gateway.json<{ count: number }>('count', 'readings')).count
  assert.equal(await count(a), 20)
  await until('all rows are on b', async () => (await count(b)) === 20)
  await untilEqual(a, b)
  const rows = await lines<DocumentView>(b, 'list', 'readings', '--from', '1h')
  assert.deepEqual(
    rows.map(({ value }) => value['ENERGY.Power']),
    Array.from({ length: 20 }, (_, i) => i + 1),
  )
  assert.deepEqual(await lines(b, 'list', 'readings', '--to', '1h'), [])
  assert.equal((await b.json<DocumentView>('get', 'readings', 'plug-1')).value['ENERGY.Power'], 20)
  await until('watchers hear of rows', () => seen.includes('marram/data/readings/plug-1 {"ENERGY.Power":20}'))
  await a.stop('SIGKILL')
  await a.start({ set })
  assert.equal(await count(a), 20)
  const file = `${folder}/rows.ndjson`
  await a.run('export', 'readings', file)
  assert.deepEqual(await a.json('import', 'readings', file), { imported: 20, skipped: 0 })
  assert.equal(await count(a), 20, 'rows that are there are not added twice')
  const warnings = (await a.json<{ warnings: string[] }>('status')).warnings.join('\n')
  assert.doesNotMatch(warnings, /kind|retain|type/)
})
