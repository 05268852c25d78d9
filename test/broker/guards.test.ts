import { strict as assert } from 'node:assert'
import { EventEmitter, once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { BROKER_LIMITS, CLIENT_LIMITS } from '../../runtime/base/limits.ts'
import { MarramError } from '../../runtime/base/errors.ts'
import { Connections } from '../../runtime/broker/guard.ts'
import { connect, openBroker, RecordingHandler, recordingLog, until } from './fixture.ts'
import { RawClient } from './raw-client.ts'

class FakeSocket extends EventEmitter {
  readonly remoteAddress: string

  constructor(remoteAddress: string) {
    super()
    this.remoteAddress = remoteAddress
  }

  asSocket(): Socket {
    return this as unknown as Socket
  }
}

test('a CONNECT that announces 268 MB ends the connection at its fifth byte', async (t) => {
  const { broker, port } = await openBroker()
  t.after(() => broker.close())
  const attacker = await RawClient.dial(port)
  attacker.socket.write(Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f]))
  await attacker.closed()
})

test('a packet over the limit ends the connection, whether logged in or not; one below is taken', async (t) => {
  const handler = new RecordingHandler()
  const { broker, port } = await openBroker({ handler, maxPacket: 20_000 })
  t.after(() => broker.close())
  const early = await RawClient.dial(port)
  early.send(0x10, Buffer.alloc(BROKER_LIMITS.connectBytesMax + 1))
  await early.closed()
  const client = await RawClient.open(port, 'plug')
  client.publish(1, 'a/b', 'x'.repeat(19_900), { qos: 1 })
  assert.ok(await client.until('puback'))
  client.publish(2, 'a/b', 'x'.repeat(20_001), { qos: 1 })
  await client.closed()
  assert.equal(handler.messages.length, 1)
})

test('the log names a device whose packet is over the limit, and the limit', async (t) => {
  const { lines, log } = recordingLog()
  const { broker, port } = await openBroker({ log, maxPacket: 20_000 })
  t.after(() => broker.close())
  const client = await RawClient.open(port, 'camera')
  client.publish(1, 'a/b', 'x'.repeat(20_001), { qos: 1 })
  await client.closed()
  const said = lines.filter(({ event }) => event === 'mqtt-packet-too-long')
  assert.deepEqual(
    said.map(({ fields }) => fields),
    [{ clientId: 'camera', user: null, maxPacket: 20_000 }],
  )
})

test('a length that never ends is no length', async (t) => {
  const { broker, port } = await openBroker()
  t.after(() => broker.close())
  const attacker = await RawClient.dial(port)
  attacker.socket.write(Buffer.from([0x10, 0x80, 0x80, 0x80, 0x80, 0x80]))
  await attacker.closed()
})

test('random bytes end their own connection and nothing else', async (t) => {
  const { broker, port } = await openBroker()
  t.after(() => broker.close())
  const device = await connect(port)
  t.after(() => device.end(true))
  let state = 1
  for (let round = 0; round < 200; round++) {
    const bytes = Buffer.alloc(64)
    for (let i = 0; i < bytes.length; i++) bytes[i] = (state = (state * 1_103_515_245 + 12_345) & 0x7fffffff) >> 16
    // Half of them as a logged-in client.
    const attacker = round % 2 === 0 ? await RawClient.dial(port) : await RawClient.open(port, `fuzz-${round}`)
    attacker.socket.end(bytes)
    attacker.socket.resume()
    await attacker.closed()
  }
  await device.publishAsync('a/b', 'still here', { qos: 1 })
})

test('a port in use is said with host and port', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.after(() => taken.close())
  const { port } = taken.address() as { port: number }
  await assert.rejects(
    openBroker({
      listen: [
        { protocol: 'mqtt', host: '127.0.0.1', port: 0 },
        { protocol: 'mqtt', host: '127.0.0.1', port },
      ],
    }),
    (error) =>
      error instanceof MarramError && error.code === 'port-in-use' && error.message.includes(`127.0.0.1:${port}`),
  )
})

test('an address that this machine does not have is refused with what to do', async () => {
  await assert.rejects(
    openBroker({ listen: [{ protocol: 'mqtt', host: '192.0.2.1', port: 0 }] }),
    (error) => error instanceof MarramError && error.code === 'bad-profile' && error.message.includes('192.0.2.1'),
  )
})

test('a listener on [::] serves IPv4 and IPv6', async (t) => {
  const { broker, port } = await openBroker({ listen: [{ protocol: 'mqtt', host: '::', port: 0 }] })
  t.after(() => broker.close())
  assert.equal(broker.listeners()[0], `mqtt://[::]:${port}`)
  for (const host of ['127.0.0.1', '::1']) (await connect(port, { host })).end(true)
})

test('one address gets so many connections, this machine more, and a place that is left is free again', () => {
  const connections = new Connections(CLIENT_LIMITS)
  const sockets = Array.from({ length: CLIENT_LIMITS.connectionsPerAddressMax + 1 }, () => new FakeSocket('192.0.2.7'))
  assert.deepEqual(sockets.map((socket) => connections.admit(socket.asSocket())).filter((isIn) => !isIn).length, 1)
  assert.ok(connections.admit(new FakeSocket('192.0.2.8').asSocket()))
  sockets[0]?.emit('close')
  assert.ok(connections.admit(new FakeSocket('192.0.2.7').asSocket()))
  for (let i = 0; i < 2 * CLIENT_LIMITS.connectionsPerAddressMax; i++)
    assert.ok(connections.admit(new FakeSocket('::ffff:127.0.0.1').asSocket()))
})

test('other machines together leave room for this one', () => {
  const connections = new Connections(CLIENT_LIMITS)
  let admitted = 0
  for (let i = 0; i < CLIENT_LIMITS.connectionsMax; i++)
    if (connections.admit(new FakeSocket(`2001:db8::${i.toString(16)}`).asSocket())) admitted += 1
  assert.equal(admitted, CLIENT_LIMITS.remoteConnectionsMax)
  assert.ok(connections.admit(new FakeSocket('::1').asSocket()))
})

test('closing ends every connection, those that said nothing as well', async () => {
  const { broker, port } = await openBroker()
  const silent = await RawClient.dial(port)
  const device = await RawClient.open(port, 'plug')
  await until(() => broker.status().clients === 1)
  await broker.close()
  const patience = AbortSignal.timeout(BROKER_LIMITS.connectMs / 2)
  await Promise.race([Promise.all([silent.closed(), device.closed()]), once(patience, 'abort')])
  assert.deepEqual([silent.socket.destroyed, device.socket.destroyed], [true, true])
  await assert.rejects(connect(port))
})
