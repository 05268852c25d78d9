import { existsSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import type { Credential } from '../profile/resolved.ts'
import { resolveProfile } from '../profile/resolve.ts'
import { credentialPath } from './credential.ts'
import { textsOf, writeDurably } from './files.ts'
import { hasProfile, loadProfile, profileText, PROFILE_FILE } from './profile-file.ts'

/** Where the profile of a restored gateway is from; `missing`: nothing says which it had, so it goes on with the default one. */
export type ProfileOrigin = 'backup' | 'kept' | 'default' | 'missing'

/**
 * What a gateway is set up with, by paths in `dir`: its kept profile, and the files of logins that it names. What lies elsewhere is
 * not the gateway's own. Throws `bad-profile`.
 */
export function settingsOf(dir: string): { readonly [path: string]: string } {
  const { profile } = loadProfile({ dir })
  const { broker, mesh } = resolveProfile(profile)
  const logins = [broker.users, mesh.relayLogins].filter((one) => isOwn(dir, one)).map(({ name }) => name)
  return { ...(hasProfile(dir) && { [PROFILE_FILE]: profileText(profile) }), ...textsOf(dir, logins) }
}

/**
 * What the gateway reads and `settingsOf` leaves out: logins that lie elsewhere, and the key of an encrypted store; what systemd keeps as
 * `cred:NAME`. Throws `bad-profile`.
 */
export function leftOutOf(dir: string): string[] {
  const { broker, mesh, storage } = resolveProfile(loadProfile({ dir }).profile)
  const elsewhere = [broker.users, mesh.relayLogins].filter((one) => !isOwn(dir, one))
  const files = storage.key === null ? elsewhere : [...elsewhere, storage.key]
  return files.flatMap((file) => {
    if (file.from === 'cred') return [`cred:${file.name}`]
    const path = credentialPath(dir, file)
    return existsSync(path) ? [path] : []
  })
}

function isOwn(dir: string, { from, name }: Credential): boolean {
  return from === 'file' && isWithin(dir, name)
}

/** Files that are there stay. A backup that has no `settings` was made without them. */
export function restoreSettings(dir: string, settings?: { readonly [path: string]: string }): ProfileOrigin {
  const isKept = hasProfile(dir)
  for (const [path, text] of Object.entries(settings ?? {})) {
    const file = resolve(dir, path)
    if (isWithin(dir, path) && !existsSync(file)) writeDurably(file, text, path === PROFILE_FILE ? 0o644 : 0o600)
  }
  if (isKept) return 'kept'
  if (hasProfile(dir)) return 'backup'
  return settings === undefined ? 'missing' : 'default'
}

function isWithin(dir: string, path: string): boolean {
  const from = relative(dir, resolve(dir, path))
  return from !== '' && !from.startsWith('..')
}
