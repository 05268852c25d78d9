import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { readRelayLogin } from '../../runtime/identity/relay-logins.ts'

const RELAY = 'mqtts://relay.example:8883'

describe('logins at relays', () => {
  let dir: string
  let path: string
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'marram-logins-'))
    path = join(dir, 'relays.json')
  })
  afterEach(() => rmSync(dir, { recursive: true }))

  test('are none without a file, or for a relay that it does not name', () => {
    assert.equal(readRelayLogin(path, RELAY), null)
    writeFileSync(path, '{"mqtts://other.example:8883": {"user": "u", "password": "p"}}')
    assert.equal(readRelayLogin(path, RELAY), null)
    assert.equal(readRelayLogin(path, '__proto__'), null)
  })

  test('hold a name, a password and the authority beside the file', () => {
    writeFileSync(path, JSON.stringify({ [RELAY]: { user: 'u', password: 'p', ca: 'relay.pem' } }))
    writeFileSync(join(dir, 'relay.pem'), 'PEM')
    assert.deepEqual(readRelayLogin(path, RELAY), { user: 'u', password: 'p', ca: 'PEM' })
  })

  for (const [what, text, sentence] of [
    ['is no JSON', '{', /it must be JSON/],
    ['is a list', '[]', /it must be an object with an entry for each relay/],
    ['lacks a password', `{"${RELAY}": {"user": "u"}}`, /must have "user" and "password"/],
    ['names nothing', `{"${RELAY}": null}`, /must have "user" and "password"/],
    [
      'names an authority that is not there',
      `{"${RELAY}": {"user": "u", "password": "p", "ca": "gone.pem"}}`,
      /gone\.pem", which is not there/,
    ],
  ] as const) {
    test(`say what is wrong with a file that ${what}`, () => {
      writeFileSync(path, text)
      assert.throws(() => readRelayLogin(path, RELAY), { code: 'bad-profile', message: sentence })
    })
  }
})
