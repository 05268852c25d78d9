import { createHash } from 'node:crypto'
import { MarramError } from '../base/errors.ts'

/**
 * A backup is one stream of bytes: this line, a line of JSON (the header), the rows of all tables, and the SHA-256 of all that stands
 * before it. A row is its table's number (1 byte), the lengths of key (2) and value (4, both big-endian), key and value.
 */
const MAGIC = 'marram-backup 2\n'
/** More than as many users as there may be. */
const HEADER_BYTES_MAX = 16_777_216
const HASH_BYTES = 32
const ROW_HEAD_BYTES = 7
/** More than any key, and any value. */
const KEY_BYTES_MAX = 2_048
const VALUE_BYTES_MAX = 67_108_864

export interface BackupHeader {
  readonly meshId: string
  /** The greatest stamp that the gateway knew of. */
  readonly hlc: number
  /** Files of `identity/` by name, `device.json` last; empty when it was left out. */
  readonly identity: FileTexts
  /** The kept profile and files of logins that it names, by their paths in the data directory; none when they were left out. */
  readonly settings?: FileTexts
}

export interface FileTexts {
  readonly [name: string]: string
}

export interface BackupRow {
  readonly table: number
  readonly key: Buffer
  readonly value: Uint8Array
}

export function encodeRow(table: number, key: Buffer, value: Uint8Array): Buffer {
  const row = Buffer.allocUnsafe(ROW_HEAD_BYTES + key.length + value.length)
  row.writeUInt8(table)
  row.writeUInt16BE(key.length, 1)
  row.writeUInt32BE(value.length, 3)
  row.set(key, ROW_HEAD_BYTES)
  row.set(value, ROW_HEAD_BYTES + key.length)
  return row
}

/** `rows` as encoded. Rejects with `too-large` when `header` is. */
export async function* encodeBackup(header: BackupHeader, rows: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256')
  const head = Buffer.from(`${MAGIC}${JSON.stringify(header)}\n`)
  if (head.length > HEADER_BYTES_MAX) {
    const what = `its keys, profile and logins take ${head.length} bytes, they must take at most ${HEADER_BYTES_MAX}`
    throw new MarramError('too-large', `Cannot back up this gateway: ${what}`)
  }
  hash.update(head)
  yield head
  for await (const bytes of rows) {
    hash.update(bytes)
    yield bytes
  }
  yield hash.digest()
}

/**
 * Reads a backup as far as its header. Its rows, as encoded, come as they are read; only when they end without an error were they
 * whole. Both reject with `storage-damaged`, and with what reading `bytes` rejects with.
 */
export async function decodeBackup(
  bytes: AsyncIterable<Uint8Array>,
  name: string,
): Promise<{ readonly header: BackupHeader; readonly rows: AsyncGenerator<Uint8Array> }> {
  const iterator = bytes[Symbol.asyncIterator]()
  let read: Buffer = Buffer.alloc(0)
  for (let end = -1; end < 0;) {
    const next = await iterator.next()
    if (next.done === true || read.length > HEADER_BYTES_MAX) throw damaged(name)
    read = Buffer.concat([read, next.value])
    const isSo = MAGIC.startsWith(read.toString('latin1', 0, MAGIC.length))
    if (!isSo) throw damaged(name)
    end = read.indexOf('\n', MAGIC.length)
  }
  const end = read.indexOf('\n', MAGIC.length) + 1
  const header = parseHeader(read.toString('utf8', MAGIC.length, end))
  if (header === null) throw damaged(name)
  return { header, rows: rowsOf(read, end, iterator, name) }
}

/** All but the hash at the end, which is known as such only then. */
async function* rowsOf(
  read: Buffer,
  start: number,
  iterator: AsyncIterator<Uint8Array>,
  name: string,
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256').update(read.subarray(0, start))
  let rest = read.subarray(start)
  try {
    for (;;) {
      const ready = rest.subarray(0, Math.max(0, rest.length - HASH_BYTES))
      if (ready.length > 0) {
        hash.update(ready)
        yield ready
      }
      rest = rest.subarray(ready.length)
      const next = await iterator.next()
      if (next.done === true) break
      rest = Buffer.concat([rest, next.value])
    }
  } finally {
    await iterator.return?.()
  }
  if (!hash.digest().equals(rest)) throw damaged(name)
}

/** The rows in encoded ones, of which a piece may end anywhere. */
export async function* decodeRows(pieces: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<BackupRow> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const piece of pieces) {
    rest = rest.length === 0 ? Buffer.from(piece) : Buffer.concat([rest, piece])
    let at = 0
    while (rest.length - at >= ROW_HEAD_BYTES) {
      const [keyBytes, valueBytes] = [rest.readUInt16BE(at + 1), rest.readUInt32BE(at + 3)]
      if (keyBytes > KEY_BYTES_MAX || valueBytes > VALUE_BYTES_MAX) throw damaged(name)
      const from = at + ROW_HEAD_BYTES
      const end = from + keyBytes + valueBytes
      if (end > rest.length) break
      const value = rest.subarray(from + keyBytes, end)
      yield { table: rest.readUInt8(at), key: rest.subarray(from, from + keyBytes), value }
      at = end
    }
    rest = rest.subarray(at)
  }
  if (rest.length > 0) throw damaged(name)
}

function parseHeader(text: string): BackupHeader | null {
  try {
    const header = JSON.parse(text) as Partial<BackupHeader> | null
    const { meshId, hlc, identity, settings = {} } = header ?? {}
    if (typeof meshId !== 'string' || !Number.isSafeInteger(hlc)) return null
    return areTexts(identity) && areTexts(settings) ? (header as BackupHeader) : null
  } catch {
    return null
  }
}

function areTexts(files: unknown): boolean {
  if (typeof files !== 'object' || files === null) return false
  return Object.values(files).every((content) => typeof content === 'string')
}

export function damaged(name: string): MarramError {
  return new MarramError('storage-damaged', `Cannot use "${name}": it is no whole backup, use another copy of it`)
}
