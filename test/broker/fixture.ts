import { CLIENT_LIMITS } from '../../runtime/base/limits.ts'
import type { RecordStore } from '../../runtime/broker/writer.ts'
import { createMemoryStore } from '../../runtime/store/memory.ts'
import { createBroker, type BrokerOptions } from '../../runtime/broker/broker.ts'
import type { Broker, BrokerHandler, ClientMessage, FrameGate } from '../../runtime/ports/broker.ts'
import { SILENT_LOG, type Log } from '../../runtime/ports/log.ts'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'

export const MESH8 = '0123abcd'
export const PEER_ID: string = 'a'.repeat(23)

export interface TestBroker {
  readonly broker: Broker
  readonly port: number
  readonly store: RecordStore
}

/** Forwards everything, and remembers it. */
export class RecordingHandler implements BrokerHandler {
  readonly messages: ClientMessage[] = []
  documents: { topic: string; payload: string }[] = []

  async publish(message: ClientMessage): Promise<'forward' | 'consume'> {
    this.messages.push({ ...message, payload: new Uint8Array(message.payload) })
    return 'forward'
  }

  retained(_filter: string): Iterable<{ topic: string; payload: string }> {
    return this.documents
  }
}

export const CLOSED_GATE: FrameGate = { admit: () => false, receive: () => {}, gone: () => {} }

export async function openBroker(options: Partial<BrokerOptions> = {}): Promise<TestBroker> {
  const { store = createMemoryStore() } = options
  const broker = await createBroker({
    listen: [{ protocol: 'mqtt', host: '127.0.0.1', port: 0 }],
    tls: null,
    mesh8: MESH8,
    peerId: PEER_ID,
    users: () => new Map(),
    anonymous: 'loopback',
    maxPacket: 262_144,
    sessions: { maxQueued: 1_000, maxQueuedBytes: 1_048_576, expiryMs: 86_400_000 },
    clients: CLIENT_LIMITS,
    handler: new RecordingHandler(),
    gate: CLOSED_GATE,
    log: SILENT_LOG,
    ...options,
    store,
  })
  return { broker, port: Number(broker.listeners()[0]?.split(':').at(-1)), store }
}

/** Connected, or rejects with why not. Never connects again by itself. */
export function connect(port: number, options: IClientOptions = {}): Promise<MqttClient> {
  const client = mqtt.connect({ host: '127.0.0.1', port, protocolVersion: 4, reconnectPeriod: 0, ...options })
  return new Promise((resolve, reject) => {
    client.once('connect', () => resolve(client))
    client.once('error', reject)
    client.once('close', () => reject(new Error('closed')))
  })
}

export interface Received {
  readonly topic: string
  readonly payload: string
  readonly qos: number
  readonly retain: boolean
  readonly dup: boolean
}

/** Everything a client is sent, from now on. */
export class Inbox {
  readonly messages: Received[] = []
  #wake: () => void = () => {}

  constructor(client: MqttClient) {
    client.on('message', (topic, payload, { qos, retain, dup }) => {
      this.messages.push({ topic, payload: payload.toString(), qos, retain, dup })
      this.#wake()
    })
  }

  /** Resolves when there are so many. */
  async until(count: number): Promise<readonly Received[]> {
    while (this.messages.length < count) await new Promise<void>((resolve) => (this.#wake = resolve))
    return this.messages
  }

  payloads(): string[] {
    return this.messages.map(({ payload }) => payload)
  }
}

/** Log lines by event. */
export function recordingLog(): { readonly log: Log; readonly lines: { event: string; fields: object }[] } {
  const lines: { event: string; fields: object }[] = []
  const write = (event: string, fields: object = {}): void => void lines.push({ event, fields })
  return { lines, log: { debug: write, info: write, warn: write, error: write } }
}

export async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setTimeout(resolve, 1))
}
