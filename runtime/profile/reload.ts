import { fillDefaults, type DeviceProfile } from './defaults.ts'
import { nameOf } from './error.ts'
import { schemaAt, within, type Applies, type Schema } from './schema.ts'
import type { Json, Path } from './tree.ts'

/** Changed keys by how they take effect, as `broker.listen`, in the order of the schema. */
export interface ReloadPlan {
  readonly live: readonly string[]
  readonly restart: readonly string[]
}

/** What differs between two valid profiles once their defaults are filled in. Lists count as one key. */
export function describeReload(before: DeviceProfile, after: DeviceProfile): ReloadPlan {
  const changes = [...changesIn(schemaAt([]), asJson(before), asJson(after), [], 'restart')]
  const keysOf = (applies: Applies): string[] =>
    changes.filter((change) => change.applies === applies).map(({ key }) => key)
  return { live: keysOf('live'), restart: keysOf('restart') }
}

interface Change {
  readonly key: string
  readonly applies: Applies
}

function* changesIn(
  schema: Schema | undefined,
  before: Json | undefined,
  after: Json | undefined,
  path: Path,
  inherited: Applies,
): Generator<Change> {
  const applies = schema?.['x-applies'] ?? inherited
  if (schema && isObject(before) && isObject(after)) {
    const known = Object.keys(schema.properties ?? {})
    for (const key of new Set([...known, ...Object.keys(before), ...Object.keys(after)])) {
      yield* changesIn(within(schema, key), own(before, key), own(after, key), [...path, key], applies)
    }
  } else if (!isSame(before, after)) yield { key: nameOf(path), applies }
}

function asJson(profile: DeviceProfile): Json {
  return fillDefaults(profile) as unknown as Json
}

function isObject(value: Json | undefined): value is { [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function own(value: { [key: string]: Json }, key: string): Json | undefined {
  return Object.hasOwn(value, key) ? value[key] : undefined
}

/** Equal whatever the order of an object's keys. */
function isSame(a: Json | undefined, b: Json | undefined): boolean {
  if (isObject(a) && isObject(b)) {
    const keys = new Set([...Object.keys(a), ...Object.keys(b)])
    return [...keys].every((key) => isSame(own(a, key), own(b, key)))
  }
  if (!Array.isArray(a) || !Array.isArray(b)) return a === b
  return a.length === b.length && a.every((item, i) => isSame(item, b[i]))
}
