import { join } from 'node:path'
import { hex } from '../base/bytes.ts'
import { MarramError } from '../base/errors.ts'
import { randomBytes } from '../crypto/identity.ts'
import { readJson, writeDurably } from './files.ts'

/**
 * What is kept beside the key and outside the store (protocol D2): which incarnation of the database is in use, how far
 * it had come, and the greatest stamp. A store that is behind its mark was put back from a copy: it goes on as a new
 * incarnation, so no sequence number is ever used twice.
 */
export interface Mark {
  /** 8 bytes in hexadecimal. */
  readonly incarnation: string
  /** The store's number of its last batch when the mark was written. */
  readonly lsn: number
  /** No stamp above it had been given out, but for the hour before a power cut. */
  readonly hlc: number
}

const markFile = (dir: string): string => join(dir, 'identity', 'mark')

export function readMark(dir: string): Mark | null {
  const content = readJson(markFile(dir)) as Partial<Mark> | null
  if (content === null) return null
  const { incarnation, lsn, hlc } = content
  const isWhole =
    typeof incarnation === 'string' &&
    /^[0-9a-f]{16}$/.test(incarnation) &&
    Number.isSafeInteger(lsn) &&
    Number.isSafeInteger(hlc)
  if (!isWhole)
    throw new MarramError(
      'storage-damaged',
      `Cannot read "${markFile(dir)}": it must hold incarnation, lsn and hlc; delete it to go on as a new incarnation`,
    )
  return { incarnation, lsn: lsn as number, hlc: hlc as number }
}

export function writeMark(dir: string, mark: Mark): void {
  writeDurably(markFile(dir), `${JSON.stringify(mark)}\n`)
}

export function newIncarnation(): string {
  return hex(randomBytes(8))
}

/** Which incarnation to go on with; `why` says why it is a new one. */
export function chooseIncarnation(
  mark: Mark | null,
  stored: { readonly incarnation: string | null; readonly lsn: number },
): { readonly incarnation: string; readonly why: string | null } {
  if (stored.incarnation === null) {
    return {
      incarnation: newIncarnation(),
      why: mark ? 'the store is new, an older one was used before' : 'this gateway is new',
    }
  }
  if (!mark) return { incarnation: newIncarnation(), why: 'the mark beside the key is missing' }
  if (mark.incarnation !== stored.incarnation)
    return { incarnation: newIncarnation(), why: 'the store is another than was used last' }
  if (stored.lsn < mark.lsn) {
    return {
      incarnation: newIncarnation(),
      why: `the store ends at ${stored.lsn}, it had come to ${mark.lsn}: it was put back from a copy`,
    }
  }
  return { incarnation: stored.incarnation, why: null }
}
