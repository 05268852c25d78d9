import { createHash, type Hash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { hex } from './base/bytes.ts'
import { MarramError, sentenceOf } from './base/errors.ts'
import { flushFolder, writeDurably } from './identity/files.ts'
import { hasIdentity, loadIdentity } from './identity/identity.ts'
import { takeLock } from './identity/lock.ts'
import { newIncarnation, readMark, writeMark } from './identity/mark.ts'
import { SILENT_LOG } from './ports/log.ts'
import { adoptCopy, openStore } from './store/open.ts'

/**
 * A backup is one file: this line, a line of JSON (the header), LMDB's file, and the SHA-256 of all that stands before it.
 */
const MAGIC = 'marram-backup 1\n'
const HEADER_BYTES_MAX = 1024 * 1024
const CHUNK_BYTES = 1024 * 1024
const HASH_BYTES = 32
const IDENTITY_FILES = ['root.json', 'mesh.json', 'device.json'] as const

interface Header {
  readonly meshId: string
  /** The greatest stamp that the mark beside the key knew of. */
  readonly hlc: number
  /** Files of `identity/` by name, `device.json` last; empty when it was left out. */
  readonly identity: { readonly [name: string]: string }
}

/**
 * Writes what the stopped gateway in `dir` has stored to the new file `path`, readable by its owner alone. Resolves to its
 * bytes. Throws `already-exists`, `in-use`, `no-identity`, `not-found`, `storage-damaged`, `storage-full`, `storage-io`.
 */
export async function backupGateway(dir: string, path: string, hasKeys: boolean): Promise<number> {
  if (existsSync(path))
    throw new MarramError('already-exists', `Cannot write "${path}": it is there already, name a new file`)
  const { meshId } = loadIdentity(dir).mesh
  const lock = takeLock(dir)
  const partial = `${path}.partial`
  let copy: string | null = null
  try {
    copy = mkdtempSync(join(dirname(resolve(path)), `.${basename(path)}-`))
    const store = await openStore({ dir: join(dir, 'data'), meshId, log: SILENT_LOG, onFatal: () => {} })
    try {
      await store.backup(copy)
    } finally {
      await store.close()
    }
    const hlc = readMark(dir)?.hlc ?? 0
    const header: Header = { meshId: hex(meshId), hlc, identity: hasKeys ? identityFiles(dir) : {} }
    const bytes = await writeBackup(partial, header, join(copy, 'data.mdb'))
    renameSync(partial, path)
    flushFolder(dirname(resolve(path)))
    return bytes
  } catch (error) {
    throw asMarramError(error, path)
  } finally {
    rmSync(partial, { force: true })
    if (copy !== null) rmSync(copy, { recursive: true })
    lock.release()
  }
}

/**
 * Puts the backup `path` into `dir`, whose gateway then starts a new incarnation. Nothing is changed unless all of the file
 * is sound. With `isForced` the store that is there goes. Throws `already-exists`, `in-use`, `no-identity` (none in `dir`
 * nor in the file), `not-found`, `not-permitted` (another mesh's), `storage-damaged`, `storage-full`, `storage-io`.
 */
export async function restoreGateway(dir: string, path: string, isForced: boolean): Promise<void> {
  if (!existsSync(path)) throw new MarramError('not-found', `Cannot read "${path}": there is no such file`)
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const lock = takeLock(dir)
  const data = join(dir, 'data')
  const copy = join(dir, 'data-restored')
  const replaced = join(dir, 'data-replaced')
  try {
    if (existsSync(data) && !isForced)
      throw new MarramError(
        'already-exists',
        `Cannot restore to "${dir}": it holds data, --force puts the backup in its place`,
      )
    rmSync(copy, { recursive: true, force: true })
    mkdirSync(copy, { mode: 0o700 })
    const { meshId, hlc, identity } = await readBackup(path, join(copy, 'data.mdb'))
    checkIdentity(dir, meshId, identity)
    await adoptCopy(copy)
    const before = readMark(dir)
    // A mark of another incarnation than the store's: the gateway begins a new one.
    writeMark(dir, { incarnation: newIncarnation(), lsn: 0, hlc: Math.max(hlc, before?.hlc ?? 0) })
    if (!hasIdentity(dir))
      for (const name of IDENTITY_FILES)
        if (identity[name] !== undefined) writeDurably(join(dir, 'identity', name), identity[name])
    // Power may go at any moment: one of the two is always whole.
    rmSync(replaced, { recursive: true, force: true })
    if (existsSync(data)) renameSync(data, replaced)
    renameSync(copy, data)
    flushFolder(dir)
    rmSync(replaced, { recursive: true, force: true })
  } catch (error) {
    throw asMarramError(error, path)
  } finally {
    rmSync(copy, { recursive: true, force: true })
    lock.release()
  }
}

function identityFiles(dir: string): { [name: string]: string } {
  const paths = IDENTITY_FILES.map((name) => [name, join(dir, 'identity', name)] as const)
  return Object.fromEntries(
    paths.filter(([, path]) => existsSync(path)).map(([name, path]) => [name, readFileSync(path, 'utf8')]),
  )
}

function checkIdentity(dir: string, meshId: string, identity: Header['identity']): void {
  if (!hasIdentity(dir)) {
    if (identity['device.json'] !== undefined && identity['mesh.json'] !== undefined) return
    const sentence = `Cannot restore to "${dir}": neither it nor the backup holds an identity`
    throw new MarramError('no-identity', `${sentence}; put identity/ back, or make one with "marram join TOKEN"`)
  }
  if (hex(loadIdentity(dir).mesh.meshId) !== meshId)
    throw new MarramError('not-permitted', `Cannot restore to "${dir}": the backup is of another mesh`)
}

async function writeBackup(path: string, header: Header, data: string): Promise<number> {
  const [input, output] = [await open(data, 'r'), await open(path, 'wx', 0o600)]
  try {
    const hash = createHash('sha256')
    const head = Buffer.from(`${MAGIC}${JSON.stringify(header)}\n`)
    hash.update(head)
    await output.appendFile(head)
    const { size } = await input.stat()
    await copyBytes(input, 0, size, output, hash)
    await output.appendFile(hash.digest())
    await output.sync()
    return head.length + size + HASH_BYTES
  } finally {
    await input.close()
    await output.close()
  }
}

/** Writes LMDB's file to `data`. */
async function readBackup(path: string, data: string): Promise<Header> {
  const [input, output] = [await open(path, 'r'), await open(data, 'wx', 0o600)]
  try {
    const { size } = await input.stat()
    const { header, length } = await readHeader(input, path)
    const hash = createHash('sha256').update(await bytesAt(input, 0, length))
    await copyBytes(input, length, size - HASH_BYTES, output, hash)
    if (!hash.digest().equals(await bytesAt(input, size - HASH_BYTES, HASH_BYTES))) throw damaged(path)
    await output.sync()
    return header
  } finally {
    await input.close()
    await output.close()
  }
}

async function readHeader(input: FileHandle, path: string): Promise<{ header: Header; length: number }> {
  const start = await bytesAt(input, 0, HEADER_BYTES_MAX)
  const end = start.indexOf('\n', MAGIC.length)
  if (start.indexOf(MAGIC) !== 0 || end < 0) throw damaged(path)
  const header = parseHeader(start.toString('utf8', MAGIC.length, end))
  if (header === null) throw damaged(path)
  return { header, length: end + 1 }
}

function parseHeader(text: string): Header | null {
  try {
    const header = JSON.parse(text) as Partial<Header> | null
    const { meshId, hlc, identity } = header ?? {}
    if (typeof meshId !== 'string' || !Number.isSafeInteger(hlc) || typeof identity !== 'object') return null
    return Object.values(identity).every((content) => typeof content === 'string') ? (header as Header) : null
  } catch {
    return null
  }
}

async function copyBytes(from: FileHandle, start: number, end: number, to: FileHandle, hash: Hash): Promise<void> {
  for (let at = start; at < end;) {
    const bytes = await bytesAt(from, at, Math.min(CHUNK_BYTES, end - at))
    if (bytes.length === 0) return
    hash.update(bytes)
    await to.appendFile(bytes)
    at += bytes.length
  }
}

async function bytesAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, Math.max(0, position))
  return buffer.subarray(0, bytesRead)
}

function damaged(path: string): MarramError {
  return new MarramError('storage-damaged', `Cannot restore "${path}": it is no whole backup, use another copy of it`)
}

function asMarramError(error: unknown, path: string): MarramError {
  if (error instanceof MarramError) return error
  const code = (error as NodeJS.ErrnoException).code === 'ENOSPC' ? 'storage-full' : 'storage-io'
  return new MarramError(code, `Cannot go on with "${path}": ${sentenceOf(error)}`, { cause: error })
}
