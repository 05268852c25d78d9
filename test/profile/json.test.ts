import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseJson } from '../../runtime/profile/json.ts'
import {
  keyPlaceOf,
  mergePatch,
  pathOf,
  placeOf,
  pointerOf,
  treeOf,
  valueOf,
  type Json,
} from '../../runtime/profile/tree.ts'

const AT = { file: 'x', line: 1, column: 1 }

function parsed(text: string): Json {
  const { root, errors } = parseJson(text, 'x')
  assert.deepEqual(errors, [])
  assert.ok(root)
  return valueOf(root)
}

function json(): fc.Arbitrary<Json> {
  const key = fc.string({ unit: 'grapheme' }).filter((text) => text !== '__proto__' && text.isWellFormed())
  const text = fc.string({ unit: 'grapheme' }).filter((item) => item.isWellFormed())
  const { value } = fc.letrec<{ value: Json }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom(null, true, false),
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => (Object.is(number, -0) ? 0 : number)),
      text,
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(key, tie('value'), { maxKeys: 4, noNullPrototype: true }),
    ),
  }))
  return value
}

test('what JSON.stringify writes is read back equal, whatever the white space', () => {
  fc.assert(
    fc.property(json(), fc.integer({ min: 0, max: 4 }), (value, indent) => {
      assert.deepEqual(parsed(JSON.stringify(value, null, indent)), value)
    }),
  )
})

test('no text makes it throw, and what it takes JSON.parse takes with the same value', () => {
  const pieces = fc.constantFrom(
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '"',
    'a',
    '\\',
    '1',
    '-',
    '.',
    'e',
    'true',
    'null',
    ' ',
    '\n',
    '\ud800',
    '\\u0041',
  )
  const anyText = fc.oneof(
    fc.string(),
    fc.array(pieces, { maxLength: 24 }).map((parts) => parts.join('')),
  )
  fc.assert(
    fc.property(anyText, (text) => {
      const { root, errors } = parseJson(text, 'x')
      assert.ok(root !== null || errors.length > 0)
      if (root !== null && errors.length === 0) assert.deepEqual(valueOf(root), JSON.parse(text.replace(/^\ufeff/, '')))
    }),
    { numRuns: 2000 },
  )
})

test('every part knows its line and column', () => {
  const { root } = parseJson('{\n  "a": [1,\n    {"b": "c"}]\n}', 'p.json')
  assert.ok(root)
  assert.deepEqual(placeOf(root, ['a', '1', 'b']), { file: 'p.json', line: 3, column: 11 })
  assert.deepEqual(keyPlaceOf(root, ['a', '1', 'b']), { file: 'p.json', line: 3, column: 6 })
  assert.deepEqual(placeOf(root, ['a', '0']), { file: 'p.json', line: 2, column: 9 })
  assert.deepEqual(placeOf(root, ['a', 'missing', 'deeper']), { file: 'p.json', line: 2, column: 8 })
})

test('a key that stands twice is an error at its second place, and the first one counts', () => {
  const { root, errors } = parseJson('{"a": 1,\n "a": 2}', 'x')
  assert.ok(root)
  assert.deepEqual(valueOf(root), { a: 1 })
  assert.deepEqual(
    errors.map(({ line, column, pointer }) => [line, column, pointer]),
    [[2, 2, '/a']],
  )
})

test('a key __proto__ is an error and changes no prototype', () => {
  const { root, errors } = parseJson('{"__proto__": {"polluted": true}}', 'x')
  assert.ok(root)
  assert.equal(errors.length, 1)
  assert.equal((valueOf(root) as { polluted?: unknown }).polluted, undefined)
})

for (const [name, text, line, column] of [
  ['a comma before the end', '{"a": 1,\n}', 2, 1],
  ['a comment', '// hello\n{}', 1, 1],
  ['a text that does not end', '{"a": "b}', 1, 10],
  ['a line break in a text', '{"a": "b\nc"}', 1, 9],
  ['an unknown escape', '{"a": "\\q"}', 1, 7],
  ['half of a surrogate pair', '{"a": "\\ud800"}', 1, 7],
  ['a number that is too great', '[1e999]', 1, 2],
  ['a number with a leading zero', '[01]', 1, 3],
  ['more after the end', '{} {}', 1, 4],
  ['nothing', '', 1, 1],
  ['nesting beyond the limit', '['.repeat(100), 1, 34],
] as const) {
  test(`not JSON: ${name}`, () => {
    const { root, errors } = parseJson(text, 'x')
    assert.equal(root, null)
    assert.deepEqual([errors.at(-1)?.line, errors.at(-1)?.column], [line, column])
    assert.match(errors.at(-1)?.message ?? '', /^Cannot read "x": it has .+, it must have .+/)
  })
}

test('a text beyond the limit is refused unread', () => {
  const { root, errors } = parseJson(' '.repeat(262_145), 'x')
  assert.equal(root, null)
  assert.match(errors[0]?.message ?? '', /262145 characters/)
})

test('a byte order mark is passed over', () => {
  assert.deepEqual(parsed('\ufeff{"a": 1}'), { a: 1 })
})

/** The algorithm of RFC 7396 2, word for word. */
function oracle(target: Json | undefined, patch: Json): Json {
  if (patch === null || typeof patch !== 'object' || Array.isArray(patch)) return patch
  const isObject = target !== null && typeof target === 'object' && !Array.isArray(target)
  const result: { [key: string]: Json } = isObject ? { ...target } : {}
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name]
    else result[name] = oracle(Object.hasOwn(result, name) ? result[name] : undefined, value)
  }
  return result
}

test('merging agrees with RFC 7396', () => {
  fc.assert(
    fc.property(json(), json(), (target, patch) => {
      assert.deepEqual(valueOf(mergePatch(treeOf(target, AT), treeOf(patch, AT))), oracle(target, patch))
    }),
  )
})

test('pointers escape slashes and tildes, and lead back to the path', () => {
  assert.equal(pointerOf(['a/b', 'c~d', '0']), '/a~1b/c~0d/0')
  fc.assert(fc.property(fc.array(fc.string()), (path) => assert.deepEqual(pathOf(pointerOf(path)), path)))
})
