import { MarramError } from '../base/errors.ts'
import type { Fields } from './value.ts'

/** One document of a batch; without fields it is deleted. */
export interface NamedWrite {
  readonly key: string
  readonly fields?: Fields
}

/**
 * Reads `[{"key","value":{…}}, {"key","value":null}, …]`, where null deletes. A line without a value is refused, so that a
 * misspelt name deletes nothing. Throws `bad-request`.
 */
export function namedWritesOf(value: unknown): NamedWrite[] {
  if (!Array.isArray(value)) throw new MarramError('bad-request', 'Cannot read the batch: "writes" must be an array')
  return value.map((each: unknown, i) => {
    const { key, value: fields } = (each ?? {}) as { key?: unknown; value?: unknown }
    if (typeof key === 'string' && fields === null) return { key }
    if (typeof key === 'string' && typeof fields === 'object' && !Array.isArray(fields)) {
      return { key, fields: fields as Fields }
    }
    const sentence = `Cannot read write ${i + 1} of the batch: it must be {"key","value"}, the value an object or null`
    throw new MarramError('bad-request', sentence)
  })
}
