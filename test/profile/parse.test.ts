import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatProfileError, type ProfileError } from '../../runtime/profile/error.ts'
import { checkProfile, parseProfile } from '../../runtime/profile/parse.ts'

function errorsOf(text: string): readonly ProfileError[] {
  const result = parseProfile(text, { path: 'p.json' })
  return result.ok ? [] : result.error
}

function only(profile: object): ProfileError {
  const result = checkProfile(profile, { path: 'p.json' })
  assert.ok(!result.ok, 'the profile must be refused')
  assert.equal(result.error.length, 1, result.error.map(formatProfileError).join('\n'))
  return result.error[0] as ProfileError
}

test('an empty profile is valid', () => {
  assert.deepEqual(parseProfile('{}', { path: 'p.json' }), { ok: true, value: { profile: {}, warnings: [] } })
})

test('an unknown key names its line, column, pointer, the known keys and the nearest of them', () => {
  const [error] = errorsOf('{\n  "broker": {\n    "lisen": []\n  }\n}')
  assert.deepEqual(
    { ...error, message: '' },
    {
      file: 'p.json',
      line: 3,
      column: 5,
      pointer: '/broker/lisen',
      found: '"lisen"',
      allowed: ['listen', 'users', 'anonymous', 'maxPacket', 'sessions'],
      nearest: 'listen',
      message: '',
    },
  )
  assert.equal(error?.message, 'Cannot use key "lisen": it is not known in "broker", the nearest known key is "listen"')
})

test('errors come by line, and all of them at once', () => {
  const errors = errorsOf(
    '{\n"log": {"level": "loud"},\n"revision": -1,\n"storage": {"maxBytes": 5},\n"bridgee": []\n}',
  )
  assert.deepEqual(
    errors.map(({ line, pointer }) => [line, pointer]),
    [
      [2, '/log/level'],
      [3, '/revision'],
      [4, '/storage/maxBytes'],
      [5, '/bridgee'],
    ],
  )
})

test('an error is one line that editors can jump from', () => {
  const [error] = errorsOf('{ "revision": "1" }')
  assert.ok(error)
  assert.equal(
    formatProfileError(error),
    'p.json:1:15: Cannot use "1" for "revision": it is a string, it must be a whole number (/revision)',
  )
})

for (const [name, profile, pointer, message] of [
  ['a wrong type', { labels: [] }, '/labels', /it is an array, it must be an object$/],
  ['null', { log: null }, '/log', /it is null, it must be an object$/],
  [
    'an unknown value, with the nearest',
    { log: { level: 'wran' } },
    '/log/level',
    /it must be "debug", "info", "warn" or "error"$/,
  ],
  ['a number below the range', { storage: { flushesPerSecond: 0 } }, '/storage/flushesPerSecond', /at least 1$/],
  ['a number above the range', { mesh: { links: { max: 257 } } }, '/mesh/links/max', /at most 256$/],
  ['a size without a unit', { storage: { maxBytes: '5' } }, '/storage/maxBytes', /such as "256MiB"$/],
  ['a size below the range', { broker: { maxPacket: '1KiB' } }, '/broker/maxPacket', /at least "72KiB"$/],
  ['a size above the range', { broker: { maxPacket: '1GiB' } }, '/broker/maxPacket', /at most "16MiB"$/],
  ['a size that no number holds', { storage: { maxBytes: '999999999999999TiB' } }, '/storage/maxBytes', /too great/],
  ['a duration above the range', { sync: { batch: { maxDelay: '1h' } } }, '/sync/batch/maxDelay', /at most "1m"$/],
  ['a list that is empty', { broker: { listen: [] } }, '/broker/listen', /it has 0 items, it must have at least 1$/],
  ['repetitions', { interest: ['a', 'b', 'a'] }, '/interest', /items 0 and 2 are equal/],
  ['a missing key', { bridge: [{ topic: 'a' }] }, '/bridge/0', /it has no key "direction"/],
  ['a name that is none', { collections: { Climate: {} } }, '/collections/Climate', /it must be a name/],
  ['a collection of the system', { collections: { $mesh: {} } }, '/collections/$mesh', /it must be a name/],
  [
    'a login in an address',
    { mesh: { bootstrap: ['mqtt://me:secret@host:1'] } },
    '/mesh/bootstrap/0',
    /it must be an address/,
  ],
  ['a secret in place of a file', { broker: { users: 'hunter2' } }, '/broker/users', /it must be a reference/],
  [
    'a field named __proto__',
    { collections: { a: { indexes: ['__proto__'] } } },
    '/collections/a/indexes/0',
    /it must be a field/,
  ],
  [
    'an expression in place of a path',
    { sources: [{ id: 's', collection: 'c', topic: 't', key: 'k', fields: { a: '$..b' } }] },
    '/sources/0/fields/a',
    /RFC 9535/,
  ],
  ['a schemaVersion as a text', { schemaVersion: '1' }, '/schemaVersion', /it is a string, it must be a whole number$/],
  ['an unknown schemaVersion', { schemaVersion: 0 }, '/schemaVersion', /it must be 1$/],
  [
    'a profile of a later version, and nothing else of it',
    { schemaVersion: 2, newKey: true },
    '/schemaVersion',
    /newer than this build knows/,
  ],
] as const) {
  test(`refused: ${name}`, () => {
    const error = only(profile)
    assert.equal(error.pointer, pointer)
    assert.match(error.message, message)
    assert.match(error.message, /^Cannot use .+: .+, .+/)
  })
}

test('an unknown value names the nearest known one', () => {
  assert.equal(only({ log: { level: 'wran' } }).nearest, 'warn')
})

test('what is not an object is refused at its place', () => {
  assert.deepEqual(
    errorsOf('[]').map(({ pointer, line }) => [pointer, line]),
    [['', 1]],
  )
})

test('one error too many is not shown', () => {
  const keys = Array.from({ length: 5000 }, (_, i) => `"k${i}": 1`).join(',\n')
  assert.equal(errorsOf(`{${keys}}`).length, 100)
  assert.equal(errorsOf(`{"interest": [${'1,'.repeat(8000)}1]}`).length, 100)
})

test('a file of more values than any profile needs is refused before it is judged', () => {
  const [error] = errorsOf(`{"interest": [${'"a",'.repeat(8190)}"a"]}`)
  assert.match(error?.message ?? '', /^Cannot read "p.json": .+ at most 8192 values$/)
})

test('no JSON makes it throw, and every error has the shape of a sentence', () => {
  const keys = fc.constantFrom(
    'broker',
    'listen',
    'sources',
    'id',
    'collections',
    '*',
    'kind',
    'fields',
    'bridge',
    'topic',
    '0',
    'extends',
    'constructor',
    'toString',
  )
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 5 },
      fc.constantFrom(null, true, 0, -1, 1.5, '', '$', '#', '{', '{cell}', 'mqtt://[::]:1', 'climate', '*', '30d'),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(keys, tie('value'), { maxKeys: 4, noNullPrototype: true }),
    ),
  }))
  fc.assert(
    fc.property(value, (profile) => {
      const result = checkProfile(profile, { path: 'p.json' })
      if (!result.ok) for (const { message } of result.error) assert.match(message, /^Cannot .+: .+, .+/s)
    }),
    { numRuns: 1000 },
  )
})
