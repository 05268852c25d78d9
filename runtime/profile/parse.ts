import { ok, type Result } from '../base/result.ts'
import { checkMeaning } from './meaning.ts'
import { inOrder, type ProfileError } from './error.ts'
import { load, type ReadFile } from './extend.ts'
import type { DeviceProfile } from './generated/given.ts'
import { override } from './override.ts'
import { checkShape } from './shape.ts'
import { valueOf, type Node } from './tree.ts'
import { warningsOf } from './warnings.ts'

export interface ParseOptions {
  /** Name of the file, for errors. */
  readonly path: string
  /**
   * Reads a file that is extended; throws when it can't. It gets `path`'s folder and the reference put together
   * (`etc/main.json` and `../base.json` give `etc/../base.json`). Without it, `extends` is an error.
   */
  readonly readFile?: ReadFile
  /** `PATH=VALUE` of `run --set`, applied in order after everything is merged. */
  readonly set?: readonly string[]
}

export interface ParsedProfile {
  /** Valid, merged with what it extends, in the newest version; defaults are not filled in. */
  readonly profile: DeviceProfile
  /** What its owner should know, as sentences. */
  readonly warnings: readonly string[]
}

/** Reads, merges, migrates and checks a profile. Errors come by file and line. It never throws. */
export function parseProfile(text: string, options: ParseOptions): Result<ParsedProfile, readonly ProfileError[]> {
  const { root, errors } = load(text, options.path, options.readFile)
  if (root === null) return { ok: false, error: inOrder(errors) }
  return checked(root, options.set ?? [], errors)
}

/** Checks a profile that comes as a value: of the library, or the default one with overrides. */
export function checkProfile(
  profile: unknown,
  options: Pick<ParseOptions, 'path' | 'set'>,
): Result<ParsedProfile, readonly ProfileError[]> {
  const text = JSON.stringify(profile) ?? 'null'
  return parseProfile(text, options)
}

function checked(
  loaded: Node,
  settings: readonly string[],
  before: readonly ProfileError[],
): Result<ParsedProfile, readonly ProfileError[]> {
  let root = loaded
  let errors = before
  for (const setting of settings) {
    const overridden = override(root, setting)
    root = overridden.root
    errors = [...errors, ...overridden.errors]
  }
  errors = [...errors, ...checkShape(root)]
  // Meaning is looked at only where the shape is right.
  if (errors.length === 0) errors = checkMeaning(root)
  if (errors.length > 0) return { ok: false, error: inOrder(errors) }
  const profile = valueOf(root) as DeviceProfile
  return ok({ profile, warnings: warningsOf(profile) })
}
