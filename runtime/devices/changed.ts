import type { Fields, Value } from '../model/value.ts'

/** The fields that differ from what is stored; numbers within their dead-band don't. A null differs only where something is. */
export function changedFields(
  fields: Fields,
  stored: Fields | undefined,
  deadbandOf: (field: string) => number | undefined,
): Fields {
  const changed: { [path: string]: Value } = {}
  for (const [field, value] of Object.entries(fields)) {
    const before = stored && Object.hasOwn(stored, field) ? stored[field] : undefined
    if (isSame(before, value, deadbandOf(field))) continue
    changed[field] = value
  }
  return changed
}

function isSame(before: Value | undefined, value: Value, deadband = 0): boolean {
  if (value === null) return before === undefined
  if (typeof value === 'number' && typeof before === 'number') return Math.abs(value - before) <= deadband
  if (typeof value === 'object') return before !== undefined && JSON.stringify(before) === JSON.stringify(value)
  return before === value
}
