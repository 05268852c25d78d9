import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { sha256 } from '../crypto/hash.ts'
import { hex, utf8 } from '../base/bytes.ts'

/** What `sockaddr_un` holds, without its closing zero. */
const PATH_BYTES_MAX = 107

/** Where a running gateway is reached: `DIR/marram.sock`, or, where that is too long, a name made of DIR in the runtime directory. */
export function socketPathOf(dir: string): string {
  const path = join(resolve(dir), 'marram.sock')
  if (Buffer.byteLength(path) <= PATH_BYTES_MAX) return path
  const folder = process.env['XDG_RUNTIME_DIR'] ?? tmpdir()
  return join(folder, `marram-${hex(sha256(utf8(resolve(dir)))).slice(0, 16)}.sock`)
}
