import { existsSync, mkdirSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { dirname, join } from 'node:path'
import { MarramError } from '../base/errors.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import type { Result } from '../base/result.ts'
import type { BodyKeys } from '../model/keys.ts'
import type { Log } from '../ports/log.ts'
import { decodeDescriptor, feedOf } from '../wire/descriptor.ts'
import { TokenBucket } from './bucket.ts'
import { damaged, type BackupRow } from './backup-format.ts'
import {
  CIPHER_KEY,
  DATA_FILE,
  Database,
  FORMAT_KEY,
  INSTANCE_KEY,
  MARK_KEY,
  openError,
  RING_KEY,
  Slice,
  TABLES,
} from './database.ts'
import { DEFAULT_SPACE_RULES, dropBallast, freeBytesOf, keepBallast, type SpaceRules } from './disk-space.ts'
import { DiskStore } from './disk-store.ts'
import { agreementOf, encryptValues } from './encrypting.ts'
import { flushFolder } from './file.ts'
import { decodeHead, decodeMark, decodeRingShape, decodeSpace, encodeMark, encodeRingShape, FORMAT } from './layout.ts'
import { finishReplacing } from './replacing.ts'
import { replay } from './replay.ts'
import type { Position } from './ring-record.ts'
import { recoverRing } from './ring-recovery.ts'
import { createRing, Ring, RING_PLACE, type RingShape } from './ring.ts'
import { State } from './state.ts'
import { sweep } from './sweep.ts'
import { ValueCipher } from './value-cipher.ts'

export interface StoreOptions {
  /** Holds LMDB's files and the ring; made when it isn't there. Nobody else may have it open for writing. */
  readonly dir: string
  /** 16 bytes; feeds' ids depend on it. */
  readonly meshId: Uint8Array
  readonly log: Log
  /** The store has failed and is of no more use but for reading. */
  readonly onFatal: (error: MarramError) => void
  /** Small flushes a second that a steady trickle may cost. */
  readonly flushesPerSecond?: number
  readonly reserveFreeBytes?: number
  readonly maxBytes?: number
  readonly ballastBytes?: number
  readonly tableBytesMax?: number
  /** Of encrypted collections, as far as they are known. */
  readonly keys?: BodyKeys
  /** 32 bytes: values are encrypted with it; null or left out: they are not. */
  readonly encryptionKey?: Uint8Array | null
  /** Encrypts a store that held its values in plain: for the gateway itself, which shows it in its log and may take its time. */
  readonly mayEncrypt?: boolean
  /** Taken when the store is made; a store keeps its ring for life. */
  readonly ring?: { readonly segments: number; readonly segmentBytes: number }
  /** Recovers the log in memory and writes nothing; appends are refused. */
  readonly readOnly?: boolean
  /** Opens a store whose log is damaged, for writing: what lies behind the damage is kept where it continues what came before. */
  readonly isRepair?: boolean
}

/**
 * Opens the store in `dir`, or makes it. Rejects with a MarramError: `storage-full`, `storage-damaged` (names the
 * repair), `storage-io`, `not-supported` (made by a newer program), `not-found` (to be read, and not there), `no-key` (it is
 * encrypted with another key), `not-running` (the gateway has to encrypt it first).
 */
export async function openStore(options: StoreOptions): Promise<DiskStore> {
  const { dir } = options
  const isReadOnly = options.readOnly === true
  try {
    finishReplacing(dir)
    if (isReadOnly && !existsSync(join(dir, DATA_FILE))) throw notFound(dir)
    if (!isReadOnly) makeReady(options)
    const database = new Database(dir, isReadOnly)
    try {
      return await openOn(database, options)
    } catch (error) {
      await database.close()
      throw error
    }
  } catch (error) {
    throw openError(dir, error)
  }
}

async function openOn(database: Database, options: StoreOptions): Promise<DiskStore> {
  const { dir, log, onFatal } = options
  const isReadOnly = options.readOnly === true
  const ownersKey = options.encryptionKey ?? null
  const cipher = ownersKey === null ? null : new ValueCipher(ownersKey)
  await ensureMade(database, options, cipher)
  const agreed = await agree(database, options, cipher)
  const { state, shape, position, oldest } = await recovered(database, options, agreed)
  const rules = rulesOf(options)
  if (!isReadOnly) keepBallast(dir, rules)
  const store = new DiskStore({
    dir,
    log,
    state,
    database,
    ring: isReadOnly ? null : new Ring(dir, shape, position, oldest, agreed),
    position,
    instance: required(database.get('meta', INSTANCE_KEY), 'its instance'),
    rules,
    bucket: new TokenBucket(options.flushesPerSecond ?? GATEWAY_LIMITS.flushesPerSecond, performance.now()),
    flushMax: { bytes: shape.segmentBytes / 2, memory: (options.tableBytesMax ?? GATEWAY_LIMITS.tableBytesMax) / 8 },
    onFatal,
  })
  // A key came, and not all that waited for it was unlocked when the gateway stopped.
  await store.unlock()
  return store
}

/** A new store's ring is there before anything says so. */
async function ensureMade(
  database: Database,
  { dir, ring, readOnly }: StoreOptions,
  cipher: ValueCipher | null,
): Promise<void> {
  const format = database.get('meta', FORMAT_KEY)
  if (format !== undefined) return checkFormat(dir, format)
  if (readOnly === true) throw notFound(dir)
  const shape: RingShape = {
    segments: ring?.segments ?? GATEWAY_LIMITS.ringSegments,
    segmentBytes: ring?.segmentBytes ?? GATEWAY_LIMITS.ringSegmentBytes,
    salt: newSalt(),
  }
  const position = createRing(dir, shape)
  flushFolder(dir)
  flushFolder(dirname(dir))
  const slice = new Slice()
  putMeta(slice, shape, position, 0)
  if (cipher !== null) slice.put('meta', CIPHER_KEY, cipher.check())
  slice.put('meta', INSTANCE_KEY, randomBytes(8))
  slice.put('meta', FORMAT_KEY, Uint8Array.of(FORMAT))
  await database.commit(slice)
  await database.flushed()
}

/** What values and the log are encrypted with from here on: those of a store that held them in plain are encrypted first. */
async function agree(
  database: Database,
  options: StoreOptions,
  cipher: ValueCipher | null,
): Promise<ValueCipher | null> {
  const agreement = agreementOf(database, options.dir, cipher)
  if (cipher === null || agreement === 'plain') return null
  const mayEncrypt = options.mayEncrypt === true && options.readOnly !== true
  if (agreement !== 'sealed' && !mayEncrypt) {
    // Until the gateway has started with its new profile the store is as it was, which a damaged one must be put right for.
    if (agreement === 'to-encrypt' && (options.readOnly === true || options.isRepair === true)) return null
    throw notEncryptedYet(options.dir)
  }
  if (agreement === 'to-encrypt') {
    // Nothing may stay in the log, which was written in plain.
    const { state, shape, position } = await recovered(database, options, null)
    await renewRing(database, state, options.dir, shape, position)
  }
  if (agreement !== 'sealed') {
    await encryptValues(database, cipher)
    options.log.info('store-encrypted')
  }
  database.encrypt(cipher)
  return cipher
}

function notEncryptedYet(dir: string): MarramError {
  return new MarramError(
    'not-running',
    `Cannot open "${dir}": the profile wants it encrypted, and it is not or not all of it; start the gateway once, it encrypts what is there`,
  )
}

interface Recovered extends RecoveredLog {
  readonly state: State
}

async function recovered(database: Database, options: StoreOptions, cipher: ValueCipher | null): Promise<Recovered> {
  const state = new State(database, options.tableBytesMax, options.keys)
  load(database, state, options.meshId)
  return { state, ...(await recover(database, state, options, cipher)) }
}

function checkFormat(dir: string, format: Uint8Array): void {
  if (format[0] === FORMAT) return
  const sentence = `Cannot open "${dir}": its format is ${format[0]}, this program reads ${FORMAT}; use a newer marram`
  throw new MarramError('not-supported', sentence)
}

function putMeta(slice: Slice, shape: RingShape, position: Position, lsn: number): void {
  slice.put('meta', RING_KEY, encodeRingShape(shape))
  slice.put('meta', MARK_KEY, encodeMark({ position, lsn }))
}

/** Feeds, heads and spaces as of the last sweep. */
function load(database: Database, state: State, meshId: Uint8Array): void {
  for (const { number, bytes } of database.numbered('feeds')) {
    state.feeds.restore(feedOf(meshId, sound(decodeDescriptor(bytes))), number, true)
  }
  for (const { number, bytes } of database.numbered('heads')) {
    const stored = required(state.feeds.byNumber(number), `feed ${number}`)
    state.feeds.restoreHead(stored, sound(decodeHead(bytes, stored.feed)))
  }
  for (const { number, bytes } of database.numbered('spaces')) {
    const space = sound(decodeSpace(bytes))
    state.documents.restoreSpace(space, number, space)
  }
}

interface RecoveredLog {
  readonly shape: RingShape
  readonly position: Position
  /** The segment of the mark. */
  readonly oldest: number
}

async function recover(
  database: Database,
  state: State,
  options: StoreOptions,
  cipher: ValueCipher | null,
): Promise<RecoveredLog> {
  const { dir, meshId, log } = options
  const isRepair = options.isRepair === true
  const shape = sound(decodeRingShape(required(database.get('meta', RING_KEY), 'the shape of its log')))
  const mark = sound(decodeMark(required(database.get('meta', MARK_KEY), 'its mark')))
  state.feeds.restoreLsn(mark.lsn)
  const { payloads, stranded, next } = recoverRing(dir, shape, mark.position, isRepair)
  if (stranded.length > 0 && !isRepair) {
    const sentence = `Cannot open "${dir}": its log is damaged at record ${next.number}`
    throw new MarramError('storage-damaged', `${sentence}; run: marram verify --repair`)
  }
  const opened = (payload: Uint8Array): Uint8Array =>
    cipher === null ? payload : required(cipher.open(RING_PLACE, payload) ?? undefined, 'a record of its log')
  for (const payload of payloads) replay(state, meshId, opened(payload), false)
  for (const payload of stranded) replay(state, meshId, opened(payload), true)
  if (stranded.length > 0) log.warn('log-damaged', { record: next.number, salvaged: stranded.length })
  if (isRepair) return renewRing(database, state, dir, shape, next)
  return { shape, position: next, oldest: mark.position.segment }
}

/** Sweeps everything, then begins a new ring: under its new salt nothing in it is left of the old. */
async function renewRing(
  database: Database,
  state: State,
  dir: string,
  old: RingShape,
  end: Position,
): Promise<RecoveredLog> {
  await sweep(database, state, end)
  const shape = { ...old, salt: newSalt() }
  const position = createRing(dir, shape)
  flushFolder(dir)
  const slice = new Slice()
  putMeta(slice, shape, position, state.feeds.lsn)
  await database.commit(slice)
  await database.flushed()
  return { shape, position, oldest: 0 }
}

/** What one transaction of a restore puts, in bytes. */
const RESTORE_BYTES = 1_048_576

/**
 * Makes a store of a backup's rows in the empty folder `dir`: with an empty log and a new instance. Rejects with `storage-damaged`
 * when they make none, and with what reading them rejects with.
 */
export async function restoreStore(dir: string, rows: AsyncIterable<BackupRow>, name: string): Promise<void> {
  const database = new Database(dir, false)
  try {
    let slice = new Slice()
    let bytes = 0
    for await (const { table, key, value } of rows) {
      const known = TABLES[table]
      if (known === undefined || key.length === 0) throw damaged(name)
      slice.put(known, key, value)
      bytes += key.length + value.length
      if (bytes < RESTORE_BYTES) continue
      await database.commit(slice)
      slice = new Slice()
      bytes = 0
    }
    await database.commit(slice)
    await database.flushed()
    await renew(database, dir)
  } catch (error) {
    throw openError(dir, error)
  } finally {
    await database.close()
  }
}

async function renew(database: Database, dir: string): Promise<void> {
  checkFormat(dir, required(database.get('meta', FORMAT_KEY), 'its format'))
  const old = sound(decodeRingShape(required(database.get('meta', RING_KEY), 'the shape of its log')))
  const { lsn } = sound(decodeMark(required(database.get('meta', MARK_KEY), 'its mark')))
  const shape = { ...old, salt: newSalt() }
  const position = createRing(dir, shape)
  flushFolder(dir)
  const slice = new Slice()
  putMeta(slice, shape, position, lsn)
  slice.put('meta', INSTANCE_KEY, randomBytes(8))
  await database.commit(slice)
  await database.flushed()
}

function newSalt(): number {
  return randomBytes(4).readUInt32BE()
}

function makeReady(options: StoreOptions): void {
  const { dir } = options
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const needed = Math.min(GATEWAY_LIMITS.fullDiskBytes, rulesOf(options).reserveFreeBytes)
  if (freeBytesOf(dir) >= needed) return
  dropBallast(dir)
  const free = freeBytesOf(dir)
  if (free >= needed) return
  throw new MarramError('storage-full', `Cannot open "${dir}": its disk has ${free} bytes free, it must have ${needed}`)
}

function rulesOf(options: StoreOptions): SpaceRules {
  return {
    reserveFreeBytes: options.reserveFreeBytes ?? DEFAULT_SPACE_RULES.reserveFreeBytes,
    maxBytes: options.maxBytes ?? DEFAULT_SPACE_RULES.maxBytes,
    ballastBytes: options.ballastBytes ?? DEFAULT_SPACE_RULES.ballastBytes,
  }
}

function sound<T>(result: Result<T>): T {
  if (result.ok) return result.value
  throw new MarramError('storage-damaged', `Cannot open the store: ${result.error.message}`)
}

function required<T>(value: T | undefined, what: string): T {
  if (value !== undefined) return value
  throw new MarramError('storage-damaged', `Cannot open the store: ${what} is missing; run: marram verify --repair`)
}

function notFound(dir: string): MarramError {
  return new MarramError('not-found', `Cannot open "${dir}": there is no store yet, "marram run" makes one`)
}
