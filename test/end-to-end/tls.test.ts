import assert from 'node:assert/strict'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { connectAsync } from 'mqtt'
import type { StatusView } from '../../runtime/ports/operations.ts'
import { found, joined, marram, temporaryFolder, untilEqual } from './harness.ts'

test('gateways join and link through TLS listeners, and a device that trusts the printed certificate is served', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a', { protocol: 'mqtts' })
  const b = await joined(t, folder, 'b', a, { protocol: 'mqtts' })
  const { pem, fingerprint } = await a.json<{ pem: string; fingerprint: string }>('certificate')
  const device = await connectAsync({ protocol: 'mqtts', host: 'localhost', port: a.port, ca: pem, protocolVersion: 4 })
  t.after(() => device.end(true))
  await device.publishAsync('zigbee2mqtt/kitchen', '{"temperature":21.5}', { qos: 1 })
  await untilEqual(a, b)
  assert.deepEqual(JSON.parse(await b.run('get', 'climate', 'kitchen', '--json')), {
    key: 'kitchen',
    value: { temperature: 21.5 },
  })
  const status = await a.json<StatusView>('status')
  assert.deepEqual([status.certificate, status.listeners], [fingerprint, [`mqtts://127.0.0.1:${a.port}`]])

  // The keys are nobody else's, and stay from one start to the next.
  const file = join(a.dir, 'identity/tls.pem')
  assert.equal(statSync(file).mode & 0o777, 0o600)
  const before = readFileSync(file, 'utf8')
  await a.stop()
  await a.start({ protocol: 'mqtts' })
  assert.equal(readFileSync(file, 'utf8'), before)
  await untilEqual(a, b)
})

test('a gateway without a TLS listener has no certificate to print, and says what makes one', async (t) => {
  const a = await found(t, temporaryFolder(), 'a')
  const { code, stderr } = await marram('certificate', '--dir', a.dir)
  assert.equal(code, 1)
  assert.match(stderr, /it has none, one is made when/)
})
