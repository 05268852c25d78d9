import { createReadStream, existsSync, mkdirSync, rmSync } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { hex } from './base/bytes.ts'
import { MarramError, sentenceOf, unwritten } from './base/errors.ts'
import { flushFolder, textsOf, writeDurably, writeWhole } from './identity/files.ts'
import { hasIdentity, loadIdentity } from './identity/identity.ts'
import { loadKeyring } from './identity/keyring-file.ts'
import { takeLock } from './identity/lock.ts'
import { newIncarnation, readMark, writeMark } from './identity/mark.ts'
import { restoreSettings, settingsOf, type ProfileOrigin } from './identity/settings.ts'
import { keptStoreKey } from './identity/store-key.ts'
import { SILENT_LOG } from './ports/log.ts'
import { decodeBackup, decodeRows, encodeBackup, type BackupHeader, type FileTexts } from './store/backup-format.ts'
import { openStore, restoreStore } from './store/open.ts'
import { copyFor, finishReplacing, replaceByCopy } from './store/replacing.ts'

/** Other keys wait in `next.json`; devices may know the certificate. */
const IDENTITY_FILES = ['root.json', 'next.json', 'tls.pem', 'mesh.json', 'device.json'] as const

/** The bytes of a backup of what the stopped gateway in `dir` has stored, without keys; encrypted as the store is. */
export async function* backupOf(dir: string): AsyncGenerator<Uint8Array> {
  const { meshId } = loadIdentity(dir).mesh
  const lock = takeLock(dir)
  try {
    const keys = loadKeyring(dir)
    const encryptionKey = keptStoreKey(dir)
    const options = { dir: join(dir, 'data'), meshId, keys, encryptionKey, log: SILENT_LOG, onFatal: () => {} }
    const store = await openStore(options)
    try {
      const header = { meshId: hex(meshId), hlc: readMark(dir)?.hlc ?? 0, identity: {} }
      yield* encodeBackup(header, (await store.snapshot()).rows())
    } finally {
      await store.close()
    }
  } finally {
    lock.release()
  }
}

/**
 * Writes a backup that comes as `bytes` to the new file `path`, readable by its owner alone, with the keys and settings in
 * `dir` if asked for. The file is there only when it is whole and on the disk. Resolves to its bytes. Rejects with `already-exists`,
 * `bad-profile`, `cannot-create`, `in-use`, `storage-damaged`, `storage-full`, `storage-io`, `too-large`, and with what reading `bytes` rejects with.
 */
export async function writeBackup(
  dir: string,
  path: string,
  bytes: AsyncIterable<Uint8Array>,
  hasKeys: boolean,
): Promise<number> {
  refuseExisting(path)
  try {
    const { header, rows } = await decodeBackup(bytes, path)
    const backup = encodeBackup(
      hasKeys ? { ...header, identity: identityFiles(dir), settings: settingsOf(dir) } : header,
      rows,
    )
    const written = await writeWhole(path, 0o600, async (file) => {
      const count = await writeAll(file, backup)
      refuseExisting(path)
      return count
    })
    flushFolder(dirname(resolve(path)))
    return written
  } catch (error) {
    throw unwritten(path, error)
  }
}

function refuseExisting(path: string): void {
  if (existsSync(path))
    throw new MarramError('already-exists', `Cannot write "${path}": it is there already, name a new file`)
}

/** On the disk when it resolves, to the bytes. */
async function writeAll(file: FileHandle, bytes: AsyncIterable<Uint8Array>): Promise<number> {
  let written = 0
  for await (const piece of bytes) {
    await file.appendFile(piece)
    written += piece.length
  }
  await file.sync()
  return written
}

/**
 * Puts the backup `path` into `dir`, whose gateway then starts a new incarnation. Nothing is changed unless all of the file
 * is sound. With `isForced` the store that is there goes; keys and settings that are there stay. Resolves to where its profile is from. Throws `already-exists`, `in-use`, `no-identity` (none in `dir`
 * nor in the file), `not-found`, `not-permitted` (another mesh's), `storage-damaged`, `storage-full`, `storage-io`.
 */
export async function restoreGateway(dir: string, path: string, isForced: boolean): Promise<ProfileOrigin> {
  if (!existsSync(path)) throw new MarramError('not-found', `Cannot read "${path}": there is no such file`)
  const lock = takeLock(dir)
  const data = join(dir, 'data')
  const copy = copyFor(data)
  try {
    finishReplacing(data)
    if (existsSync(data) && !isForced)
      throw new MarramError(
        'already-exists',
        `Cannot restore to "${dir}": it holds data, --force puts the backup in its place`,
      )
    rmSync(copy, { recursive: true, force: true })
    mkdirSync(copy, { mode: 0o700 })
    const { header, rows } = await decodeBackup(createReadStream(path), path)
    checkIdentity(dir, header)
    await restoreStore(copy, decodeRows(rows, path), path)
    const { hlc, identity, settings } = header
    const before = readMark(dir)
    // A mark of another incarnation than the store's: the gateway begins a new one.
    writeMark(dir, { incarnation: newIncarnation(), lsn: 0, hlc: Math.max(hlc, before?.hlc ?? 0) })
    const origin = restoreSettings(dir, settings)
    if (!hasIdentity(dir))
      for (const name of IDENTITY_FILES)
        if (identity[name] !== undefined) writeDurably(join(dir, 'identity', name), identity[name])
    replaceByCopy(data)
    return origin
  } catch (error) {
    throw asMarramError(error, path)
  } finally {
    rmSync(copy, { recursive: true, force: true })
    lock.release()
  }
}

function identityFiles(dir: string): FileTexts {
  return textsOf(join(dir, 'identity'), IDENTITY_FILES)
}

function checkIdentity(dir: string, { meshId, identity }: BackupHeader): void {
  if (!hasIdentity(dir)) {
    if (identity['device.json'] !== undefined && identity['mesh.json'] !== undefined) return
    const sentence = `Cannot restore to "${dir}": neither it nor the backup holds an identity`
    throw new MarramError('no-identity', `${sentence}; put identity/ back, or make one with "marram join TOKEN"`)
  }
  if (hex(loadIdentity(dir).mesh.meshId) !== meshId)
    throw new MarramError('not-permitted', `Cannot restore to "${dir}": the backup is of another mesh`)
}

function asMarramError(error: unknown, path: string): MarramError {
  if (error instanceof MarramError) return error
  const code = (error as NodeJS.ErrnoException).code === 'ENOSPC' ? 'storage-full' : 'storage-io'
  return new MarramError(code, `Cannot go on with "${path}": ${sentenceOf(error)}`, { cause: error })
}
