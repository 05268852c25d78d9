import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeDurably } from './files.ts'

/** `DIR/identity/tls.pem`: what the TLS listeners show, with its keys. */
export interface TlsFile {
  read(): string | null
  write(text: string): void
}

export function tlsFileOf(dir: string): TlsFile {
  const path = join(dir, 'identity', 'tls.pem')
  return {
    read: () => (existsSync(path) ? readFileSync(path, 'latin1') : null),
    write: (text) => writeDurably(path, text),
  }
}
