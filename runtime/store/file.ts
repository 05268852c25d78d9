import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs'

/** A new file of zeros that are really written and flushed: a hole would hold no room, and writing into it would make metadata. */
export function fillFile(path: string, bytes: number): void {
  const zeros = Buffer.alloc(Math.min(bytes, 262_144))
  const file = openSync(path, 'wx', 0o600)
  try {
    for (let at = 0; at < bytes;) at += writeSync(file, zeros, 0, Math.min(zeros.length, bytes - at), at)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

/** Makes the names of new files in `dir` durable. */
export function flushFolder(dir: string): void {
  const folder = openSync(dir, 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}

export function isNoSpace(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return /ENOSPC|EDQUOT|no space left|disk quota/i.test(`${(error as NodeJS.ErrnoException).code} ${error.message}`)
}
