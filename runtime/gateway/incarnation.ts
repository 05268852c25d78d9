import { fromHex, hex, utf8 } from '../base/bytes.ts'
import type { Log } from '../ports/log.ts'
import { chooseIncarnation, newIncarnation, readMark, writeMark } from '../identity/mark.ts'
import type { Feed } from '../model/batch.ts'
import type { Hlc } from '../model/stamp.ts'
import type { KeyValue, Store } from '../ports/store.ts'

const RECORD = 'gateway/incarnation'
const RENEW_MS = 3_600_000

type MarkedStore = Pick<Store, 'getRecord' | 'lastLsn' | 'append'>

/**
 * Under which incarnation this gateway writes (protocol D2), kept in the store and in the mark beside the key, and above
 * which stamp.
 */
export class Incarnation {
  readonly #dir: string
  readonly #log: Log
  #id = ''
  #clockFloor: Hlc = 0
  #renewedAtMs = -RENEW_MS

  constructor(dir: string, log: Log) {
    this.#dir = dir
    this.#log = log
  }

  /** In hexadecimal; empty before one was chosen. */
  get id(): string {
    return this.#id
  }

  get bytes(): Uint8Array {
    return fromHex(this.#id) as Uint8Array
  }

  /** No stamp up to it may be given out any more. */
  get clockFloor(): Hlc {
    return this.#clockFloor
  }

  isOf(feed: Feed): boolean {
    return hex(feed.descriptor.incarnation) === this.#id
  }

  /** Goes on with the store's, or with a new one where the store isn't the one that was used last. */
  choose(store: MarkedStore, notBefore: Hlc): void {
    const record = store.getRecord(RECORD)
    const stored = { incarnation: record ? Buffer.from(record).toString() : null, lsn: store.lastLsn() }
    const mark = readMark(this.#dir)
    const { incarnation, why } = chooseIncarnation(mark, stored)
    if (why) this.#log.info('new-incarnation', { incarnation, why })
    this.#id = incarnation
    this.#clockFloor = Math.max(mark?.hlc ?? 0, notBefore)
  }

  /** A new one, to be stored before anything is written in it. */
  renew(clock: Hlc): void {
    this.#id = newIncarnation()
    this.passed(clock)
  }

  /** A new one whose stamps go on from `clock`: what was given out beyond it was given out by a wrong clock, and is void. */
  setBack(clock: Hlc): void {
    this.#id = newIncarnation()
    this.#clockFloor = clock
  }

  /** Stamps up to it were given out. */
  passed(clock: Hlc): void {
    this.#clockFloor = Math.max(this.#clockFloor, clock)
  }

  /** The mark first: a store that claims an incarnation its mark doesn't know would start another. */
  async keep(store: MarkedStore, records: readonly KeyValue[]): Promise<void> {
    this.mark(store, this.#clockFloor)
    await store.append({ batches: [], records: [{ key: RECORD, value: utf8(this.#id) }, ...records] })
  }

  mark(store: MarkedStore, clock: Hlc): void {
    if (this.#id === '') return
    const hlc = Math.max(clock, this.#clockFloor)
    writeMark(this.#dir, { incarnation: this.#id, lsn: store.lastLsn(), hlc })
  }

  /** Milliseconds until the next may begin: not more than one an hour, for a thief of the key could go on for ever. */
  waitMs(nowMs: number): number {
    return Math.max(0, this.#renewedAtMs + RENEW_MS - nowMs)
  }

  renewedAt(nowMs: number): void {
    this.#renewedAtMs = nowMs
  }
}
