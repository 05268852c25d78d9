import { existsSync, readFileSync } from 'node:fs'
import { fromHex } from '../base/bytes.ts'
import { MarramError } from '../base/errors.ts'
import { shellWord } from '../base/shell.ts'
import type { ResolvedProfile } from '../profile/resolved.ts'
import { resolveProfile } from '../profile/resolve.ts'
import { credentialPath } from './credential.ts'
import { loadProfile } from './profile-file.ts'

/**
 * The key of a store that the profile wants encrypted, 32 bytes, from a file that holds them or their 64 hexadecimal digits; null
 * when it does not. Throws `no-key`.
 */
export function loadStoreKey(dir: string, { encryption, key }: ResolvedProfile['storage']): Uint8Array | null {
  if (encryption === 'none' || key === null) return null
  const path = credentialPath(dir, key)
  if (!existsSync(path))
    throw refusal(
      path,
      `it is not there; put it back, or where nothing is encrypted yet make one: openssl rand -hex 32 > ${shellWord(path)}`,
    )
  const bytes = readFileSync(path)
  const read = bytes.length === 32 ? new Uint8Array(bytes) : fromHex(bytes.toString('latin1').trim())
  if (read?.length !== 32) throw refusal(path, 'it must hold 32 bytes, or 64 hexadecimal digits')
  return read
}

/** The same by the profile that is kept in `dir`. */
export function keptStoreKey(dir: string): Uint8Array | null {
  return loadStoreKey(dir, resolveProfile(loadProfile({ dir }).profile).storage)
}

function refusal(path: string, why: string): MarramError {
  return new MarramError('no-key', `Cannot read the key of the store in "${path}": ${why}`)
}
