import { Readable } from 'node:stream'
import type { PubrelPacket } from 'aedes'
import MemoryPersistence from 'aedes-persistence/asyncPersistence.js'
import { BROKER_LIMITS } from '../base/limits.ts'
import type { BrokerStatus } from '../ports/broker.ts'
import type { KeyValue } from '../ports/store.ts'
import type { DeviceLogin, RoutedPacket } from './clients.ts'
import type { QueuedPacket } from './queue.ts'
import {
  decodePacket,
  encodePacket,
  isReadable,
  removal,
  RETAINED,
  retainedKey,
  WILLS,
  type StoredPacket,
} from './records.ts'
import { RetainedMessages } from './retained.ts'
import { Sessions, type OnDropped, type SessionLimits } from './sessions.ts'
import { DOCUMENTS } from './topics.ts'
import { Unreleased } from './unreleased.ts'
import { Wills } from './wills.ts'
import { RecordWriter, type Change, type RecordStore } from './writer.ts'

export interface PersistenceOptions {
  readonly store: RecordStore
  readonly limits: SessionLimits
  readonly onDropped: OnDropped
  /** A session has ended. */
  readonly onForgotten: (clientId: string) => void
  /** These records could not be read, and are gone. */
  readonly onDamaged: (keys: readonly string[]) => void
}

/** aedes's clients, and those of a test, which have an id only. */
interface PersistentClient {
  readonly id: string
  readonly login?: Pick<DeviceLogin, 'user'>
  readonly filters?: ReadonlySet<string>
  readonly connecting?: boolean
}

type WithId<P> = P & { messageId: number }

/**
 * What MQTT sessions leave behind, kept in the gateway's store: sessions and their subscriptions, messages queued for
 * them, retained messages, wills. A change is on the disk before it counts here, so what was acknowledged survives a power
 * cut, and what the disk refused did not happen. This is the face that aedes knows; its own persistence in memory matches
 * subscriptions.
 */
export class DurablePersistence extends MemoryPersistence {
  readonly sessions: Sessions
  readonly wills: Wills
  readonly #options: PersistenceOptions
  readonly #writer: RecordWriter
  readonly #retained = new RetainedMessages<StoredPacket>()
  readonly #unreleased = new Unreleased<RoutedPacket>()

  constructor(options: PersistenceOptions) {
    super()
    this.#options = options
    this.#writer = new RecordWriter(options.store)
    this.sessions = new Sessions(this.#writer, options.limits, options.onDropped)
    this.wills = new Wills(this.#writer)
  }

  override async setup(broker: object): Promise<void> {
    await super.setup(broker)
    const damaged: string[] = []
    const scanRecords = (prefix: string): KeyValue[] => this.#soundRecords(prefix, damaged)
    await this.sessions.load({ scanRecords })
    for (const session of this.sessions.all()) {
      await super.addSubscriptions(
        session,
        Array.from(session.filters, ([topic, qos]) => ({ topic, qos })),
      )
    }
    for (const { value } of scanRecords(RETAINED)) if (value) this.#retained.set(decodeRetained(value))
    this.wills.load(scanRecords(WILLS))
    if (damaged.length === 0) return
    this.#options.onDamaged(damaged)
    // What the disk doesn't let go of is left out again by the next start.
    await this.#writer.write(damaged.map(removal)).catch(() => {})
  }

  status(): Omit<BrokerStatus, 'clients'> {
    return { ...this.sessions.status(), retained: this.#retained.count }
  }

  /** Resolves when what was on its way to the disk is there or was refused. */
  settled(): Promise<void> {
    return this.#writer.settled()
  }

  /** The client is there, under this login. */
  async touch(clientId: string, user: string | null): Promise<void> {
    const session = this.sessions.get(clientId)
    if (!session) return
    session.absentMs = 0
    // Its absence so far is taken back on the disk as well, or it would go on where it was after a power cut.
    if (session.owner === user && session.storedAbsentMs === 0) return
    session.owner = user
    await this.sessions.save(session)
  }

  /** Forgets the sessions whose clients have been away for too long. */
  async age(elapsedMs: number, isConnected: (clientId: string) => boolean): Promise<void> {
    for (const session of await this.sessions.age(elapsedMs, isConnected)) await this.cleanSubscriptions(session)
  }

  /**
   * Retains and queues a message for whom it concerns, with one flush. Of two calls the first reaches the disk first: each
   * takes the same steps before its append.
   */
  async keep(packet: RoutedPacket): Promise<void> {
    if (packet.qos === 0 && !packet.retain) return
    const subscriptions = await this.subscriptionsByTopic(packet.topic)
    const retaining = packet.retain ? this.#retain(packet) : null
    const queueing = packet.qos > 0 ? this.#enqueue(subscriptions, packet) : null
    await this.#writer.commit(...[retaining, queueing].filter((change) => change !== null))
  }

  /** True when the client has sent this QoS 2 message already. */
  isRepeated(clientId: string, messageId: number): boolean {
    return this.#unreleased.get(clientId, messageId) !== undefined
  }

  async storeRetained(packet: RoutedPacket): Promise<void> {
    const change = this.#retain(packet)
    if (change) await this.#writer.commit(change)
  }

  override createRetainedStream(filter: string): Readable {
    return this.#retained.stream([filter])
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
    const session = this.sessions.open(client.id, client.login?.user ?? null)
    for (const { topic, qos } of granted) session.filters.set(topic, qos)
    await this.sessions.save(session)
    await super.addSubscriptions(client, granted)
  }

  override async removeSubscriptions(client: { id: string }, topics: string[]): Promise<void> {
    await super.removeSubscriptions(client, topics)
    const session = this.sessions.get(client.id)
    if (!session) return
    for (const topic of topics) session.filters.delete(topic)
    await this.sessions.save(session)
  }

  /** Ends the client's session, which aedes calls so. */
  override async cleanSubscriptions(client: { id: string }): Promise<void> {
    await super.cleanSubscriptions(client)
    this.#unreleased.forget(client.id)
    const session = this.sessions.get(client.id)
    if (!session) return
    this.#options.onForgotten(client.id)
    await this.sessions.remove(session)
  }

  async outgoingEnqueue(subscription: { clientId: string }, packet: RoutedPacket): Promise<void> {
    await this.outgoingEnqueueCombi([subscription], packet)
  }

  async outgoingEnqueueCombi(subscriptions: { clientId: string }[], packet: RoutedPacket): Promise<void> {
    const change = this.#enqueue(subscriptions, packet)
    if (change) await this.#writer.commit(change)
  }

  /** Gives the packet the identifier it is to be sent with, or notes that its sender may release it. */
  async outgoingUpdate(client: { id: string }, packet: WithId<RoutedPacket> | WithId<PubrelPacket>): Promise<void> {
    const queue = this.sessions.get(client.id)?.queue
    // A retained message is in no queue, and released all the same.
    if (packet.cmd === 'pubrel') return queue?.release(packet)
    const messageId = queue?.assign(packet, packet.messageId)
    if (messageId === undefined) throw new Error('no such packet, or no identifier is free')
    packet.messageId = messageId
  }

  /** The client has it. What has no identifier was not sent, and stays. */
  async outgoingClearMessageId(
    client: { id: string },
    { messageId }: { messageId?: number },
  ): Promise<QueuedPacket | undefined> {
    const session = this.sessions.get(client.id)
    const entry = messageId === undefined ? undefined : session?.queue.remove(messageId)
    if (!session || !entry) return undefined
    await this.sessions.settle(session, entry.message)
    return entry.packet
  }

  outgoingStream(client: { id: string }): Readable {
    return Readable.from(this.sessions.get(client.id)?.queue.packets() ?? [])
  }

  async incomingStorePacket(client: { id: string }, packet: WithId<RoutedPacket>): Promise<void> {
    const { topic, payload, qos, retain, dup, messageId, brokerId, brokerCounter } = packet
    this.#unreleased.add(client.id, {
      cmd: 'publish',
      topic,
      payload,
      qos,
      retain,
      dup,
      messageId,
      brokerId,
      brokerCounter,
    })
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
    await super.putWill(client, will)
    await this.wills.put({ clientId: client.id, user: client.login?.user ?? null, topic, payload, qos, retain })
  }

  override async delWill(client: PersistentClient): Promise<object | undefined> {
    // Called with a client for a connection that comes, which may have ended already: the one before says its own itself.
    if (client.connecting !== undefined) return undefined
    await this.wills.take(client.id)
    return super.delWill(client)
  }

  /** Those that can be read; the keys of the others are added to `damaged`. */
  #soundRecords(prefix: string, damaged: string[]): KeyValue[] {
    return this.#options.store.scanRecords(prefix).filter((record) => {
      const isSound = isReadable(record)
      if (!isSound) damaged.push(record.key)
      return isSound
    })
  }

  #retain(packet: RoutedPacket): Change | null {
    const { topic, payload } = packet
    // Documents are answered from the store itself.
    if (topic.startsWith(DOCUMENTS)) return null
    const retained = { ...packet }
    const isTooLarge = payload.length > BROKER_LIMITS.keptMessageBytesMax
    const change = isTooLarge ? null : this.#retained.reserve(retained)
    if (!change) {
      this.#options.onDropped(isTooLarge ? 'too-large' : 'retained-full', topic)
      return null
    }
    const value = payload.length === 0 ? null : encodePacket(packet)
    return { records: [{ key: retainedKey(topic), value }], ...change }
  }

  #enqueue(subscriptions: readonly { clientId: string }[], packet: RoutedPacket): Change | null {
    if (subscriptions.length === 0) return null
    return this.sessions.enqueue(
      subscriptions.map(({ clientId }) => clientId),
      packet,
    )
  }
}

function decodeRetained(value: Uint8Array): StoredPacket {
  return { ...decodePacket(value), cmd: 'publish' } as StoredPacket
}
