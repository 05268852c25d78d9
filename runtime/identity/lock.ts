import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { utf8 } from '../base/bytes.ts'
import { MarramError, sentenceOf } from '../base/errors.ts'
import { sha256Hex } from '../crypto/hash.ts'

/** Held while a process uses a data directory. */
export interface Lock {
  release(): void
}

const WRITING_MS = 500

/**
 * One process a directory: `DIR/lock` names its holder. A holder that is gone (killed, or before a restart of the
 * machine) is replaced. Throws `in-use` when the holder is alive.
 */
export function takeLock(dir: string): Lock {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    return take(join(dir, 'lock'), dir)
  } catch (cause) {
    if (cause instanceof MarramError) throw cause
    throw new MarramError('storage-io', `Cannot lock "${dir}": ${sentenceOf(cause)}`, { cause })
  }
}

function take(path: string, dir: string): Lock {
  const self = holderText(process.pid) ?? `${process.pid}`
  for (;;) {
    if (create(path, self)) return { release: () => releaseOwn(path, self) }
    removeIfStale(path, dir)
  }
}

function create(path: string, content: string): boolean {
  try {
    writeFileSync(path, content, { flag: 'wx', mode: 0o600 })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

function removeIfStale(path: string, dir: string): void {
  const holder = readWritten(path)
  if (holder === null) return
  const pid = Number(holder.split(' ')[0])
  if (pid > 0 && holderText(pid) === holder) {
    throw new MarramError('in-use', `Cannot use "${dir}": the process ${pid} uses it, stop that one first`)
  }
  // Of those that find the same stale lock one alone may remove it: whoever came later would remove the first one's own.
  const right = take(`${path}.${sha256Hex(utf8(holder)).slice(0, 16)}`, dir)
  try {
    if (readWritten(path) === holder) rmSync(path)
  } finally {
    right.release()
  }
}

function releaseOwn(path: string, self: string): void {
  if (readIfThere(path) === self) rmSync(path, { force: true })
}

/** Whoever makes a lock writes its name next: an empty one is stale only when it stays so, as after a power cut. */
function readWritten(path: string): string | null {
  const content = readIfThere(path)
  if (content !== '') return content
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, WRITING_MS)
  return readIfThere(path)
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

/** `pid start-time boot-id`: a process number alone may be given again. Null when no such process runs. */
function holderText(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in parentheses may hold spaces: fields are counted from behind it, the start time is the 22nd of all.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (fields[0] === 'Z') return null
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    return `${pid} ${fields[19]} ${boot}`
  } catch {
    return isAlive(pid) ? `${pid}` : null
  }
}

/** Where there is no /proc. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return process.platform !== 'linux'
  } catch {
    return false
  }
}
