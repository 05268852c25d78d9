import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseOrder, parseWhere } from '../../runtime/model/query.ts'
import type { Fields, Value } from '../../runtime/model/value.ts'

function isMatch(where: string, fields: Fields): boolean {
  const filter = parseWhere(where)
  assert.ok(filter.ok, filter.ok ? '' : filter.error.message)
  return filter.value(fields)
}

function refusal(where: string): string {
  const filter = parseWhere(where)
  assert.ok(!filter.ok, `${where} must be refused`)
  assert.equal(filter.error.code, 'bad-request')
  return filter.error.message
}

function sorted(order: string, documents: Fields[]): Fields[] {
  const compare = parseOrder(order)
  assert.ok(compare.ok)
  return documents.toSorted(compare.value)
}

const KITCHEN: Fields = {
  temperature: 21.5,
  room: 'kitchen',
  isOpen: false,
  'ENERGY.Power': 40,
  'ENERGY.Total.kWh': 7,
  color: { x: 0.3, mode: { name: 'xy' } },
  tags: ['a', 'b'],
  'air quality': 3,
  'a.b': { c: 1 },
  a: { 'b.c': 2, b: { d: 3 } },
  größe: 5,
}

for (const [where, expected] of [
  ['temperature > 21', true],
  ['temperature > 21.5', false],
  ['temperature >= 21.5', true],
  ['temperature < 2.15e1', false],
  ['temperature <= 21.5', true],
  ['temperature = 21.50', true],
  ['temperature != 21.5', false],
  ['temperature > -5', true],
  ['temperature>21 and room="kitchen"', true],
  ['room = "kitchen"', true],
  ["room = 'kitchen'", true],
  ['room = "k\\u0069tchen"', true],
  ['room != "hall"', true],
  ['room < "l"', true],
  ['room startswith "kit"', true],
  ['room startswith ""', true],
  ['room STARTSWITH "it"', false],
  ['room in ("hall", "kitchen")', true],
  ['room in ("hall")', false],
  ['temperature in (21.5, "x", null)', true],
  ['missing in (1, null)', true],
  ['isOpen = false', true],
  ['isOpen != true', true],
  ['isOpen < TRUE', true],
  ['room exists', true],
  ['missing exists', false],
  ['not missing exists', true],
  ['missing = null', true],
  ['missing != null', false],
  ['room != null', true],
  ['room < null', false],
  ['ENERGY.Power = 40', true],
  ['ENERGY.Total.kWh = 7', true],
  ['color.x < 1', true],
  ['a.b.c = 1', true],
  ['a.b.d exists', false],
  ['color.mode.name = "xy"', true],
  ['color.mode exists', true],
  ['color.missing.name exists', false],
  ['tags.0 = "a"', false],
  ['tags.length exists', false],
  ['"air quality" = 3', true],
  ['größe = 5', true],
  ['constructor exists', false],
  ['color.constructor exists', false],
  ['temperature = "21.5"', false],
  ['temperature != "21.5"', false],
  ['temperature < "z"', false],
  ['room > 5', false],
  ['color = "x"', false],
  ['tags = "a"', false],
  ['temperature > 30 and room = "kitchen" or isOpen = false', true],
  ['temperature > 30 and (room = "kitchen" or isOpen = false)', false],
  ['not temperature > 30 and room = "kitchen"', true],
  ['not (temperature > 30 or room = "kitchen")', false],
  ['NOT not Room exists', false],
] as const) {
  test(`${where} is ${expected} of the kitchen`, () => {
    assert.equal(isMatch(where, KITCHEN), expected)
  })
}

for (const [where, column, expected] of [
  ['', 1, /a field/],
  ['temperature >', 14, /a number/],
  ['temperature > 21 and', 21, /a field/],
  ['temperature 21', 13, /= != < <= > >= in exists or startswith/],
  ['temperature = kitchen', 15, /a text in quotes/],
  ['temperature == 5', 13, /= != < <=/],
  ['temperature = 05', 15, /a field, an operator or a value/],
  ['temperature = 5x', 15, /a field, an operator or a value/],
  ['(a = 1', 7, /"\)"/],
  ['a = 1)', 6, /the end/],
  ['a in 1', 6, /"\("/],
  ['a in ()', 7, /a number/],
  ['a in (1 2)', 9, /","/],
  ['a startswith 5', 14, /a text in quotes/],
  ['a = "b', 7, /a closing "/],
  ['a = "\\q"', 5, /JSON's escapes/],
  ['and = 1', 1, /a field/],
  ['a = 1 ; b', 7, /an operator/],
  ['"" = 1', 1, /a field/],
] as const) {
  test(`refused with its column: ${where}`, () => {
    const message = refusal(where)
    assert.match(message, new RegExp(`at column ${column},`))
    assert.match(message, expected)
    assert.match(message, /^Cannot use ".*" as a filter: .+, it must have .+/)
  })
}

test('length and depth are bounded', () => {
  assert.match(refusal(`a = "${'x'.repeat(4096)}"`), /at most 4096/)
  assert.match(refusal(`${'('.repeat(500)}a = 1${')'.repeat(500)}`), /at most 32 levels/)
  assert.match(refusal(`${'not '.repeat(500)}a = 1`), /at most 32 levels/)
  assert.ok(isMatch(Array.from({ length: 400 }, () => 'a = 1').join(' or '), { a: 1 }))
})

type Term =
  | {
      readonly is: 'test'
      readonly field: string
      readonly operator: string
      readonly literal: string | number | boolean
    }
  | { readonly is: 'not'; readonly term: Term }
  | { readonly is: 'and'; readonly terms: readonly Term[] }
  | { readonly is: 'or'; readonly terms: readonly Term[] }

const literal = fc.oneof(fc.integer({ min: -3, max: 3 }), fc.constantFrom('', 'a', 'b"\\'), fc.boolean())
const { term } = fc.letrec<{ term: Term }>((tie) => ({
  term: fc.oneof(
    { maxDepth: 4 },
    fc.record({
      is: fc.constant('test' as const),
      field: fc.constantFrom('a', 'b'),
      operator: fc.constantFrom('=', '!=', '<', '<=', '>', '>='),
      literal,
    }),
    fc.record({ is: fc.constant('not' as const), term: tie('term') }),
    fc.record({
      is: fc.constantFrom('and' as const, 'or' as const),
      terms: fc.array(tie('term'), { minLength: 1, maxLength: 3 }),
    }),
  ),
}))

function written(part: Term): string {
  if (part.is === 'test') return `${part.field} ${part.operator} ${JSON.stringify(part.literal)}`
  if (part.is === 'not') return `not (${written(part.term)})`
  return part.terms.map((inner) => `(${written(inner)})`).join(` ${part.is} `)
}

/** What the operators mean, read off the grammar. */
function meaning(part: Term, fields: Fields): boolean {
  if (part.is === 'not') return !meaning(part.term, fields)
  if (part.is === 'and') return part.terms.every((inner) => meaning(inner, fields))
  if (part.is === 'or') return part.terms.some((inner) => meaning(inner, fields))
  const value = fields[part.field] as string
  const other = part.literal as string
  if (typeof value !== typeof other) return false
  const results: { [operator: string]: boolean } = {
    '=': value === other,
    '!=': value !== other,
    '<': value < other,
    '<=': value <= other,
    '>': value > other,
    '>=': value >= other,
  }
  return results[part.operator] as boolean
}

test('a filter means what its operators say', () => {
  const fields = fc.dictionary(fc.constantFrom('a', 'b'), literal, { noNullPrototype: true })
  fc.assert(
    fc.property(term, fields, (part, document) => {
      assert.equal(isMatch(written(part), document), meaning(part, document), written(part))
    }),
    { numRuns: 2000 },
  )
})

test('no text makes the parser throw, and no document makes a filter throw', () => {
  const words = fc.constantFrom(
    'a',
    'a.b',
    '=',
    '<',
    '(',
    ')',
    ',',
    'in',
    'and',
    'or',
    'not',
    'exists',
    'startswith',
    '1',
    '"x"',
    "'",
    '\\',
    'null',
    '\ud800',
    '-',
  )
  const text = fc.oneof(
    fc.string(),
    fc.array(words, { maxLength: 12 }).map((parts) => parts.join(' ')),
  )
  const value = fc.oneof(fc.jsonValue(), fc.uint8Array()) as fc.Arbitrary<Value>
  fc.assert(
    fc.property(text, fc.dictionary(fc.constantFrom('a', 'a.b'), value, { noNullPrototype: true }), (where, fields) => {
      const filter = parseWhere(where)
      if (filter.ok) assert.equal(typeof filter.value(fields), 'boolean')
    }),
    { numRuns: 3000 },
  )
})

test('an order sorts numbers by value and texts by their units', () => {
  const documents: Fields[] = [{ n: 10 }, { n: 9 }, { n: -1 }]
  assert.deepEqual(sorted('n', documents), [{ n: -1 }, { n: 9 }, { n: 10 }])
  assert.deepEqual(sorted('-n', documents), [{ n: 10 }, { n: 9 }, { n: -1 }])
})

test('documents without the field come last in either direction, types stay together', () => {
  const documents: Fields[] = [{}, { n: 'a' }, { n: [1] }, { n: 5 }, { n: true }]
  assert.deepEqual(sorted('n', documents), [{ n: 5 }, { n: 'a' }, { n: true }, { n: [1] }, {}])
  assert.deepEqual(sorted('-n', documents), [{ n: [1] }, { n: true }, { n: 'a' }, { n: 5 }, {}])
})

test('an order reads dotted fields like a filter does', () => {
  assert.deepEqual(sorted('a.b', [{ a: { b: 2 } }, { 'a.b': 1 }]), [{ 'a.b': 1 }, { a: { b: 2 } }])
})

test('an order is a total preorder whatever the values', () => {
  const document = fc.dictionary(fc.constant('n'), fc.jsonValue() as fc.Arbitrary<Value>, { noNullPrototype: true })
  fc.assert(
    fc.property(document, document, document, fc.constantFrom('n', '-n'), (a, b, c, text) => {
      const order = parseOrder(text)
      assert.ok(order.ok)
      assert.equal(Math.sign(order.value(a, b)), -Math.sign(order.value(b, a)) + 0)
      if (order.value(a, b) <= 0 && order.value(b, c) <= 0) assert.ok(order.value(a, c) <= 0)
    }),
  )
})

test('what is not a field is no order', () => {
  for (const text of ['', '-', 'a\n', 'x'.repeat(300)]) assert.ok(!parseOrder(text).ok)
})
