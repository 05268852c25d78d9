import {
  closeSync,
  existsSync,
  fsyncSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { MarramError, sentenceOf } from '../base/errors.ts'

/**
 * Small files that must survive a power cut: written to a temporary file, flushed, renamed, and the folder flushed, so
 * that the old or the new content is there, never half of one.
 */
export function writeDurably(path: string, content: string, mode = 0o600): void {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    const temporary = `${path}.tmp`
    const file = openSync(temporary, 'w', mode)
    try {
      // All of it: a full disk takes the beginning of a single write without an error.
      writeFileSync(file, content)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    renameSync(temporary, path)
    flushFolder(dirname(path))
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code === 'ENOSPC' ? 'storage-full' : 'storage-io'
    throw new MarramError(code, `Cannot write "${path}": ${sentenceOf(cause)}`, { cause })
  }
}

/**
 * Has a large file written beside its place, as `PATH.partial`, which takes the place once it is whole. Of two that are written to one
 * place at once the one that began later goes on, and the other rejects with `in-use`: what is there under the name would be
 * the half of somebody else's. Rejects with what `write` rejects with, and with the file system's errors.
 */
export async function writeWhole<T>(path: string, mode: number, write: (file: FileHandle) => Promise<T>): Promise<T> {
  const partial = `${path}.partial`
  rmSync(partial, { force: true })
  const file = await open(partial, 'wx', mode)
  try {
    const written = await write(file)
    if (!isAt(partial, file))
      throw new MarramError(
        'in-use',
        `Cannot write "${path}": another process has begun to write it too, name a new file`,
      )
    renameSync(partial, path)
    return written
  } catch (error) {
    if (isAt(partial, file)) rmSync(partial)
    throw error
  } finally {
    await file.close()
  }
}

function isAt(path: string, { fd }: FileHandle): boolean {
  const there = statSync(path, { throwIfNoEntry: false })
  const { ino, dev } = fstatSync(fd)
  return there?.ino === ino && there.dev === dev
}

/** What is in those of the files that are there, by their paths below `folder`. */
export function textsOf(folder: string, paths: readonly string[]): { [path: string]: string } {
  const there = paths.filter((path) => existsSync(resolve(folder, path)))
  return Object.fromEntries(there.map((path) => [path, readFileSync(resolve(folder, path), 'utf8')]))
}

export function flushFolder(path: string): void {
  const folder = openSync(path, 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}

/** The parsed content, or null when there is no such file. Damaged content is an error that names the file. */
export function readJson(path: string): unknown {
  if (!existsSync(path)) return null
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as unknown
  } catch (cause) {
    throw new MarramError('storage-damaged', `Cannot read "${path}": ${sentenceOf(cause)}; restore it from a copy`, {
      cause,
    })
  }
}
