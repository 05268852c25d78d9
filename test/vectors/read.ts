import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** A published file of test vectors; read from the sources, for only compiled code is in `dist`. */
export function readVectors(name: string): unknown {
  return JSON.parse(readFileSync(join(import.meta.dirname, '../../../test/vectors', name), 'utf8')) as unknown
}
