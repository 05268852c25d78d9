import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
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
