import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { GATEWAY_LIMITS, PROTOCOL_LIMITS } from '../../runtime/base/limits.ts'
import { faultsOfSpec, numberOf, type Code, type Page } from './spec.ts'

const ROOT = join(import.meta.dirname, '../../..')

const MESSAGE = readFileSync(join(ROOT, 'runtime/wire/message.ts'), 'utf8')
const TYPES = readFileSync(join(ROOT, 'runtime/sync/types.ts'), 'utf8')

const CODE: Code = {
  messages: [...new Set(wordsIn(MESSAGE, 'export type HaveEntry', 'export function', /readonly type: '([\w-]+)'/g))],
  inputs: wordsIn(TYPES, 'export type Input<', 'export interface', /readonly type: '([\w-]+)'/g),
  events: wordsIn(TYPES, 'export type EngineEvent', 'export interface', /'([\w-]+)'/g),
  nackCodes: wordsIn(MESSAGE, 'export type NackCode', 'const ', /'([\w-]+)'/g),
  limits: { ...PROTOCOL_LIMITS, ...GATEWAY_LIMITS },
}

/** What the pattern finds between the two texts. */
function wordsIn(source: string, from: string, to: string, pattern: RegExp): string[] {
  const start = source.indexOf(from)
  assert.ok(start >= 0, `"${from}" is not in the sources any more`)
  const words = [...source.slice(start, source.indexOf(to, start + from.length)).matchAll(pattern)]
  assert.ok(words.length > 0, `nothing was found after "${from}"`)
  return words.map(([, word]) => word as string)
}

function page(): Page {
  const paths = readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' }).map((path) => `test/${path}`)
  const sources = paths.filter((path) => path.endsWith('.ts') && !path.startsWith('test/spec/'))
  return {
    spec: readFileSync(join(ROOT, 'runtime/sync/SPEC.md'), 'utf8'),
    tests: new Map(sources.map((path) => [path, readFileSync(join(ROOT, path), 'utf8')])),
  }
}

test('the page beside the engine and the code say the same, and every invariant is tied to its tests', () => {
  assert.deepEqual(faultsOfSpec(page(), CODE), [])
})

describe('what holds the page', () => {
  const { spec, tests } = page()
  const faults = (doctored: string, moreTests: readonly (readonly [string, string])[] = []): string[] => {
    return faultsOfSpec({ spec: doctored, tests: new Map([...tests, ...moreTests]) }, CODE)
  }
  /** The page without the first line that begins so. */
  const without = (start: string): string => {
    const line = spec.split('\n').find((other) => other.startsWith(start))
    assert.ok(line !== undefined, `no line begins with ${start}`)
    return spec.replace(`${line}\n`, '')
  }

  for (const start of ['| `hello`', '| `alias`', '| `peer-up`', '| `frameBytesMax`', '| I1 ']) {
    test(`reports that the row ${start} is missing`, () => assert.ok(faults(without(start)).length > 0))
  }

  test('reports an empty cell, and one that is ignored without a reason', () => {
    const row = spec.split('\n').find((line) => line.startsWith('| `link-down`')) as string
    const cells = row.split('|')
    for (const cell of ['  ', ' ignored ']) {
      assert.ok(faults(spec.replace(row, [...cells.slice(0, 2), cell, ...cells.slice(3)].join('|'))).length > 0)
    }
  })

  test('reports a figure that differs', () => {
    const row = spec.split('\n').find((line) => line.startsWith('| `frameBytesMax`')) as string
    assert.ok(faults(spec.replace(row, row.replace('64 KiB', '63 KiB'))).length > 0)
    assert.equal(numberOf('1.5 KiB'), 1_536)
    assert.equal(numberOf('24 h'), 86_400_000)
    assert.ok(Number.isNaN(numberOf('many')))
  })

  test('reports a test of an unknown invariant, one that the page does not list, and one that names nothing', () => {
    assert.deepEqual(faults(spec, [['test/x.test.ts', '// SPEC I999']]), [
      'test/x.test.ts names I999, which is no invariant',
    ])
    assert.deepEqual(faults(spec, [['test/x.test.ts', '// SPEC I1']]), ['I1: the page does not list test/x.test.ts'])
    assert.ok(faultsOfSpec({ spec, tests: new Map() }, CODE).length > 0)
  })
})
