import assert from 'node:assert/strict'
import { test } from 'node:test'
import { printable } from '../../runtime/base/printable.ts'

test('text that could steer a terminal is shown instead', () => {
  assert.equal(printable('a\u001b[31m\rb\u009b2J\u202ec\u0000'), 'a\\u001b[31m\\u000db\\u009b2J\\u202ec\\u0000')
})

test('letters of every script and line ends stay as they are', () => {
  assert.equal(printable('Gewächshaus 温室 🌱\n21.5 °C'), 'Gewächshaus 温室 🌱\n21.5 °C')
})
