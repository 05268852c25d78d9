import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { hex } from '../../runtime/base/bytes.ts'
import { loadStoreKey } from '../../runtime/identity/store-key.ts'
import { checkProfile } from '../../runtime/profile/parse.ts'
import { resolveProfile } from '../../runtime/profile/resolve.ts'
import type { ResolvedProfile } from '../../runtime/profile/resolved.ts'

const KEY = Uint8Array.from({ length: 32 }, (_, i) => i * 7)

function storageOf(storage: object): ResolvedProfile['storage'] {
  const checked = checkProfile({ storage }, { path: 'p' })
  assert.ok(checked.ok)
  return resolveProfile(checked.value.profile).storage
}

describe('the key of an encrypted store', () => {
  let dir: string
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'marram-store-key-'))
  })
  afterEach(() => {
    delete process.env['CREDENTIALS_DIRECTORY']
    rmSync(dir, { recursive: true })
  })

  test('is none without encryption, whatever is named', () => {
    assert.equal(loadStoreKey(dir, storageOf({})), null)
    assert.equal(loadStoreKey(dir, storageOf({ key: 'file:missing' })), null)
  })

  test('is read from 32 bytes or their hexadecimal digits, in a file or a credential of systemd', () => {
    writeFileSync(join(dir, 'raw'), KEY)
    writeFileSync(join(dir, 'text'), `${hex(KEY).toUpperCase()}\n`)
    assert.deepEqual(loadStoreKey(dir, storageOf({ encryption: 'values', key: 'file:raw' })), KEY)
    assert.deepEqual(loadStoreKey('/elsewhere', storageOf({ encryption: 'values', key: `file:${dir}/text` })), KEY)
    process.env['CREDENTIALS_DIRECTORY'] = dir
    assert.deepEqual(loadStoreKey('/elsewhere', storageOf({ encryption: 'values', key: 'cred:text' })), KEY)
  })

  test('in a credential is no file of the folder that a process without credentials is in', () => {
    writeFileSync(join(dir, 'text'), hex(KEY))
    const before = process.cwd()
    process.chdir(dir)
    try {
      for (const directory of [undefined, '']) {
        if (directory !== undefined) process.env['CREDENTIALS_DIRECTORY'] = directory
        assert.throws(() => loadStoreKey(dir, storageOf({ encryption: 'values', key: 'cred:text' })), {
          code: 'bad-profile',
          message: /"cred:text".*CREDENTIALS_DIRECTORY.*LoadCredential=text:/,
        })
      }
    } finally {
      process.chdir(before)
    }
  })

  test('that is missing or no key names its file and how to make one', () => {
    const load = (name: string) => () => loadStoreKey(dir, storageOf({ encryption: 'values', key: `file:${name}` }))
    assert.throws(load('missing'), { code: 'no-key', message: /openssl rand -hex 32/ })
    for (const text of ['', 'short', hex(KEY).slice(2), 'g'.repeat(64)]) {
      writeFileSync(join(dir, 'bad'), text)
      assert.throws(load('bad'), { code: 'no-key', message: /bad": it must hold 32 bytes/ })
    }
  })
})
