import { PROFILE_LIMITS } from '../base/limits.ts'
import type { Json, Path, Place } from './tree.ts'

/** One thing that is wrong with a profile, and where. */
export interface ProfileError extends Place {
  /** RFC 6901 pointer of the key or value; empty for the whole file. */
  readonly pointer: string
  /** `Cannot <action> "<value>": <what is>, <what it must be>`. */
  readonly message: string
  /** What stands there, as JSON, shortened. */
  readonly found: string
  /** What may stand there: the known keys or values, or the form in words. */
  readonly allowed: readonly string[]
  /** The known key or value that is most like what was found. */
  readonly nearest: string | null
}

/** `gateway.json:12:5: Cannot …`: one line, as compilers write it, so editors can jump there. */
export function formatProfileError(error: ProfileError): string {
  const pointer = error.pointer === '' ? '' : ` (${error.pointer})`
  return `${error.file}:${error.line}:${error.column}: ${error.message}${pointer}`
}

/** By file, line and column; the same thing is said once, and no more than the limit of them. */
export function inOrder(errors: readonly ProfileError[]): ProfileError[] {
  const byFile = (a: ProfileError, b: ProfileError): number => (a.file < b.file ? -1 : a.file > b.file ? 1 : 0)
  const sorted = errors.toSorted((a, b) => byFile(a, b) || a.line - b.line || a.column - b.column)
  const said = new Set<string>()
  const once = sorted.filter((error) => said.size < said.add(formatProfileError(error)).size)
  return once.slice(0, PROFILE_LIMITS.errorsMax)
}

/** `broker.listen[0]`: how sentences name a place in the profile. */
export function nameOf(path: Path): string {
  if (path.length === 0) return 'the profile'
  return path.map((step, i) => (/^\d+$/.test(step) ? `[${step}]` : i === 0 ? step : `.${step}`)).join('')
}

/** The value as JSON, at most 60 characters of it. */
export function shown(value: Json): string {
  const text = JSON.stringify(value)
  return text.length > 60 ? `${text.slice(0, 60).toWellFormed()}…` : text
}

/** `"a", "b" or "c"`. */
export function oneOf(words: readonly string[]): string {
  if (words.length < 2) return words.join('')
  return `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`
}
