import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'

const SCRIPT = join(import.meta.dirname, '../../../scripts/test.mjs')
const PASSING = "require('node:test').test('holds', () => {})"
const FAILING = "require('node:test').test('is broken', () => { throw new Error('broken') })"

describe('the test command', () => {
  let root: string
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'marram-tests-'))
  })
  afterEach(() => rmSync(root, { recursive: true }))

  function runTests(
    files: { readonly [path: string]: string },
    ...args: string[]
  ): { code: number | null; out: string } {
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(join(root, dirname(path)), { recursive: true })
      writeFileSync(join(root, path), content)
    }
    // A runner that finds itself inside another one reports to that one instead.
    const { NODE_TEST_CONTEXT: _, ...env } = process.env
    const options = { encoding: 'utf8', env } as const
    const { status, stdout, stderr } = spawnSync(process.execPath, [SCRIPT, '--root', root, ...args], options)
    return { code: status, out: stdout + stderr }
  }

  test('passes when every test passes, and prints how many there were', () => {
    const { code, out } = runTests({ 'a.test.js': PASSING, 'room/b.test.js': PASSING })
    assert.equal(code, 0)
    assert.match(out, /^# tests 2$/m)
    assert.match(out, /^# pass 2$/m)
  })

  test('fails when a test fails', () => {
    const { code, out } = runTests({ 'a.test.js': PASSING, 'b.test.js': FAILING })
    assert.equal(code, 1)
    assert.match(out, /^# fail 1$/m)
  })

  test('fails when a test file can not be loaded', () => {
    assert.equal(runTests({ 'a.test.js': PASSING, 'b.test.js': 'this is no program' }).code, 1)
  })

  test('fails when it finds no test file', () => {
    const { code, out } = runTests({ 'fixture.js': PASSING })
    assert.equal(code, 1)
    assert.match(out, /No test was found/)
  })

  test('fails when a file defines no test, and names it', () => {
    const { code, out } = runTests({ 'a.test.js': PASSING, 'empty.test.js': '' })
    assert.equal(code, 1)
    assert.match(out, /No test ran in ".*empty\.test\.js"/)
  })

  test('fails when there are suites and nothing in them', () => {
    const { code, out } = runTests({ 'a.test.js': "require('node:test').describe('nothing', () => {})" })
    assert.equal(code, 1)
    assert.match(out, /No test ran/)
  })

  test('leaves tests of the system out unless they are asked for, and then runs them alone', () => {
    const files = { 'a.test.js': PASSING, 'system/b.test.js': FAILING }
    assert.equal(runTests(files).code, 0)
    const { code, out } = runTests(files, '--system')
    assert.equal(code, 1)
    assert.match(out, /^# tests 1$/m)
  })

  test('runs only what --only names, and fails when that is nothing', () => {
    const files = { 'a.test.js': PASSING, 'b.test.js': FAILING }
    assert.equal(runTests(files, '--only', 'a.').code, 0)
    assert.equal(runTests(files, '--only', 'nowhere').code, 1)
  })
})
