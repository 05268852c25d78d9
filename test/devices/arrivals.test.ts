import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Arrivals } from '../../runtime/devices/arrivals.ts'
import { Bridge } from '../../runtime/devices/bridge.ts'
import type { Feed } from '../../runtime/model/batch.ts'
import { emptyDocument, type Document, type Write } from '../../runtime/model/document.ts'
import { rowName } from '../../runtime/model/rows.ts'
import type { OutgoingMessage } from '../../runtime/ports/broker.ts'
import type { Change, Space, Store } from '../../runtime/ports/store.ts'
import { until } from '../end-to-end/harness.ts'

const OWN = 'a'.repeat(23)
const OTHER = 'b'.repeat(23)
const SILENT = { debug() {}, info() {}, warn() {}, error() {} }

/** Rows and records, and who listens; what a batch holds changes at once, as in the real one. */
class Rows {
  readonly documents = new Map<string, { space: Space; key: string; document: Document }>()
  readonly records = new Map<string, Uint8Array>()
  #listeners: ((change: Change) => void)[] = []
  #lsn = 0

  /** One batch. */
  add(origin: string, texts: readonly string[], isSeries = true): void {
    this.#lsn += 1
    const changes = texts.map((text, index) => {
      const write = { feed: { origin } as Feed, hlc: this.#lsn, index } as unknown as Write
      const document = { ...emptyDocument(), paths: ['text'], values: [text], writes: [write], lsn: this.#lsn }
      const key = isSeries ? rowName('site/x', { hlc: this.#lsn, index, origin }) : 'site/x'
      const space: Space = { collection: 'mqtt', partition: '', isSeries }
      this.documents.set(`${isSeries} ${key}`, { space, key, document })
      return { ...space, key, document }
    })
    for (const change of changes) for (const listener of this.#listeners) listener(change)
  }

  get store(): Store {
    return {
      lastLsn: () => this.#lsn,
      getRecord: (key: string) => this.records.get(key),
      append: ({ records }: { records: { key: string; value: Uint8Array }[] }) => {
        for (const { key, value } of records) this.records.set(key, value)
        return Promise.resolve()
      },
      get: ({ isSeries = false }: Space, key: string) => this.documents.get(`${isSeries} ${key}`)?.document,
      scan: ({ isSeries = false }: Space, { limit, start }: { limit: number; start?: string }) =>
        [...this.documents.values()]
          .filter(({ space, key }) => (space.isSeries ?? false) === isSeries && (start === undefined || key > start))
          .sort((a, b) => (a.key < b.key ? -1 : 1))
          .slice(0, limit),
      subscribe: (listener: (change: Change) => void) => {
        this.#listeners.push(listener)
        return () => (this.#listeners = this.#listeners.filter((other) => other !== listener))
      },
    } as unknown as Store
  }
}

interface Told {
  readonly texts: string[]
  readonly arrivals: Arrivals
}

function listening(rows: Rows, publish: (message: OutgoingMessage) => Promise<void> = () => Promise.resolve()): Told {
  const texts: string[] = []
  const writer = { write: () => Promise.reject(new Error('nothing is written')) }
  const bridge = new Bridge([{ topic: 'site/#', direction: 'both', qos: 1, keepMs: null }], writer)
  const arrivals = new Arrivals({
    store: rows.store,
    bridge,
    peerId: OWN,
    publish: (message) => {
      texts.push(`${message.retain ? 'retained ' : ''}${String(message.payload)}`)
      return publish(message)
    },
    log: SILENT,
  })
  return { texts, arrivals }
}

const numbers = (count: number, from = 0): string[] => Array.from({ length: count }, (_, i) => String(from + i))

describe('messages of other gateways', () => {
  test('are told in order, without what was there before, and own ones only where they are retained', async () => {
    const rows = new Rows()
    rows.add(OTHER, ['long ago'])
    const { texts, arrivals } = listening(rows)
    rows.add(OTHER, ['1', '2'])
    rows.add(OWN, ['own'])
    rows.add(OWN, ['mine'], false)
    rows.add(OTHER, ['3'])
    await until('they are told', () => texts.length === 4)
    assert.deepEqual(texts, ['1', '2', 'retained mine', '3'])
    await arrivals.stop()
  })

  test('wait in the store when too many come at once, and each is told once', async () => {
    const rows = new Rows()
    let open: () => void = () => {}
    const gate = new Promise<void>((resolve) => (open = resolve))
    const { texts, arrivals } = listening(rows, () => gate)
    for (let batch = 0; batch < 12; batch++) rows.add(OTHER, numbers(1_000, batch * 1_000))
    open()
    await until('they are told', () => texts.length >= 12_000)
    assert.deepEqual(texts, numbers(12_000))
    await arrivals.stop()
  })

  test('go on after a restart where they ended, in the middle of a batch with the whole batch', async () => {
    const rows = new Rows()
    const before = listening(rows)
    rows.add(OTHER, numbers(3))
    await until('they are told', () => before.texts.length === 3)
    await before.arrivals.stop()
    rows.add(OTHER, numbers(2, 3))
    let told = 0
    const cut = listening(rows, () => (++told > 1 ? new Promise(() => {}) : Promise.resolve()))
    await until('they are told', () => cut.texts.length === 2)
    await cut.arrivals.stop()
    const after = listening(rows)
    rows.add(OTHER, numbers(1, 5))
    await until('the rest is told', () => after.texts.length === 3)
    assert.deepEqual(after.texts, ['3', '4', '5'])
    await after.arrivals.stop()
  })
})
