import { PROTOCOL_LIMITS } from '../base/limits.ts'
import type { Fields, Value } from '../model/value.ts'
import { members, type Mapper } from './mapping.ts'
import { compilePattern, type TopicPattern } from './pattern.ts'

/** One kind of message of a preset: its topics, and what becomes of them. */
export interface PresetRule {
  readonly pattern: TopicPattern
  /** Name of the level that is the document's key; null leaves the message alone. */
  readonly key: string | null
  /** Given the message as JSON, or as text when it isn't. */
  readonly map: Mapper
}

/** The first rule that matches counts. Null for presets that are not built yet. */
export function presetRules(preset: string, base: string | null): readonly PresetRule[] | null {
  if (preset === 'zigbee2mqtt') return zigbee2mqtt(base ?? 'zigbee2mqtt')
  if (preset === 'tasmota') return tasmota(base === null ? '' : `${base}/`)
  return null
}

/** Zigbee2MQTT, "MQTT topics and messages". Friendly names may hold slashes. */
function zigbee2mqtt(base: string): PresetRule[] {
  return [
    ignored(`${base}/bridge/{rest...}`),
    ignored(`${base}/bridge`),
    { pattern: withLast(`${base}/{name...}`, 'availability'), key: 'name', map: available },
    ignored(withLast(`${base}/{name...}`, 'set', 'get')),
    ignored(withSecondLast(`${base}/{name...}`, 'set', 'get')),
    { pattern: compilePattern(`${base}/{name...}`), key: 'name', map: members },
  ]
}

/** Tasmota, "MQTT": telemetry and state messages; nested objects become dotted fields. */
function tasmota(prefix: string): PresetRule[] {
  return [
    { pattern: compilePattern(`${prefix}tele/{name}/SENSOR`), key: 'name', map: dotted },
    { pattern: compilePattern(`${prefix}tele/{name}/STATE`), key: 'name', map: dotted },
    { pattern: compilePattern(`${prefix}tele/{name}/LWT`), key: 'name', map: available },
    { pattern: compilePattern(`${prefix}stat/{name}/POWER`), key: 'name', map: (message) => ({ POWER: message }) },
    ignored(`${prefix}tele/{name}/{rest...}`),
    ignored(`${prefix}stat/{name}/{rest...}`),
    ignored(`${prefix}cmnd/{rest...}`),
  ]
}

function ignored(pattern: string | TopicPattern): PresetRule {
  return { pattern: typeof pattern === 'string' ? compilePattern(pattern) : pattern, key: null, map: members }
}

/** `online` or `{"state":"online"}`, in any case. */
function available(message: Value): Fields | string {
  const state = typeof message === 'object' && message !== null && 'state' in message ? message.state : message
  if (typeof state !== 'string') return 'it says neither "online" nor "offline"'
  const word = state.toLowerCase()
  return word === 'online' || word === 'offline'
    ? { available: word === 'online' }
    : 'it says neither "online" nor "offline"'
}

function dotted(message: Value): Fields | string {
  const top = members(message)
  if (typeof top === 'string') return top
  const fields: { [path: string]: Value } = {}
  return spread('', top, 1, fields) ? fields : `it is nested deeper than ${PROTOCOL_LIMITS.valueDepthMax}`
}

/** False when objects are too deep within each other. */
function spread(
  prefix: string,
  object: { readonly [key: string]: Value },
  depth: number,
  fields: { [path: string]: Value },
): boolean {
  if (depth > PROTOCOL_LIMITS.valueDepthMax) return false
  return Object.entries(object).every(([name, value]) => {
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    if (isObject) return spread(`${prefix}${name}.`, value as { readonly [key: string]: Value }, depth + 1, fields)
    fields[prefix + name] = value
    return true
  })
}

/** A tail pattern whose topics end in one of `words`; the word is no part of the tail. */
function withLast(pattern: string, ...words: readonly string[]): TopicPattern {
  const inner = compilePattern(pattern)
  return {
    first: inner.first,
    match: (topic) => (words.includes(topic.at(-1) ?? '') ? inner.match(topic.slice(0, -1)) : null),
  }
}

/** `…/set/ATTRIBUTE` and `…/get/ATTRIBUTE`. */
function withSecondLast(pattern: string, ...words: readonly string[]): TopicPattern {
  const inner = compilePattern(pattern)
  return {
    first: inner.first,
    match: (topic) => (words.includes(topic.at(-2) ?? '') ? inner.match(topic.slice(0, -2)) : null),
  }
}
