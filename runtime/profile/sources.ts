import { isWithin } from '../model/interest.ts'
import type { FilledProfile } from './defaults.ts'
import type { Finding } from './finding.ts'
import { expandPartition } from './partition.ts'
import { presetFilters } from './presets.ts'
import { filterFault, filterOf, isOverlap, namesOf, patternFault } from './topics.ts'
import type { Path } from './tree.ts'

type Source = FilledProfile['sources'][number]

/** Each source is a preset or a topic of its own, and writes into a collection that this gateway has. */
export function checkSources({ collections, sources }: FilledProfile): Finding[] {
  const names = Object.keys(collections)
  return sources.flatMap((source, i) => {
    const path = ['sources', String(i)]
    const findings: Finding[] = []
    const twin = sources.findIndex(({ id }) => id === source.id)
    if (twin < i)
      findings.push({ path: [...path, 'id'], is: `sources[${twin}] has it already`, must: 'an id of its own' })
    if (!names.includes(source.collection) && !names.includes('*')) {
      const must = 'a collection declared under "collections"'
      findings.push({ path: [...path, 'collection'], is: 'it is not declared', must, allowed: names })
    }
    return [
      ...findings,
      ...(source.preset === undefined ? topicSourceFaults(source, path) : presetFaults(source, path)),
    ]
  })
}

function presetFaults(source: Source, path: Path): Finding[] {
  const own = (['topic', 'key', 'fields', 'time'] as const).filter((key) => source[key] !== undefined)
  const must = 'left out, or the source without "preset"'
  return own.map((key) => ({ path: [...path, key], is: `the preset ${source.preset} says it`, must }))
}

function topicSourceFaults({ topic, key, base }: Source, path: Path): Finding[] {
  if (topic === undefined)
    return [{ path, is: 'it has neither "preset" nor "topic"', must: 'a source with one of them' }]
  const findings: Finding[] = []
  const fault = patternFault(topic)
  if (fault) findings.push({ path: [...path, 'topic'], is: fault, must: 'a pattern such as "ruuvi/{mac}/data"' })
  if (base !== undefined) findings.push({ path: [...path, 'base'], is: 'the source has no preset', must: 'left out' })
  if (key === undefined)
    return [...findings, { path, is: 'it has no key "key"', must: "a source that says the documents' key" }]
  const names = namesOf(topic)
  const unknown = namesOf(key).filter((name) => !names.includes(name))
  const isPlain = !/[{}]/.test(key.replaceAll(/\{[A-Za-z][A-Za-z0-9_]*\}/g, ''))
  if (unknown.length > 0 || !isPlain) {
    const is = isPlain ? `the topic has no {${unknown[0]}}` : 'its braces enclose no name'
    findings.push({
      path: [...path, 'key'],
      is,
      must: 'made of text and the names of the topic',
      allowed: names.map((name) => `{${name}}`),
    })
  }
  return findings
}

/** What a source writes must be kept here: what is not of interest is not stored. */
export function checkInterest({ collections, interest, node, sources }: FilledProfile): Finding[] {
  return sources.flatMap(({ collection }, i) => {
    const declared = memberOf(collections, collection) ?? memberOf(collections, '*')
    const partition = declared && expandPartition(declared.partition, node.cell)
    // What is not declared, or has no partition, is an error already.
    if (partition === undefined || partition === null) return []
    if (interest.some((pattern) => isWithin(pattern, { collection, partition }))) return []
    const path = ['sources', String(i), 'collection']
    return [{ path, is: 'this gateway would not keep it', must: 'a collection and partition listed under "interest"' }]
  })
}

/** The bridge leaves alone what is the runtime's and what sources read. */
export function checkBridge({ bridge, sources }: FilledProfile): Finding[] {
  const filters = sources.flatMap(({ id, preset, base, topic }) => {
    const covered = preset === undefined ? [filterOf(topic ?? '')] : presetFilters(preset, base)
    return covered.map((filter) => ({ filter, owner: `the topics of source "${id}"` }))
  })
  const owned = [{ filter: 'marram/#', owner: 'marram/' }, ...filters]
  return bridge.flatMap(({ topic }, i) => {
    const path = ['bridge', String(i), 'topic']
    const fault = filterFault(topic)
    if (fault) return [{ path, is: fault, must: 'an MQTT topic filter such as "site/alarms/#"' }]
    const isSystem = topic.startsWith('$')
    const owner = isSystem ? '$' : owned.find(({ filter }) => isOverlap(filter, topic))?.owner
    return owner === undefined ? [] : [{ path, is: `it would cover ${owner}`, must: 'a filter that leaves those out' }]
  })
}

function memberOf<T>(record: { readonly [key: string]: T }, key: string): T | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined
}
