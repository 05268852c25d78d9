import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ProfileError } from '../../runtime/profile/error.ts'
import { parseProfile } from '../../runtime/profile/parse.ts'
import type { DeviceProfile } from '../../runtime/profile/defaults.ts'

interface Files {
  readonly [path: string]: object | string
}

function parsed(files: Files, path = 'main.json'): ReturnType<typeof parseProfile> {
  const readFile = (name: string): string => {
    const file = files[name]
    if (file === undefined) throw new Error('no such file')
    return typeof file === 'string' ? file : JSON.stringify(file)
  }
  return parseProfile(readFile(path), { path, readFile })
}

function profileOf(files: Files, path?: string): DeviceProfile {
  const result = parsed(files, path)
  assert.ok(result.ok, JSON.stringify(result))
  return result.value.profile
}

function errorsOf(files: Files, path?: string): readonly ProfileError[] {
  const result = parsed(files, path)
  return result.ok ? [] : result.error
}

test('a profile is merged over those it extends, in order, and extends is gone', () => {
  const files = {
    'main.json': { extends: ['one.json', 'two.json'], labels: { c: '3' } },
    'one.json': { $schema: 'theirs', labels: { a: '1', b: '1' }, mesh: { bootstrap: ['mqtt://a'] } },
    'two.json': { labels: { b: '2' }, mesh: { bootstrap: ['mqtt://b'] } },
  }
  assert.deepEqual(profileOf(files), { labels: { a: '1', b: '2', c: '3' }, mesh: { bootstrap: ['mqtt://b'] } })
})

test('null removes a key of a profile that is extended', () => {
  const files = {
    'main.json': { extends: 'one.json', labels: { a: null } },
    'one.json': { labels: { a: '1', b: '1' } },
  }
  assert.deepEqual(profileOf(files), { labels: { b: '1' } })
})

test('paths are relative to the file that names them', () => {
  const files = {
    'etc/site/main.json': { extends: '../base/one.json' },
    'etc/site/../base/one.json': { extends: 'two.json' },
    'etc/site/../base/two.json': { id: 'two' },
  }
  assert.deepEqual(profileOf(files, 'etc/site/main.json'), { id: 'two' })
})

test('an error in a file that is extended names that file and its line', () => {
  const [error] = errorsOf({ 'main.json': { extends: 'one.json' }, 'one.json': '{\n  "logg": {}\n}' })
  assert.deepEqual([error?.file, error?.line, error?.column, error?.nearest], ['one.json', 2, 3, 'log'])
})

test('a base is checked even where the profile itself has nothing wrong', () => {
  assert.match(
    errorsOf({ 'main.json': { extends: 'one.json' }, 'one.json': '{' })[0]?.message ?? '',
    /^Cannot read "one.json"/,
  )
})

for (const [name, files, message] of [
  ['a file that is not there', { 'main.json': { extends: 'one.json' } }, /can't be read \(no such file\)/],
  ['itself', { 'main.json': { extends: 'main.json' } }, /leads back to itself/],
  ['a circle', { 'main.json': { extends: 'one.json' }, 'one.json': { extends: 'main.json' } }, /leads back to itself/],
  ['a circle in other spelling', { 'main.json': { extends: './main.json' } }, /leads back to itself/],
  ['an absolute path', { 'main.json': { extends: '/etc/passwd' } }, /it is not relative/],
  [
    'a base of a later version',
    { 'main.json': { extends: 'one.json' }, 'one.json': { schemaVersion: 9 } },
    /newer than this build knows/,
  ],
  [
    'a list with something else in it',
    { 'main.json': { extends: ['one.json', 5] }, 'one.json': {} },
    /it must be a string/,
  ],
  [
    'too many files',
    {
      'main.json': { extends: Array.from({ length: 8 }, () => 'a.json') },
      'a.json': { extends: ['b.json', 'b.json'] },
      'b.json': {},
    },
    /too many files/,
  ],
] as const) {
  test(`refused: extending ${name}`, () => {
    assert.match(errorsOf(files)[0]?.message ?? '', message)
  })
}

test('a chain beyond the limit is refused', () => {
  const names = Array.from({ length: 20 }, (_, i) => `f${i}.json`)
  const files = Object.fromEntries(names.map((name, i) => [name, { extends: `f${i + 1}.json` }]))
  assert.match(errorsOf(files, 'f0.json')[0]?.message ?? '', /too far away/)
})

test('without files, extends is an error', () => {
  const result = parseProfile('{"extends": "one.json"}', { path: 'p.json' })
  assert.ok(!result.ok)
  assert.equal(result.error[0]?.pointer, '/extends')
})
