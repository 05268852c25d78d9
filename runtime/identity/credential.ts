import { resolve } from 'node:path'
import type { Credential } from '../profile/resolved.ts'

/** Where the file is that a profile names: below the data directory `dir`, or where systemd keeps credentials. */
export function credentialPath(dir: string, { from, name }: Credential): string {
  return resolve(from === 'cred' ? (process.env['CREDENTIALS_DIRECTORY'] ?? '') : dir, name)
}
