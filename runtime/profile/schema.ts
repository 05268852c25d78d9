import { PROFILE_SCHEMA } from './generated/schema.ts'
import type { Json, Path } from './tree.ts'

/** How a changed key takes effect: at the next reload, or at the next start. */
export type Applies = 'live' | 'restart'

/** As much of JSON Schema draft-07 as the profile's schema uses, and the `x-` keywords of our own. */
export interface Schema {
  readonly type?: string | readonly string[]
  readonly properties?: { readonly [key: string]: Schema }
  readonly additionalProperties?: boolean | Schema
  readonly propertyNames?: Schema
  readonly items?: Schema
  readonly required?: readonly string[]
  readonly enum?: readonly Json[]
  readonly default?: Json
  readonly allOf?: readonly Schema[]
  readonly $ref?: string
  readonly definitions?: { readonly [name: string]: Schema }
  /** Inherited by what lies within. */
  readonly 'x-applies'?: Applies
  /** Range of a size or duration, with units. */
  readonly 'x-minimum'?: string
  readonly 'x-maximum'?: string
  /** What a pattern asks for, in words. */
  readonly 'x-form'?: string
  readonly [keyword: string]: unknown
}

/** The schema of a member or item, or undefined where the schema knows nothing of it. */
export function within(schema: Schema, step: string): Schema | undefined {
  const { properties, additionalProperties, items } = schema
  const known = properties && Object.hasOwn(properties, step) ? properties[step] : undefined
  const member = known ?? (typeof additionalProperties === 'object' ? additionalProperties : items)
  return member && resolved(member)
}

/** The schema of what lies at `path` of a profile. */
export function schemaAt(path: Path): Schema | undefined {
  let schema: Schema | undefined = PROFILE_SCHEMA
  for (const step of path) schema = schema && within(schema, step)
  return schema
}

/** References merged with what stands beside them: a definition is always named alone or in an `allOf` of one. */
export function resolved(schema: Schema): Schema {
  const reference = schema.$ref ?? schema.allOf?.[0]?.$ref
  const name = reference?.slice('#/definitions/'.length)
  return name === undefined ? schema : { ...PROFILE_SCHEMA.definitions?.[name], ...schema }
}

/** A copy of `value` with every default of the schema filled in. `value` must be valid. */
export function filledFrom(schema: Schema, value: Json): Json {
  if (value === null || typeof value !== 'object') return value
  const inner = (step: string, item: Json): Json => {
    const part = within(schema, step)
    return part ? filledFrom(part, item) : item
  }
  if (Array.isArray(value)) return value.map((item, i) => inner(String(i), item))
  const defaults = Object.entries(schema.properties ?? {}).flatMap(([key, property]) =>
    property.default === undefined || Object.hasOwn(value, key) ? [] : [[key, property.default] as const],
  )
  return Object.fromEntries([...Object.entries(value), ...defaults].map(([key, item]) => [key, inner(key, item)]))
}
