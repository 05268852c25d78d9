import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { describe, test, type TestContext } from 'node:test'
import { Aedes } from 'aedes'
import { connectAsync } from 'mqtt'
import { concat, utf8 } from '../../runtime/base/bytes.ts'
import { seededRandom } from '../../runtime/base/random.ts'
import { tlsIdentity } from '../../runtime/certificates/identity.ts'
import { generateDeviceKeys, peerIdOf, type DeviceKeys } from '../../runtime/crypto/identity.ts'
import type { Enroller, JoinRequest } from '../../runtime/ports/enroller.ts'
import { firstDecided, type JoinOutcome } from '../../runtime/mesh/enrolling.ts'
import { Mesh } from '../../runtime/mesh/mesh.ts'
import { enrolOver } from '../../runtime/mesh/relay-enrolling.ts'
import { inboxTopic } from '../../runtime/mesh/topics.ts'
import type { Capability } from '../../runtime/model/capability.ts'
import type { RelayLogin } from '../../runtime/ports/link.ts'
import type { Log } from '../../runtime/ports/log.ts'
import { Candidates } from '../../runtime/topology/candidates.ts'
import { grantsOf } from '../../runtime/access/roles.ts'
import { createSigner } from '../../runtime/crypto/signature.ts'
import { encodeCapability } from '../../runtime/wire/capability.ts'
import { decodeMessages } from '../../runtime/wire/message.ts'
import { until } from '../end-to-end/harness.ts'

const MESH_ID = new Uint8Array(16).fill(3)
const SILENT = { debug() {}, info() {}, warn() {}, error() {} }

interface Broker {
  readonly port: number
  readonly aedes: Aedes
  readonly server: Server
  close(): void
}

async function opened(
  t: TestContext,
  tls: { readonly key: string; readonly cert: string } | null = null,
): Promise<Broker> {
  const aedes = await Aedes.createBroker()
  const sockets = new Set<{ destroy(): void }>()
  const server = tls ? createTlsServer(tls, aedes.handle) : createServer(aedes.handle)
  server.on('connection', (socket: { destroy(): void }) => sockets.add(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = (): void => {
    server.close()
    for (const socket of sockets) socket.destroy()
    aedes.close()
  }
  t.after(close)
  return { port: (server.address() as { port: number }).port, aedes, server, close }
}

interface Gateway {
  readonly peerId: string
  readonly mesh: Mesh
  readonly linked: Map<number, string>
  readonly heard: string[]
}

interface GatewayOptions {
  readonly login?: RelayLogin | null
  readonly protocol?: 'mqtt' | 'mqtts'
  readonly log?: Log
  readonly linksMax?: number
  readonly keys?: DeviceKeys
  readonly isSought?: boolean
  /** Whose name it uses on the relay. */
  readonly claims?: string
  /** Lets newcomers in. */
  readonly enroller?: Enroller
  readonly chain?: readonly Uint8Array[]
}

/** Everyone's capability is the two public keys, and everyone believes it. */
function capabilityIn([proof]: readonly Uint8Array[]): Capability | null {
  if (proof?.length !== 64) return null
  return { subject: proof.slice(0, 32), linkKey: proof.slice(32), name: 'gateway' } as Capability
}

let seed = 0

function gatewayAt(t: TestContext, port: number, options: GatewayOptions = {}): Gateway {
  const { keys = generateDeviceKeys(), protocol = 'mqtt', linksMax = 32, login = null, log = SILENT } = options
  const peerId = options.claims ?? peerIdOf(keys.publicKey)
  const linked = new Map<number, string>()
  const heard: string[] = []
  const random = seededRandom(++seed)
  const mesh = new Mesh({
    keys,
    peerId,
    meshId: MESH_ID,
    chain: () => options.chain ?? [concat(keys.publicKey, keys.linkPublicKey)],
    hasEnded: () => false,
    admit: capabilityIn,
    farewell: () => null,
    candidates: new Candidates({ peerId, links: { min: 2, max: 32 }, random }),
    onRemember: () => {},
    shape: {
      isReachable: () => false,
      isSought: () => options.isSought ?? false,
      wanted: new Set(),
      makeRoomFor: () => null,
      referralsFor: () => [],
    },
    relays: [{ address: { protocol, host: '127.0.0.1', port }, login: () => login }],
    random,
    linksMax,
    handler: {
      up: (link, peer) => void linked.set(link, peer.peerId),
      frame: (link, bytes) => {
        // What the engine does with it.
        const messages = decodeMessages(bytes)
        if (messages.ok && messages.value[0]?.type === 'bye') mesh.close(link, 'the neighbour said goodbye')
        else heard.push(Buffer.from(bytes).toString())
      },
      down: (link) => void linked.delete(link),
    },
    mayEnrol: () => options.enroller !== undefined,
    enroller: options.enroller ?? (() => Promise.reject(new Error('nobody joins here'))),
    log,
    monotonicMs: () => performance.now(),
  })
  t.after(() => mesh.closeAll())
  mesh.start()
  return { peerId, mesh, linked, heard }
}

function say(gateway: Gateway, text: string): void {
  for (const link of gateway.linked.keys()) gateway.mesh.send(link, utf8(text))
}

const areLinked = (a: Gateway, b: Gateway): boolean => a.mesh.isLinkedTo(b.peerId) && b.mesh.isLinkedTo(a.peerId)

describe('gateways at a relay', () => {
  test('find each other, whoever came first, and what they say stays between them', async (t) => {
    const { port, aedes } = await opened(t)
    const passed: Buffer[] = []
    aedes.on('publish', ({ payload }) => passed.push(Buffer.from(payload)))
    const [a, b] = [gatewayAt(t, port), gatewayAt(t, port)]
    await until('they are linked', () => areLinked(a, b))
    // Both may have dialled, and the link that one of them gives up takes what is on it along.
    await until('it has arrived', () => {
      say(a, 'nobody else reads this')
      return b.heard.length > 0
    })
    assert.equal(b.heard[0], 'nobody else reads this')
    assert.ok(!Buffer.concat(passed).includes('nobody'), 'the relay has seen the text')
  })

  test('notice at once that one has gone, and link again when it is back', async (t) => {
    const { port } = await opened(t)
    const keys = generateDeviceKeys()
    const [a, b] = [gatewayAt(t, port), gatewayAt(t, port, { keys })]
    await until('they are linked', () => areLinked(a, b))
    b.mesh.closeAll()
    await until('the link is gone', () => !a.mesh.isLinkedTo(b.peerId))
    const back = gatewayAt(t, port, { keys })
    await until('they are linked again', () => areLinked(a, back))
  })

  test('who has no room for a link says so, and the other does not take it for one', async (t) => {
    const { port } = await opened(t)
    const [a, b] = [gatewayAt(t, port, { linksMax: 1 }), gatewayAt(t, port)]
    await until('the first are linked', () => areLinked(a, b))
    const late = gatewayAt(t, port)
    await until('the third is linked with one of them', () => areLinked(late, b))
    await until('and only takes that one for linked', () => late.linked.size === 1 && !late.mesh.isLinkedTo(a.peerId))
  })

  test('dial three each, and are all one mesh', async (t) => {
    const { port } = await opened(t)
    const gateways = Array.from({ length: 10 }, () => gatewayAt(t, port))
    await until('each has its links', () => gateways.every(({ linked }) => linked.size >= 3))
    await until('there is a way from the first to all', () => reachedFrom(gateways).size === gateways.length)
    const ends = gateways.reduce((sum, { linked }) => sum + linked.size, 0)
    assert.ok(ends / 2 <= 3 * gateways.length, `${ends / 2} links`)
  })

  test('dial all that they seek', async (t) => {
    const { port } = await opened(t)
    for (let i = 0; i < 7; i++) gatewayAt(t, port)
    const seeking = gatewayAt(t, port, { isSought: true })
    await until('it is linked with all', () => seeking.linked.size === 7)
  })

  test('believe nobody who proves to be another than its topic says', async (t) => {
    const { port } = await opened(t)
    const a = gatewayAt(t, port)
    gatewayAt(t, port, { claims: 'a'.repeat(23) })
    const honest = gatewayAt(t, port)
    await until('the honest one is linked', () => areLinked(a, honest))
    assert.deepEqual([...a.linked.values()], [honest.peerId])
  })

  test('are not moved by forged, cut and repeated frames', async (t) => {
    const { port, aedes } = await opened(t)
    const [a, b] = [gatewayAt(t, port), gatewayAt(t, port)]
    await until('they are linked', () => areLinked(a, b))
    const topic = inboxTopic(MESH_ID, a.peerId, b.peerId)
    const forge = (payload: Uint8Array): Promise<void> =>
      new Promise((resolve, reject) =>
        aedes.publish(
          { cmd: 'publish', topic, payload: Buffer.from(payload), qos: 0, retain: false, dup: false },
          (error?: Error | null) => (error ? reject(error) : resolve()),
        ),
      )
    const random = seededRandom(1)
    for (let i = 0; i < 300; i++) {
      const bytes = Uint8Array.from({ length: i % 90 }, () => Math.floor(random() * 256))
      bytes[0] = i % 2
      bytes[1] = i % 4
      await forge(bytes)
    }
    await until('it has arrived', () => {
      say(b, 'still here')
      return a.heard.length > 0
    })
    assert.ok(a.heard.every((text) => text === 'still here'))
  })
})

describe('who holds an invite', () => {
  const [root, admin, newcomer] = [generateDeviceKeys(), generateDeviceKeys(), generateDeviceKeys()]
  const capability = (issuer: DeviceKeys, subject: DeviceKeys, role: string): Uint8Array => {
    const claims = {
      issuer: issuer.publicKey,
      subject: subject.publicKey,
      linkKey: subject.linkPublicKey,
      notBefore: 5,
      expires: 2 ** 53 - 1,
      id: new Uint8Array(16).fill(1),
      grants: grantsOf(role) ?? [],
      roles: [role],
      name: 'it',
      invite: null,
    }
    return encodeCapability(claims, MESH_ID, (message) => createSigner(issuer.secretKey).sign(message))
  }
  const chain = [capability(root, admin, 'admin')]
  const invite = {
    meshId: MESH_ID,
    meshName: 'test',
    rootPublicKey: root.publicKey,
    addresses: [],
    inviteId: new Uint8Array(8).fill(1),
    secret: new Uint8Array(16).fill(2),
    expiry: 0,
  }
  const joining = (port: number): ReturnType<typeof enrolOver> => {
    const address = { protocol: 'mqtt', host: '127.0.0.1', port } as const
    return enrolOver({ address, login: () => null }, { invite, keys: newcomer, name: 'new' })
  }

  test('is let in by a gateway that may do that, and tells the secret to no other', async (t) => {
    const { port } = await opened(t)
    const [heard, stolen]: JoinRequest[][] = [[], []]
    const member = gatewayAt(t, port)
    for (let i = 0; i < 3; i++) {
      gatewayAt(t, port, {
        enroller: (request) => {
          stolen?.push(request)
          return Promise.resolve({ chain: [], addresses: [] })
        },
      })
    }
    gatewayAt(t, port, {
      keys: admin,
      chain,
      enroller: (request) => {
        heard?.push(request)
        return Promise.resolve({ chain: [capability(admin, newcomer, 'gateway'), ...chain], addresses: [] })
      },
    })
    await until('they are at the relay', () => member.linked.size >= 3)
    let outcome = await joining(port)
    // The answers of all come at once, and one that is late is asked for again by whoever joins.
    while (outcome.type === 'unreachable') outcome = await joining(port)
    assert.equal(outcome.type, 'admitted')
    assert.deepEqual(
      heard?.map(({ name, secret }) => [name, secret]),
      [['new', invite.secret]],
    )
    assert.deepEqual(stolen, [])
  })

  test('is let in however many others say that they could, and whoever floods handshakes shuts it out for a moment', async (t) => {
    const { port } = await opened(t)
    // They say so and then say nothing.
    const silent = Array.from({ length: 20 }, () =>
      gatewayAt(t, port, { enroller: () => new Promise(() => {}), chain: [new Uint8Array(1)] }),
    )
    const log: string[] = []
    const host = gatewayAt(t, port, {
      keys: admin,
      chain,
      enroller: () => Promise.resolve({ chain: [capability(admin, newcomer, 'gateway'), ...chain], addresses: [] }),
      log: { ...SILENT, info: (event) => void log.push(event) },
    })
    await until('it is at the relay', () => log.includes('relay-up') && silent.length > 0)
    const flood = await connectAsync(`mqtt://127.0.0.1:${port}`)
    t.after(() => flood.end(true))
    for (let i = 0; i < 200; i++) {
      const opening = Buffer.concat([Buffer.from([0, 0, 0, 0, 0, i]), Buffer.alloc(32, 9)])
      await flood.publishAsync(inboxTopic(MESH_ID, host.peerId, String.fromCharCode(97 + (i % 26)).repeat(23)), opening)
    }
    let outcome = await joining(port)
    while (outcome.type === 'unreachable') outcome = await joining(port)
    assert.equal(outcome.type, 'admitted')
  })

  test('hears why not, and that nobody is there who could', async (t) => {
    const { port } = await opened(t)
    gatewayAt(t, port)
    const outcome = await joining(port)
    assert.deepEqual(outcome, { type: 'unreachable', reason: 'nobody at the relay can let newcomers in' })
    const log: string[] = []
    gatewayAt(t, port, {
      keys: admin,
      chain,
      enroller: () => Promise.resolve({ refusal: 'used' }),
      log: { ...SILENT, info: (event) => void log.push(event) },
    })
    await until('it is at the relay', () => log.includes('relay-up'))
    assert.deepEqual(await joining(port), { type: 'refused', reason: 'used' })
  })

  test('goes on asking after a refusal, which one may say that knows less than another', async (t) => {
    const { port } = await opened(t)
    const [ready, admits] = [new Set<string>(), capability(admin, newcomer, 'gateway')]
    for (const i of [0, 1, 2, 3, 4]) {
      const keys = i === 0 ? admin : generateDeviceKeys()
      gatewayAt(t, port, {
        keys,
        chain: [capability(root, keys, 'admin')],
        enroller: () =>
          Promise.resolve(keys === admin ? { chain: [admits, ...chain], addresses: [] } : { refusal: 'unknown' }),
        log: { ...SILENT, info: (event) => void (event === 'relay-up' && ready.add(peerIdOf(keys.publicKey))) },
      })
    }
    await until('they are at the relay', () => ready.size === 5)
    assert.equal((await joining(port)).type, 'admitted')
  })

  test('is refused for good by administrators alone: any other member could end its attempts', async (t) => {
    const { port } = await opened(t)
    const keys = generateDeviceKeys()
    const log: string[] = []
    gatewayAt(t, port, {
      keys,
      chain: [capability(admin, keys, 'gateway'), ...chain],
      enroller: () => Promise.resolve({ refusal: 'used' }),
      log: { ...SILENT, info: (event) => void log.push(event) },
    })
    await until('it is at the relay', () => log.includes('relay-up'))
    assert.equal((await joining(port)).type, 'unreachable')
  })

  test('is let in although it is refused elsewhere first', async () => {
    const admitted = { type: 'admitted', chain, addresses: [] } as const
    const later = new Promise<JoinOutcome>((resolve) => setImmediate(() => resolve(admitted)))
    const refused = { type: 'refused', reason: 'unknown' } as const
    const unreachable = { type: 'unreachable', reason: 'nobody' } as const
    assert.equal(await firstDecided([Promise.resolve(refused), later]), admitted)
    assert.equal(await firstDecided([Promise.resolve(unreachable), Promise.resolve(refused)]), refused)
    assert.deepEqual(await firstDecided([unreachable, unreachable].map((each) => Promise.resolve(each))), {
      type: 'unreachable',
      reason: 'nobody; nobody',
    })
  })
})

/** Peer ids that there is a way to from the first. */
function reachedFrom(gateways: readonly Gateway[]): ReadonlySet<string> {
  const reached = new Set([(gateways[0] as Gateway).peerId])
  for (let round = 0; round < gateways.length; round++) {
    for (const { peerId, linked } of gateways) {
      if (reached.has(peerId)) for (const other of linked.values()) reached.add(other)
    }
  }
  return reached
}

test('a password is told only to a relay whose certificate is good', async (t) => {
  const file = { read: () => null, write: () => {} }
  const identity = await tlsIdentity({ file, peerId: 'p'.repeat(23), names: ['127.0.0.1'], onDamaged: () => {} })
  const { port, aedes } = await opened(t, { key: identity.key, cert: identity.certificate })
  const users: (string | undefined)[] = []
  aedes.authenticate = (_client, user, _password, done) => {
    users.push(user)
    done(null, true)
  }
  const said: string[] = []
  const log = {
    ...SILENT,
    warn: (event: string, fields?: object) => void said.push(`${event} ${JSON.stringify(fields)}`),
  }
  const login = { user: 'greenhouse', password: 'secret', ca: null }
  const stranger = gatewayAt(t, port, { protocol: 'mqtts', login, log })
  await until('it says why', () => said.some((line) => line.includes('relay-not-reached') && /certificate/.test(line)))
  assert.deepEqual(users, [])
  stranger.mesh.closeAll()
  gatewayAt(t, port, { protocol: 'mqtts', login: { ...login, ca: identity.certificate } })
  await until('it has logged in', () => users.length > 0)
  assert.deepEqual(users, ['greenhouse'])
})
