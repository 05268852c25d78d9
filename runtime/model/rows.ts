import { PROTOCOL_LIMITS } from '../base/limits.ts'
import { FEED_KIND_SERIES, OP_PUT, type Feed, type Ops, type OpStamp } from './batch.ts'
import { HLC_MAX, hlcFromMs, type Hlc, type Stamp } from './stamp.ts'

/**
 * A series is rows that are only ever added (protocol D9). Each put of a series' feed is a row of its own: a document that
 * is written once, under a name of its key, a NUL, which no key has, and its stamp, so that names sort by key and time. So
 * rows merge, are swept, counted and rebuilt as documents are.
 *
 *     name = key NUL hlc (14 hexadecimal digits) index (4) author
 */
const HLC_DIGITS = 14
const INDEX_DIGITS = 4

export function rowName(key: string, { hlc, index, origin }: Stamp): string {
  return `${rowStart(key, hlc)}${index.toString(16).padStart(INDEX_DIGITS, '0')}${origin}`
}

/** Not above the name of any row of `key` from `hlc` on, and above those before. */
export function rowStart(key: string, hlc: Hlc): string {
  return `${key}\0${hlc.toString(16).padStart(HLC_DIGITS, '0')}`
}

/** The rows of a key have names that begin so. */
export function rowPrefix(key: string): string {
  return `${key}\0`
}

/** Above the name of every row of a key. */
export function rowEnd(key: string): string {
  return `${key}\u0001`
}

export function keyOfRow(name: string): string {
  return name.slice(0, name.indexOf('\0'))
}

export function hlcOfRow(name: string): Hlc {
  const start = name.indexOf('\0') + 1
  return Number.parseInt(name.slice(start, start + HLC_DIGITS), 16)
}

/** The stamp in what stands behind the NUL, or null. */
export function parseRow(row: string): OpStamp | null {
  const match = /^([0-9a-f]{14})([0-9a-f]{4})[a-z2-7]{23}$/.exec(row)
  if (!match) return null
  const [hlc, index] = [Number.parseInt(match[1] as string, 16), Number.parseInt(match[2] as string, 16)]
  return hlc <= HLC_MAX && index < PROTOCOL_LIMITS.opsPerBatchMax ? { hlc, index } : null
}

/** The rows of the millisecond `ms` and later have names from here on. */
export function rowStartAtMs(key: string, ms: number): string {
  return rowStart(key, hlcFromMs(ms))
}

export function isSeries(feed: Feed): boolean {
  return feed.descriptor.kind === FEED_KIND_SERIES
}

/** What a batch's operations change: in a series every put is a document of its own, and nothing else means anything. */
export function shownOps(ops: Ops, feed: Feed, hlc: Hlc): Ops {
  if (!isSeries(feed)) return ops
  const docs = ops.opDocs.map((doc, index) => {
    const stamp = ops.stamps?.[index] ?? { hlc, index }
    return rowName(ops.docs[doc] as string, { ...stamp, origin: feed.origin })
  })
  const shapes = ops.shapes.map((shape) => (shape.kind === OP_PUT ? shape : { ...shape, kind: NOT_OF_SERIES }))
  return { ...ops, docs, shapes, opDocs: docs.map((_, i) => i) }
}

/** A kind that nobody knows. */
const NOT_OF_SERIES = 255
