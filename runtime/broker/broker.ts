import { createServer, type Server, type Socket } from 'node:net'
import { Aedes, type AedesPublishPacket, type AuthenticateError, type PublishPacket, type Subscription } from 'aedes'
import { MarramError, sentenceOf } from '../base/errors.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import { isPeerId } from '../model/names.ts'
import type { Broker, BrokerHandler, BrokerStatus, FrameGate, OutgoingMessage } from '../ports/broker.ts'
import type { Log } from '../ports/log.ts'
import { PacketLengthGuard } from '../wire/packet-length.ts'
import { forgetDuplicates, isLoopback, type BrokerClient, type Login } from './clients.ts'
import { FrameConnection, type FrameRoom } from './frames.ts'
import { DurablePersistence, type RecordStore, type SessionLimits } from './persistence.ts'
import {
  isCovered,
  isReservedForForward,
  isReservedForPublish,
  isReservedForSubscribe,
  matches,
  overlap,
} from './topics.ts'
import { verifyPassword, type UserTable } from './users.ts'

export interface ListenAddress {
  readonly protocol: 'mqtt' | 'mqtts'
  readonly host: string
  readonly port: number
}

export interface BrokerOptions {
  readonly listen: readonly ListenAddress[]
  readonly mesh8: string
  readonly peerId: string
  /** Read at every login, so that a changed users file counts at once. */
  readonly users: () => UserTable
  readonly anonymous: 'loopback' | 'none' | 'all'
  /** Bytes. */
  readonly maxPacket: number
  readonly sessions: SessionLimits
  readonly store: RecordStore
  readonly handler: BrokerHandler
  readonly gate: FrameGate
  readonly log: Log
}

const CONNECT_BYTES_MAX = 8_192
const CLIENT_ID_BYTES_MAX = 256
const CONNECT_MS = 10_000
const DRAIN_MS = 15_000
const CONNECTIONS_MAX = 2_048
const CONNECTIONS_PER_ADDRESS_MAX = 128
/** What waits in a socket's buffer before its client counts as frozen: then it gets no more and stalls nobody. */
const BUFFERED_BYTES_MAX = 1_048_576
/** Nobody may subscribe to it: messages that were dealt with are sent there. */
const SINK = '$marram/sink'
const REFUSED_PAUSE_MS = 1_000
const EXPIRY_CHECK_MS = 3_600_000

/** Opens the listeners. Throws `port-in-use` naming the address, `not-supported` for TLS. */
export async function createBroker(options: BrokerOptions): Promise<Broker> {
  const broker = new EmbeddedBroker(options)
  await broker.open()
  return broker
}

class EmbeddedBroker implements Broker {
  readonly #options: BrokerOptions
  readonly #persistence: DurablePersistence
  readonly #room: FrameRoom
  readonly #servers: Server[] = []
  readonly #sockets = new Map<Socket, string>()
  readonly #frames = new Map<BrokerClient, FrameConnection>()
  /** Filters under `marram/data/` by client. */
  readonly #watchers = new Map<string, Set<string>>()
  readonly #isWatched = new Map<string, boolean>()
  readonly #addresses: string[] = []
  #aedes!: Aedes
  #expiryTimer: NodeJS.Timeout | null = null

  constructor(options: BrokerOptions) {
    this.#options = options
    const { store, sessions: limits, handler, log } = options
    this.#persistence = new DurablePersistence({ store, limits, handler, log })
    this.#room = { mesh8: options.mesh8, peerId: options.peerId, gate: options.gate }
  }

  async open(): Promise<void> {
    this.#aedes = await Aedes.createBroker({
      persistence: this.#persistence,
      connectTimeout: CONNECT_MS,
      drainTimeout: DRAIN_MS,
      preConnect: (client, packet, done) => done(null, this.#mayConnect(client as BrokerClient, packet)),
      authenticate: (client, user, password, done) =>
        void this.#authenticate(client as BrokerClient, user, password, done),
      authorizePublish: (client, packet, done) => this.#publishFrom(client as BrokerClient | null, packet, done),
      authorizeSubscribe: (client, subscription, done) =>
        done(null, this.#maySubscribe(client as BrokerClient, subscription) ? subscription : null),
      authorizeForward: (client, packet) => (this.#mayForward(client as BrokerClient, packet) ? packet : null),
    })
    this.#listenToEvents()
    for (const [id, filters] of this.#persistence.sessionFilters()) this.#watch(id, filters)
    await this.#persistence.expireSessions()
    this.#expiryTimer = setInterval(() => void this.#persistence.expireSessions(), EXPIRY_CHECK_MS)
    this.#expiryTimer.unref()
    try {
      for (const address of this.#options.listen) await this.#listen(address)
    } catch (error) {
      await this.close()
      throw error
    }
  }

  publish(message: OutgoingMessage): Promise<void> {
    const payload = Buffer.from(message.payload)
    return this.#route({
      cmd: 'publish',
      topic: message.topic,
      payload,
      qos: message.qos,
      retain: message.retain,
      dup: false,
    })
  }

  isWatched(collection: string): boolean {
    const known = this.#isWatched.get(collection)
    if (known !== undefined) return known
    let isWatched = false
    for (const filters of this.#watchers.values()) {
      for (const filter of filters) isWatched ||= overlap(filter, `marram/data/${collection}/+`)
    }
    this.#isWatched.set(collection, isWatched)
    return isWatched
  }

  listeners(): readonly string[] {
    return this.#addresses
  }

  status(): BrokerStatus {
    return { clients: this.#aedes.connectedClients, ...this.#persistence.status() }
  }

  /** Stops accepting, says goodbye to clients, then lets go of sockets that never became clients. */
  async close(): Promise<void> {
    if (this.#expiryTimer) clearInterval(this.#expiryTimer)
    for (const server of this.#servers) server.close()
    await new Promise<void>((resolve) => this.#aedes.close(() => resolve()))
    for (const socket of this.#sockets.keys()) socket.destroy()
    for (const frames of this.#frames.values()) frames.gone()
  }

  async #listen({ protocol, host, port }: ListenAddress): Promise<void> {
    if (protocol !== 'mqtt') {
      throw new MarramError(
        'not-supported',
        `Cannot listen on "${protocol}://${host}:${port}": TLS is not built yet, use mqtt://`,
      )
    }
    const server = createServer({ highWaterMark: BUFFERED_BYTES_MAX, noDelay: true }, (socket) => this.#accept(socket))
    server.maxConnections = CONNECTIONS_MAX
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host, port, ipv6Only: false }, resolve)
    }).catch((cause: NodeJS.ErrnoException) => {
      const where = `mqtt://${host.includes(':') ? `[${host}]` : host}:${port}`
      if (cause.code === 'EADDRINUSE') {
        throw new MarramError(
          'port-in-use',
          `Cannot listen on "${where}": another process uses port ${port}, stop it or choose another port in broker.listen`,
          { cause },
        )
      }
      throw new MarramError('port-in-use', `Cannot listen on "${where}": ${cause.message}`, { cause })
    })
    server.on('error', (error) => this.#options.log.error('broker-listener-failed', { message: error.message }))
    this.#servers.push(server)
    const actual = server.address()
    const actualPort = typeof actual === 'object' && actual ? actual.port : port
    this.#addresses.push(`mqtt://${host.includes(':') ? `[${host}]` : host}:${actualPort}`)
  }

  #accept(socket: Socket): void {
    const address = socket.remoteAddress ?? ''
    if (!isLoopback(address) && this.#connectionsOf(address) >= CONNECTIONS_PER_ADDRESS_MAX) {
      socket.destroy()
      return
    }
    this.#sockets.set(socket, address)
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('error', () => socket.destroy())
    guardLengths(socket, new PacketLengthGuard(CONNECT_BYTES_MAX))
    this.#aedes.handle(socket)
  }

  #connectionsOf(address: string): number {
    let count = 0
    for (const other of this.#sockets.values()) if (other === address) count += 1
    return count
  }

  #mayConnect(client: BrokerClient, packet: { clientId: string; clean?: boolean }): boolean {
    forgetDuplicates(client)
    const bytes = Buffer.byteLength(packet.clientId)
    // [MQTT-3.1.3-8] A client without a name can't have a session that lasts.
    return bytes <= CLIENT_ID_BYTES_MAX && (bytes > 0 || packet.clean === true)
  }

  async #authenticate(
    client: BrokerClient,
    user: string | undefined,
    password: Readonly<Buffer> | undefined,
    done: (error: AuthenticateError | null, success: boolean | null) => void,
  ): Promise<void> {
    const login = await this.#login(client, user, password)
    if (!login || !this.#mayUseId(client, login)) {
      this.#options.log.info('mqtt-login-refused', { clientId: client.id, user, address: client.conn.remoteAddress })
      return done(null, false)
    }
    client.login = login
    lengthsOf(client.conn).bytesMax =
      login.kind === 'device' ? this.#options.maxPacket : GATEWAY_LIMITS.neighbourPacketBytesMax
    if (login.kind !== 'device') this.#frames.set(client, new FrameConnection(this.#room, client, user ?? ''))
    done(null, true)
  }

  async #login(
    client: BrokerClient,
    user: string | undefined,
    password: Readonly<Buffer> | undefined,
  ): Promise<Login | null> {
    if (user === undefined) {
      const { anonymous } = this.#options
      const isAllowed = anonymous === 'all' || (anonymous === 'loopback' && isLoopback(client.conn.remoteAddress))
      return isAllowed ? { kind: 'device', user: null, topics: null } : null
    }
    const secret = password ? Buffer.from(password) : Buffer.alloc(0)
    if (user === 'join' || isPeerId(user)) {
      if (!client.clean || (user === 'join' && this.#joiners() >= GATEWAY_LIMITS.enrolmentsAtOnce)) return null
      const isAdmitted = this.#options.gate.admit({ user, password: secret, clientId: client.id })
      return isAdmitted ? { kind: user === 'join' ? 'joiner' : 'neighbour', user, topics: [] } : null
    }
    const known = this.#options.users().get(user)
    if (!known || !(await verifyPassword(secret.toString(), known.password))) return null
    return { kind: 'device', user, topics: known.topics }
  }

  #joiners(): number {
    return [...this.#frames.keys()].filter((client) => client.login?.kind === 'joiner').length
  }

  /** A client id belongs to the login that uses it, so nobody evicts another's client or takes over its session. */
  #mayUseId(client: BrokerClient, login: Login): boolean {
    const clients = (this.#aedes as unknown as { clients: { readonly [id: string]: BrokerClient | undefined } }).clients
    const connected = clients[client.id]?.login
    if (connected && connected.user !== login.user) return false
    const stored = this.#persistence.ownerOf(client.id)
    return stored === undefined || stored === (login.user ?? '')
  }

  /**
   * Called before aedes acknowledges. What a device says is handled, and routed and stored where others wait for it, first;
   * then aedes gets it with a topic that nobody hears, and acknowledges. A publish that isn't allowed is acknowledged and
   * dropped: an error would make clients send it again for ever.
   */
  #publishFrom(client: BrokerClient | null, packet: PublishPacket, done: (error?: Error | null) => void): void {
    const login = client?.login
    if (!client || !login) return done(client ? new Error('not logged in') : null)
    if (login.kind !== 'device') return this.#frameFrom(client, packet, done)
    const reserved = isReservedForPublish(packet.topic)
    if (reserved || (login.topics && !login.topics.some((filter) => matches(filter, packet.topic)))) {
      this.#options.log.warn('mqtt-publish-refused', { clientId: client.id, user: login.user, topic: packet.topic })
      sink(packet)
      return done(null)
    }
    const { topic, qos, retain } = packet
    const payload = Buffer.isBuffer(packet.payload) ? packet.payload : Buffer.from(packet.payload)
    this.#options.handler
      .publish({ topic, payload, qos, retain, clientId: client.id, user: login.user })
      .then(async (answer) => {
        if (answer === 'forward') await this.#route({ cmd: 'publish', topic, payload, qos, retain, dup: false })
        sink(packet)
        done(null)
      })
      .catch((error: unknown) => {
        this.#options.log.warn('mqtt-publish-failed', { clientId: client.id, topic, message: sentenceOf(error) })
        // Not acknowledged: the device sends it again, after a pause, on its next connection.
        setTimeout(() => done(new Error('the message could not be stored')), REFUSED_PAUSE_MS).unref()
      })
  }

  #frameFrom(client: BrokerClient, packet: PublishPacket, done: (error?: Error | null) => void): void {
    const frames = this.#frames.get(client)
    const payload = Buffer.isBuffer(packet.payload) ? packet.payload : Buffer.from(packet.payload)
    if (!frames?.receive(packet.topic, payload)) return done(new Error('a neighbour may only speak to this gateway'))
    sink(packet)
    packet.payload = Buffer.alloc(0)
    done(null)
  }

  #maySubscribe(client: BrokerClient, { topic }: Subscription): boolean {
    const { login } = client
    if (!login) return false
    if (login.kind !== 'device') return this.#frames.get(client)?.mayReceive(topic) ?? false
    if (isReservedForSubscribe(topic)) return false
    return login.topics === null || login.topics.some((filter) => isCovered(topic, filter))
  }

  #mayForward(client: BrokerClient, packet: AedesPublishPacket): boolean {
    if (client.login?.kind === 'device' && isReservedForForward(packet.topic)) return false
    if (client.conn.writableLength <= BUFFERED_BYTES_MAX) return true
    // A frozen subscriber: QoS 0 is dropped, a session that lasts gets the rest when it comes back.
    if (packet.qos > 0) client.conn.destroy()
    return false
  }

  #route(packet: PublishPacket): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#aedes.publish(packet, (error) => (error ? reject(error) : resolve()))
    })
  }

  #listenToEvents(): void {
    const { log } = this.#options
    this.#aedes.on('clientReady', (client) => {
      ;(client as BrokerClient & { owner: string }).owner = (client as BrokerClient).login?.user ?? ''
      void this.#persistence.notePresence(client.id, true)
    })
    this.#aedes.on('subscribe', (subscriptions, client) => {
      if (client)
        this.#watch(
          client.id,
          subscriptions.map(({ topic }) => topic),
        )
    })
    this.#aedes.on('unsubscribe', (filters, client) => {
      for (const filter of filters) this.#watchers.get(client.id)?.delete(filter)
      this.#isWatched.clear()
    })
    this.#aedes.on('clientDisconnect', (client) => this.#gone(client as BrokerClient))
    this.#aedes.on('clientError', (client, error) =>
      log.debug('mqtt-client-error', { clientId: client.id, message: error.message }),
    )
    this.#aedes.on('connectionError', (_, error) => log.debug('mqtt-connection-error', { message: error.message }))
    ;(this.#aedes as NodeJS.EventEmitter).on('error', (error: Error) =>
      log.error('broker-error', { message: error.message }),
    )
  }

  #gone(client: BrokerClient): void {
    this.#frames.get(client)?.gone()
    this.#frames.delete(client)
    if (client.clean) {
      this.#watchers.delete(client.id)
      this.#isWatched.clear()
    } else void this.#persistence.notePresence(client.id, false).catch(() => {})
  }

  #watch(clientId: string, filters: readonly string[]): void {
    const watched = filters.filter((filter) => overlap(filter, 'marram/data/+/+'))
    if (watched.length === 0) return
    const known = this.#watchers.get(clientId) ?? new Set()
    for (const filter of watched) known.add(filter)
    this.#watchers.set(clientId, known)
    this.#isWatched.clear()
  }
}

/** What was dealt with goes nowhere. */
function sink(packet: PublishPacket): void {
  packet.topic = SINK
  packet.retain = false
}

const LENGTHS = Symbol('packet lengths')

function lengthsOf(socket: Socket): PacketLengthGuard {
  return (socket as Socket & { [LENGTHS]: PacketLengthGuard })[LENGTHS]
}

/** aedes reads the socket itself: what it reads passes the guard first. */
function guardLengths(socket: Socket, lengths: PacketLengthGuard): void {
  ;(socket as Socket & { [LENGTHS]: PacketLengthGuard })[LENGTHS] = lengths
  const read = socket.read.bind(socket)
  socket.read = (size?: number): unknown => {
    const chunk: unknown = read(size)
    if (!(chunk instanceof Uint8Array) || lengths.accept(chunk)) return chunk
    socket.destroy(new Error('the packet is too long'))
    return null
  }
}
