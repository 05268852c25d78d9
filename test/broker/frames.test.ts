import { strict as assert } from 'node:assert'
import { test } from 'node:test'
import { BROKER_LIMITS, GATEWAY_LIMITS, PROTOCOL_LIMITS } from '../../runtime/base/limits.ts'
import type { FrameGate, FramePeer } from '../../runtime/ports/broker.ts'
import type { MqttClient } from 'mqtt'
import { connect, MESH8, openBroker, PEER_ID, RecordingHandler, until } from './fixture.ts'
import { RawClient } from './raw-client.ts'

const NEIGHBOUR = 'b'.repeat(23)
const OTHER = 'c'.repeat(23)

class RecordingGate implements FrameGate {
  readonly frames: { from: FramePeer; payload: Uint8Array }[] = []
  readonly gonePeers: FramePeer[] = []
  password = 'knock'

  admit({ password }: { password: Uint8Array }): boolean {
    return Buffer.from(password).toString() === this.password
  }

  receive(from: FramePeer, payload: Uint8Array): void {
    this.frames.push({ from, payload })
  }

  gone(from: FramePeer): void {
    this.gonePeers.push(from)
  }
}

function neighbour(port: number, username: string = NEIGHBOUR): Promise<MqttClient> {
  return connect(port, { username, password: 'knock' })
}

function inbox(source: string, destination: string = PEER_ID): string {
  return `marram/sync/${MESH8}/${destination}/${source}`
}

function closed(client: MqttClient): Promise<void> {
  return new Promise((resolve) => client.once('close', () => resolve()))
}

test('a neighbour that the gate admits sends frames to the gate and gets those that are sent to it', async (t) => {
  const gate = new RecordingGate()
  const handler = new RecordingHandler()
  const { broker, port } = await openBroker({ gate, handler, anonymous: 'none' })
  t.after(() => broker.close())
  const client = await neighbour(port)
  t.after(() => client.end(true))
  const received = new Promise<[string, Buffer]>((resolve) =>
    client.once('message', (topic, payload) => resolve([topic, payload])),
  )
  await client.subscribeAsync(`marram/sync/${MESH8}/${NEIGHBOUR}/+`)
  client.publish(inbox(NEIGHBOUR), Buffer.from([1, 2, 3]))
  client.publish(inbox(NEIGHBOUR, 'broker'), Buffer.from([4]))
  await until(() => gate.frames.length === 2)
  assert.deepEqual(
    gate.frames.map(({ payload }) => [...payload]),
    [[1, 2, 3], [4]],
  )
  const peer = gate.frames[0]?.from
  assert.equal(peer?.user, NEIGHBOUR)
  assert.equal(peer?.source, NEIGHBOUR)
  assert.equal(peer?.send(new Uint8Array([9, 8])), true)
  assert.deepEqual(await received, [`marram/sync/${MESH8}/${NEIGHBOUR}/${PEER_ID}`, Buffer.from([9, 8])])
  assert.deepEqual(handler.messages, [])
})

test('a neighbour that the gate does not admit, or that wants more than a clean session, is refused', async (t) => {
  const { broker, port } = await openBroker({ gate: new RecordingGate() })
  t.after(() => broker.close())
  await assert.rejects(connect(port, { username: NEIGHBOUR, password: 'wrong' }))
  await assert.rejects(connect(port, { username: NEIGHBOUR, password: 'knock', clientId: 'x', clean: false }))
  await assert.rejects(
    connect(port, {
      username: NEIGHBOUR,
      password: 'knock',
      will: { topic: 'a', payload: Buffer.from('b'), qos: 0, retain: false },
    }),
  )
})

const FORBIDDEN = [
  ['in the name of another', inbox(OTHER), {}],
  ['to another gateway', inbox(NEIGHBOUR, OTHER), {}],
  ['of another mesh', `marram/sync/ffffffff/${PEER_ID}/${NEIGHBOUR}`, {}],
  ['with QoS 1', inbox(NEIGHBOUR), { qos: 1 }],
  ['to be retained', inbox(NEIGHBOUR), { retain: true }],
  ['on an ordinary topic', 'tele/plug/STATE', {}],
] as const

for (const [what, topic, options] of FORBIDDEN) {
  test(`a neighbour that publishes ${what} is disconnected, and nothing of it is heard`, async (t) => {
    const gate = new RecordingGate()
    const handler = new RecordingHandler()
    const { broker, port } = await openBroker({ gate, handler })
    t.after(() => broker.close())
    const client = await neighbour(port)
    const end = closed(client)
    client.publish(topic, 'x', options)
    await end
    await until(() => gate.gonePeers.length === 1)
    assert.deepEqual([gate.frames, handler.messages], [[], []])
  })
}

test('a neighbour may subscribe to its own inbox and nothing else', async (t) => {
  const { broker, port } = await openBroker({ gate: new RecordingGate() })
  t.after(() => broker.close())
  const client = await neighbour(port)
  t.after(() => client.end(true))
  for (const filter of [
    '#',
    `marram/sync/${MESH8}/+/+`,
    `marram/sync/${MESH8}/${OTHER}/+`,
    `marram/sync/${MESH8}/${NEIGHBOUR}/#`,
    'tele/#',
  ]) {
    await assert.rejects(client.subscribeAsync(filter), filter)
  }
})

test('frames reach nobody else, whatever they subscribe to', async (t) => {
  const gate = new RecordingGate()
  const { broker, port } = await openBroker({ gate })
  t.after(() => broker.close())
  const [spy, client] = [await connect(port), await neighbour(port)]
  t.after(() => [spy.end(true), client.end(true)])
  const heard: string[] = []
  spy.on('message', (topic) => heard.push(topic))
  await spy.subscribeAsync(['#', '+/+/#', 'marram/#', 'marram/+/#'])
  client.publish(inbox(NEIGHBOUR), 'frame')
  await until(() => gate.frames.length === 1)
  gate.frames[0]?.from.send(new Uint8Array([1]))
  await spy.publishAsync('a', 'b', { qos: 1 })
  await until(() => heard.length > 0)
  assert.ok(heard.every((topic) => topic === 'a'))
})

test('a frame of 64 KiB passes, a longer one ends the connection', async (t) => {
  const gate = new RecordingGate()
  const { broker, port } = await openBroker({ gate })
  t.after(() => broker.close())
  const client = await neighbour(port)
  client.publish(inbox(NEIGHBOUR), Buffer.alloc(PROTOCOL_LIMITS.frameBytesMax))
  await until(() => gate.frames.length === 1)
  const end = closed(client)
  client.publish(inbox(NEIGHBOUR), Buffer.alloc(PROTOCOL_LIMITS.frameBytesMax + 1))
  await end
  assert.equal(gate.frames.length, 1)
})

test('frames to a neighbour that does not read are refused at a bound and not before, and none is lost below it', async (t) => {
  const gate = new RecordingGate()
  const { broker, port } = await openBroker({ gate })
  t.after(() => broker.close())
  const client = await RawClient.dial(port)
  t.after(() => client.end())
  client.connect('x', { clean: true, user: NEIGHBOUR, password: 'knock' })
  await client.until('connack')
  client.send(
    0x30,
    Buffer.concat([Buffer.from([0, inbox(NEIGHBOUR).length]), Buffer.from(inbox(NEIGHBOUR)), Buffer.from('hello')]),
  )
  await until(() => gate.frames.length === 1)
  client.socket.pause()
  const peer = gate.frames[0]?.from as FramePeer
  const frame = new Uint8Array(60_000)
  let sent = 0
  // In one turn of the event loop, before anything can have reached the socket.
  while (peer.send(frame)) sent += 1
  assert.ok(sent * frame.length >= BROKER_LIMITS.frameBytesWaitingMax, `${sent} frames`)
  assert.ok(sent * frame.length < BROKER_LIMITS.frameBytesWaitingMax + 2 * frame.length)
  client.socket.resume()
  for (let i = 0; i < sent; i++) assert.ok(await client.until('publish'))
  client.end()
  await until(() => gate.gonePeers.length === 1)
  assert.equal(peer.send(frame), false)
})

test('somebody who joins sends small frames under one name, and few may at once', async (t) => {
  const gate = new RecordingGate()
  const { broker, port } = await openBroker({ gate })
  t.after(() => broker.close())
  const joiners = await Promise.all(
    Array.from({ length: GATEWAY_LIMITS.enrolmentsAtOnce }, () => neighbour(port, 'join')),
  )
  t.after(() => joiners.map((client) => client.end(true)))
  await assert.rejects(neighbour(port, 'join'))
  const [first, second, third] = joiners as [MqttClient, MqttClient, MqttClient]
  first.publish(inbox(NEIGHBOUR, 'broker'), Buffer.alloc(BROKER_LIMITS.joinFrameBytesMax))
  await until(() => gate.frames.length === 1)
  assert.equal(gate.frames[0]?.from.user, 'join')
  assert.equal(gate.frames[0]?.from.source, NEIGHBOUR)
  const ends = [closed(first), closed(second), closed(third)]
  first.publish(inbox(OTHER, 'broker'), 'x')
  second.publish(inbox(NEIGHBOUR, 'broker'), Buffer.alloc(BROKER_LIMITS.joinFrameBytesMax + 1))
  third.publish(inbox('nobody', 'broker'), 'x')
  await Promise.all(ends)
  assert.equal(gate.frames.length, 1)
  // Their places are free again.
  await until(() => gate.gonePeers.length === 3)
  ;(await neighbour(port, 'join')).end(true)
})

test('places of those who join are free again when their connection ends before the answer', async (t) => {
  const { broker, port } = await openBroker({ gate: new RecordingGate() })
  t.after(() => broker.close())
  for (let i = 0; i < 3 * GATEWAY_LIMITS.enrolmentsAtOnce; i++) {
    const hasty = await RawClient.dial(port)
    hasty.connect(`x${i}`, { clean: true, user: 'join', password: 'knock' })
    hasty.socket.end()
    hasty.socket.resume()
    await hasty.closed()
  }
  ;(await neighbour(port, 'join')).end(true)
})

test('a device cannot evict a neighbour by its client id', async (t) => {
  const gate = new RecordingGate()
  const { broker, port } = await openBroker({ gate })
  t.after(() => broker.close())
  const client = await connect(port, { username: NEIGHBOUR, password: 'knock', clientId: 'shared' })
  t.after(() => client.end(true))
  await assert.rejects(connect(port, { clientId: 'shared' }))
  assert.equal(client.connected, true)
})

test('closing the broker tells the gate that its neighbours are gone, each once', async () => {
  const gate = new RecordingGate()
  const { broker, port } = await openBroker({ gate })
  const client = await neighbour(port)
  client.publish(inbox(NEIGHBOUR), 'x')
  await until(() => gate.frames.length === 1)
  await broker.close()
  await until(() => gate.gonePeers.length > 0)
  assert.equal(gate.gonePeers.length, 1)
  client.end(true)
})
