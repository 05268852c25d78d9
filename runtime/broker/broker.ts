import type { Socket } from 'node:net'
import { Aedes, type AuthenticateError, type PublishPacket, type Subscription } from 'aedes'
import { sentenceOf } from '../base/errors.ts'
import { BROKER_LIMITS, type ClientLimits } from '../base/limits.ts'
import type { Broker, BrokerHandler, BrokerStatus, FrameGate, OutgoingMessage } from '../ports/broker.ts'
import type { Log } from '../ports/log.ts'
import type { Address } from '../profile/address.ts'
import {
  forgetDuplicates,
  mayPublish,
  maySubscribe,
  type BrokerClient,
  type Login,
  type Refusal,
  type RoutedPacket,
  type UnnamedPacket,
} from './clients.ts'
import { judgeDelivery } from './delivery.ts'
import { DocumentAnswers } from './documents.ts'
import { Neighbours } from './frames.ts'
import { Connections, guardReads } from './guard.ts'
import { listen, type Listener, type TlsCredentials } from './listen.ts'
import { Logins, type LoginRules } from './logins.ts'
import { DurablePersistence } from './persistence.ts'
import type { SessionLimits } from './sessions.ts'
import type { RecordStore } from './writer.ts'
import { Lane, Publishing, sink, type Route } from './publishing.ts'
import type { StoredWill } from './records.ts'
import { listOnlyConnected, type ClientList } from './registering.ts'
import { Refusals } from './refusals.ts'
import { WatchedDocuments } from './watched.ts'

export interface BrokerOptions extends LoginRules {
  readonly listen: readonly Address[]
  /** What `mqtts` listeners show; null when there are none. */
  readonly tls: TlsCredentials | null
  /** 8 hexadecimal characters of the mesh id. */
  readonly mesh8: string
  readonly peerId: string
  /** Bytes of one MQTT packet of a client that has logged in. */
  readonly maxPacket: number
  readonly sessions: Omit<SessionLimits, 'sessionsMax'>
  readonly clients: ClientLimits
  readonly store: RecordStore
  readonly handler: BrokerHandler
  readonly gate: FrameGate
  readonly log: Log
}

/** What we use of aedes beyond its types. */
interface AedesInside extends ClientList<BrokerClient> {
  readonly mq: { emit(packet: RoutedPacket, done: () => void): void }
}

/** How often sessions grow older, at most. */
const AGE_MS = 3_600_000
/** Where a message came from, in aedes's naming. */
const HERE = 'marram'

/**
 * Opens the listeners. Before, what clients that were lost with the last run wanted said is said. Rejects with
 * `port-in-use`, `bad-profile`, and with what the store rejects with.
 */
export async function createBroker(options: BrokerOptions): Promise<Broker> {
  const broker = new EmbeddedBroker(options)
  try {
    await broker.open()
    return broker
  } catch (error) {
    await broker.close()
    throw error
  }
}

class EmbeddedBroker implements Broker {
  readonly #options: BrokerOptions
  readonly #persistence: DurablePersistence
  readonly #neighbours: Neighbours
  readonly #logins: Logins
  readonly #route: Route
  readonly #publishing: Publishing
  readonly #documents: DocumentAnswers
  readonly #refusals: Refusals
  readonly #watched = new WatchedDocuments()
  readonly #connections: Connections
  readonly #listeners: Listener[] = []
  readonly #aedes: Aedes
  readonly #inside: AedesInside
  #routed = 0
  #ageTimer: NodeJS.Timeout | undefined
  #isClosing = false

  constructor(options: BrokerOptions) {
    const { store, sessions, clients, handler, gate, mesh8, peerId, log } = options
    this.#options = options
    this.#connections = new Connections(clients)
    this.#refusals = new Refusals(
      log,
      (payload) => this.#deliver(this.#packet({ topic: 'marram/error', payload, qos: 0, retain: false })),
      () => performance.now(),
    )
    this.#persistence = new DurablePersistence({
      store,
      limits: { ...sessions, ...clients },
      onDropped: (reason, name) => this.#refusals.say('mqtt-message-dropped', { reason, name }),
      onForgotten: (clientId) => this.#watched.forget(clientId),
      onDamaged: (keys) => log.warn('broker-record-damaged', { records: keys.length, first: keys[0] }),
    })
    this.#neighbours = new Neighbours({ mesh8, peerId, gate })
    this.#logins = new Logins(options, this.#neighbours, this.#persistence.sessions)
    this.#documents = new DocumentAnswers(handler)
    this.#route = { keep: (packet) => this.#persistence.keep(packet), deliver: (packet) => this.#deliver(packet) }
    this.#publishing = new Publishing(handler, this.#route, (message) => this.#packet(message), log)
    this.#aedes = this.#createAedes()
    this.#inside = this.#aedes as unknown as AedesInside
    listOnlyConnected(this.#inside)
  }

  async open(): Promise<void> {
    this.#listenToEvents()
    await this.#aedes.listen()
    for (const { id, filters } of this.#persistence.sessions.all()) this.#watched.add(id, [...filters.keys()])
    await Promise.all(
      this.#persistence.wills.lost().map((will) => this.#attempt('mqtt-will-not-said', this.#sayWill(will))),
    )
    const { expiryMs } = this.#options.sessions
    const ageMs = Math.min(AGE_MS, Math.max(1_000, Math.ceil(expiryMs / 4)))
    this.#ageTimer = setInterval(() => void this.#age(ageMs), ageMs).unref()
    for (const address of this.#options.listen) await this.#listen(address)
  }

  async publish(message: OutgoingMessage): Promise<void> {
    const packet = this.#packet(message)
    await this.#persistence.keep(packet)
    this.#deliver(packet)
  }

  isWatched(collection: string): boolean {
    return this.#watched.has(collection)
  }

  listeners(): readonly string[] {
    return this.#listeners.map(({ address }) => address)
  }

  useCredentials(tls: TlsCredentials): void {
    for (const listener of this.#listeners) listener.useCredentials(tls)
  }

  status(): BrokerStatus {
    return { clients: this.#aedes.connectedClients, ...this.#persistence.status() }
  }

  /** Stops accepting, ends the clients, then sockets that never became clients; waits for what goes to the disk. */
  async close(): Promise<void> {
    this.#isClosing = true
    clearInterval(this.#ageTimer)
    for (const { server } of this.#listeners) server.close()
    this.#persistence.wills.keep()
    await new Promise<void>((resolve) => this.#aedes.close(resolve))
    this.#connections.destroyAll()
    await this.#persistence.settled()
  }

  #createAedes(): Aedes {
    return new Aedes({
      persistence: this.#persistence,
      // 0 is no limit: deliveries aren't waited for, so none can hold up another.
      concurrency: 0,
      connectTimeout: BROKER_LIMITS.connectMs,
      drainTimeout: BROKER_LIMITS.drainMs,
      maxInflightInbound: BROKER_LIMITS.unreleasedPerClientMax,
      preConnect: (client, packet, done) => done(null, this.#prepare(client as BrokerClient, packet)),
      authenticate: (client, user, password, done) =>
        void this.#authenticate(client as BrokerClient, user, password, done),
      authorizePublish: (client, packet, done) => this.#publishFrom(client as BrokerClient | null, packet, done),
      authorizeSubscribe: (client, subscription, done) =>
        done(null, this.#granted(client as BrokerClient, subscription)),
      authorizeForward: (client, packet) => this.#forwarded(client as BrokerClient, packet as RoutedPacket),
    })
  }

  /** Handled like a publish of the client, if its login may still say it. */
  async #sayWill(will: StoredWill): Promise<void> {
    const { clientId, user, topic, qos, retain } = will
    const login = this.#logins.deviceOf(user)
    if (login && mayPublish(login, will.topic)) {
      const packet = this.#packet(will)
      await new Lane().pass(
        this.#options.handler.publish({ topic, payload: packet.payload as Buffer, qos, retain, clientId, user }),
        packet,
        this.#route,
      )
    }
    await this.#persistence.wills.forget(will)
  }

  async #listen(address: Address): Promise<void> {
    const listener = await listen({
      address,
      tls: this.#options.tls,
      admit: (socket) => !this.#isClosing && this.#connections.admit(socket),
      serve: (socket) => this.#serve(socket),
    })
    listener.server.on('error', (error) =>
      this.#options.log.error('broker-listener-failed', { address: listener.address, message: error.message }),
    )
    this.#listeners.push(listener)
  }

  #serve(socket: Socket): void {
    if (this.#isClosing) return void socket.destroy()
    const client = this.#aedes.handle(socket) as BrokerClient
    client.filters = new Set()
    client.lane = new Lane()
    client.lengths = guardReads(
      socket,
      () => client.lane.isFull,
      () => this.#sayTooLong(client),
    )
    socket.once('close', () => this.#gone(client))
  }

  /** Of a device alone, which sends it again for ever; anybody else that sends so much is no business of an owner. */
  #sayTooLong({ id, login }: BrokerClient): void {
    if (login?.kind !== 'device') return
    this.#refusals.say('mqtt-packet-too-long', { clientId: id, user: login.user, maxPacket: this.#options.maxPacket })
  }

  #prepare(client: BrokerClient, packet: Parameters<Logins['faultOf']>[0]): true {
    forgetDuplicates(client)
    // Answered where aedes can still send a return code.
    const refusal = this.#logins.faultOf(packet)
    if (refusal) client.refusal = refusal
    return true
  }

  async #authenticate(
    client: BrokerClient,
    user: string | undefined,
    password: Readonly<Buffer> | undefined,
    done: (error: AuthenticateError | null, success: boolean) => void,
  ): Promise<void> {
    const login = await this.#decide(client, user, new Uint8Array(password ?? []))
    if ('returnCode' in login) {
      const { returnCode, reason } = login
      this.#refusals.say('mqtt-login-refused', {
        clientId: client.id,
        user,
        address: client.conn.remoteAddress,
        reason,
      })
      return done(Object.assign(new Error(reason), { returnCode }), false)
    }
    client.login = login
    if (login.kind === 'device') client.lengths.bytesMax = this.#options.maxPacket
    done(null, true)
  }

  /** A users file that can't be read lets nobody in, and ends nothing else. */
  async #decide(client: BrokerClient, user: string | undefined, password: Uint8Array): Promise<Login | Refusal> {
    try {
      return await this.#logins.decide(client, user, password)
    } catch (error) {
      return { returnCode: 3, reason: sentenceOf(error) }
    }
  }

  /** A publish that isn't allowed is acknowledged and dropped: an error would make clients send it again for ever. */
  #publishFrom(client: BrokerClient | null, packet: PublishPacket, done: (error?: Error) => void): void {
    const login = client?.login
    // What a client's end brings on while we stop waits for the next start.
    if (!client || !login || this.#isClosing) return done(new Error('nobody is served'))
    if (login.kind === 'gateway') {
      if (!login.frames.receive(packet)) return done(new Error('a gateway may only send frames to this one'))
      sink(packet)
      return done()
    }
    if (!mayPublish(login, packet.topic)) {
      this.#refusals.publishRefused(packet.topic, client.id, login.user)
    } else if (
      packet.qos < 2 ||
      packet.messageId === undefined ||
      !this.#persistence.isRepeated(client.id, packet.messageId)
    ) {
      return this.#publishing.take(client, login, packet, done)
    }
    this.#publishing.drop(client, packet, done)
  }

  #granted(client: BrokerClient, subscription: Subscription): Subscription | null {
    const { login, filters } = client
    const { topic } = subscription
    if (!login) return null
    if (login.kind === 'gateway') return login.frames.mayReceive(topic) ? subscription : null
    const isRoom = filters.has(topic) || filters.size < BROKER_LIMITS.filtersPerClientMax
    if (!isRoom || Buffer.byteLength(topic) > BROKER_LIMITS.filterBytesMax || !maySubscribe(login, topic)) {
      this.#refusals.say('mqtt-subscription-refused', { clientId: client.id, user: login.user, topic })
      return null
    }
    filters.add(topic)
    return subscription
  }

  #forwarded(client: BrokerClient, packet: RoutedPacket): RoutedPacket | null {
    const queue = client.clean ? undefined : this.#persistence.sessions.get(client.id)?.queue
    const verdict = judgeDelivery(client, packet, queue)
    if (verdict === 'deliver') return packet
    if (verdict === 'behind') {
      this.#refusals.say('mqtt-client-behind', { clientId: client.id, user: client.login?.user })
      client.conn.destroy()
    }
    return null
  }

  #packet({ topic, payload, qos, retain }: UnnamedPacket): RoutedPacket {
    const brokerCounter = ++this.#routed
    return {
      cmd: 'publish',
      topic,
      payload: Buffer.from(payload),
      qos,
      retain,
      dup: false,
      brokerId: HERE,
      brokerCounter,
    }
  }

  /** Not waited for: a subscriber that reads slowly must not hold up the others, and is bounded by itself. */
  #deliver(packet: RoutedPacket): void {
    this.#inside.mq.emit(packet, () => {})
  }

  #listenToEvents(): void {
    const { log } = this.#options
    this.#aedes.on('client', (client) => this.#came(client as BrokerClient))
    this.#aedes.on('clientReady', (client) => this.#caughtUp(client as BrokerClient))
    this.#aedes.on('subscribe', (subscriptions, client) => this.#subscribed(client as BrokerClient, subscriptions))
    this.#aedes.on('unsubscribe', (filters, client) => this.#unsubscribed(client as BrokerClient, filters))
    this.#aedes.on('clientError', ({ id }, error) =>
      log.debug('mqtt-client-error', { clientId: id, message: error.message }),
    )
    this.#aedes.on('connectionError', (_client, error) =>
      log.debug('mqtt-connection-error', { message: error.message }),
    )
    const events: NodeJS.EventEmitter = this.#aedes
    events.on('error', (error) => log.error('broker-error', { message: sentenceOf(error) }))
  }

  #came({ id, clean, login }: BrokerClient): void {
    if (!clean) void this.#attempt('mqtt-session-not-stored', this.#persistence.touch(id, login?.user ?? null))
  }

  /** It was given what its session held for it; what came at the very end of that is still in the queue. */
  #caughtUp(client: BrokerClient): void {
    const queue = client.clean ? undefined : this.#persistence.sessions.get(client.id)?.queue
    for (const packet of queue?.unsent() ?? []) client.deliverQoS({ ...packet }, () => {})
  }

  /** aedes notes what was refused as a QoS of 128. */
  #subscribed(client: BrokerClient, subscriptions: readonly Subscription[]): void {
    if (client.login?.kind !== 'device') return
    const filters = subscriptions.filter(({ qos }) => qos < 128).map(({ topic }) => topic)
    this.#watched.add(ownerOf(client), filters)
    void this.#attempt('mqtt-documents-not-sent', this.#documents.answer(client, filters))
  }

  #unsubscribed(client: BrokerClient, filters: readonly string[]): void {
    for (const filter of filters) client.filters.delete(filter)
    this.#watched.remove(ownerOf(client), filters)
  }

  #gone(client: BrokerClient): void {
    if (client.login?.kind === 'gateway') this.#neighbours.gone(client.login.frames)
    if (client.clean) this.#watched.forget(client)
  }

  #age(elapsedMs: number): Promise<void> {
    return this.#attempt(
      'mqtt-sessions-not-aged',
      this.#persistence.age(elapsedMs, (clientId) => this.#inside.clients[clientId] !== undefined),
    )
  }

  async #attempt(failure: string, work: Promise<void>): Promise<void> {
    try {
      await work
    } catch (error) {
      this.#options.log.warn(failure, { message: sentenceOf(error) })
    }
  }
}

/** Subscriptions are a session's where there is one, else the connection's. */
function ownerOf(client: BrokerClient): object | string {
  return client.clean ? client : client.id
}
