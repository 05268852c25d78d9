import { Readable } from 'node:stream'
import type { PubrelPacket } from 'aedes'
import MemoryPersistence from 'aedes-persistence/asyncPersistence.js'
import { BROKER_LIMITS } from '../base/limits.ts'
import type { BrokerStatus } from '../ports/broker.ts'
import type { Log } from '../ports/log.ts'
import type { Append, KeyValue, Records } from '../ports/store.ts'
import type { DeviceLogin, RoutedPacket } from './clients.ts'
import type { KeptMessage, QueuedPacket, QueueLimits } from './queue.ts'
import {
  decodePacket,
  decodeSession,
  decodeWill,
  encodePacket,
  MESSAGES,
  messageKey,
  numbersOf,
  queueKey,
  QUEUES,
  removal,
  RETAINED,
  retainedKey,
  sessionKey,
  SESSIONS,
  willKey,
  WILLS,
  type StoredPacket,
  type StoredWill,
} from './records.ts'
import { RetainedMessages } from './retained.ts'
import { loadedSession, newSession, sessionRecord, type Session } from './sessions.ts'
import { DOCUMENTS } from './topics.ts'
import { Unreleased } from './unreleased.ts'

export interface RecordStore extends Pick<Records, 'scanRecords'> {
  append(append: Append): Promise<void>
}

export interface SessionLimits extends QueueLimits {
  /** Of absence, while the gateway runs. */
  readonly expiryMs: number
}

export interface PersistenceOptions {
  readonly store: RecordStore
  readonly limits: SessionLimits
  /** Something was dropped at a bound; `name` is the client's id or the topic. */
  readonly onDropped: (what: 'queue-full' | 'retained-full' | 'too-large', name: string) => void
  readonly onForgotten: (clientId: string) => void
  readonly log: Log
}

/** aedes's clients, and those of a test, which have an id only. */
interface PersistentClient {
  readonly id: string
  readonly login?: Pick<DeviceLogin, 'user'>
  readonly filters?: ReadonlySet<string>
  readonly connecting?: boolean
}

/** Records that belong together, and what becomes true once they are on the disk or have failed to get there. */
interface Change {
  readonly records: readonly KeyValue[]
  readonly apply: () => void
  readonly undo: () => void
}

type WithId<P> = P & { readonly messageId: number }

/** Removals go to the disk in appends of so many. */
const RECORDS_PER_APPEND = 1_000
/** Where a message read from the store came from, in aedes's naming. */
const STORED = 'stored'

/**
 * What MQTT sessions leave behind, kept in the gateway's store: sessions and their subscriptions, messages queued for
 * them, retained messages, wills. Every change is on the disk before it counts here, so what was acknowledged survives a
 * power cut, and what the disk refused did not happen. aedes's own persistence matches subscriptions and holds wills.
 */
export class DurablePersistence extends MemoryPersistence {
  readonly #options: PersistenceOptions
  readonly #sessions = new Map<string, Session>()
  readonly #retained = new RetainedMessages<StoredPacket>()
  readonly #unreleased = new Unreleased<RoutedPacket>()
  /** How many connections of a client hold a will: while one replaces another there are two. */
  readonly #willHolders = new Map<string, number>()
  #wills: StoredWill[] = []
  #numbers = 0
  #written: Promise<void> = Promise.resolve()
  #keepsWills = false

  constructor(options: PersistenceOptions) {
    super()
    this.#options = options
  }

  override async setup(broker: object): Promise<void> {
    await super.setup(broker)
    await this.#load()
  }

  status(): Omit<BrokerStatus, 'clients'> {
    let queuedMessages = 0
    let queuedBytes = 0
    for (const { queue } of this.#sessions.values()) {
      queuedMessages += queue.count
      queuedBytes += queue.bytes
    }
    return { sessions: this.#sessions.size, retained: this.#retained.count, queuedMessages, queuedBytes }
  }

  /** Undefined when the client has no session. */
  ownerOf(clientId: string): string | null | undefined {
    return this.#sessions.get(clientId)?.owner
  }

  hasRoomFor(clientId: string): boolean {
    return this.#sessions.has(clientId) || this.#sessions.size < BROKER_LIMITS.sessionsMax
  }

  /** The client is there, under this login. */
  async touch(clientId: string, user: string | null): Promise<void> {
    const session = this.#sessions.get(clientId)
    if (!session) return
    session.absentMs = 0
    if (session.owner === user) return
    session.owner = user
    await this.#write([sessionRecord(session)])
  }

  /** Sessions whose clients are away grow older; those away for too long are forgotten. */
  async age(elapsedMs: number, isConnected: (clientId: string) => boolean): Promise<void> {
    const changed: KeyValue[] = []
    for (const session of this.#sessions.values()) {
      session.absentMs = isConnected(session.id) ? 0 : session.absentMs + elapsedMs
      if (session.absentMs >= this.#options.limits.expiryMs) await this.cleanSubscriptions(session)
      else if (session.absentMs !== session.storedAbsentMs) changed.push(sessionRecord(session))
    }
    await this.#write(changed)
  }

  filtersOf(): Map<string, readonly string[]> {
    return new Map(Array.from(this.#sessions.values(), ({ id, filters }) => [id, [...filters.keys()]]))
  }

  /** Wills of clients that were lost when the gateway stopped; each is to be said, then forgotten. */
  lostWills(): readonly StoredWill[] {
    return this.#wills
  }

  async forgetWill({ clientId }: StoredWill): Promise<void> {
    this.#wills = this.#wills.filter((will) => will.clientId !== clientId)
    await this.#write([removal(willKey(clientId))])
  }

  /** From now on no will is taken back: those of clients that we end are said at the next start. */
  keepWills(): void {
    this.#keepsWills = true
  }

  /** Resolves when what was on its way to the disk is there or was refused. */
  settled(): Promise<void> {
    return this.#written
  }

  /**
   * Retains and queues a message for whom it concerns, with one flush. Of two calls the first reaches the disk first:
   * every call takes the same steps before its append.
   */
  async keep(packet: RoutedPacket): Promise<void> {
    if (packet.qos === 0 && !packet.retain) return
    const subscriptions = await this.subscriptionsByTopic(packet.topic)
    const retaining = packet.retain ? this.#retain(packet) : null
    const queueing = packet.qos > 0 && subscriptions.length > 0 ? this.#enqueue(subscriptions, packet) : null
    if (retaining && queueing) await Promise.all([this.#commit(retaining), this.#commit(queueing)])
    else if (retaining ?? queueing) await this.#commit((retaining ?? queueing) as Change)
  }

  /** True when the message waits for the client and was not sent on any of its connections. */
  isUnsent(clientId: string, packet: RoutedPacket): boolean {
    return this.#sessions.get(clientId)?.queue.isUnsent(packet) ?? false
  }

  /** True when the message was sent under this identifier before [MQTT-3.3.1-1]. */
  isSentAgain(clientId: string, messageId: number): boolean {
    return this.#sessions.get(clientId)?.queue.isAgain(messageId) ?? false
  }

  /** True when the client has sent this QoS 2 message already. */
  isRepeated(clientId: string, messageId: number): boolean {
    return this.#unreleased.get(clientId, messageId) !== undefined
  }

  async storeRetained(packet: RoutedPacket): Promise<void> {
    const change = this.#retain(packet)
    if (change) await this.#commit(change)
  }

  override createRetainedStream(filter: string): Readable {
    return this.createRetainedStreamCombi([filter])
  }

  createRetainedStreamCombi(filters: string[]): Readable {
    return this.#retained.stream(filters)
  }

  /** aedes passes all subscriptions of a packet, those it refused as well. */
  override async addSubscriptions(
    client: PersistentClient,
    subscriptions: { topic: string; qos: number }[],
  ): Promise<void> {
    const { filters } = client
    const granted = filters ? subscriptions.filter(({ topic }) => filters.has(topic)) : subscriptions
    const session = this.#sessions.get(client.id) ?? newSession(++this.#numbers, client.id, client.login?.user ?? null)
    this.#sessions.set(client.id, session)
    for (const { topic, qos } of granted) session.filters.set(topic, qos)
    await this.#write([sessionRecord(session)])
    await super.addSubscriptions(client, granted)
  }

  override async removeSubscriptions(client: { id: string }, topics: string[]): Promise<void> {
    await super.removeSubscriptions(client, topics)
    const session = this.#sessions.get(client.id)
    if (!session) return
    for (const topic of topics) session.filters.delete(topic)
    await this.#write([sessionRecord(session)])
  }

  /** Ends the session of a client, with all that waits for it. */
  override async cleanSubscriptions(client: { id: string }): Promise<void> {
    await super.cleanSubscriptions(client)
    this.#unreleased.forget(client.id)
    const session = this.#sessions.get(client.id)
    if (!session) return
    this.#sessions.delete(client.id)
    this.#options.onForgotten(client.id)
    const records = session.queue.messages().flatMap((message) => this.#settle(session, message))
    await this.#write([removal(sessionKey(session.number)), ...records])
  }

  async outgoingEnqueue(subscription: { clientId: string }, packet: RoutedPacket): Promise<void> {
    await this.outgoingEnqueueCombi([subscription], packet)
  }

  async outgoingEnqueueCombi(subscriptions: { clientId: string }[], packet: RoutedPacket): Promise<void> {
    const change = this.#enqueue(subscriptions, packet)
    if (change) await this.#commit(change)
  }

  /** Gives the packet the identifier it is to be sent with, or notes that its sender may release it. */
  async outgoingUpdate(
    client: { id: string },
    packet: WithId<{ -readonly [K in keyof RoutedPacket]: RoutedPacket[K] }> | WithId<PubrelPacket>,
  ): Promise<void> {
    const queue = this.#sessions.get(client.id)?.queue
    // A retained message is in no queue, and yet released.
    if (packet.cmd === 'pubrel') return queue?.release(packet)
    const messageId = queue?.assign(packet, packet.messageId)
    if (messageId === undefined) throw new Error('no such packet')
    Object.assign(packet, { messageId })
  }

  /** The client has it. Without an identifier nothing was sent, and nothing is removed. */
  async outgoingClearMessageId(
    client: { id: string },
    { messageId }: { messageId?: number },
  ): Promise<QueuedPacket | undefined> {
    const session = this.#sessions.get(client.id)
    const entry = messageId === undefined ? undefined : session?.queue.get(messageId)
    if (messageId === undefined || !session || !entry) return undefined
    session.queue.remove(messageId)
    await this.#write(this.#settle(session, entry.message))
    return entry.packet
  }

  outgoingStream(client: { id: string }): Readable {
    return Readable.from(this.#sessions.get(client.id)?.queue.packets() ?? [])
  }

  async incomingStorePacket(client: { id: string }, packet: WithId<RoutedPacket>): Promise<void> {
    const { topic, payload, qos, retain, dup, messageId, brokerId, brokerCounter } = packet
    const stored = { cmd: 'publish', topic, payload, qos, retain, dup, messageId, brokerId, brokerCounter } as const
    this.#unreleased.add(client.id, stored)
  }

  async incomingGetPacket(client: { id: string }, { messageId }: { messageId: number }): Promise<RoutedPacket> {
    const packet = this.#unreleased.get(client.id, messageId)
    if (!packet) throw new Error('no such packet')
    return packet
  }

  async incomingDelPacket(client: { id: string }, { messageId }: { messageId: number }): Promise<void> {
    if (!this.#unreleased.delete(client.id, messageId)) throw new Error('no such packet')
  }

  async cleanIncoming(client: { id: string }): Promise<void> {
    this.#unreleased.forget(client.id)
  }

  override async putWill(client: PersistentClient, will: StoredPacket): Promise<void> {
    const { topic, payload, qos, retain } = will
    const stored: StoredWill = { clientId: client.id, user: client.login?.user ?? null, topic, payload, qos, retain }
    await this.#write([{ key: willKey(client.id), value: encodePacket(stored) }])
    this.#willHolders.set(client.id, (this.#willHolders.get(client.id) ?? 0) + 1)
    await super.putWill(client, will)
  }

  override async delWill(client: PersistentClient): Promise<object | undefined> {
    const holders = this.#willHolders.get(client.id)
    // aedes clears the way for a new connection's will before it ends the old connection, which then takes its own will
    // back: that must not take the new one along.
    if (holders === undefined || client.connecting === true || this.#keepsWills) return undefined
    if (holders > 1) {
      this.#willHolders.set(client.id, holders - 1)
      return undefined
    }
    this.#willHolders.delete(client.id)
    const will = await super.delWill(client)
    await this.#write([removal(willKey(client.id))])
    return will
  }

  #retain(packet: RoutedPacket): Change | null {
    const { topic, payload } = packet
    // Documents are answered from the store itself.
    if (topic.startsWith(DOCUMENTS)) return null
    const retained = { ...packet }
    if (payload.length > BROKER_LIMITS.keptMessageBytesMax) return this.#drop('too-large', topic)
    if (!this.#retained.hasRoom(retained)) return this.#drop('retained-full', topic)
    return {
      records: [{ key: retainedKey(topic), value: payload.length === 0 ? null : encodePacket(storedPart(retained)) }],
      apply: () => this.#retained.set(retained),
      undo: () => {},
    }
  }

  #enqueue(subscriptions: readonly { clientId: string }[], packet: RoutedPacket): Change | null {
    const bytes = packet.topic.length + packet.payload.length
    if (bytes > BROKER_LIMITS.keptMessageBytesMax) return this.#drop('too-large', packet.topic)
    const records: KeyValue[] = []
    const sessions = this.#sessionsOf(subscriptions, packet, bytes, records)
    if (sessions.length === 0) return null
    const message: KeptMessage = {
      number: ++this.#numbers,
      packet: {
        ...storedPart(packet),
        cmd: 'publish',
        dup: false,
        brokerId: packet.brokerId,
        brokerCounter: packet.brokerCounter,
      },
      bytes,
      sessions: sessions.length,
    }
    records.push({ key: messageKey(message.number), value: encodePacket(storedPart(packet)) })
    for (const { number } of sessions) records.push({ key: queueKey(number, message.number), value: PRESENT })
    return {
      records,
      apply: () => this.#queued(message, sessions),
      undo: () => sessions.forEach(({ queue }) => queue.unreserve(bytes)),
    }
  }

  /** The sessions that have room for a message, with their places taken. One that isn't known is made. */
  #sessionsOf(
    subscriptions: readonly { clientId: string }[],
    packet: RoutedPacket,
    bytes: number,
    records: KeyValue[],
  ): Session[] {
    const sessions = new Set<Session>()
    for (const { clientId } of subscriptions) {
      let session = this.#sessions.get(clientId)
      if (!session) {
        session = newSession(++this.#numbers, clientId, null)
        this.#sessions.set(clientId, session)
        records.push(sessionRecord(session))
      }
      if (sessions.has(session) || session.queue.has(packet)) continue
      if (session.queue.reserve(bytes, this.#options.limits)) sessions.add(session)
      else this.#drop('queue-full', clientId)
    }
    return [...sessions]
  }

  /** On the disk: for sessions that ended meanwhile there is nothing left to wait for. */
  #queued(message: KeptMessage, sessions: readonly Session[]): void {
    for (const session of sessions) {
      if (this.#sessions.get(session.id) === session) session.queue.add(message)
      else
        this.#write(this.#settle(session, message)).catch(() =>
          this.#options.log.debug('mqtt-record-left', { clientId: session.id }),
        )
    }
  }

  /** The records to remove when a session no longer waits for a message. */
  #settle(session: Session, message: KeptMessage): KeyValue[] {
    message.sessions -= 1
    const waits = removal(queueKey(session.number, message.number))
    return message.sessions > 0 ? [waits] : [waits, removal(messageKey(message.number))]
  }

  #drop(what: 'queue-full' | 'retained-full' | 'too-large', name: string): null {
    this.#options.onDropped(what, name)
    return null
  }

  async #commit({ records, apply, undo }: Change): Promise<void> {
    try {
      await this.#write(records)
    } catch (error) {
      undo()
      throw error
    }
    apply()
  }

  async #write(records: readonly KeyValue[]): Promise<void> {
    const appends: Promise<void>[] = []
    for (let at = 0; at < records.length; at += RECORDS_PER_APPEND) {
      appends.push(this.#options.store.append({ batches: [], records: records.slice(at, at + RECORDS_PER_APPEND) }))
    }
    const written = Promise.all(appends).then(() => {})
    // Appends end in the order of their calls, so the last one stands for all.
    if (appends.length > 0) this.#written = written.catch(() => {})
    await written
  }

  async #load(): Promise<void> {
    const { store } = this.#options
    const sessions = new Map<number, Session>()
    for (const { key, value } of store.scanRecords(SESSIONS)) if (value) await this.#loadSession(key, value, sessions)
    const messages = new Map<number, KeptMessage>()
    for (const { key, value } of store.scanRecords(MESSAGES)) if (value) this.#loadMessage(key, value, messages)
    const lost = store.scanRecords(QUEUES).filter(({ key }) => !this.#loadQueued(key, sessions, messages))
    const unwanted = [...messages.values()].filter(({ sessions: count }) => count === 0)
    for (const { value } of store.scanRecords(RETAINED)) if (value) this.#retained.set(decodeRetained(value))
    this.#wills = store.scanRecords(WILLS).flatMap(({ value }) => (value ? [decodeWill(value)] : []))
    await this.#write([
      ...lost.map(({ key }) => removal(key)),
      ...unwanted.map(({ number }) => removal(messageKey(number))),
    ])
  }

  async #loadSession(key: string, value: Uint8Array, sessions: Map<number, Session>): Promise<void> {
    const number = this.#numberOf(key, SESSIONS)
    const session = loadedSession(number, decodeSession(value))
    sessions.set(number, session)
    this.#sessions.set(session.id, session)
    await super.addSubscriptions(
      session,
      Array.from(session.filters, ([topic, qos]) => ({ topic, qos })),
    )
  }

  #loadMessage(key: string, value: Uint8Array, messages: Map<number, KeptMessage>): void {
    const number = this.#numberOf(key, MESSAGES)
    const packet: RoutedPacket = {
      cmd: 'publish',
      ...decodePacket(value),
      dup: false,
      brokerId: STORED,
      brokerCounter: number,
    }
    messages.set(number, { number, packet, bytes: packet.topic.length + packet.payload.length, sessions: 0 })
  }

  /** False for what no session waits for any more: the power went while a session was being forgotten. */
  #loadQueued(
    key: string,
    sessions: ReadonlyMap<number, Session>,
    messages: ReadonlyMap<number, KeptMessage>,
  ): boolean {
    const [session, message] = numbersOf(key, QUEUES)
    const queue = sessions.get(session ?? 0)?.queue
    const kept = messages.get(message ?? 0)
    if (!queue || !kept) return false
    kept.sessions += 1
    queue.reserve(kept.bytes, { maxQueued: Number.POSITIVE_INFINITY, maxQueuedBytes: Number.POSITIVE_INFINITY })
    queue.add(kept)
    return true
  }

  #numberOf(key: string, prefix: string): number {
    const [number = 0] = numbersOf(key, prefix)
    this.#numbers = Math.max(this.#numbers, number)
    return number
  }
}

/** The value of a record whose key says it all. */
const PRESENT = new Uint8Array([1])

function storedPart({ topic, qos, retain, payload }: StoredPacket): StoredPacket {
  return { topic, qos, retain, payload }
}

function decodeRetained(value: Uint8Array): StoredPacket {
  return { cmd: 'publish', ...decodePacket(value) } as StoredPacket
}
