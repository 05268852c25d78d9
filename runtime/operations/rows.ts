import { MarramError } from '../base/errors.ts'
import type { OpStamp } from '../model/batch.ts'
import { hlcOfRow, keyOfRow, parseRow, rowEnd, rowPrefix, rowStartAtMs } from '../model/rows.ts'
import { hlcFromMs, msOfHlc } from '../model/stamp.ts'
import { isLive, type Document } from '../model/document.ts'
import { fieldsOf } from '../model/fields.ts'
import type { DocumentView, Query } from '../ports/operations.ts'
import type { Documents, Space } from '../ports/store.ts'
import { parseDuration, parseTime } from '../profile/units.ts'

/** Reading the rows of a series. */

const SLICE = 256

export interface Row {
  /** See model/rows.ts. */
  readonly name: string
  readonly document: Document
}

/** As a user sees it: with the time at which it was taken, and what tells it from the other rows of its key. */
export function viewOfRow({ name, document }: Row): DocumentView {
  const key = keyOfRow(name)
  const time = new Date(msOfHlc(hlcOfRow(name))).toISOString()
  return { key, value: fieldsOf(document), time, row: name.slice(key.length + 1) }
}

/** The stamp in what tells a row from others. Throws `bad-request`. */
export function stampOfRow(row: string): OpStamp {
  const stamp = parseRow(row)
  if (stamp) return stamp
  throw new MarramError('bad-request', `Cannot add the row "${row.slice(0, 60)}": this is no row's name`)
}

/** The last row of a key in all partitions. */
export function lastRow(store: Documents, spaces: readonly Space[], key: string): Row | undefined {
  let last: Row | undefined
  for (const space of spaces) {
    const found = store.last(space, rowPrefix(key))
    if (found && (!last || found.key > last.name)) last = { name: found.key, document: found.document }
  }
  return last
}

/** Rows by key and then by time; what lies outside the times is passed over without being read, but for a slice. */
export function* rowsIn(store: Documents, space: Space, query: Query, nowMs: number): Generator<Row> {
  const { prefix, latest = false } = query
  const [fromMs, toMs] = [timeOf('from', query.from, nowMs), timeOf('to', query.to, nowMs)]
  const fromHlc = fromMs === null ? 0 : hlcFromMs(fromMs)
  const toHlc = toMs === null ? Number.POSITIVE_INFINITY : hlcFromMs(toMs)
  let start: { readonly start: string; readonly isAfter: boolean } | null =
    query.after === undefined ? null : { start: query.after, isAfter: true }
  let lastKey = latest && query.after !== undefined ? keyOfRow(query.after) : null
  for (;;) {
    const entries = store.scan(space, { limit: SLICE, ...(prefix !== undefined && { prefix }), ...start })
    for (const { key: name, document } of entries) {
      const key = keyOfRow(name)
      const hlc = hlcOfRow(name)
      start = { start: name, isAfter: true }
      if (hlc < fromHlc && fromMs !== null) start = { start: rowStartAtMs(key, fromMs), isAfter: false }
      else if (hlc >= toHlc || (latest && key === lastKey)) start = { start: rowEnd(key), isAfter: false }
      else if (!isLive(document)) continue
      else if (!latest) yield { name, document }
      else {
        lastKey = key
        yield lastBefore(store, space, { name, document }, toMs)
      }
    }
    if (entries.length < SLICE) return
  }
}

/** The last row of the key of `row`, from it on. */
function lastBefore(store: Documents, space: Space, row: Row, toMs: number | null): Row {
  const key = keyOfRow(row.name)
  if (toMs === null) {
    const last = store.last(space, rowPrefix(key))
    return last ? { name: last.key, document: last.document } : row
  }
  let last = row
  for (const found of rowsIn(store, space, { prefix: rowPrefix(key), to: new Date(toMs).toISOString() }, toMs))
    last = found
  return last
}

/** Unix milliseconds of a time (ISO 8601) or of how long before `nowMs` (`2h`); null when nothing was asked for. */
export function timeOf(name: string, text: string | undefined, nowMs: number): number | null {
  if (text === undefined) return null
  const ago = parseDuration(text)
  if (ago.ok) return nowMs - ago.value
  const time = parseTime(text)
  if (time.ok) return time.value
  const sentence = `Cannot use a time: "${name}" is "${text.slice(0, 60)}", it must be a time like 2026-11-23T17:00Z or how long ago like 2h`
  throw new MarramError('bad-request', sentence)
}
