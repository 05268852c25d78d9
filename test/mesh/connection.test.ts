import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { test, type TestContext } from 'node:test'
import { Aedes } from 'aedes'
import { tlsIdentity } from '../../runtime/certificates/identity.ts'
import { openConnection } from '../../runtime/mesh/connection.ts'
import { inboxFilter, inboxTopic } from '../../runtime/mesh/topics.ts'
import type { FrameGate, FramePeer } from '../../runtime/ports/broker.ts'
import type { Address } from '../../runtime/profile/address.ts'
import { MESH8, openBroker, PEER_ID } from '../broker/fixture.ts'

const MESH_ID: Uint8Array = Uint8Array.from(Buffer.from(MESH8.padEnd(32, '0'), 'hex'))
const NEIGHBOUR = 'b'.repeat(23)
const OPTIONS = {
  pin: null,
  user: NEIGHBOUR,
  password: new Uint8Array(96),
  clientId: 'c'.repeat(23),
  inbox: inboxFilter(MESH_ID, NEIGHBOUR),
  outbox: inboxTopic(MESH_ID, 'broker', NEIGHBOUR),
}

interface Seen {
  readonly events: string[]
  readonly pin: Uint8Array
  /** Opens a connection that remembers `pin`; resolves at its first event. */
  readonly open: (pin: Uint8Array | null) => Promise<string>
}

/** A broker behind TLS whose gate answers each frame with itself. */
async function opened(t: TestContext): Promise<Seen> {
  const events: string[] = []
  const file = { read: () => null, write: () => {} }
  const tls = await tlsIdentity({ file, peerId: PEER_ID, names: ['localhost'], onDamaged: () => {} })
  const gate: FrameGate = {
    admit: ({ user }) => events.push(`login of ${user}`) > 0,
    receive: (from: FramePeer, payload) => void from.send(payload),
    gone: () => {},
  }
  const { broker, port } = await openBroker({ listen: [{ protocol: 'mqtts', host: '127.0.0.1', port: 0 }], tls, gate })
  t.after(() => broker.close())
  const open = (pin: Uint8Array | null): Promise<string> =>
    new Promise((resolve) => {
      const connection = openConnection({
        address: { protocol: 'mqtts', host: '127.0.0.1', port },
        ...OPTIONS,
        pin,
        onReady: () => connection.send(new Uint8Array(50_000).fill(7)),
        onFrame: (payload) => resolve(`${payload.length} bytes came back`),
        onClosed: resolve,
      })
      t.after(() => connection.close())
    })
  return { events, pin: tls.pin, open }
}

test('frames pass through TLS, whether the certificate is remembered or not', async (t) => {
  const { open, pin } = await opened(t)
  assert.equal(await open(null), '50000 bytes came back')
  assert.equal(await open(pin), '50000 bytes came back')
})

test('another certificate than the one remembered ends the connection before anything is said', async (t) => {
  const { open, events } = await opened(t)
  assert.match(await open(new Uint8Array(32)), /^its certificate is another/)
  assert.deepEqual(events, [])
})

test('a listener that is not there, or speaks no TLS, is the end of the connection alone', async (t) => {
  const { broker, port } = await openBroker()
  t.after(() => broker.close())
  const end = (address: Address): Promise<string> =>
    new Promise((resolve) => {
      openConnection({ ...OPTIONS, address, onReady: () => resolve('ready'), onFrame: () => {}, onClosed: resolve })
    })
  assert.match(await end({ protocol: 'mqtts', host: '127.0.0.1', port: 1 }), /ECONNREFUSED/)
  assert.match(await end({ protocol: 'mqtt', host: '127.0.0.1', port: 1 }), /ECONNREFUSED/)
  assert.notEqual(await end({ protocol: 'mqtts', host: '127.0.0.1', port }), 'ready')
})

test('a broker that never lets us hear anything is given up', { timeout: 30_000 }, async (t) => {
  const aedes = await Aedes.createBroker()
  const server = createServer(aedes.handle).listen(0, '127.0.0.1')
  t.after(() => {
    aedes.close()
    server.close()
  })
  await once(server, 'listening')
  t.mock.timers.enable({ apis: ['setTimeout'] })
  // It answers nothing, neither yes nor no.
  const asked = new Promise<void>((resolve) => (aedes.authorizeSubscribe = () => resolve()))
  const { port } = server.address() as AddressInfo
  const ended = new Promise<string>((resolve) => {
    openConnection({
      ...OPTIONS,
      address: { protocol: 'mqtt', host: '127.0.0.1', port },
      onReady: () => resolve('ready'),
      onFrame: () => {},
      onClosed: resolve,
    })
  })
  await asked
  t.mock.timers.tick(10_000)
  assert.equal(await ended, 'the connection took too long')
})
