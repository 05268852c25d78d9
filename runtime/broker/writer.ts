import type { Append, KeyValue, Records } from '../ports/store.ts'

export interface RecordStore extends Pick<Records, 'scanRecords'> {
  append(append: Append): Promise<void>
}

/** Records that belong together, and what becomes true once they are on the disk, or has to be taken back. */
export interface Change {
  readonly records: readonly KeyValue[]
  readonly apply: () => void
  readonly undo: () => void
}

/** Removals of a whole session go to the disk in appends of so many. */
const RECORDS_PER_APPEND = 1_000

/** Everything the broker writes passes here. */
export class RecordWriter {
  readonly #store: RecordStore
  #written: Promise<void> = Promise.resolve()

  constructor(store: RecordStore) {
    this.#store = store
  }

  /** Rejects as the store does; then nothing has changed. */
  async commit(...changes: readonly Change[]): Promise<void> {
    try {
      await this.write(changes.flatMap(({ records }) => records))
    } catch (error) {
      for (const { undo } of changes) undo()
      throw error
    }
    for (const { apply } of changes) apply()
  }

  async write(records: readonly KeyValue[]): Promise<void> {
    const appends: Promise<void>[] = []
    for (let at = 0; at < records.length; at += RECORDS_PER_APPEND) {
      appends.push(this.#store.append({ batches: [], records: records.slice(at, at + RECORDS_PER_APPEND) }))
    }
    if (appends.length === 0) return
    const written = Promise.all(appends).then(() => {})
    // Appends end in the order of their calls, so the last one stands for all.
    this.#written = written.catch(() => {})
    await written
  }

  /** Resolves when what was on its way to the disk is there or was refused. */
  settled(): Promise<void> {
    return this.#written
  }
}
