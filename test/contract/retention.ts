import assert from 'node:assert/strict'
import { hex } from '../../runtime/base/bytes.ts'
import { randomInteger, seededRandom, type Random } from '../../runtime/base/random.ts'
import type { ChainPosition } from '../../runtime/model/batch.ts'
import { fieldsOf } from '../../runtime/model/fields.ts'
import { SequenceSet } from '../../runtime/model/sequences.ts'
import type { AppendBatch, Store } from '../../runtime/ports/store.ts'
import { Author, type Write } from './author.ts'

interface Kept {
  readonly write: Write
  readonly appended: AppendBatch
}

interface Log {
  readonly author: Author
  readonly kept: Map<number, Kept>
  /** Damaged, and to come again: in no log, but what they had changed is still there. */
  readonly damaged: Map<number, Kept>
  head: ChainPosition
}

const KEYS = ['k', 'l', 'm', 'n']
const BEGINNING: ChainPosition = { seq: 0, hash: new Uint8Array(32), hlc: 0 }

/**
 * SPEC I10.
 *
 * A store and a naive model of it: logs as maps, documents as their fold. Random appends, fills, drops and cuts are done to
 * both, with `between` (sweeps, restarts) in between, and they must agree.
 */
export class RetentionModel {
  readonly #random: Random
  readonly #logs: Log[]
  #hlc = 1_000

  constructor(seed: number) {
    this.#random = seededRandom(seed)
    const names = ['a', 'b'].map((name) => `${name}${seed}`)
    this.#logs = names.map((name) => ({
      author: new Author(name),
      kept: new Map(),
      damaged: new Map(),
      head: BEGINNING,
    }))
  }

  async step(store: Store): Promise<void> {
    const log = this.#logs[randomInteger(this.#random, 0, 1)] as Log
    const what = this.#random()
    if (what < 0.5) await this.#append(store, log)
    else if (what < 0.55) await this.#damage(store, log)
    else if (what < 0.6) await this.#mend(store, log)
    else if (what < 0.7) await this.#fill(store, log)
    else if (what < 0.88) await this.#drop(store, log)
    else if (what < 0.9) await this.#leave(store, log)
    else await this.#cut(store, log)
  }

  check(store: Store): void {
    for (const { author, kept, damaged, head } of this.#logs) {
      const stored = store.head(author.feed.key)
      assert.deepEqual(
        [...(stored?.damaged?.values() ?? [])],
        [...damaged.keys()].sort((a, b) => a - b),
        'damaged',
      )
      const seqs = [...kept.keys()].sort((a, b) => a - b)
      assert.equal(stored?.seq ?? 0, head.seq, 'head')
      assert.deepEqual([...(stored?.retained.values() ?? [])], seqs, 'retained')
      const bytes = seqs.map((seq) => kept.get(seq)?.appended.batch.bytes as Uint8Array)
      assert.deepEqual(store.batches(author.feed.key, 1, 1e9).map(hex), bytes.map(hex), 'batches')
      assert.equal(
        stored?.bytes ?? 0,
        bytes.reduce((sum, batch) => sum + batch.length, 0),
        'bytes',
      )
    }
    const space = (this.#logs[0] as Log).author.space
    for (const key of KEYS) {
      const document = store.get(space, key)
      const expected = this.#fold(key)
      assert.deepEqual(document ? fieldsOf(document) : {}, expected.fields, `document ${key}`)
      assert.equal(document?.deleted?.hlc ?? 0, expected.deleted, `delete of ${key}`)
    }
  }

  #fold(key: string): { fields: object; deleted: number } {
    const all = this.#logs.flatMap(({ kept, damaged }) => [...kept.values(), ...damaged.values()])
    const writes = all.filter(({ write }) => write[0] === key)
    writes.sort((a, b) => a.appended.batch.header.hlc - b.appended.batch.header.hlc)
    const found = { fields: {}, deleted: 0 }
    for (const { write, appended } of writes) {
      if (write[1] !== null) found.fields = { ...found.fields, ...write[1] }
      else Object.assign(found, { fields: {}, deleted: appended.batch.header.hlc })
    }
    return found
  }

  #make(log: Log): Kept {
    const key = KEYS[randomInteger(this.#random, 0, KEYS.length - 1)] as string
    const write: Write = [key, this.#random() < 0.25 ? null : { [this.#random() < 0.5 ? 'x' : 'y']: this.#hlc }]
    return { write, appended: log.author.batch([write], ++this.#hlc) }
  }

  async #append(store: Store, log: Log): Promise<void> {
    const made = Array.from({ length: randomInteger(this.#random, 1, 3) }, () => this.#make(log))
    await store.append({ batches: made.map(({ appended }) => appended), records: [] })
    for (const kept of made) this.#keep(log, kept)
    log.head = positionOf(made.at(-1) as Kept)
  }

  /** Some of the next batches, the last of which lets the head jump behind all of them. */
  async #fill(store: Store, log: Log): Promise<void> {
    const made = Array.from({ length: randomInteger(this.#random, 2, 6) }, () => this.#make(log))
    const target = positionOf(made.at(-1) as Kept)
    const live = made.filter((_, i) => i === 0 || this.#random() < 0.4)
    const batches = live.map(({ appended }, i) => ({
      ...appended,
      place: i === live.length - 1 ? target : ('aside' as const),
    }))
    await store.append({ batches, records: [] })
    for (const kept of live) this.#keep(log, kept)
    log.head = target
  }

  async #drop(store: Store, log: Log): Promise<void> {
    const seqs = new SequenceSet()
    for (const [seq, kept] of [...log.kept].sort(([a], [b]) => a - b)) {
      if (this.#random() < 0.6 && !this.#isNeeded(log, kept, seqs)) seqs.add(seq)
    }
    await store.append({ batches: [], drops: [{ feed: log.author.feed, seqs }], records: [] })
    for (const seq of seqs.values()) log.kept.delete(seq)
  }

  async #damage(store: Store, log: Log): Promise<void> {
    const seqs = new SequenceSet()
    for (const seq of [...log.kept.keys()].sort((a, b) => a - b)) if (this.#random() < 0.2) seqs.add(seq)
    await store.append({ batches: [], drops: [{ feed: log.author.feed, seqs, isDamaged: true }], records: [] })
    for (const seq of seqs.values()) {
      log.damaged.set(seq, log.kept.get(seq) as Kept)
      log.kept.delete(seq)
    }
  }

  async #mend(store: Store, log: Log): Promise<void> {
    for (const [seq, kept] of log.damaged) {
      if (this.#random() < 0.3) continue
      await store.append({ batches: [{ ...kept.appended, place: 'aside' }], records: [] })
      log.damaged.delete(seq)
      this.#keep(log, kept)
    }
  }

  /** A delete stays while there is something that it deletes. */
  #isNeeded(log: Log, { write, appended }: Kept, dropped: SequenceSet): boolean {
    if (write[1] !== null) return false
    return this.#logs.some(({ kept, damaged, author }) =>
      [...kept, ...damaged].some(
        ([seq, other]) =>
          other.write[0] === write[0] &&
          other.appended.batch.header.hlc < appended.batch.header.hlc &&
          !(author === log.author && dropped.has(seq)),
      ),
    )
  }

  async #cut(store: Store, log: Log): Promise<void> {
    const to = log.kept.get(randomInteger(this.#random, 1, Math.max(1, log.head.seq)))
    if (!to) return
    const head = positionOf(to)
    const seqs = SequenceSet.range(head.seq + 1, Number.MAX_SAFE_INTEGER)
    await store.append({ batches: [], drops: [{ feed: log.author.feed, seqs, head }], records: [] })
    for (const kept of [log.kept, log.damaged]) for (const seq of kept.keys()) if (seqs.has(seq)) kept.delete(seq)
    log.head = head
    log.author.resume(store.head(log.author.feed.key))
  }

  /** The feed is not kept any more: all of it goes, in slices. */
  async #leave(store: Store, log: Log): Promise<void> {
    const { feed } = log.author
    for (let left = [...log.kept.keys()].sort((a, b) => a - b); ; left = left.slice(3)) {
      const seqs = SequenceSet.of(left.slice(0, 3))
      await store.append({ batches: [], drops: [{ feed, seqs, isLeft: true }], records: [] })
      if (left.length <= 3) break
    }
    log.kept.clear()
    log.damaged.clear()
    log.head = BEGINNING
    log.author.resume(store.head(feed.key))
  }

  #keep(log: Log, kept: Kept): void {
    log.kept.set(kept.appended.batch.header.seq, kept)
  }
}

function positionOf({ appended: { batch } }: Kept): ChainPosition {
  return { seq: batch.header.seq, hash: batch.hash, hlc: batch.header.hlc }
}
