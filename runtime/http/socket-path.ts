import { lstatSync, mkdirSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { hex, utf8 } from '../base/bytes.ts'
import { MarramError } from '../base/errors.ts'
import { sha256 } from '../crypto/hash.ts'

/** What `sockaddr_un` holds, without its closing zero. */
const PATH_BYTES_MAX = 107

/**
 * Where the gateway of `dir` is reached: `DIR/marram.sock`, or, where that is too long, a name made of DIR in a folder of
 * this user's: `$XDG_RUNTIME_DIR`, else `/tmp/marram-UID`.
 */
export function socketPathOf(dir: string): string {
  const path = join(resolve(dir), 'marram.sock')
  if (Buffer.byteLength(path) <= PATH_BYTES_MAX) return path
  const folder = process.env['XDG_RUNTIME_DIR'] ?? `/tmp/marram-${userId()}`
  return join(folder, `marram-${hex(sha256(utf8(resolve(dir)))).slice(0, 16)}.sock`)
}

/** Makes the folder of the socket where it isn't DIR itself. Throws `not-permitted` as `checkSocketFolder`. */
export function claimSocketFolder(dir: string): void {
  const folder = dirname(socketPathOf(dir))
  if (folder !== resolve(dir)) mkdirSync(folder, { recursive: true, mode: 0o700 })
  checkSocketFolder(dir)
}

/**
 * In a place that others can write to, somebody may have made the folder first, to answer in the gateway's stead: throws
 * `not-permitted` unless it is this user's alone. One that is missing is nobody's.
 */
export function checkSocketFolder(dir: string): void {
  const folder = dirname(socketPathOf(dir))
  const stat = folder === resolve(dir) ? undefined : lstatSync(folder, { throwIfNoEntry: false })
  if (!stat || (stat.isDirectory() && stat.uid === userId() && (stat.mode & 0o077) === 0)) return
  throw new MarramError(
    'not-permitted',
    `Cannot use the folder "${folder}": it must belong to this user alone (mode 0700)`,
  )
}

function userId(): number {
  return process.getuid?.() ?? 0
}
