import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { MarramError, sentenceOf } from '../base/errors.ts'
import { DEFAULT_PROFILE, type DeviceProfile } from '../profile/defaults.ts'
import { formatProfileError, type ProfileError } from '../profile/error.ts'
import { checkProfile, parseProfile, type ParsedProfile } from '../profile/parse.ts'
import { writeDurably } from './files.ts'

/** The profile in force: `DIR/profile.json`, another file for one run, or the default one. */

export const PROFILE_FILE = 'profile.json'
const profileFile = (dir: string): string => join(dir, PROFILE_FILE)

export interface ProfileChoice {
  readonly dir: string
  /** Used instead of the kept one, without keeping it. */
  readonly path?: string
  readonly set?: readonly string[]
}

/** Throws `bad-profile` with every error on a line of its own; a broken profile never falls back to the default one. */
export function loadProfile({ dir, path, set = [] }: ProfileChoice): ParsedProfile {
  const file = path ?? profileFile(dir)
  if (path === undefined && !hasProfile(dir))
    return accepted(checkProfile(DEFAULT_PROFILE, { path: 'default profile', set }))
  return accepted(parseProfile(read(file), { path: file, set, readFile: readText }))
}

/** Checks a profile file; what it extends is merged in, so that the kept one stands alone. */
export function readProfileFile(path: string): ParsedProfile {
  return accepted(parseProfile(read(path), { path, readFile: readText }))
}

export function checkedProfile(profile: unknown, path: string, set: readonly string[] = []): ParsedProfile {
  return accepted(checkProfile(profile, { path, set }))
}

export function keepProfile(dir: string, profile: DeviceProfile): void {
  writeDurably(profileFile(dir), profileText(profile), 0o644)
}

export function hasProfile(dir: string): boolean {
  return existsSync(profileFile(dir))
}

export function profileText(profile: DeviceProfile): string {
  return `${JSON.stringify(profile, null, 2)}\n`
}

function accepted(result: ReturnType<typeof parseProfile>): ParsedProfile {
  if (result.ok) return result.value
  const errors: readonly ProfileError[] = result.error
  throw new MarramError('bad-profile', errors.map(formatProfileError).join('\n'))
}

function readText(path: string): string {
  return readFileSync(path, 'utf8')
}

function read(path: string): string {
  try {
    return readText(path)
  } catch (cause) {
    throw new MarramError('bad-profile', `Cannot read the profile "${path}": ${sentenceOf(cause)}`, { cause })
  }
}
