import { msText } from './time.ts'
import type { Fields, Value } from '../model/value.ts'
import type { FieldMapping, TopicSource } from '../profile/resolved.ts'
import { compilePath } from './path.ts'

/** Makes a document's fields of a message; a string says why it can't. */
export type Mapper = (message: Value) => Fields | string

/** Without mappings every member of the message's object is a field. */
export function compileMapping(source: TopicSource): Mapper {
  const time = source.time && compileTime(source.time)
  const pick = source.fields ? compileFields(source.fields) : members
  return (message) => {
    const fields = pick(message)
    if (typeof fields === 'string' || !time) return fields
    const at = time(message)
    return at === null ? `its time is not in the format "${source.time?.format}"` : { ...fields, time: at }
  }
}

/** Every member of an object. */
export function members(message: Value): Fields | string {
  if (typeof message !== 'object' || message === null || Array.isArray(message)) return 'it is not a JSON object'
  return message as Fields
}

function compileFields(mappings: ReadonlyMap<string, FieldMapping>): Mapper {
  const compiled = [...mappings].map(([field, mapping]) => ({ field, mapping, pick: compilePath(mapping.from) }))
  return (message) => {
    const fields: { [path: string]: Value } = {}
    for (const { field, mapping, pick } of compiled) {
      const value = pick(message)
      if (value !== undefined) fields[field] = transform(value, mapping)
    }
    return Object.keys(fields).length > 0 ? fields : 'it has none of the fields that the source maps'
  }
}

/** In this order: map, scale, offset, round. What isn't a number is left as it is by the last three. */
function transform(value: Value, { map, scale, offset, round }: FieldMapping): Value {
  const mapped = (typeof value === 'object' ? undefined : map?.get(String(value))) ?? value
  if (typeof mapped !== 'number') return mapped
  const scaled = mapped * scale + offset
  if (round === null) return scaled
  const factor = 10 ** round
  return Math.round(scaled * factor) / factor
}

function compileTime(time: NonNullable<TopicSource['time']>): (message: Value) => string | null {
  const pick = compilePath(time.from)
  return (message) => {
    const value = pick(message)
    if (time.format === 'iso8601') return typeof value === 'string' ? msText(Date.parse(value)) : null
    const number = typeof value === 'number' ? value : Number(value)
    return msText(time.format === 'unix-s' ? number * 1_000 : number)
  }
}
