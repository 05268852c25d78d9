import { resolve } from 'node:path'
import { MarramError } from '../base/errors.ts'
import type { Credential } from '../profile/resolved.ts'

/**
 * Where the file is that a profile names: below the data directory `dir`, or where systemd keeps credentials. Throws `bad-profile`
 * when this process was given none.
 */
export function credentialPath(dir: string, { from, name }: Credential): string {
  return resolve(from === 'cred' ? credentialsFolder(name) : dir, name)
}

function credentialsFolder(name: string): string {
  const folder = process.env['CREDENTIALS_DIRECTORY'] ?? ''
  if (folder !== '') return folder
  throw new MarramError(
    'bad-profile',
    `Cannot read "cred:${name}": systemd gave this process no credentials (CREDENTIALS_DIRECTORY is not set); run it in a unit with "LoadCredential=${name}:/path/of/the/file", or name a file in the profile, "file:/path/of/the/file"`,
  )
}
