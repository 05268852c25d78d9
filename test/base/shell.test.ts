import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { shellWord } from '../../runtime/base/shell.ts'

test('a word of a command is what it was for the shell that reads it', () => {
  const words = [
    '',
    '*',
    '~',
    '/srv/gw-a',
    '/srv/my gateway',
    "it's",
    '$HOME',
    '`id`',
    'a\\b',
    '"',
    '#1',
    'a;b',
    '\u00fc',
  ]
  const command = `printf '%s\\n' ${words.map(shellWord).join(' ')}`
  assert.equal(execFileSync('/bin/sh', ['-c', command], { encoding: 'utf8', cwd: '/' }), `${words.join('\n')}\n`)
})

test('what is plain stays as it is', () => {
  for (const word of ['/srv/gw-a', 'readings', 'north/hall', 'a_b@c:1,2']) assert.equal(shellWord(word), word)
})
