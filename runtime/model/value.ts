import { PROTOCOL_LIMITS } from '../base/limits.ts'

/** What a field holds: JSON. Byte strings occur only in system collections. A field set to null is removed. */
export type Value = null | boolean | number | string | Uint8Array | readonly Value[] | { readonly [key: string]: Value }

export type Fields = { readonly [path: string]: Value }

/** Why `value` can't be stored, or null when it can. Numbers must be finite, strings well-formed, nesting at most 16. */
export function valueFault(value: unknown, depth = 0): string | null {
  if (depth > PROTOCOL_LIMITS.valueDepthMax) return `it is nested deeper than ${PROTOCOL_LIMITS.valueDepthMax}`
  switch (typeof value) {
    case 'boolean':
      return null
    case 'number':
      return Number.isFinite(value) ? null : 'it is not a finite number'
    case 'string':
      return value.isWellFormed() ? null : 'it is not well-formed Unicode'
    case 'object':
      break
    default:
      return `it is of type ${typeof value}, not JSON`
  }
  if (value === null || value instanceof Uint8Array) return null
  if (Array.isArray(value)) return firstFault(value, depth)
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return 'it is an object of a class, not JSON'
  for (const key of Object.keys(value)) {
    // cbor-x renames this key in silence when it decodes, so gateways would disagree about it.
    if (key === '__proto__') return 'it has a key "__proto__"'
    if (!key.isWellFormed()) return 'it has a key that is not well-formed Unicode'
  }
  return firstFault(Object.values(value), depth)
}

function firstFault(values: readonly unknown[], depth: number): string | null {
  for (const value of values) {
    const fault = valueFault(value, depth + 1)
    if (fault) return fault
  }
  return null
}
