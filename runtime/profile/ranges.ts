import type { Result } from '../base/result.ts'
import type { Finding } from './finding.ts'
import { within, type Schema } from './schema.ts'
import type { Node, Path } from './tree.ts'
import { parseDuration, parseSize } from './units.ts'

/** Sizes and durations are texts, so their ranges are keywords of our own. */
export function checkRanges(node: Node, schema: Schema | undefined, path: Path): Finding[] {
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
