import { hex, utf8 } from '../base/bytes.ts'
import { codeOf, sentenceOf, type ErrorCode } from '../base/errors.ts'
import type { Feed } from '../model/batch.ts'
import { incarnationOfCell, kindOfCell, pathOfCell, type Element, type Reference } from '../model/cells.ts'
import type { Document, Write } from '../model/document.ts'
import { fieldsOf } from '../model/fields.ts'
import { isSystemName } from '../model/names.ts'
import { keyOfRow } from '../model/rows.ts'
import type { Value } from '../model/value.ts'
import type { Log } from '../ports/log.ts'
import type { Documents, KeyValue, Records, Space } from '../ports/store.ts'
import type { WriteOp, Writer } from '../ports/writer.ts'
import { entriesOf } from './reading.ts'

const PREFIX = 'gateway/draft/'
/** What may be in the way of one document, and of no other. */
const WAITING: readonly ErrorCode[] = ['no-key', 'not-permitted', 'too-large', 'storage-damaged']

type DraftStore = Documents & { append(append: { batches: []; records: KeyValue[] }): Promise<void> }

/**
 * What a gateway writes before it is admitted to its mesh: nobody else would take it, for it is stamped before the
 * admission. Such incarnations are remembered, stay at home, and what they hold is written again as a member.
 */
export class Drafts {
  readonly #peerId: string
  readonly #log: Log
  readonly #incarnations = new Map<string, 'pending' | 'written'>()

  constructor(peerId: string, log: Log) {
    this.#peerId = peerId
    this.#log = log
  }

  load(store: Records): void {
    for (const { key, value } of store.scanRecords(PREFIX)) {
      const state = value && Buffer.from(value).toString() === 'written' ? 'written' : 'pending'
      this.#incarnations.set(key.slice(PREFIX.length), state)
    }
  }

  /** From now on `incarnation` is one; the record that says so is to be stored before anything is written in it. */
  add(incarnation: string): KeyValue {
    this.#incarnations.set(incarnation, 'pending')
    return { key: PREFIX + incarnation, value: utf8('pending') }
  }

  isDraft(feed: Feed): boolean {
    return feed.origin === this.#peerId && this.#incarnations.has(hex(feed.descriptor.incarnation))
  }

  /**
   * To be called as a member; never fails. What was written again is no draft any more, so being cut short costs nothing; nor does a
   * document that can't be written now: the next start tries again.
   */
  async writeAgain(store: DraftStore, writer: Writer): Promise<void> {
    const pending = [...this.#incarnations]
      .filter(([, state]) => state === 'pending')
      .map(([incarnation]) => incarnation)
    if (pending.length === 0) return
    try {
      const waiting = await this.#writeAll(store, writer)
      if (waiting > 0) return this.#log.warn('drafts-not-written', { documents: waiting })
      for (const incarnation of pending) this.#incarnations.set(incarnation, 'written')
      await store.append({
        batches: [],
        records: pending.map((incarnation) => ({ key: PREFIX + incarnation, value: utf8('written') })),
      })
    } catch (error) {
      this.#log.warn('drafts-not-written', { message: sentenceOf(error) })
    }
  }

  /** How many documents still wait. */
  async #writeAll(store: DraftStore, writer: Writer): Promise<number> {
    let waiting = 0
    for (const space of store.spaces()) {
      if (isSystemName(space.collection)) continue
      for (const { key, document } of entriesOf(store, space)) {
        if (!document.writes.some(({ feed }) => this.isDraft(feed))) continue
        if (!(await this.#write(store, writer, space, key))) waiting += 1
      }
    }
    return waiting
  }

  /** As the document is now: users may have written it while others were written again. False when it has to wait. */
  async #write(store: DraftStore, writer: Writer, space: Space, key: string): Promise<boolean> {
    const isDraft = (feed: Feed): boolean => this.isDraft(feed)
    try {
      const document = store.get(space, key)
      if (!document) return true
      const ops = space.isSeries ? rowAgain(key, document, isDraft) : opsAgain(key, document, isDraft)
      if (ops.length > 0) await writer.write(space.collection, space.partition, ops)
      return true
    } catch (error) {
      if (!WAITING.includes(codeOf(error))) throw error
      return false
    }
  }
}

/** Writes again what the cells of some feeds hold. A counter goes on in the cell of the incarnation that counted. */
function opsAgain(key: string, document: Document, isOf: (feed: Feed) => boolean): WriteOp[] {
  const fields: { [path: string]: Value } = {}
  const ops: WriteOp[] = []
  document.paths.forEach((name, i) => {
    const value = document.values[i] as Value
    if (!isOf((document.writes[i] as Write).feed)) return
    const path = pathOfCell(name)
    const kind = kindOfCell(name)
    if (kind === 'register') fields[path] = value
    if (value === null) return
    if (kind === 'counter') ops.push({ kind: 'total', key, path, total: totalIn(name, value) })
    if (kind === 'set') ops.push({ kind: 'add', key, path, elements: [value as Element] })
    if (kind === 'link') ops.push({ kind: 'link', key, path, references: [value as Reference] })
  })
  return Object.keys(fields).length > 0 ? [{ kind: 'put', key, fields }, ...ops] : ops
}

/** The same row: its stamp is a part of its name, so here it is not there twice. */
function rowAgain(name: string, document: Document, isOf: (feed: Feed) => boolean): WriteOp[] {
  const [write] = document.writes
  if (!write || !isOf(write.feed)) return []
  const { hlc, index } = write
  return [{ kind: 'row', key: keyOfRow(name), fields: fieldsOf(document), stamp: { hlc, index } }]
}

function totalIn(name: string, value: Value): readonly [number, number, string] {
  const [added, taken] = value as readonly [number, number]
  return [added, taken, incarnationOfCell(name)]
}
