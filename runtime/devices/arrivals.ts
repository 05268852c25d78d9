import { utf8 } from '../base/bytes.ts'
import { sentenceOf } from '../base/errors.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import { isLive, type Document } from '../model/document.ts'
import { fieldsOf } from '../model/fields.ts'
import { BRIDGE_COLLECTION } from '../model/names.ts'
import { keyOfRow } from '../model/rows.ts'
import type { OutgoingMessage } from '../ports/broker.ts'
import type { Log } from '../ports/log.ts'
import type { Change, Space, Store } from '../ports/store.ts'
import { payloadOf, type Bridge } from './bridge.ts'

export interface ArrivalsSurroundings {
  readonly store: Store
  readonly peerId: string
  readonly bridge: Bridge
  readonly publish: (message: OutgoingMessage) => Promise<void>
  readonly log: Log
}

const RECORD = 'gateway/bridge'
const SAVE_MS = 1_000
const AT_ONCE = 64
const SLICE = 256
const MESSAGES: Space = { collection: BRIDGE_COLLECTION, partition: '', isSeries: true }
const RETAINED: Space = { collection: BRIDGE_COLLECTION, partition: '' }

interface Arrival {
  readonly space: Space
  readonly key: string
  readonly lsn: number
}

/**
 * Publishes to this gateway's clients what came from other gateways' brokers, in the order in which it came, and each
 * message once: how far it has come is kept, at most a second behind, so a crash repeats a second of messages and loses
 * none. When too many wait they are forgotten and read again from the store.
 */
export class Arrivals {
  readonly #with: ArrivalsSurroundings
  readonly #unsubscribe: () => void
  #waiting: Arrival[] = []
  /** What lies behind the store's number `#publishedLsn` is to be read, for not all of it waits here. */
  #isBehind = true
  #publishedLsn: number
  #savedLsn: number
  #isPublishing = false
  #isStopped = false
  readonly #timer: NodeJS.Timeout

  constructor(surroundings: ArrivalsSurroundings) {
    this.#with = surroundings
    const { store } = surroundings
    const record = store.getRecord(RECORD)
    const kept = record ? Number(Buffer.from(record).toString()) : Number.NaN
    // Who begins to listen now is not told what was said before.
    this.#publishedLsn = Number.isSafeInteger(kept) && kept <= store.lastLsn() ? kept : store.lastLsn()
    this.#savedLsn = record ? this.#publishedLsn : -1
    this.#unsubscribe = store.subscribe((change) => this.#note(change))
    this.#timer = setInterval(() => void this.#save(), SAVE_MS).unref()
    void this.#publishAll()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#unsubscribe()
    clearInterval(this.#timer)
    await this.#save()
  }

  #note({ collection, partition, isSeries = false, key, document }: Change): void {
    if (collection !== BRIDGE_COLLECTION || partition !== '' || this.#isBehind) return
    const { lsn } = document
    this.#waiting.push({ space: isSeries ? MESSAGES : RETAINED, key, lsn })
    if (this.#waiting.length > GATEWAY_LIMITS.watcherQueueMax) {
      // With the rest of its batch, which has the same number, it is found in the store when the others are through.
      while (this.#waiting.at(-1)?.lsn === lsn) this.#waiting.pop()
      this.#isBehind = true
    }
    void this.#publishAll()
  }

  async #publishAll(): Promise<void> {
    if (this.#isPublishing) return
    this.#isPublishing = true
    try {
      for (let next = this.#take(); next.length > 0 && !this.#isStopped; next = this.#take()) {
        await Promise.all(next.map((arrival) => this.#publish(arrival)))
        // Of a batch that is not through yet all is published again after a crash.
        const [rest] = this.#waiting
        this.#publishedLsn = rest ? rest.lsn - 1 : (next.at(-1) as Arrival).lsn
      }
    } finally {
      this.#isPublishing = false
    }
  }

  #take(): readonly Arrival[] {
    if (this.#isBehind && this.#waiting.length === 0) {
      const [found, isAll] = this.#read()
      this.#waiting = found
      this.#isBehind = !isAll
    }
    return this.#waiting.splice(0, AT_ONCE)
  }

  /** What came behind the last one that was published, in order, and whether that is all. */
  #read(): [Arrival[], boolean] {
    const { store } = this.#with
    const found: Arrival[] = []
    for (const space of [MESSAGES, RETAINED]) {
      let start: { readonly start: string; readonly isAfter: boolean } | null = null
      for (;;) {
        const entries = store.scan(space, { limit: SLICE, ...start })
        for (const { key, document } of entries)
          if (document.lsn > this.#publishedLsn) found.push({ space, key, lsn: document.lsn })
        const last = entries.at(-1)
        if (entries.length < SLICE || !last) break
        start = { start: last.key, isAfter: true }
      }
    }
    found.sort((a, b) => a.lsn - b.lsn)
    // All of one batch, for they have one number.
    const end = found[GATEWAY_LIMITS.watcherQueueMax]?.lsn ?? Number.POSITIVE_INFINITY
    return [found.filter(({ lsn }) => lsn < end), end === Number.POSITIVE_INFINITY]
  }

  async #publish({ space, key }: Arrival): Promise<void> {
    const document = this.#with.store.get(space, key)
    const message = document && this.#messageOf(space, key, document)
    if (!message) return
    try {
      await this.#with.publish(message)
    } catch (error) {
      this.#with.log.warn('bridged-message-not-published', { topic: message.topic, message: sentenceOf(error) })
    }
  }

  #messageOf(space: Space, key: string, document: Document): OutgoingMessage | null {
    const topic = space.isSeries ? keyOfRow(key) : key
    const qos = this.#with.bridge.qosIn(topic)
    if (qos === null) return null
    if (space.isSeries) {
      // Its own were handed to its clients when they were said; of those that are gone nobody need hear.
      const isOwn = document.writes.some(({ feed }) => feed.origin === this.#with.peerId)
      if (isOwn || !isLive(document)) return null
    }
    const payload = isLive(document) ? payloadOf(fieldsOf(document)) : ''
    return payload === null ? null : { topic, payload, qos, retain: !space.isSeries }
  }

  async #save(): Promise<void> {
    if (this.#savedLsn === this.#publishedLsn) return
    const lsn = this.#publishedLsn
    try {
      await this.#with.store.append({ batches: [], records: [{ key: RECORD, value: utf8(String(lsn)) }] })
      this.#savedLsn = lsn
    } catch (error) {
      this.#with.log.warn('bridge-mark-not-kept', { message: sentenceOf(error) })
    }
  }
}
