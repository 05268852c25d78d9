import { fromHex, latin1, utf8 } from '../base/bytes.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import type { Behind } from './evidence.ts'
import type { QuarantineEntry } from '../ports/operations.ts'
import type { KeyValue, Log, Records } from '../ports/store.ts'

/**
 * What was refused for good: messages of devices that could not be used, batches that this gateway or a neighbour did not take.
 * Kept as records, the latest of them; what is refused again and again is one entry that counts. What has come all the same since is
 * not listed any more.
 */

const PREFIX = 'quarantine/'
/** What comes at once is written at once. */
const WRITE_MS = 1_000

export type Refusal = Omit<QuarantineEntry, 'first' | 'time' | 'times'>

export interface QuarantineSurroundings {
  readonly store: Log & Records
  readonly wallMs: () => number
  /** What is known of neighbours' disks. */
  readonly holdings: () => readonly Holding[]
  readonly onError: (error: unknown) => void
}

interface Holding {
  readonly peerId: string
  readonly lag: readonly Behind[]
}

interface Kept {
  readonly key: string
  readonly entry: QuarantineEntry
}

interface RefusedBatch {
  readonly feed: string
  readonly origin: string
  readonly collection: string
  readonly seq: number
  readonly why: string
  readonly detail?: string
  readonly peerId?: string
  readonly by?: string
}

const SENTENCES: { readonly [why: string]: string } = {
  shape: 'it is damaged, or its author never made it',
  fork: 'it does not continue what is known of its author',
  'not-permitted': 'its author has no right to write there',
  'too-large': 'it had filled a batch, was voided, and takes too much room to be written again',
  unreadable: 'it does not open with the key that it names',
  sealed: 'it is void: its author was removed, or wrote something else as well',
}

export class Quarantine {
  readonly #with: QuarantineSurroundings
  /** By what was refused; those refused longest ago first. */
  readonly #kept = new Map<string, Kept>()
  readonly #due = new Map<string, Uint8Array | null>()
  #lastNumber = 0
  #timer: NodeJS.Timeout | null = null

  constructor(surroundings: QuarantineSurroundings) {
    this.#with = surroundings
    const records = surroundings.store.scanRecords(PREFIX)
    for (const { key } of records) this.#lastNumber = Math.max(this.#lastNumber, Number(key.slice(PREFIX.length)) || 0)
    const kept = records.flatMap(({ key, value }): Kept[] => {
      const entry = value && entryIn(value)
      return entry ? [{ key, entry }] : []
    })
    kept.sort((a, b) => (a.entry.time < b.entry.time ? -1 : 1))
    for (const each of kept) this.#kept.set(nameOf(each.entry), each)
  }

  add(refusal: Refusal): void {
    const name = nameOf(refusal)
    const before = this.#kept.get(name)
    const time = new Date(this.#with.wallMs()).toISOString()
    const first = before?.entry.first ?? time
    const entry = { ...refusal, first, time, times: (before?.entry.times ?? 0) + 1 }
    const key = before?.key ?? PREFIX + String((this.#lastNumber += 1)).padStart(12, '0')
    this.#kept.delete(name)
    this.#kept.set(name, { key, entry })
    this.#write(key, utf8(JSON.stringify(entry)))
    for (const [oldest, { key: gone }] of this.#kept) {
      if (this.#kept.size <= GATEWAY_LIMITS.quarantineEntriesMax) return
      this.#kept.delete(oldest)
      this.#write(gone, null)
    }
  }

  /** From the engine's event `batch-refused`: by a neighbour (`by`), or here when `peerId` sent it. */
  addBatch(fields: { readonly [name: string]: unknown }): void {
    const { feed, origin, collection, peerId, by, seq, why, detail } = fields as unknown as RefusedBatch
    // It will be taken when its time has come.
    if (why === 'future') return
    const message = detail ?? SENTENCES[why] ?? 'see the code'
    const peer = by ?? peerId
    const refusal = { kind: 'batch', why, message, feed, author: origin, collection, sequence: seq } as const
    this.add({ ...refusal, ...(peer !== undefined && { peer }), isOurs: by !== undefined })
  }

  /** The latest first. */
  list(): QuarantineEntry[] {
    const entries = [...this.#kept.values()].map(({ entry }) => entry)
    const holdings = entries.some(({ isOurs }) => isOurs === true) ? this.#with.holdings() : []
    return entries.filter((entry) => !this.#hasCome(entry, holdings)).toReversed()
  }

  /** Writes what waits to be written. */
  async close(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    await this.#flush()
  }

  #hasCome({ why, feed, sequence, peer, isOurs }: QuarantineEntry, holdings: readonly Holding[]): boolean {
    if (why === 'unreadable') return false
    const id = feed === undefined ? null : fromHex(feed)
    if (id === null || sequence === undefined || sequence === 0) return false
    if (isOurs === true) {
      const lag = holdings.find(({ peerId }) => peerId === peer)?.lag
      return lag?.every(({ feedKey, held }) => feedKey !== latin1(id) || held >= sequence) ?? false
    }
    return this.#with.store.head(latin1(id))?.retained.has(sequence) === true
  }

  #write(key: string, value: Uint8Array | null): void {
    this.#due.set(key, value)
    this.#timer ??= setTimeout(() => {
      this.#timer = null
      void this.#flush()
    }, WRITE_MS).unref()
  }

  async #flush(): Promise<void> {
    const records: KeyValue[] = [...this.#due].map(([key, value]) => ({ key, value }))
    this.#due.clear()
    if (records.length === 0) return
    try {
      await this.#with.store.append({ batches: [], records })
    } catch (error) {
      this.#with.onError(error)
    }
  }
}

/** Null for one that a card has changed: it is no reason not to start. */
function entryIn(bytes: Uint8Array): QuarantineEntry | null {
  try {
    const entry = JSON.parse(Buffer.from(bytes).toString()) as QuarantineEntry | null
    return typeof entry?.why === 'string' && typeof entry.time === 'string' ? entry : null
  } catch {
    return null
  }
}

function nameOf({ kind, why, message, peer, isOurs, feed, sequence, topic, source }: Refusal): string {
  return JSON.stringify([kind, why, kind === 'message' ? message : '', peer, isOurs, feed, sequence, topic, source])
}
