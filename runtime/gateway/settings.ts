import { credentialPath } from '../identity/credential.ts'
import { gatewayName } from '../identity/name.ts'
import { checkedProfile, keepProfile } from '../identity/profile-file.ts'
import { BRIDGE_COLLECTION } from '../model/names.ts'
import type { Log } from '../ports/log.ts'
import type { ParsedProfile } from '../profile/parse.ts'
import { describeReload } from '../profile/reload.ts'
import { resolveProfile } from '../profile/resolve.ts'
import type { ResolvedProfile } from '../profile/resolved.ts'

export interface SettingsOptions {
  readonly dir: string
  readonly parsed: ParsedProfile
  /** Throws `bad-profile`. */
  readonly readAgain: () => ParsedProfile
  /** `PATH=VALUE` over whatever profile, as long as this gateway runs. */
  readonly set: readonly string[]
  /** Another profile is in force: what follows it while the gateway runs is to do so. */
  readonly onApplied: (before: ResolvedProfile) => Promise<void>
  readonly log: Log
}

/** The profile in force, and how another takes its place. */
export class Settings {
  readonly #options: SettingsOptions
  /** The gateway's, for people, as its profile said at the start: links greet by it once. */
  readonly name: string
  #parsed: ParsedProfile
  #profile: ResolvedProfile

  constructor(options: SettingsOptions) {
    this.#options = options
    this.#parsed = options.parsed
    this.#profile = inForce(options.parsed)
    this.name = gatewayName(this.#profile.node)
  }

  /** As it was written. */
  get parsed(): ParsedProfile {
    return this.#parsed
  }

  get profile(): ResolvedProfile {
    return this.#profile
  }

  get usersFile(): string {
    return credentialPath(this.#options.dir, this.#profile.broker.users)
  }

  get relayLoginsFile(): string {
    return credentialPath(this.#options.dir, this.#profile.mesh.relayLogins)
  }

  /** Reads it again. Throws `bad-profile`: a broken one changes nothing. */
  async reload(): Promise<void> {
    await this.#apply(this.#options.readAgain())
  }

  /** Keeps another one; resolves with the keys that need a restart. Throws `bad-profile`. */
  async keep(profile: unknown): Promise<{ readonly revision: number; readonly restart: readonly string[] }> {
    const { dir, set } = this.#options
    const parsed = checkedProfile(profile, 'profile')
    // What was set for this run alone is not kept, but goes on while it lasts.
    const forRun = checkedProfile(parsed.profile, 'profile', set)
    keepProfile(dir, parsed.profile)
    return { revision: resolveProfile(parsed.profile).revision, restart: await this.#apply(forRun) }
  }

  async #apply(parsed: ParsedProfile): Promise<readonly string[]> {
    const before = this.#profile
    const { live } = describeReload(this.#parsed.profile, parsed.profile)
    // Since the start: what waited for a restart before goes on waiting.
    const { restart } = describeReload(this.#options.parsed.profile, parsed.profile)
    this.#parsed = parsed
    this.#profile = inForce(parsed)
    const { id, revision } = this.#profile
    this.#options.log.info('profile-applied', { id, revision, live, restart })
    await this.#options.onApplied(before)
    return restart
  }
}

/** Whoever has rules for plain topics keeps what they carry, whatever else it keeps. */
function inForce({ profile }: ParsedProfile): ResolvedProfile {
  const resolved = resolveProfile(profile)
  if (resolved.bridge.length === 0 || resolved.interest.includes('*')) return resolved
  return { ...resolved, interest: [...resolved.interest, BRIDGE_COLLECTION] }
}
