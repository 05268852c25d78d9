import type { Database as Table, RootDatabase, Transaction } from 'lmdb'
import { MarramError } from '../base/errors.ts'
import { encodeRow } from './backup-format.ts'

/** One turn of the event loop reads so many rows or bytes. */
const SLICE_ROWS = 512
const SLICE_BYTES = 131_072

/**
 * All of LMDB as of one moment, read through a transaction that stays open while sweeps go on: pages that they overwrite are kept
 * for it, so the file grows meanwhile.
 */
export class Snapshot {
  readonly #tables: readonly Table<Uint8Array, Buffer>[]
  readonly #transaction: Transaction
  readonly #onClose: () => void
  #isClosed = false

  /** `tables` by their numbers in backups. */
  constructor(
    root: RootDatabase<Uint8Array, Buffer>,
    tables: readonly Table<Uint8Array, Buffer>[],
    onClose: () => void,
  ) {
    this.#transaction = root.useReadTransaction()
    this.#tables = tables
    this.#onClose = onClose
  }

  /** Every row, table by table, as a backup holds them. Closes the snapshot at the end, whatever the end is. */
  async *rows(): AsyncGenerator<Uint8Array> {
    try {
      for (const [number, table] of this.#tables.entries()) {
        for (let last: Buffer | null = null; ;) {
          if (this.#isClosed) throw new MarramError('closed', 'Cannot go on with the backup: the store is closed')
          const slice = this.#slice(number, table, last)
          if (slice.rows.length > 0) yield Buffer.concat(slice.rows)
          if (slice.last === null) break
          last = slice.last
          await new Promise((resolve) => setImmediate(resolve))
        }
      }
    } finally {
      this.close()
    }
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#transaction.done()
    this.#onClose()
  }

  /** `last` is null when nothing follows. */
  #slice(
    number: number,
    table: Table<Uint8Array, Buffer>,
    after: Buffer | null,
  ): { rows: Buffer[]; last: Buffer | null } {
    // The key that follows another is that and a zero byte.
    const start = after === null ? {} : { start: Buffer.concat([after, Buffer.alloc(1)]) }
    const rows: Buffer[] = []
    let bytes = 0
    for (const { key, value } of table.getRange({ ...start, limit: SLICE_ROWS, transaction: this.#transaction })) {
      const row = encodeRow(number, key, value)
      rows.push(row)
      bytes += row.length
      if (bytes >= SLICE_BYTES || rows.length >= SLICE_ROWS) return { rows, last: Buffer.from(key) }
    }
    return { rows, last: null }
  }
}
