import { hex, utf8 } from '../base/bytes.ts'
import { codeOf } from '../base/errors.ts'
import type { Feed } from '../model/batch.ts'
import { incarnationOfCell, kindOfCell, pathOfCell, type Element, type Reference } from '../model/cells.ts'
import type { Document, Write } from '../model/document.ts'
import { fieldsOf } from '../model/fields.ts'
import { isSystemName } from '../model/names.ts'
import { keyOfRow } from '../model/rows.ts'
import type { Value } from '../model/value.ts'
import type { Documents, KeyValue, Records } from '../ports/store.ts'
import type { WriteOp, Writer } from '../ports/writer.ts'
import { entriesOf } from './reading.ts'

const PREFIX = 'gateway/draft/'

/**
 * What a gateway writes before it is admitted to its mesh: nobody else would take it, for it is stamped before the
 * admission. Such incarnations are remembered, stay at home, and what they hold is written again as a member.
 */
export class Drafts {
  readonly #peerId: string
  readonly #incarnations = new Map<string, 'pending' | 'written'>()

  constructor(peerId: string) {
    this.#peerId = peerId
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
   * To be called as a member. What was written again is no draft any more, so being cut short costs nothing; nor does a collection
   * whose key is not here yet: the next start tries again.
   */
  async writeAgain(
    store: Documents & { append(append: { batches: []; records: KeyValue[] }): Promise<void> },
    writer: Writer,
  ): Promise<void> {
    const pending = [...this.#incarnations]
      .filter(([, state]) => state === 'pending')
      .map(([incarnation]) => incarnation)
    if (pending.length === 0) return
    let isWhole = true
    for (const space of store.spaces()) {
      if (isSystemName(space.collection)) continue
      for (const { key, document } of entriesOf(store, space)) {
        const isDraft = (feed: Feed): boolean => this.isDraft(feed)
        const ops = space.isSeries ? rowAgain(key, document, isDraft) : opsAgain(key, document, isDraft)
        if (ops.length === 0) continue
        try {
          await writer.write(space.collection, space.partition, ops)
        } catch (error) {
          if (codeOf(error) !== 'no-key') throw error
          isWhole = false
        }
      }
    }
    if (!isWhole) return
    for (const incarnation of pending) this.#incarnations.set(incarnation, 'written')
    await store.append({
      batches: [],
      records: pending.map((incarnation) => ({ key: PREFIX + incarnation, value: utf8('written') })),
    })
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
