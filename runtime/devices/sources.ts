import { PROTOCOL_LIMITS } from '../base/limits.ts'
import type { Fields, Value } from '../model/value.ts'
import type { ResolvedSource } from '../profile/resolved.ts'
import { compileMapping, type Mapper } from './mapping.ts'
import { compileKey, compilePattern, type TopicPattern } from './pattern.ts'
import { presetRules } from './presets.ts'

/** What a source makes of a message. */
export type Mapped =
  | { readonly source: ResolvedSource; readonly key: string; readonly fields: Fields }
  | { readonly source: ResolvedSource; readonly key: string | null; readonly refusal: string }

/** Which of the profile's sources match a topic, and the documents they make. */
export interface Sources {
  /** Empty when no source matches or when all that match leave the message alone. */
  map(topic: string, payload: Uint8Array): readonly Mapped[]
}

interface Rule {
  readonly source: ResolvedSource
  readonly pattern: TopicPattern
  readonly keyOf: ((values: ReadonlyMap<string, string>) => string) | null
  readonly map: Mapper
}

/** Compiled once; topics are looked up by their first level. */
export function compileSources(sources: readonly ResolvedSource[]): Sources {
  const rules = sources.map((source) => rulesOf(source))
  const byFirst = new Map<string, Rule[][]>()
  const firsts = new Set(rules.flat().flatMap(({ pattern }) => (pattern.first === null ? [] : [pattern.first])))
  for (const first of firsts) byFirst.set(first, startingWith(rules, first))
  const others = startingWith(rules, null)
  return {
    map: (topic, payload) => {
      const levels = topic.split('/')
      const mapped: Mapped[] = []
      let message: Value | undefined
      for (const ofSource of byFirst.get(levels[0] as string) ?? others) {
        const found = firstMatch(ofSource, levels)
        if (!found?.rule.keyOf) continue
        message ??= messageOf(payload)
        mapped.push(mapMessage(found.rule, found.rule.keyOf(found.values), message, payload))
      }
      return mapped
    },
  }
}

function startingWith(rules: readonly Rule[][], first: string | null): Rule[][] {
  const kept = rules.map((ofSource) =>
    ofSource.filter(({ pattern }) => pattern.first === null || pattern.first === first),
  )
  return kept.filter((ofSource) => ofSource.length > 0)
}

function firstMatch(
  rules: readonly Rule[],
  levels: readonly string[],
): { rule: Rule; values: ReadonlyMap<string, string> } | null {
  for (const rule of rules) {
    const values = rule.pattern.match(levels)
    if (values) return { rule, values }
  }
  return null
}

function rulesOf(source: ResolvedSource): Rule[] {
  if (source.kind === 'topic') {
    return [
      { source, pattern: compilePattern(source.topic), keyOf: compileKey(source.key), map: compileMapping(source) },
    ]
  }
  return (presetRules(source.preset, source.base) ?? []).map(({ pattern, key, map }) => ({
    source,
    pattern,
    keyOf: key === null ? null : (values) => values.get(key) ?? '',
    map,
  }))
}

function mapMessage({ source, map }: Rule, key: string, message: Value, payload: Uint8Array): Mapped {
  if (payload.length > PROTOCOL_LIMITS.valueBytesMax) {
    return {
      source,
      key,
      refusal: `it has ${payload.length} bytes, at most ${PROTOCOL_LIMITS.valueBytesMax} are taken`,
    }
  }
  const fields = map(message)
  return typeof fields === 'string' ? { source, key, refusal: fields } : { source, key, fields }
}

/** JSON, or the text itself where it is none (`ON`, `online`). */
function messageOf(payload: Uint8Array): Value {
  const text = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString('utf8')
  try {
    return JSON.parse(text) as Value
  } catch {
    return text
  }
}
