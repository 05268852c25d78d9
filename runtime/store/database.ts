import { statSync } from 'node:fs'
import { join } from 'node:path'
import { open, type Database as Table, type RootDatabase } from 'lmdb'
import { MarramError, sentenceOf } from '../base/errors.ts'
import type { KeyValue } from '../ports/store.ts'
import type { Base, BaseBatch, BaseDocument, KeyRange, Referrer } from './base.ts'
import { isNoSpace } from './file.ts'
import { metaDamage } from './meta-pages.ts'
import { Snapshot } from './snapshot.ts'
import type { ValueCipher } from './value-cipher.ts'

type Binary = Table<Uint8Array, Buffer>

/** Their places are their numbers in backups. */
export const TABLES = ['documents', 'links', 'batches', 'feeds', 'heads', 'spaces', 'records', 'meta'] as const
export type TableName = (typeof TABLES)[number]

/** Those whose values can be encrypted: what users and devices have said, and what is kept of it. */
export const VALUE_TABLES: readonly TableName[] = ['documents', 'batches', 'records']
const NOTHING = new Uint8Array(0)
/** As LMDB calls it. */
export const DATA_FILE = 'data.mdb'

export const FORMAT_KEY: Buffer = Buffer.from('format')
export const INSTANCE_KEY: Buffer = Buffer.from('instance')
export const RING_KEY: Buffer = Buffer.from('ring')
export const MARK_KEY: Buffer = Buffer.from('mark')
/** Tells the key of an encrypted store; and, while it is being encrypted, up to where it is. */
export const CIPHER_KEY: Buffer = Buffer.from('cipher')
export const ENCRYPTING_KEY: Buffer = Buffer.from('encrypting')

/** No byte of UTF-8 is as great. */
const AFTER_ANY_TEXT = Buffer.from([0xff])

/**
 * LMDB as the store uses it: reads of copied bytes, and puts that one turn of the event loop makes together in one
 * transaction. LMDB always opens at the last transaction that it flushed, so what the mark says is true of the rest too.
 */
export class Database implements Base {
  readonly #path: string
  readonly #root: RootDatabase<Uint8Array, Buffer>
  readonly #tables: { readonly [name in TableName]: Binary }
  /** Null while values are stored as they are. */
  #cipher: ValueCipher | null = null
  #written = 0
  #hasFailed = false

  constructor(dir: string, isReadOnly: boolean) {
    this.#path = join(dir, DATA_FILE)
    this.#root = openRoot(dir, isReadOnly)
    const table = (name: TableName): Binary => {
      const opened: Binary | undefined = this.#root.openDB({ name, encoding: 'binary', keyEncoding: 'binary' })
      if (opened === undefined) throw databaseDamaged(dir, `its table "${name}" is missing`)
      return opened
    }
    this.#tables = {
      documents: table('documents'),
      links: table('links'),
      batches: table('batches'),
      feeds: table('feeds'),
      heads: table('heads'),
      spaces: table('spaces'),
      records: table('records'),
      meta: table('meta'),
    }
  }

  /** Bytes of keys and values put since it was opened. */
  get written(): number {
    return this.#written
  }

  /** Bytes of the file. */
  get bytes(): number {
    return statSync(this.#path).size
  }

  /** From now on values are sealed when they are put, and opened when they are read. */
  encrypt(cipher: ValueCipher): void {
    this.#cipher = cipher
  }

  get(table: TableName, key: Buffer): Uint8Array | undefined {
    const value = this.#tables[table].get(key)
    return value === undefined ? undefined : this.#opened(table, key, value)
  }

  /** The first rows of a table whose keys come after `after`, as they are stored. */
  rows(table: TableName, after: Buffer | null, limit: number): { readonly key: Buffer; readonly value: Uint8Array }[] {
    const start = after === null ? {} : { start: Buffer.concat([after, Buffer.alloc(1)]) }
    const found: { key: Buffer; value: Uint8Array }[] = []
    for (const { key, value } of this.#tables[table].getRange({ ...start, limit }))
      found.push({ key: Buffer.from(key), value: Uint8Array.from(value) })
    return found
  }

  /** Every value of a table of numbers, in their order. */
  numbered(table: 'feeds' | 'heads' | 'spaces'): { readonly number: number; readonly bytes: Uint8Array }[] {
    const found: { number: number; bytes: Uint8Array }[] = []
    for (const { key, value } of this.#tables[table].getRange({})) {
      found.push({ number: key.readUInt32BE(0), bytes: Uint8Array.from(value) })
    }
    return found
  }

  document(space: number, key: string): Uint8Array | undefined {
    return this.get('documents', documentKey(space, key))
  }

  documents(space: number, { prefix, start, isAfter, limit }: KeyRange): BaseDocument[] {
    const from = documentKey(space, start)
    const end = Buffer.concat([documentKey(space, prefix), AFTER_ANY_TEXT])
    const found: BaseDocument[] = []
    // The key that follows `start` is `start` and a zero byte.
    const range = { start: isAfter ? Buffer.concat([from, Buffer.alloc(1)]) : from, end, limit }
    for (const { key, value } of this.#tables.documents.getRange(range)) {
      found.push({ key: key.toString('utf8', 4), bytes: this.#copied('documents', key, value) })
    }
    return found
  }

  documentsBack(space: number, prefix: string, before: string | null, limit: number): BaseDocument[] {
    const first = documentKey(space, prefix)
    // Backwards the start is included.
    const start = before === null ? Buffer.concat([first, AFTER_ANY_TEXT]) : documentKey(space, before)
    const found: BaseDocument[] = []
    for (const { key, value } of this.#tables.documents.getRange({ start, reverse: true, limit: limit + 1 })) {
      if (!key.subarray(0, first.length).equals(first)) break
      if (before !== null && key.equals(start)) continue
      found.push({ key: key.toString('utf8', 4), bytes: this.#copied('documents', key, value) })
    }
    return found.slice(0, limit)
  }

  referrers(target: string, limit: number, after: Referrer | null): Referrer[] {
    const prefix = Buffer.from(target, 'latin1')
    const start = after === null ? prefix : Buffer.concat([linkKey(target, after.space, after.key), Buffer.alloc(1)])
    // No space has so great a number.
    const end = Buffer.concat([prefix, Buffer.alloc(4, 0xff)])
    const found: Referrer[] = []
    for (const { key } of this.#tables.links.getRange({ start, end, limit })) {
      found.push({ space: key.readUInt32BE(prefix.length), key: key.toString('utf8', prefix.length + 4) })
    }
    return found
  }

  batches(feed: number, fromSeq: number, toSeq: number, bytesMax: number): BaseBatch[] {
    const found: BaseBatch[] = []
    let bytes = 0
    const range = { start: batchKey(feed, fromSeq), end: batchKey(feed, toSeq + 1) }
    for (const { key, value } of this.#tables.batches.getRange(range)) {
      found.push({ seq: key.readUIntBE(4, 6), bytes: this.#copied('batches', key, value) })
      bytes += value.length - 1
      if (bytes > bytesMax) break
    }
    return found
  }

  record(key: string): Uint8Array | undefined {
    const value = this.get('records', Buffer.from(key))
    return value === undefined ? undefined : Uint8Array.from(value)
  }

  records(prefix: string): KeyValue[] {
    const start = Buffer.from(prefix)
    const range = { ...(prefix === '' ? {} : { start }), end: Buffer.concat([start, AFTER_ANY_TEXT]) }
    const found: KeyValue[] = []
    for (const { key, value } of this.#tables.records.getRange(range)) {
      found.push({ key: key.toString('utf8'), value: this.#copied('records', key, value) })
    }
    return found
  }

  /**
   * Resolves when LMDB has committed the slice, in one transaction. Rejects when it could not: then nothing may be put any
   * more.
   */
  async commit({ writes }: Slice): Promise<void> {
    try {
      await this.#root.batch(() => this.#write(writes))
    } catch (error) {
      this.#hasFailed = true
      throw await causeOf(error)
    }
  }

  /** Resolves when the disk has flushed every transaction that has committed. */
  async flushed(): Promise<void> {
    await this.#root.flushed
    this.#root.resetReadTxn()
  }

  /** The promises of the single writes are those of the batch around them. */
  #write(writes: Slice['writes']): void {
    for (const { table, key, value: plain } of writes) {
      const value = plain === null ? null : this.#sealed(table, key, plain)
      this.#written += key.length + (value?.length ?? 0)
      if (value === null) void this.#tables[table].remove(key)
      else void this.#tables[table].put(key, value)
    }
  }

  #sealed(table: TableName, key: Buffer, value: Uint8Array): Uint8Array {
    return this.#cipher === null || !VALUE_TABLES.includes(table) ? value : this.#cipher.seal({ table, key }, value)
  }

  /** What has changed on the disk is read as nothing, which no decoder takes. */
  #opened(table: TableName, key: Buffer, value: Uint8Array): Uint8Array {
    if (this.#cipher === null || !VALUE_TABLES.includes(table)) return value
    return this.#cipher.open({ table, key }, value) ?? NOTHING
  }

  #copied(table: TableName, key: Buffer, value: Uint8Array): Uint8Array {
    const opened = this.#opened(table, key, value)
    return opened === value ? Uint8Array.from(value) : opened
  }

  /** The last committed state. */
  snapshot(onClose: () => void): Snapshot {
    this.#root.resetReadTxn()
    const tables = TABLES.map((name) => this.#tables[name])
    return new Snapshot(this.#root, tables, onClose)
  }

  /** Closing writes, and to write after a failed commit makes LMDB abort the process: then it is left as it is. */
  async close(): Promise<void> {
    if (!this.#hasFailed) await this.#root.close()
  }
}

/** Puts and removals that shall commit together, gathered before their transaction begins. */
export class Slice {
  readonly writes: { readonly table: TableName; readonly key: Buffer; readonly value: Uint8Array | null }[] = []

  /** `value` must not change before it has committed. */
  put(table: TableName, key: Buffer, value: Uint8Array): void {
    this.writes.push({ table, key, value })
  }

  remove(table: TableName, key: Buffer): void {
    this.writes.push({ table, key, value: null })
  }
}

/** lmdb says that a commit has failed, and why in a promise of the error, which rejects with it. */
async function causeOf(error: unknown): Promise<unknown> {
  if (!(error instanceof Error) || !('commitError' in error)) return error
  try {
    return await error.commitError
  } catch (cause) {
    return cause
  }
}

export function numberKey(number: number): Buffer {
  const key = Buffer.allocUnsafe(4)
  key.writeUInt32BE(number)
  return key
}

export function documentKey(space: number, key: string): Buffer {
  const bytes = Buffer.allocUnsafe(4 + Buffer.byteLength(key))
  bytes.writeUInt32BE(space)
  bytes.write(key, 4, 'utf8')
  return bytes
}

/** `target` is 16 characters of latin1. */
export function linkKey(target: string, space: number, key: string): Buffer {
  return Buffer.concat([Buffer.from(target, 'latin1'), documentKey(space, key)])
}

export function batchKey(feed: number, seq: number): Buffer {
  const key = Buffer.allocUnsafe(10)
  key.writeUInt32BE(feed)
  key.writeUIntBE(seq, 4, 6)
  return key
}

function openRoot(dir: string, isReadOnly: boolean): RootDatabase<Uint8Array, Buffer> {
  const options = {
    path: dir,
    encoding: 'binary',
    keyEncoding: 'binary',
    maxDbs: TABLES.length,
    readOnly: isReadOnly,
    // Transactions are explicit; lmdb's own gathering makes promises that nobody can catch when a commit fails.
    eventTurnBatching: false,
    // Whatever the last stop was like: the ring before the mark may be overwritten as soon as the mark is flushed.
    safeRestore: true,
    // lmdb takes 32-bit ARM for a 64-bit machine, and there the map does not grow in place.
    ...(process.arch === 'arm' ? { remapChunks: true } : {}),
  } as const
  try {
    const damage = metaDamage(join(dir, DATA_FILE))
    if (damage !== null) throw databaseDamaged(dir, damage)
    return open<Uint8Array, Buffer>(options)
  } catch (cause) {
    throw openError(dir, cause)
  }
}

export function openError(dir: string, cause: unknown): MarramError {
  if (cause instanceof MarramError) return cause
  const what = sentenceOf(cause)
  if (isNoSpace(cause)) {
    return new MarramError('storage-full', `Cannot open "${dir}": the disk is full, it must have some room`, { cause })
  }
  if (/MDB_|corrupt|invalid/i.test(what)) return databaseDamaged(dir, what, cause)
  return new MarramError('storage-io', `Cannot open "${dir}": ${what}`, { cause })
}

/** Where LMDB itself can't find its way there is nothing to derive anything from. */
export function databaseDamaged(dir: string, what: string, cause?: unknown): MarramError {
  const sentence = `Cannot read "${dir}": the store is damaged (${what}); put a backup back with "marram restore FILE --force", or move the folder away: the gateway goes on with what its neighbours have`
  return new MarramError('storage-damaged', sentence, { cause })
}
