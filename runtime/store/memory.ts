import { MarramError } from '../base/errors.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import type { BodyKeys } from '../model/keys.ts'
import { SILENT_LOG } from '../ports/log.ts'
import type { StorageStatus } from '../ports/store.ts'
import { NOTHING_BENEATH } from './base.ts'
import { BATCH_HIDDEN, BATCH_SHOWN, type StoredBatch } from './feeds.ts'
import { State } from './state.ts'
import { TableStore, type PendingAppend } from './table-store.ts'

export interface MemoryStoreOptions {
  /**
   * Stands for the disk: is given each flush's size and calls `done` when the flush shall be durable, now or later, but
   * each once and in order. A simulator calls it when its own clock says so. Without it a flush lasts until the end of the
   * turn.
   */
  readonly onFlush?: (bytes: number, done: () => void) => void
  readonly keys?: BodyKeys
}

/** A Store that keeps everything in memory: the same table and the same semantics as the one on a disk, and a crash. */
export function createMemoryStore(options: MemoryStoreOptions = {}): MemoryStore {
  return new MemoryStore(new State(NOTHING_BENEATH, Number.POSITIVE_INFINITY, options.keys), options)
}

export class MemoryStore extends TableStore {
  readonly #state: State
  readonly #onFlush: (bytes: number, done: () => void) => void
  #underWay: readonly PendingAppend[] = []
  #isOpen = true
  #written = 0
  #flushes = 0

  constructor(state: State, options: MemoryStoreOptions) {
    super(state, SILENT_LOG, null, { bytes: GATEWAY_LIMITS.ringSegmentBytes, memory: Number.POSITIVE_INFINITY })
    this.#state = state
    this.#onFlush = options.onFlush ?? ((_, done) => queueMicrotask(done))
  }

  status(): StorageStatus {
    const tableBytes = this.#state.bytes
    return {
      path: '',
      bytes: tableBytes,
      freeBytes: null,
      isFull: false,
      written: this.#written,
      flushes: this.#flushes,
      tableBytes,
    }
  }

  async close(): Promise<void> {
    await this.flusher.idle()
    this.#isOpen = false
    this.refuse(new MarramError('closed', 'Cannot append: the store is closed'))
  }

  /**
   * As after a power cut: what no flush has made durable is gone, its appends are rejected, this store is closed. Returns
   * the store that the next start finds, without subscribers. A flush under way may have reached the disk although nobody
   * was told: `isFlushKept` says which.
   */
  crash(isFlushKept: boolean, options: MemoryStoreOptions = {}): MemoryStore {
    const lost = new MarramError('closed', 'Cannot append: the store has crashed')
    this.#isOpen = false
    this.refuse(lost)
    const underWay = this.#underWay
    this.#underWay = []
    if (isFlushKept) this.#take(underWay)
    else for (const append of underWay.toReversed()) append.undo()
    for (const { reject } of underWay) reject(lost)
    return new MemoryStore(this.#state, options)
  }

  protected hasRoom(): boolean {
    return true
  }

  protected unlocked(): Promise<void> {
    return Promise.resolve()
  }

  protected flush(appends: readonly PendingAppend[], done: () => void): void {
    const bytes = appends.reduce((sum, append) => sum + append.bytes, 0)
    this.#underWay = appends
    this.#onFlush(bytes, () => {
      if (!this.#isOpen) return
      this.#written += bytes
      this.#flushes += 1
      this.#underWay = []
      this.announce(this.#take(appends), appends)
      done()
    })
  }

  #take(appends: readonly PendingAppend[]): ReturnType<State['settle']> {
    for (const { batches, drops, records } of appends) {
      for (const { stored, batch, ops, place } of batches) {
        this.#state.take({ stored, batch, ops, place, bytes: storedBatch(batch.bytes, ops !== null) })
      }
      for (const { stored, seqs, end } of drops) this.#state.drop(stored, seqs, end)
      for (const { key, value } of records) this.#state.records.set(key, value)
    }
    return this.#state.settle()
  }
}

function storedBatch(bytes: Uint8Array, isShown: boolean): StoredBatch {
  const stored = new Uint8Array(1 + bytes.length)
  stored[0] = isShown ? BATCH_SHOWN : BATCH_HIDDEN
  stored.set(bytes, 1)
  return stored
}
