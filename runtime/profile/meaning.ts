import type { Result } from '../base/result.ts'
import { isConflict, parseAddress, parseHostPort, type HostPort } from './address.ts'
import { fillDefaults, type DeviceProfile, type FilledProfile } from './defaults.ts'
import { nameOf, shown, type ProfileError } from './error.ts'
import { nearestTo } from './nearest.ts'
import { expandPartition, isOfInterest } from './partition.ts'
import { presetFilters } from './presets.ts'
import { schemaAt, within, type Schema } from './schema.ts'
import { filterFault, filterOf, isOverlap, namesOf, patternFault } from './topics.ts'
import { childOf, placeOf, pointerOf, valueOf, type Node, type Path } from './tree.ts'
import { parseDuration, parseSize } from './units.ts'

/** One thing that the schema can't say: where, and what is and must be. */
interface Finding {
  readonly path: Path
  readonly is: string
  readonly must: string
  readonly allowed?: readonly string[]
}

/** Everything in which a profile of the right shape contradicts itself or can't be carried out. */
export function checkMeaning(root: Node): ProfileError[] {
  const profile = fillDefaults(valueOf(root) as DeviceProfile)
  const checks = [checkListeners, checkMesh, checkCollections, checkInterest, checkSources, checkBridge]
  const findings = [...checkRanges(root, schemaAt([]), []), ...checks.flatMap((check) => check(profile))]
  return findings.map((finding) => errorOf(root, finding))
}

function errorOf(root: Node, { path, is, must, allowed = [must] }: Finding): ProfileError {
  const node = path.reduce<Node | undefined>((part, step) => part && childOf(part, step), root)
  const value = node ? valueOf(node) : null
  const found = node ? shown(value) : 'nothing'
  const message = `Cannot use ${found} for "${nameOf(path)}": ${is}, it must be ${must}`
  const nearest = typeof value === 'string' ? nearestTo(value, allowed) : null
  return { ...placeOf(root, path), pointer: pointerOf(path), message, found, allowed, nearest }
}

/** Sizes and durations are texts, so their ranges are keywords of our own. */
function checkRanges(node: Node, schema: Schema | undefined, path: Path): Finding[] {
  if (!schema) return []
  if (node.kind === 'object') {
    return [...node.members].flatMap(([key, member]) => checkRanges(member.node, within(schema, key), [...path, key]))
  }
  if (node.kind === 'array') {
    return node.items.flatMap((item, i) => checkRanges(item, within(schema, String(i)), [...path, String(i)]))
  }
  const unit = schema['x-unit']
  if (typeof node.value !== 'string' || (unit !== 'size' && unit !== 'duration')) return []
  return rangeFault(node.value, schema, unit === 'size' ? parseSize : parseDuration, path)
}

function rangeFault(text: string, schema: Schema, parse: (text: string) => Result<number>, path: Path): Finding[] {
  const amountOf = (bound: string | undefined, otherwise: number): number => {
    const parsed = parse(bound ?? '')
    return parsed.ok ? parsed.value : otherwise
  }
  const least = schema['x-minimum']
  const greatest = schema['x-maximum']
  const amount = amountOf(text, Number.POSITIVE_INFINITY)
  if (amount < amountOf(least, 0)) return [{ path, is: 'it is too small', must: `at least "${least}"` }]
  if (amount <= amountOf(greatest, Number.MAX_SAFE_INTEGER)) return []
  return [{ path, is: 'it is too great', must: greatest ? `at most "${greatest}"` : 'below 2^53 of the smallest unit' }]
}

function checkListeners(profile: FilledProfile): Finding[] {
  const findings: Finding[] = []
  const taken: { at: HostPort; by: string }[] = []
  const listen = (path: Path, parsed: Result<HostPort>): void => {
    if (!parsed.ok)
      return void findings.push({ path, is: 'its port is above 65535', must: 'an address with a port of 0 to 65535' })
    const other = taken.find(({ at }) => isConflict(at, parsed.value))
    if (other) findings.push({ path, is: `its port is that of ${other.by}`, must: 'an address of its own' })
    taken.push({ at: parsed.value, by: nameOf(path) })
  }
  for (const [i, text] of profile.broker.listen.entries()) listen(['broker', 'listen', String(i)], parseAddress(text))
  listen(['http', 'listen'], parseHostPort(profile.http.listen))
  return findings
}

function checkMesh({ mesh }: FilledProfile): Finding[] {
  const { min, max } = mesh.links
  const findings: Finding[] =
    min > max ? [{ path: ['mesh', 'links', 'min'], is: `it is above max (${max})`, must: `at most ${max}` }] : []
  for (const key of ['bootstrap', 'relays'] as const) {
    for (const [i, text] of mesh[key].entries()) {
      const parsed = parseAddress(text)
      if (parsed.ok && parsed.value.port > 0) continue
      const must = 'an address with a port of 1 to 65535'
      findings.push({ path: ['mesh', key, String(i)], is: 'it has no port that can be dialled', must })
    }
  }
  return findings
}

function checkCollections({ collections, node }: FilledProfile): Finding[] {
  return Object.entries(collections).flatMap(([name, collection]) => {
    const path = ['collections', name]
    const findings: Finding[] = []
    const { kind, partition, retain, encrypted, readers } = collection
    if (expandPartition(partition, node.cell) === null) {
      const hasCell = partition.replaceAll('{cell}', '').search(/[{}]/) < 0
      const is = hasCell ? 'this profile has no "node.cell"' : 'it has braces around something else than cell'
      findings.push({ path: [...path, 'partition'], is, must: hasCell ? 'without {cell}' : 'plain text and {cell}' })
    }
    if (kind === 'state' && retain) {
      findings.push({
        path: [...path, 'retain'],
        is: 'the collection is of kind state',
        must: 'left out, or the kind "series"',
      })
    }
    if (!encrypted && readers.length > 0) {
      findings.push({
        path: [...path, 'readers'],
        is: 'the collection is not encrypted',
        must: 'left out, or "encrypted" true',
      })
    }
    for (const [field, { min = -Infinity, max = Infinity }] of Object.entries(collection.fields)) {
      const at = [...path, 'fields', field, 'min']
      if (min > max) findings.push({ path: at, is: `it is above max (${max})`, must: `at most ${max}` })
    }
    return findings
  })
}

/** What a source writes must be kept here: what is not of interest is not stored. */
function checkInterest({ collections, interest, node, sources }: FilledProfile): Finding[] {
  return sources.flatMap(({ collection }, i) => {
    const declared = memberOf(collections, collection) ?? memberOf(collections, '*')
    const partition = expandPartition(declared?.partition ?? '', node.cell) ?? ''
    if (interest.some((pattern) => isOfInterest(pattern, collection, partition))) return []
    const path = ['sources', String(i), 'collection']
    return [{ path, is: 'this gateway would not keep it', must: 'a collection and partition listed under "interest"' }]
  })
}

function checkSources({ collections, sources }: FilledProfile): Finding[] {
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

type Source = FilledProfile['sources'][number]

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

function checkBridge({ bridge, sources }: FilledProfile): Finding[] {
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
