import { MarramError, sentenceOf } from '../base/errors.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import type { Change, StorageStatus } from '../ports/store.ts'
import type { Log } from '../ports/log.ts'
import { encodeDescriptor } from '../wire/descriptor.ts'
import type { TokenBucket } from './bucket.ts'
import type { Database } from './database.ts'
import { dropBallast, freeBytesOf, fullness, type SpaceRules } from './disk-space.ts'
import { RecordWriter } from './entries.ts'
import { BATCH_HIDDEN, BATCH_SHOWN } from './feeds.ts'
import type { Flushable } from './flusher.ts'
import { isNoSpace } from './file.ts'
import { HEADER_BYTES, type Position } from './ring-record.ts'
import type { Ring } from './ring.ts'
import type { DurableBatch, State } from './state.ts'
import type { Snapshot } from './snapshot.ts'
import { sweep } from './sweep.ts'
import { SweepTimer } from './sweep-timer.ts'
import { TableStore, type PendingAppend } from './table-store.ts'

/** How often a disk that was full is looked at again. */
const RECHECK_MS = 5_000

export interface DiskParts {
  readonly dir: string
  readonly log: Log
  readonly state: State
  readonly database: Database
  /** Null when the store is open for reading only. */
  readonly ring: Ring | null
  /** Where recovery ended. */
  readonly position: Position
  readonly instance: Uint8Array
  readonly rules: SpaceRules
  readonly bucket: TokenBucket | null
  /** What one flush can take at the very most. */
  readonly flushMax: Flushable
  readonly onFatal: (error: MarramError) => void
}

/** A store on a disk: appends go to the ring, sweeps take them on to LMDB. */
export class DiskStore extends TableStore {
  /** 8 random bytes made with the database: another one means other feeds and cursors. */
  readonly instance: Uint8Array
  readonly #parts: DiskParts
  readonly #timer: SweepTimer
  /** Up to here the ring has taken effect. */
  #applied: Position
  #sweep: Promise<void> | null = null
  #recheck: NodeJS.Timeout | null = null
  /** Of a backup: asked for, waited for until the sweep under way is done, and being read. */
  #isSnapshotWanted = false
  #taker: { readonly resolve: (snapshot: Snapshot) => void; readonly reject: (error: MarramError) => void } | null =
    null
  #snapshot: Snapshot | null = null
  #isFull = false
  /** False once LMDB has failed to commit: it is not written again by this process. */
  #isSweepable = true
  /** Something has failed that the store cannot go on without. */
  #failure: MarramError | null = null
  #closing: Promise<void> | null = null
  #written = 0
  #flushes = 0

  constructor(parts: DiskParts) {
    super(parts.state, parts.log, parts.bucket, parts.flushMax)
    this.instance = parts.instance
    this.#parts = parts
    this.#applied = parts.position
    this.#timer = new SweepTimer(
      () => parts.state.unsweptBytes >= GATEWAY_LIMITS.idleSweepBytes,
      () => this.#startSweep(),
    )
    if (parts.ring === null) {
      this.refuse(new MarramError('not-supported', `Cannot append to "${parts.dir}": it is open for reading only`))
    } else if (parts.state.unsweptBytes > 0) this.#timer.touch()
  }

  status(): StorageStatus {
    const { dir, database, ring, state } = this.#parts
    return {
      path: dir,
      bytes: database.bytes + (ring?.capacityBytes ?? 0),
      freeBytes: freeBytesOf(dir),
      isFull: this.#isFull,
      written: this.#written + database.written,
      flushes: this.#flushes,
      tableBytes: state.bytes,
    }
  }

  /** Takes to LMDB what has taken effect by now. Resolves when that is done, or when the disk is too full for it. */
  async sweep(): Promise<void> {
    await this.#sweep
    this.#startSweep()
    await this.#sweep
  }

  /**
   * Everything that has taken effect by now, to be read while appends and sweeps go on. One at a time: rejects with `overloaded`, with
   * `closed`, and when the disk is full or has failed.
   */
  async snapshot(): Promise<Snapshot> {
    if (this.#isSnapshotWanted) throw new MarramError('overloaded', 'Cannot back up: another backup is under way')
    this.#isSnapshotWanted = true
    try {
      // What has taken effect since it began is not in it.
      await this.#sweep
      if (this.#closing !== null) throw new MarramError('closed', `Cannot back up "${this.#parts.dir}": it is closed`)
      this.#startSweep()
      if (this.#sweep !== null) return await new Promise((resolve, reject) => (this.#taker = { resolve, reject }))
      if (this.#parts.state.unsweptBytes > 0) throw this.#failure ?? this.#fullError()
      return this.#takeSnapshot()
    } catch (error) {
      this.#isSnapshotWanted = false
      throw error
    }
  }

  /** Between two sweeps, where the mark is true of all that is there. */
  #takeSnapshot(): Snapshot {
    return (this.#snapshot = this.#parts.database.snapshot(() => {
      this.#snapshot = null
      this.#isSnapshotWanted = false
    }))
  }

  #swept(isDone: boolean): void {
    const taker = this.#taker
    this.#taker = null
    if (isDone) taker?.resolve(this.#takeSnapshot())
    else taker?.reject(this.#failure ?? this.#fullError())
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  protected hasRoom({ bytes, memory }: Flushable): boolean {
    const { ring, state } = this.#parts
    if (ring?.fits(HEADER_BYTES + bytes) === true && state.hasRoom(memory)) return true
    // When no sweep can make room, waiting would be for ever: the queue has been turned away.
    this.#startSweep()
    return false
  }

  protected async unlocked(): Promise<void> {
    this.#timer.touch()
    if (this.state.fill >= GATEWAY_LIMITS.sweepAtFill) await this.sweep()
    else await new Promise((resolve) => setImmediate(resolve))
  }

  protected flush(appends: readonly PendingAppend[], done: () => void): void {
    const ring = this.#parts.ring as Ring
    const { record, durable } = encode(appends)
    const after = ring.write(record, (error) => {
      if (error !== null) this.#fail(error)
      if (error !== null || this.#failure !== null) {
        this.#turnAway(appends)
        return done()
      }
      this.#written += record.length
      this.#flushes += 1
      done()
      this.#takeEffect(appends, durable, after)
    })
  }

  #takeEffect(appends: readonly PendingAppend[], durable: readonly DurableAppend[], after: Position): void {
    let changes: readonly Change[]
    try {
      for (const append of durable) this.#takeAppend(append)
      for (const { records } of appends) for (const { key, value } of records) this.state.records.set(key, value)
      changes = this.state.settle()
    } catch (error) {
      this.#fail(error)
      return this.#turnAway(appends)
    }
    this.#applied = after
    this.announce(changes, appends)
    if (Math.max(this.state.fill, this.#parts.ring?.fill ?? 0) >= GATEWAY_LIMITS.sweepAtFill) this.#startSweep()
    else this.#timer.touch()
  }

  #takeAppend({ batches, drops }: DurableAppend): void {
    for (const batch of batches) this.#parts.state.take(batch)
    for (const { stored, seqs, end } of drops) this.#parts.state.drop(stored, seqs, end)
  }

  /** Starts a sweep unless one is under way, or the disk has no room for it: then appends are refused. */
  #startSweep(): void {
    const { dir, database, ring, rules, state } = this.#parts
    if (this.#sweep !== null || ring === null) return
    if (!this.#isSweepable) return this.rejectQueued(this.#failure ?? this.#fullError())
    if (state.unsweptBytes === 0) return
    const full = fullness(dir, this.status().bytes, rules)
    if (full !== null) return this.#becomeFull(full)
    this.#timer.reset()
    const position = this.#applied
    this.#sweep = sweep(database, state, position)
      .then(
        () => {
          ring.release(position)
          this.#swept(true)
        },
        (error: unknown) => {
          this.#sweepFailed(error)
          this.#swept(false)
        },
      )
      .finally(() => {
        this.#sweep = null
        this.flusher.pump()
      })
  }

  #becomeFull(error: MarramError): void {
    if (!this.#isFull) this.log.error('storage-full', { error: error.message })
    this.#isFull = true
    this.refuse(error)
    this.#recheck ??= setInterval(() => this.#checkAgain(), RECHECK_MS).unref()
  }

  #checkAgain(): void {
    if (this.#closing !== null || !this.#isSweepable) return
    if (fullness(this.#parts.dir, this.status().bytes, this.#parts.rules) !== null) return
    this.#stopChecking()
    this.#isFull = false
    this.refuse(null)
    this.log.info('storage-has-room')
    this.#startSweep()
  }

  #stopChecking(): void {
    if (this.#recheck !== null) clearInterval(this.#recheck)
    this.#recheck = null
  }

  /**
   * LMDB must not be written again: going on after a commit found no space makes it abort the process. The ring holds all
   * that it lacks, and the next start, helped by the ballast, sweeps it.
   */
  #sweepFailed(error: unknown): void {
    // LMDB reports a write that found room for a part of it as an I/O error.
    const isFull = isNoSpace(error) || freeBytesOf(this.#parts.dir) < GATEWAY_LIMITS.fullDiskBytes
    if (!isFull) return this.#fail(error)
    this.#isSweepable = false
    this.#isFull = true
    this.#stopChecking()
    dropBallast(this.#parts.dir)
    this.log.error('storage-full', { error: sentenceOf(error) })
    this.refuse(this.#fullError())
  }

  #fullError(): MarramError {
    return new MarramError('storage-full', `Cannot write to "${this.#parts.dir}": the disk is full, it must have room`)
  }

  #fail(cause: unknown): void {
    if (this.#failure !== null) return
    const { dir, onFatal } = this.#parts
    const code = cause instanceof MarramError ? cause.code : 'storage-io'
    this.#failure = new MarramError(code, `Cannot go on with "${dir}": ${sentenceOf(cause)}`, { cause })
    this.#isSweepable = false
    this.log.error('storage-failed', { error: this.#failure.message })
    this.refuse(this.#failure)
    onFatal(this.#failure)
  }

  #turnAway(appends: readonly PendingAppend[]): void {
    const error = new MarramError('storage-io', `Cannot append to "${this.#parts.dir}": the disk has failed`)
    for (const { reject } of appends) reject(error)
  }

  async #close(): Promise<void> {
    const { dir, database, ring } = this.#parts
    const closed = new MarramError('closed', `Cannot append to "${dir}": the store is closed`)
    this.refuseNew(closed)
    await this.flusher.idle()
    await this.sweep()
    this.#timer.reset()
    this.#stopChecking()
    this.refuse(closed)
    ring?.close()
    this.#snapshot?.close()
    await database.close()
  }
}

interface DurableAppend {
  readonly batches: readonly DurableBatch[]
  readonly drops: PendingAppend['drops']
}

/** One ring record of all appends. Feeds that the ring does not know yet stand before their first batch. */
function encode(appends: readonly PendingAppend[]): { record: Uint8Array; durable: DurableAppend[] } {
  const writer = new RecordWriter(appends.reduce((sum, { bytes }) => sum + bytes, 0))
  const durable = appends.map(({ batches, drops, records }) => {
    const taken = batches.map(({ stored, batch, ops, place }) => {
      if (!stored.isAnnounced) writer.feed(stored.number, encodeDescriptor(stored.feed.descriptor))
      stored.isAnnounced = true
      const bytes = writer.batch(stored.number, ops === null ? BATCH_HIDDEN : BATCH_SHOWN, batch.bytes, place)
      return { stored, batch, ops, bytes, place }
    })
    for (const { stored, seqs, end } of drops) writer.drop(stored.number, seqs, end)
    for (const { key, value } of records) writer.record(key, value)
    return { batches: taken, drops }
  })
  return { record: writer.finish(), durable }
}
