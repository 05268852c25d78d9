import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { connect as connectSocket, type AddressInfo, type Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { listen } from '../../runtime/broker/listen.ts'
import { tlsIdentity, type TlsIdentity } from '../../runtime/certificates/identity.ts'
import type { Broker } from '../../runtime/ports/broker.ts'
import { connect, Inbox, openBroker, until } from './fixture.ts'

function made(): Promise<TlsIdentity> {
  const file = { read: () => null, write: () => {} }
  return tlsIdentity({ file, peerId: 'a'.repeat(23), names: ['localhost', '127.0.0.1'], onDamaged: () => {} })
}

async function opened(t: TestContext): Promise<{ broker: Broker; port: number; tls: TlsIdentity }> {
  const tls = await made()
  const { broker, port } = await openBroker({ listen: [{ protocol: 'mqtts', host: '127.0.0.1', port: 0 }], tls })
  t.after(() => broker.close())
  return { broker, port, tls }
}

test('a device that trusts the certificate publishes and subscribes over TLS 1.3', async (t) => {
  const { broker, port, tls } = await opened(t)
  assert.deepEqual(broker.listeners(), [`mqtts://127.0.0.1:${port}`])
  const device = await connect(port, { protocol: 'mqtts', ca: tls.authority })
  t.after(() => device.end(true))
  const inbox = new Inbox(device)
  await device.subscribeAsync('a/#', { qos: 1 })
  // Of several TLS records.
  const payload = 'x'.repeat(100_000)
  await device.publishAsync('a/b', payload, { qos: 1 })
  assert.equal((await inbox.until(1))[0]?.payload, payload)
})

test('older TLS, no TLS, and whoever does not trust the certificate come to nothing, and others are served on', async (t) => {
  const { broker, port, tls } = await opened(t)
  const old = connectTls({ port, host: '127.0.0.1', ca: tls.authority, maxVersion: 'TLSv1.2' })
  await assert.rejects(once(old, 'secureConnect'))
  await assert.rejects(connect(port, { protocol: 'mqtts' }), /self-signed certificate/)
  const plain = connectSocket(port, '127.0.0.1')
  plain.on('error', () => {})
  plain.write(Buffer.from('101000044d5154540402003c000461626364', 'hex'))
  plain.resume()
  await once(plain, 'close')
  const device = await connect(port, { protocol: 'mqtts', ca: tls.authority })
  await until(() => broker.status().clients === 1)
  device.end(true)
})

test('a connection is admitted before its handshake, and its place is free when its TLS has ended', async (t) => {
  const tls = await made()
  const admitted: Socket[] = []
  const served: Socket[] = []
  let isFull = false
  const listener = await listen({
    address: { protocol: 'mqtts', host: '127.0.0.1', port: 0 },
    tls,
    admit: (socket) => !isFull && admitted.push(socket) > 0,
    serve: (socket) => served.push(socket.resume()),
  })
  t.after(() => listener.server.close())
  const { port } = listener.server.address() as AddressInfo
  const open = (): TLSSocket => connectTls({ port, host: '127.0.0.1', ca: tls.authority })
  const first = open()
  await once(first, 'secureConnect')
  await until(() => served.length === 1)
  const gone = once(admitted[0] as Socket, 'close')
  first.destroy()
  await gone
  isFull = true
  await assert.rejects(once(open(), 'secureConnect'))
  assert.deepEqual([admitted.length, served.length], [1, 1])
})

test('a new certificate is shown to new connections, and those there are stay', async (t) => {
  const { broker, port, tls } = await opened(t)
  const device = await connect(port, { protocol: 'mqtts', ca: tls.authority })
  t.after(() => device.end(true))
  const next = await made()
  broker.useCredentials(next)
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  assert.equal(socket.getPeerX509Certificate()?.fingerprint, new X509Certificate(next.certificate).fingerprint)
  socket.destroy()
  await device.publishAsync('a/b', 'still here', { qos: 1 })
})

test('closing ends connections whose handshake is under way', async () => {
  const tls = await made()
  const { broker, port } = await openBroker({ listen: [{ protocol: 'mqtts', host: '127.0.0.1', port: 0 }], tls })
  const silent = connectSocket(port, '127.0.0.1').on('error', () => {})
  await once(silent, 'connect')
  silent.resume()
  const closed = once(silent, 'close')
  await broker.close()
  await closed
})
