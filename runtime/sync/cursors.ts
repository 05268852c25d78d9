import { concat } from '../base/bytes.ts'
import type { LinkState } from './link.ts'

/**
 * One durable number per neighbour (protocol D24): "all that it holds up to its number `lsn` is on my disk", with the
 * incarnation of its database that the number belongs to. With the log it is the whole offline queue. A cursor that is
 * behind, or lost, costs bytes and nothing else; it must never be ahead of the disk.
 */
export interface Cursor {
  readonly instance: Uint8Array
  readonly lsn: number
}

export const CURSOR_PREFIX = 'sync/cursor/'

export function cursorKey(peerId: string): string {
  return CURSOR_PREFIX + peerId
}

export function encodeCursor(cursor: Cursor): Uint8Array {
  const lsn = new Uint8Array(8)
  new DataView(lsn.buffer).setFloat64(0, cursor.lsn)
  return concat(cursor.instance, lsn)
}

/** Null for bytes that are no cursor. */
export function decodeCursor(bytes: Uint8Array | undefined): Cursor | null {
  if (bytes?.length !== 16) return null
  const lsn = new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getFloat64(8)
  return Number.isSafeInteger(lsn) && lsn >= 0 ? { instance: bytes.slice(0, 8), lsn } : null
}

/** What a link's end or pause should leave on the disk; null when nothing new. */
export function cursorToKeep(link: LinkState): Cursor | null {
  if (!link.instance || link.cursorLsn <= link.savedCursorLsn) return null
  return { instance: link.instance, lsn: link.cursorLsn }
}
