import { codeOf, MarramError, sentenceOf, type ErrorCode } from '../base/errors.ts'
import { isLive } from '../model/document.ts'
import { fieldsOf } from '../model/fields.ts'
import { BRIDGE_COLLECTION } from '../model/names.ts'
import { keyOfRow } from '../model/rows.ts'
import type { Fields } from '../model/value.ts'
import type { Broker, BrokerHandler, ClientMessage } from '../ports/broker.ts'
import type { Log } from '../ports/log.ts'
import type { HeldWrite, Holder, Operations } from '../ports/operations.ts'
import type { Change } from '../ports/store.ts'
import { collectionOf } from '../profile/resolve.ts'
import type { ResolvedProfile, ResolvedSource } from '../profile/resolved.ts'
import type { Bridge } from './bridge.ts'
import { changedFields } from './changed.ts'
import { decodeKey, encodeKey } from './keys.ts'
import { answerRequest } from './requests.ts'
import { compileSources, type Mapped, type Sources } from './sources.ts'

/** The gateway's door to devices and other MQTT clients: what they say comes in here, what changes goes out. */
export interface DeviceDoor extends BrokerHandler {
  start(broker: Broker): Promise<void>
  stop(): Promise<void>
  reload(profile: ResolvedProfile): void
  publishChange(change: Change): void
  publishHealth(): Promise<void>
  publishEvent(name: string, fields: object): void
}

/** A message that could not be used. */
export interface Quarantined {
  readonly topic: string
  readonly source: string | null
  readonly code: ErrorCode
  readonly message: string
}

export interface DoorOptions {
  readonly profile: ResolvedProfile
  readonly operations: Operations
  /** Null when the profile has no rule for it. */
  readonly bridge: Bridge | null
  readonly holder: Holder
  /** Keeps it for the owner to see. */
  readonly putAside: (message: Quarantined) => void
  readonly log: Log
}

const DATA = 'marram/data/'
const REQUEST = 'marram/request/'
/** One byte longer. */
const RESPONSE = 'marram/response/'
/** [MQTT-1.5.3] */
const TOPIC_BYTES_MAX = 65_535
const ERRORS_PER_SECOND = 20
const CHANGES_AT_ONCE = 64
/** What may pass by itself: the device is not acknowledged and sends its message again. */
const PASSING: readonly ErrorCode[] = ['storage-full', 'storage-io', 'storage-damaged', 'overloaded', 'closed']

export function createDeviceDoor(options: DoorOptions): DeviceDoor {
  return new Door(options)
}

class Door implements DeviceDoor {
  readonly #keep: DoorOptions['putAside']
  readonly #holder: Holder
  readonly #operations: Operations
  readonly #log: Log
  #profile: ResolvedProfile
  #sources: Sources
  readonly #bridge: Bridge | null
  #broker: Broker | null = null
  /** Changed documents that clients were not told of yet: the latest state is what they will be told. */
  readonly #changes = new Map<string, { collection: string; key: string; fields: Fields | null }>()
  #changesUnderWay = 0
  #errorsSince = 0
  #errors = 0

  constructor({ profile, operations, bridge, holder, putAside, log }: DoorOptions) {
    this.#bridge = bridge
    this.#keep = putAside
    this.#holder = holder
    this.#operations = operations
    this.#log = log
    this.#profile = profile
    this.#sources = compileSources(profile.sources)
  }

  async start(broker: Broker): Promise<void> {
    this.#broker = broker
    await this.#sayState('online')
    await this.publishHealth()
  }

  async stop(): Promise<void> {
    await this.#sayState('offline')
    this.#broker = null
  }

  reload(profile: ResolvedProfile): void {
    this.#profile = profile
    this.#sources = compileSources(profile.sources)
  }

  async publish(message: ClientMessage): Promise<'forward' | 'consume'> {
    if (message.topic.startsWith(DATA)) {
      await this.#set(message)
      return 'consume'
    }
    if (message.topic.startsWith(REQUEST)) {
      await this.#answer(message)
      return 'consume'
    }
    if (this.#bridge?.isGivenOut(message.topic)) return this.#giveOut(this.#bridge, message)
    if (message.payload.length === 0) return 'forward'
    const mapped = this.#sources.map(message.topic, message.payload)
    if (mapped.length === 1) await this.#store(message.topic, mapped[0] as Mapped)
    else if (mapped.length > 1) await Promise.all(mapped.map((one) => this.#store(message.topic, one)))
    return 'forward'
  }

  *retained(filter: string): Iterable<{ readonly topic: string; readonly payload: string }> {
    const [, , collection, key, ...below] = filter.split('/')
    // MQTT 4.7.1.2: what stands for all below a topic stands for the topic as well.
    const rest = below.join('/') === '#' ? [] : below
    const isAnyCollection = collection === undefined || collection === '#' || collection === '+'
    const names = isAnyCollection ? Object.keys(this.#operations.digest().collections) : [collection]
    if (rest.length > 0 || (key === undefined && collection !== '#' && !filter.endsWith('#'))) return
    const isOne = key !== undefined && key !== '+' && key !== '#'
    for (const name of names) {
      if (this.#bridge && name === BRIDGE_COLLECTION) continue
      if (!this.#operations.isKept(name)) continue
      for (const document of isOne ? this.#one(name, key) : this.#operations.list(name, { latest: true })) {
        yield { topic: topicOf(name, document.key), payload: JSON.stringify(document.value) }
      }
    }
  }

  publishChange(change: Change): void {
    if (!this.#broker?.isWatched(change.collection)) return
    if (this.#bridge && change.collection === BRIDGE_COLLECTION) return
    const { isSeries = false } = change
    const declared = this.#profile.collections.get(change.collection)
    if (declared && (declared.kind === 'series') !== isSeries) return
    // Of a row that is gone nobody need hear.
    if (isSeries && !isLive(change.document)) return
    const key = isSeries ? keyOfRow(change.key) : change.key
    const name = `${change.collection}/${key}`
    const fields = isLive(change.document) ? fieldsOf(change.document, declared?.kinds) : null
    this.#changes.set(name, { collection: change.collection, key, fields })
    this.#tellChanges()
  }

  async publishHealth(): Promise<void> {
    const { memory, queue, lag, links, clock, storage } = this.#operations.status()
    await this.#say('marram/health', { rss: memory.rss, queue, lag, links, clock, storage }, true)
  }

  publishEvent(name: string, fields: object): void {
    void this.#say('marram/event', { event: name, ...fields })
  }

  *#one(collection: string, level: string): Iterable<{ key: string; value: Fields }> {
    const key = decodeKey(level)
    const document = key === null ? undefined : this.#operations.get(collection, key)
    if (document) yield document
  }

  /** Bounded: so many publishes at once, and of a document that changes again meanwhile only the latest state. */
  #tellChanges(): void {
    for (const [name, { collection, key, fields }] of this.#changes) {
      if (this.#changesUnderWay >= CHANGES_AT_ONCE) return
      this.#changes.delete(name)
      this.#changesUnderWay += 1
      const payload = fields === null ? '' : JSON.stringify(fields)
      const told =
        this.#broker?.publish({ topic: topicOf(collection, key), payload, qos: 1, retain: false }) ?? Promise.resolve()
      void told
        .catch((error: unknown) =>
          this.#log.warn('change-not-published', { collection, key, message: sentenceOf(error) }),
        )
        .finally(() => {
          this.#changesUnderWay -= 1
          this.#tellChanges()
        })
    }
  }

  /** `marram/data/<collection>/<key>/set`: a JSON object is merged, an empty payload deletes. */
  async #set({ topic, payload }: ClientMessage): Promise<void> {
    const [, , collection = '', level = '', verb, ...rest] = topic.split('/')
    await this.#guarded(topic, null, async () => {
      const key = decodeKey(level)
      if (verb !== 'set' || rest.length > 0 || key === null) {
        throw new MarramError(
          'bad-request',
          `Cannot set "${topic}": the topic must be marram/data/<collection>/<key>/set`,
        )
      }
      const fields = payload.length === 0 ? null : objectOf(payload)
      await this.#orHold({ collection, key, fields }, async () => {
        if (fields === null) await this.#operations.delete(collection, key)
        else await this.#operations.put(collection, key, fields)
      })
    })
  }

  /** No source reads such a topic: the profile sees to that. */
  async #giveOut(bridge: Bridge, message: ClientMessage): Promise<'forward' | 'consume'> {
    let isTold = bridge.isToldFromStore(message)
    await this.#guarded(message.topic, null, async () => {
      try {
        await bridge.giveOut(message)
      } catch (error) {
        isTold = false
        throw error
      }
    })
    return isTold ? 'consume' : 'forward'
  }

  async #answer({ topic: asked, payload }: ClientMessage): Promise<void> {
    const operation = asked.slice(REQUEST.length)
    const topic = RESPONSE + operation
    if (Buffer.byteLength(topic) > TOPIC_BYTES_MAX) {
      const message = `Cannot answer the request: its topic must have at most ${TOPIC_BYTES_MAX - 1} bytes`
      return this.#putAside({ topic: asked, source: null, code: 'bad-request', message })
    }
    const response = await answerRequest(this.#operations, operation, payload)
    await this.#broker?.publish({ topic, payload: response, qos: 1, retain: false })
  }

  async #store(topic: string, mapped: Mapped): Promise<void> {
    const { source } = mapped
    await this.#guarded(topic, source, async () => {
      if ('refusal' in mapped)
        throw new MarramError('bad-request', `Cannot use the message on "${topic}": ${mapped.refusal}`)
      const { key } = mapped
      await this.#orHold({ collection: source.collection, key, fields: mapped.fields }, async () => {
        const fields = this.#fieldsToWrite(source, key, mapped.fields)
        if (Object.keys(fields).length > 0) await this.#operations.put(source.collection, key, fields)
      })
    })
  }

  #fieldsToWrite(source: ResolvedSource, key: string, fields: Fields): Fields {
    if (!source.onlyOnChange && !Object.values(fields).includes(null)) return fields
    const stored = this.#operations.get(source.collection, key)?.value
    if (!source.onlyOnChange) return withoutIdleNulls(fields, stored)
    const known = collectionOf(this.#profile, source.collection)?.fields
    return changedFields(fields, stored, (field) => known?.get(field)?.deadband)
  }

  /** Where the key is not here yet it is kept until it comes, in order. */
  async #orHold(write: HeldWrite, act: () => Promise<void>): Promise<void> {
    if (this.#holder.isHolding(write.collection)) return this.#holder.hold(write)
    try {
      await act()
    } catch (error) {
      if (codeOf(error) !== 'no-key') throw error
      await this.#holder.hold(write)
    }
  }

  /** What can't be used is put aside and acknowledged, or the device would send it for ever; what may pass is not. */
  async #guarded(topic: string, source: ResolvedSource | null, act: () => Promise<void>): Promise<void> {
    try {
      await act()
    } catch (error) {
      const code = codeOf(error)
      if (!(error instanceof MarramError) || PASSING.includes(code)) throw error
      if (source?.onError !== 'drop')
        this.#putAside({ topic, source: source?.id ?? null, code, message: error.message })
    }
  }

  #putAside(entry: Quarantined): void {
    this.#keep(entry)
    const now = Date.now()
    if (now - this.#errorsSince >= 1_000) {
      this.#errorsSince = now
      this.#errors = 0
    }
    if (++this.#errors > ERRORS_PER_SECOND) return
    const { topic, source, code, message } = entry
    this.#log.warn('message-refused', { topic, source, code, message })
    void this.#say('marram/error', { topic, source, code, message })
  }

  /** Where the disk takes nothing any more it is not said: the gateway starts and stops all the same. */
  #sayState(state: 'online' | 'offline'): Promise<void> {
    return this.#say('marram/state', { state }, true, 1)
  }

  async #say(topic: string, content: object, retain = false, qos: 0 | 1 = 0): Promise<void> {
    try {
      await this.#broker?.publish({ topic, payload: JSON.stringify(content), qos, retain })
    } catch (error) {
      this.#log.debug('not-published', { topic, message: sentenceOf(error) })
    }
  }
}

function topicOf(collection: string, key: string): string {
  return `${DATA}${collection}/${encodeKey(key)}`
}

/** Removing a field that isn't there would only be a write more. */
function withoutIdleNulls(fields: Fields, stored: Fields | undefined): Fields {
  return Object.fromEntries(
    Object.entries(fields).filter(([field, value]) => value !== null || (stored && Object.hasOwn(stored, field))),
  )
}

function objectOf(payload: Uint8Array): Fields {
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(payload).toString('utf8'))
  } catch (cause) {
    throw new MarramError('bad-request', `Cannot read the payload: ${sentenceOf(cause)}`, { cause })
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields
  throw new MarramError('bad-request', 'Cannot read the payload: it must be a JSON object')
}
