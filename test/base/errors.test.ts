import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { sentenceOf } from '../../runtime/base/errors.ts'
import { temporaryFolder } from '../http/door.ts'

function sentenceAfter(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    return sentenceOf(error)
  }
  return 'nothing was thrown'
}

test('what the system says of a file is said in words, without the names of its calls', (t) => {
  const dir = temporaryFolder(t)
  const file = join(dir, 'file')
  writeFileSync(file, '')
  assert.equal(
    sentenceAfter(() => readFileSync(join(dir, 'none'))),
    'there is no such file or folder',
  )
  assert.equal(
    sentenceAfter(() => readFileSync(dir)),
    'it is a folder',
  )
  assert.equal(
    sentenceAfter(() => readdirSync(join(file, 'x'))),
    'a part of its path is no folder',
  )
  assert.equal(
    sentenceAfter(() => mkdirSync(file)),
    'there is a file of that name',
  )
})

test('any other error speaks for itself', () => {
  assert.equal(sentenceOf(new Error('it is torn')), 'it is torn')
  assert.equal(sentenceOf(Object.assign(new Error('told so'), { code: 'ENOENT' })), 'told so')
  assert.equal(sentenceOf('a word'), 'a word')
})
