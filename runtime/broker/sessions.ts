import { BROKER_LIMITS, type ClientLimits } from '../base/limits.ts'
import type { BrokerStatus } from '../ports/broker.ts'
import type { KeyValue } from '../ports/store.ts'
import type { RoutedPacket } from './clients.ts'
import { Queue, type KeptMessage, type QueueLimits } from './queue.ts'
import {
  decodePacket,
  decodeSession,
  encodePacket,
  encodeSession,
  messageKey,
  MESSAGES,
  numbersOf,
  queueKey,
  QUEUES,
  removal,
  sessionKey,
  SESSIONS,
} from './records.ts'
import type { Change, RecordStore, RecordWriter } from './writer.ts'

/** What outlives the connections of a client that asked for it (clean session 0). */
export interface Session {
  readonly number: number
  readonly id: string
  /** The login it belongs to; null for an anonymous client. */
  owner: string | null
  readonly filters: Map<string, number>
  readonly queue: Queue
  /** How long the client has been away, in milliseconds during which this gateway ran; and as stored. */
  absentMs: number
  storedAbsentMs: number
  /** While changes of this turn wait to be written together. */
  saving: Promise<void> | null
}

export interface SessionLimits extends QueueLimits, Pick<ClientLimits, 'sessionsMax'> {
  /** Of absence, while the gateway runs: a clock that jumps expires nothing. */
  readonly expiryMs: number
}

/** Something was dropped at a bound; `name` is the client's id or the topic. */
export type OnDropped = (what: 'queue-full' | 'retained-full' | 'too-large', name: string) => void

/** Where a message read from the store came from, in aedes's naming. */
const STORED = 'stored'
const UNLIMITED: QueueLimits = { maxQueued: Number.POSITIVE_INFINITY, maxQueuedBytes: Number.POSITIVE_INFINITY }
/** The value of a record whose key says it all. */
const PRESENT = new Uint8Array([1])

/** Sessions and what waits for them. A message that waits for several is kept once. */
export class Sessions {
  readonly #writer: RecordWriter
  readonly #limits: SessionLimits
  readonly #onDropped: OnDropped
  readonly #sessions = new Map<string, Session>()
  /** Of sessions and messages: never used twice. */
  #numbers = 0

  constructor(writer: RecordWriter, limits: SessionLimits, onDropped: OnDropped) {
    this.#writer = writer
    this.#limits = limits
    this.#onDropped = onDropped
  }

  get(clientId: string): Session | undefined {
    return this.#sessions.get(clientId)
  }

  all(): Iterable<Session> {
    return this.#sessions.values()
  }

  hasRoomFor(clientId: string): boolean {
    return this.#sessions.has(clientId) || this.#sessions.size < this.#limits.sessionsMax
  }

  status(): Pick<BrokerStatus, 'sessions' | 'queuedMessages' | 'queuedBytes'> {
    let queuedMessages = 0
    let queuedBytes = 0
    for (const { queue } of this.#sessions.values()) {
      queuedMessages += queue.count
      queuedBytes += queue.bytes
    }
    return { sessions: this.#sessions.size, queuedMessages, queuedBytes }
  }

  /** The client's session, a new one if need be; to be saved. */
  open(id: string, owner: string | null): Session {
    const known = this.#sessions.get(id)
    if (known) return known
    const number = ++this.#numbers
    const filters = new Map<string, number>()
    const session = { number, id, owner, filters, queue: new Queue(), absentMs: 0, storedAbsentMs: 0, saving: null }
    this.#sessions.set(id, session)
    return session
  }

  /** Changes of one turn are one record: aedes tells of a packet's subscriptions one by one. */
  save(session: Session): Promise<void> {
    session.saving ??= Promise.resolve().then(() => {
      session.saving = null
      return this.#writer.write([recordOf(session)])
    })
    return session.saving
  }

  /** Ends a session, with all that waits for it. */
  async remove(session: Session): Promise<void> {
    this.#sessions.delete(session.id)
    const waiting = session.queue.messages().flatMap((message) => settled(session, message))
    await this.#writer.write([removal(sessionKey(session.number)), ...waiting])
  }

  /** Sessions whose clients are away grow older. Returns those that have been away for too long. */
  async age(elapsedMs: number, isConnected: (clientId: string) => boolean): Promise<readonly Session[]> {
    for (const session of this.#sessions.values()) {
      session.absentMs = isConnected(session.id) ? 0 : session.absentMs + elapsedMs
    }
    const sessions = [...this.#sessions.values()]
    const isExpired = ({ absentMs }: Session): boolean => absentMs >= this.#limits.expiryMs
    const changed = sessions.filter((session) => !isExpired(session) && session.absentMs !== session.storedAbsentMs)
    await this.#writer.write(changed.map(recordOf))
    return sessions.filter(isExpired)
  }

  /** A message for those of the clients whose queues have room; null when there is none. */
  enqueue(clientIds: readonly string[], packet: RoutedPacket): Change | null {
    const bytes = packet.topic.length + packet.payload.length
    if (bytes > BROKER_LIMITS.keptMessageBytesMax) {
      this.#onDropped('too-large', packet.topic)
      return null
    }
    const opened: KeyValue[] = []
    const sessions = this.#reserve(clientIds, packet, bytes, opened)
    if (sessions.length === 0) return null
    const message = this.#messageOf(packet, bytes, sessions.length)
    const waiting = sessions.map(({ number }) => ({ key: queueKey(number, message.number), value: PRESENT }))
    return {
      records: [...opened, { key: messageKey(message.number), value: encodePacket(message.packet) }, ...waiting],
      apply: () => this.#queued(message, sessions),
      undo: () => sessions.forEach(({ queue }) => queue.unreserve(bytes)),
    }
  }

  /** The records to remove when a session no longer waits for a message. */
  async settle(session: Session, message: KeptMessage): Promise<void> {
    await this.#writer.write(settled(session, message))
  }

  /** Reads what the last run left, and removes what no session waits for: the power went while one was being forgotten. */
  async load(store: Pick<RecordStore, 'scanRecords'>): Promise<void> {
    const sessions = new Map<number, Session>()
    for (const record of store.scanRecords(SESSIONS)) this.#loadSession(record, sessions)
    const messages = new Map<number, KeptMessage>()
    for (const record of store.scanRecords(MESSAGES)) this.#loadMessage(record, messages)
    const lost = store.scanRecords(QUEUES).filter(({ key }) => !isLoaded(key, sessions, messages))
    const unwanted = [...messages.values()].filter((message) => message.sessions === 0)
    const keys = [...lost.map(({ key }) => key), ...unwanted.map(({ number }) => messageKey(number))]
    // Nothing new may have the number of what stays when the disk takes nothing: the next start removes it then.
    for (const { key } of lost) this.#numbers = Math.max(this.#numbers, ...numbersOf(key, QUEUES))
    await this.#writer.write(keys.map(removal)).catch(() => {})
  }

  /** The sessions that have room for a message, with their places taken. */
  #reserve(clientIds: readonly string[], packet: RoutedPacket, bytes: number, opened: KeyValue[]): Session[] {
    const sessions = new Set<Session>()
    for (const clientId of clientIds) {
      if (!this.#sessions.has(clientId)) opened.push(recordOf(this.open(clientId, null)))
      const session = this.open(clientId, null)
      if (sessions.has(session) || session.queue.has(packet)) continue
      if (session.queue.reserve(bytes, this.#limits)) sessions.add(session)
      else this.#onDropped('queue-full', clientId)
    }
    return [...sessions]
  }

  #messageOf(
    { topic, payload, qos, brokerId, brokerCounter }: RoutedPacket,
    bytes: number,
    sessions: number,
  ): KeptMessage {
    // [MQTT-3.3.1-9] To those who subscribed before, it isn't a retained message.
    const packet: RoutedPacket = {
      cmd: 'publish',
      topic,
      payload,
      qos,
      retain: false,
      dup: false,
      brokerId,
      brokerCounter,
    }
    return { number: ++this.#numbers, packet, bytes, sessions }
  }

  /** On the disk: for sessions that ended meanwhile there is nothing left to wait for. */
  #queued(message: KeptMessage, sessions: readonly Session[]): void {
    for (const session of sessions) {
      if (this.#sessions.get(session.id) === session) session.queue.add(message)
      // What can't be removed now is removed by the next start.
      else this.settle(session, message).catch(() => {})
    }
  }

  #loadSession({ key, value }: KeyValue, sessions: Map<number, Session>): void {
    if (!value) return
    const number = this.#numberOf(key, SESSIONS)
    const { id, owner, filters, absentMs } = decodeSession(value)
    const queue = new Queue()
    const session = {
      number,
      id,
      owner,
      filters: new Map(filters),
      queue,
      absentMs,
      storedAbsentMs: absentMs,
      saving: null,
    }
    sessions.set(number, session)
    this.#sessions.set(id, session)
  }

  #loadMessage({ key, value }: KeyValue, messages: Map<number, KeptMessage>): void {
    if (!value) return
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

  #numberOf(key: string, prefix: string): number {
    const [number = 0] = numbersOf(key, prefix)
    this.#numbers = Math.max(this.#numbers, number)
    return number
  }
}

/** False when the session or the message isn't there. */
function isLoaded(
  key: string,
  sessions: ReadonlyMap<number, Session>,
  messages: ReadonlyMap<number, KeptMessage>,
): boolean {
  const [session, message] = numbersOf(key, QUEUES)
  const queue = sessions.get(session ?? 0)?.queue
  const kept = messages.get(message ?? 0)
  if (!queue || !kept) return false
  kept.sessions += 1
  queue.reserve(kept.bytes, UNLIMITED)
  queue.add(kept)
  return true
}

function settled(session: Session, message: KeptMessage): KeyValue[] {
  message.sessions -= 1
  const waits = removal(queueKey(session.number, message.number))
  return message.sessions > 0 ? [waits] : [waits, removal(messageKey(message.number))]
}

function recordOf(session: Session): KeyValue {
  const { number, id, owner, absentMs } = session
  session.storedAbsentMs = absentMs
  return { key: sessionKey(number), value: encodeSession({ id, owner, filters: [...session.filters], absentMs }) }
}
