import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { connectAsync, type MqttClient } from 'mqtt'
import type { DocumentView, PeerView, Provenance, StatusView } from '../../runtime/ports/operations.ts'
import { Cable } from '../../runtime/cli/demo/proxy.ts'
import { found, joined, marram, temporaryFolder, until, untilEqual, type GatewayProcess } from './harness.ts'

async function client(t: { after(act: () => unknown): void }, gateway: GatewayProcess): Promise<MqttClient> {
  const mqtt = await connectAsync(gateway.address, { protocolVersion: 4 })
  t.after(() => mqtt.end(true))
  return mqtt
}

test('2,000 QoS 1 messages of Zigbee2MQTT devices at one gateway are documents on the other, proven to their author', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = await joined(t, folder, 'b', a)
  const devices = await client(t, a)
  await Promise.all(
    Array.from({ length: 2_000 }, (_, i) =>
      devices.publishAsync(
        `zigbee2mqtt/hall ${i % 50}/sensor-${i}`,
        JSON.stringify({ temperature: i / 10, humidity: i % 100 }),
        { qos: 1 },
      ),
    ),
  )
  await until(
    'all documents are on b',
    async () => (await b.json<{ count: number }>('count', 'climate')).count === 2_000,
  )
  await untilEqual(a, b)

  const { peerId } = await a.json<StatusView>('status')
  const shown = await b.json<DocumentView & { provenance: { [path: string]: Provenance } }>(
    'get',
    'climate',
    'hall 7/sensor-7',
    '--provenance',
  )
  assert.deepEqual(shown.value, { humidity: 7, temperature: 0.7 })
  assert.equal(shown.provenance['temperature']?.author, peerId)
  assert.equal(shown.provenance['temperature']?.valid, true)

  // A subscriber on b gets what is there as retained messages, then changes that were made on a.
  const watcher = await client(t, b)
  const seen = new Map<string, { payload: string; retain: boolean }>()
  watcher.on('message', (topic, payload, { retain }) =>
    seen.set(topic, { payload: payload.toString(), retain: retain === true }),
  )
  await watcher.subscribeAsync('marram/data/#', { qos: 1 })
  await until('all current documents have come', () => seen.size === 2_000)
  assert.deepEqual(seen.get('marram/data/climate/hall 7%2Fsensor-7'), {
    payload: '{"humidity":7,"temperature":0.7}',
    retain: true,
  })
  await a.run('put', 'climate', 'hall 7/sensor-7', '{"temperature":99}')
  await until(
    'the change has come',
    () => seen.get('marram/data/climate/hall 7%2Fsensor-7')?.payload === '{"humidity":7,"temperature":99}',
  )
  assert.equal(seen.get('marram/data/climate/hall 7%2Fsensor-7')?.retain, false)
})

test('a gateway that was away gets 50,000 documents, gives its own, and a second reconnect moves close to nothing', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = await joined(t, folder, 'b', a)
  await b.stop()
  const file = join(folder, 'documents.ndjson')
  const lines = Array.from({ length: 50_000 }, (_, i) =>
    JSON.stringify({ key: `sensor-${i}`, value: { temperature: i % 40, room: `room ${i % 9}` } }),
  )
  writeFileSync(file, `${lines.join('\n')}\n`)
  assert.deepEqual(await a.json('import', 'climate', file), { imported: 50_000, skipped: 0 })
  await a.stop('SIGKILL')

  // b is back while a is dead, and its devices go on.
  await b.start()
  await b.run('put', 'climate', 'written-on-b', '{"while":"a was away"}')
  await a.start()
  await untilEqual(a, b)
  assert.equal((await a.json<DocumentView>('get', 'climate', 'written-on-b')).value['while'], 'a was away')
  assert.equal((await b.json<{ count: number }>('count', 'climate')).count, 50_001)

  await b.stop()
  await b.start()
  await until('the link is up again', async () => (await b.json<StatusView>('status')).links.up === 1)
  await untilEqual(a, b)
  const { links } = await b.json<StatusView>('status')
  t.diagnostic(`second reconnect: ${links.bytesSent} bytes sent, ${links.bytesReceived} received`)
  assert.ok(links.bytesReceived < 4_096, `${links.bytesReceived} bytes came with nothing to say`)
})

test('what an author wrote reaches a gateway that only knows a third one, long after the author is gone', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = await joined(t, folder, 'b', a)
  const c = await joined(t, folder, 'c', a)
  await c.stop()
  await a.run('put', 'climate', 'kitchen', '{"temperature":21.5}')
  await untilEqual(a, b)
  const { peerId } = await a.json<StatusView>('status')
  await a.stop()
  await c.start({ bootstrap: [b.address] })
  await untilEqual(b, c)
  const shown = await c.json<{ provenance: { [path: string]: Provenance } }>(
    'get',
    'climate',
    'kitchen',
    '--provenance',
  )
  assert.deepEqual([shown.provenance['temperature']?.author, shown.provenance['temperature']?.valid], [peerId, true])
  const peers = (await c.run('peers', '--json')).split('\n').map((line) => JSON.parse(line) as PeerView)
  assert.equal(peers.filter(({ state }) => state === 'up').length, 1)
})

test('both sides of a cut write to the same documents: after the healing they agree, and fields that did not collide survive', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const cable = await Cable.lay(a.port)
  t.after(() => cable.remove())
  const b = await joined(t, folder, 'b', a, { bootstrap: [`mqtt://127.0.0.1:${cable.port}`] })
  await a.run('put', 'climate', 'shared', '{"before":true}')
  await untilEqual(a, b)
  cable.cut()
  await until('the link is down', async () => (await a.json<StatusView>('status')).links.up === 0)
  for (const [gateway, name] of [
    [a, 'a'],
    [b, 'b'],
  ] as const) {
    await gateway.run('put', 'climate', 'shared', JSON.stringify({ [`only-${name}`]: 1, both: name }))
    await gateway.run('put', 'climate', `new-on-${name}`, '{"x":1}')
  }
  await b.run('delete', 'climate', 'new-on-b')
  cable.mend()
  await untilEqual(a, b)
  const { value } = await a.json<DocumentView>('get', 'climate', 'shared')
  // b wrote later, so its stamp wins where both wrote.
  assert.deepEqual(value, { before: true, both: 'b', 'only-a': 1, 'only-b': 1 })
  assert.deepEqual(await b.json('get', 'climate', 'shared'), { key: 'shared', value })
  assert.equal((await marram('get', 'climate', 'new-on-b', '--dir', a.dir)).code, 1)
})
