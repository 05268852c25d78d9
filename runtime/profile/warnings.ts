import type { DeviceProfile } from './defaults.ts'
import { isBuiltPreset } from './presets.ts'
import { nameOf } from './error.ts'
import type { Json } from './tree.ts'

/**
 * Keys that a profile may hold and that this build does not act on yet. `*` is any key or item. A row counts where the
 * profile names the key with a value for which `isUsed` is true (without it, with any). Whoever builds a part deletes its row.
 */
const NOT_BUILT: readonly { readonly key: string; readonly isUsed?: (value: Json) => boolean }[] = [
  { key: 'collections.*.fields.*.min' },
  { key: 'collections.*.fields.*.max' },
  { key: 'collections.*.fields.*.deadband' },
  { key: 'collections.*.indexes.*' },
  { key: 'sources.*.preset', isUsed: (value) => typeof value === 'string' && !isBuiltPreset(value) },
  { key: 'http.listen' },
]

/** Keys of the profile that are accepted and have no effect yet, as `mesh.relays[0]`; for `status.warnings`. */
export function notBuiltYet(profile: DeviceProfile): string[] {
  const root = profile as unknown as Json
  return NOT_BUILT.flatMap(({ key, isUsed }) => found(root, key.split('.'), [], isUsed ?? (() => true)))
}

/** Everything that the owner of a valid profile should know, as sentences. */
export function warningsOf(profile: DeviceProfile): string[] {
  const warnings = notBuiltYet(profile).map((key) => `not-built: "${key}" of the profile has no effect in this version`)
  if (profile.broker?.anonymous === 'all') {
    warnings.push('open-broker: "broker.anonymous" lets everyone who reaches the broker write without a login')
  }
  return warnings
}

function found(
  value: Json,
  steps: readonly string[],
  path: readonly string[],
  isUsed: (value: Json) => boolean,
): string[] {
  const [step, ...rest] = steps
  if (step === undefined) return isUsed(value) ? [nameOf(path)] : []
  if (value === null || typeof value !== 'object') return []
  const inner = Object.entries(value).filter(([key]) => step === '*' || key === step)
  return inner.flatMap(([key, item]) => found(item, rest, [...path, key], isUsed))
}
