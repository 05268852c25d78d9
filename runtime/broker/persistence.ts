import { Readable } from 'node:stream'
import MemoryPersistence from 'aedes-persistence/asyncPersistence.js'
import type { Log } from '../ports/log.ts'
import type { Append, KeyValue, Records } from '../ports/store.ts'
import { sha256 } from '../crypto/hash.ts'
import { hex, utf8 } from '../base/bytes.ts'
import type { BrokerHandler, BrokerStatus } from '../ports/broker.ts'
import { matches } from './topics.ts'

/**
 * What MQTT sessions leave behind, kept in the gateway's store: subscriptions of persistent sessions, messages queued for
 * those that are away, retained messages. aedes's own persistence in memory does the matching; every change is also a
 * record, awaited before aedes goes on, so what was acknowledged survives a power cut.
 */
export interface RecordStore extends Pick<Records, 'scanRecords'> {
  append(append: Append): Promise<void>
}

export interface SessionLimits {
  /** Messages and bytes kept for one absent client; further ones are dropped and counted. */
  readonly maxQueued: number
  readonly maxQueuedBytes: number
  readonly expiryMs: number
}

const RETAINED_MAX = 10_000
const RETAINED_BYTES_MAX = 33_554_432
const PREFIX = 'broker/'
const DOCUMENTS = 'marram/data/'

interface StoredPacket {
  readonly topic: string
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly payload: Buffer
}

interface Packet extends StoredPacket {
  readonly cmd: 'publish'
  readonly brokerId?: string
  readonly brokerCounter?: number
  messageId?: number
}

interface Session {
  readonly subscriptions: Map<string, number>
  /** Unix milliseconds of its last connection's end; null while it is connected. */
  absentSince: number | null
  readonly owner: string
}

interface QueueEntry {
  readonly number: number
  readonly bytes: number
}

/** What waits for one client, by aedes's names of the packets. */
class Queue {
  readonly entries: Map<string, QueueEntry> = new Map()
  bytes = 0

  add(name: string, entry: QueueEntry): void {
    this.entries.set(name, entry)
    this.bytes += entry.bytes
  }

  remove(name: string): QueueEntry | undefined {
    const entry = this.entries.get(name)
    if (entry && this.entries.delete(name)) this.bytes -= entry.bytes
    return entry
  }
}

export class DurablePersistence extends MemoryPersistence {
  readonly #store: RecordStore
  readonly #limits: SessionLimits
  readonly #handler: Pick<BrokerHandler, 'retained'>
  readonly #log: Log
  readonly #sessions = new Map<string, Session>()
  readonly #queues = new Map<string, Queue>()
  readonly #retainedBytes = new Map<string, number>()
  #retainedTotal = 0
  #numbers = 0
  #dropped = 0

  constructor(options: {
    store: RecordStore
    limits: SessionLimits
    handler: Pick<BrokerHandler, 'retained'>
    log: Log
  }) {
    super()
    this.#store = options.store
    this.#limits = options.limits
    this.#handler = options.handler
    this.#log = options.log
  }

  override async setup(broker: object): Promise<void> {
    await super.setup(broker)
    await this.#load()
  }

  status(): Omit<BrokerStatus, 'clients'> {
    let queuedMessages = 0
    let queuedBytes = 0
    for (const queue of this.#queues.values()) {
      queuedMessages += queue.entries.size
      queuedBytes += queue.bytes
    }
    return { sessions: this.#sessions.size, retained: this.#retainedBytes.size, queuedMessages, queuedBytes }
  }

  /** The login a stored session belongs to; undefined when there is no such session. */
  ownerOf(clientId: string): string | undefined {
    return this.#sessions.get(clientId)?.owner
  }

  sessionFilters(): Map<string, readonly string[]> {
    return new Map([...this.#sessions].map(([id, { subscriptions }]) => [id, [...subscriptions.keys()]]))
  }

  /** To be called when a persistent session's client comes and goes. */
  async notePresence(clientId: string, isPresent: boolean): Promise<void> {
    const session = this.#sessions.get(clientId)
    if (!session) return
    session.absentSince = isPresent ? null : Date.now()
    if (!isPresent) await this.#write([sessionRecord(clientId, session)])
  }

  /** Forgets sessions that were away for longer than the profile allows. */
  async expireSessions(): Promise<void> {
    const before = Date.now() - this.#limits.expiryMs
    for (const [id, { absentSince }] of this.#sessions) {
      if (absentSince !== null && absentSince < before) await this.cleanSubscriptions({ id })
    }
  }

  override async storeRetained(packet: Packet): Promise<void> {
    // Documents are answered from the store itself.
    if (packet.topic.startsWith(DOCUMENTS)) return
    const before = this.#retainedBytes.get(packet.topic) ?? 0
    const bytes = packet.payload.length
    const isNew = bytes > 0 && before === 0 && this.#retainedBytes.size >= RETAINED_MAX
    if (isNew || this.#retainedTotal - before + bytes > RETAINED_BYTES_MAX) return this.#drop('retained', packet.topic)
    this.#retainedTotal += bytes - before
    if (bytes === 0) this.#retainedBytes.delete(packet.topic)
    else this.#retainedBytes.set(packet.topic, bytes)
    await super.storeRetained(copyOf(packet))
    await this.#write([{ key: retainedKey(packet.topic), value: bytes === 0 ? null : encodePacket(packet) }])
  }

  override createRetainedStream(pattern: string): Readable {
    return this.createRetainedStreamCombi([pattern])
  }

  override createRetainedStreamCombi(patterns: string[]): Readable {
    const stored = super.createRetainedStreamCombi(patterns)
    const handler = this.#handler
    async function* all(): AsyncGenerator<object> {
      yield* stored
      for (const pattern of patterns) {
        if (!mayMatchDocuments(pattern)) continue
        for (const { topic, payload } of handler.retained(pattern)) {
          if (matches(pattern, topic))
            yield { cmd: 'publish', topic, payload: Buffer.from(payload), qos: 0, retain: true }
        }
      }
    }
    return Readable.from(all())
  }

  override async addSubscriptions(
    client: { id: string; owner?: string },
    subscriptions: { topic: string; qos: number }[],
  ): Promise<void> {
    await super.addSubscriptions(client, subscriptions)
    const session = this.#sessions.get(client.id) ?? {
      subscriptions: new Map(),
      absentSince: null,
      owner: client.owner ?? '',
    }
    for (const { topic, qos } of subscriptions) session.subscriptions.set(topic, qos)
    this.#sessions.set(client.id, session)
    await this.#write([sessionRecord(client.id, session)])
  }

  override async removeSubscriptions(client: { id: string }, topics: string[]): Promise<void> {
    await super.removeSubscriptions(client, topics)
    const session = this.#sessions.get(client.id)
    if (!session) return
    for (const topic of topics) session.subscriptions.delete(topic)
    await this.#write([sessionRecord(client.id, session)])
  }

  override async cleanSubscriptions(client: { id: string }): Promise<void> {
    await super.cleanSubscriptions(client)
    const records: KeyValue[] = []
    for await (const packet of super.outgoingStream(client))
      await super.outgoingClearMessageId(client, packet as object)
    for (const { number } of this.#queues.get(client.id)?.entries.values() ?? []) {
      records.push({ key: queueKey(client.id, number), value: null })
    }
    this.#queues.delete(client.id)
    if (this.#sessions.delete(client.id)) records.push({ key: sessionKey(client.id), value: null })
    if (records.length > 0) await this.#write(records)
  }

  override async outgoingEnqueue(subscription: { clientId: string }, packet: Packet): Promise<void> {
    await this.outgoingEnqueueCombi([subscription], packet)
  }

  override async outgoingEnqueueCombi(subscriptions: { clientId: string }[], packet: Packet): Promise<void> {
    const records: KeyValue[] = []
    for (const subscription of subscriptions) {
      if (!this.#hasRoom(subscription.clientId, packet.payload.length)) {
        this.#drop('queue', subscription.clientId)
        continue
      }
      await super.outgoingEnqueue(subscription, packet)
      records.push(this.#queued(subscription.clientId, packet))
    }
    if (records.length > 0) await this.#write(records)
  }

  override async outgoingClearMessageId(client: { id: string }, packet: object): Promise<Packet | undefined> {
    const cleared = (await super.outgoingClearMessageId(client, packet)) as Packet | undefined
    const entry = cleared && this.#queues.get(client.id)?.remove(nameOf(cleared))
    if (!cleared || !entry) return cleared
    await this.#write([{ key: queueKey(client.id, entry.number), value: null }])
    return cleared
  }

  #queued(clientId: string, packet: Packet): KeyValue {
    const entry = { number: ++this.#numbers, bytes: packet.payload.length }
    this.#queueOf(clientId).add(nameOf(packet), entry)
    return { key: queueKey(clientId, entry.number), value: encodePacket(packet) }
  }

  #hasRoom(clientId: string, bytes: number): boolean {
    const queue = this.#queues.get(clientId)
    return !queue || (queue.entries.size < this.#limits.maxQueued && queue.bytes + bytes <= this.#limits.maxQueuedBytes)
  }

  #queueOf(clientId: string): Queue {
    const queue = this.#queues.get(clientId) ?? new Queue()
    this.#queues.set(clientId, queue)
    return queue
  }

  #drop(what: string, name: string): void {
    this.#dropped += 1
    // The first of every thousand: a full queue must not fill the log.
    if (this.#dropped % 1_000 === 1) this.#log.warn('mqtt-message-dropped', { what, name, dropped: this.#dropped })
  }

  #write(records: readonly KeyValue[]): Promise<void> {
    return this.#store.append({ batches: [], records })
  }

  async #load(): Promise<void> {
    for (const { key, value } of this.#store.scanRecords(PREFIX)) {
      if (!value) continue
      const [, room] = key.split('/')
      if (room === 'retained') await this.#loadRetained(value)
      else if (room === 'session') await this.#loadSession(value)
      else if (room === 'queue') await this.#loadQueued(key, value)
    }
  }

  async #loadRetained(value: Uint8Array): Promise<void> {
    const packet = decodePacket(value)
    this.#retainedBytes.set(packet.topic, packet.payload.length)
    this.#retainedTotal += packet.payload.length
    await super.storeRetained({ cmd: 'publish', ...packet })
  }

  async #loadSession(value: Uint8Array): Promise<void> {
    const { id, owner, subscriptions, absentSince } = JSON.parse(Buffer.from(value).toString()) as StoredSession
    this.#sessions.set(id, { subscriptions: new Map(subscriptions), absentSince: absentSince ?? Date.now(), owner })
    await super.addSubscriptions(
      { id },
      subscriptions.map(([topic, qos]) => ({ topic, qos })),
    )
  }

  async #loadQueued(key: string, value: Uint8Array): Promise<void> {
    const [, , client, number] = key.split('/')
    const clientId = Buffer.from(client ?? '', 'hex').toString()
    this.#numbers = Math.max(this.#numbers, Number(number))
    const packet: Packet = { cmd: 'publish', ...decodePacket(value), brokerId: 'stored', brokerCounter: Number(number) }
    await super.outgoingEnqueue({ clientId }, packet)
    this.#queueOf(clientId).add(nameOf(packet), { number: Number(number), bytes: packet.payload.length })
  }
}

interface StoredSession {
  readonly id: string
  readonly owner: string
  readonly subscriptions: [string, number][]
  readonly absentSince: number | null
}

function sessionRecord(id: string, session: Session): KeyValue {
  const { owner, absentSince } = session
  const stored: StoredSession = { id, owner, subscriptions: [...session.subscriptions], absentSince }
  return { key: sessionKey(id), value: utf8(JSON.stringify(stored)) }
}

/** Keys of records have at most 1,000 bytes; topics may have 65,535. */
function retainedKey(topic: string): string {
  return `${PREFIX}retained/${hex(sha256(utf8(topic)))}`
}

function sessionKey(clientId: string): string {
  return `${PREFIX}session/${Buffer.from(clientId).toString('hex')}`
}

/** Numbers are padded, so that records are read in the order in which they were queued. */
function queueKey(clientId: string, number: number): string {
  return `${PREFIX}queue/${Buffer.from(clientId).toString('hex')}/${String(number).padStart(16, '0')}`
}

/** aedes's own name of a packet in all queues. */
function nameOf(packet: Packet): string {
  return `${packet.brokerId}/${packet.brokerCounter}`
}

function copyOf(packet: Packet): Packet {
  return { ...packet, payload: Buffer.from(packet.payload) }
}

function encodePacket({ topic, qos, retain, payload }: StoredPacket): Uint8Array {
  const header = Buffer.from(JSON.stringify({ topic, qos, retain }))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(header.length)
  return new Uint8Array(Buffer.concat([length, header, payload]))
}

function decodePacket(bytes: Uint8Array): StoredPacket {
  const buffer = Buffer.from(bytes)
  const length = buffer.readUInt32BE(0)
  const header = JSON.parse(buffer.subarray(4, 4 + length).toString()) as Omit<StoredPacket, 'payload'>
  return { ...header, payload: buffer.subarray(4 + length) }
}

function mayMatchDocuments(pattern: string): boolean {
  const [first, second] = pattern.split('/')
  const isFirst = first === 'marram' || first === '+' || first === '#'
  return isFirst && (first === '#' || second === 'data' || second === '+' || second === '#')
}
