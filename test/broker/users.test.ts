import { strict as assert } from 'node:assert'
import { scryptSync } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { BROKER_LIMITS } from '../../runtime/base/limits.ts'
import { PasswordChecker } from '../../runtime/broker/passwords.ts'
import { usersOf } from '../../runtime/broker/users-file.ts'
import { SILENT_LOG } from '../../runtime/ports/log.ts'
import { formatUsers, hashPassword, isUserName, parseUsers, verifyPassword } from '../../runtime/broker/users.ts'

const CHEAP = cheapHash('right')

/** A sound stored password that costs next to nothing to check. */
function cheapHash(password: string): string {
  const salt = Buffer.from('0123456789abcdef')
  const hash = scryptSync(password, salt, 32, { N: 2, r: 1, p: 1 })
  return `scrypt$2$1$1$${salt.toString('base64')}$${hash.toString('base64')}`
}

test('a password is known again and no other is', async () => {
  const stored = await hashPassword('correct horse')
  assert.equal(await verifyPassword('correct horse', stored), true)
  assert.equal(await verifyPassword('correct horsf', stored), false)
  assert.equal(await verifyPassword('', stored), false)
  assert.notEqual(await hashPassword('correct horse'), stored)
})

test('a stored password that is damaged or asks for gigabytes matches nothing', async () => {
  const [, , , , salt, hash] = CHEAP.split('$')
  for (const stored of [
    '',
    'plain',
    'scrypt$2$1$1',
    `scrypt$3$1$1$${salt}$${hash}`,
    `scrypt$1073741824$8$1$${salt}$${hash}`,
    `scrypt$2$1$99$${salt}$${hash}`,
  ]) {
    assert.equal(await verifyPassword('right', stored), false, stored)
  }
})

test('a users file reads back as it was written', () => {
  const users = new Map([
    ['plug-1', { password: CHEAP, topics: ['tele/plug-1/#'] }],
    ['panel', { password: CHEAP, topics: [], publish: ['marram/request/#'], subscribe: ['marram/#'] }],
  ])
  const parsed = parseUsers(formatUsers(users))
  assert.ok(parsed.ok)
  assert.deepEqual(parsed.value, users)
})

test('a broken users file says what is wrong', () => {
  const sentences = [
    ['{', /Cannot read the users file/],
    ['null', /must have one/],
    ['{"users":{"a":null}}', /"a".*"password"/],
    ['{"users":{"a":{"password":"x"}}}', /"topics"/],
    ['{"users":{"a":{"password":"x","topics":["a","a/#/b"]}}}', /"a\/#\/b" in its "topics"/],
    ['{"users":{"a":{"password":"x","topics":["a",7]}}}', /7 in its "topics"/],
    ['{"users":{"a":{"password":"x","topics":"a"}}}', /"topics" must be a list/],
    ['{"users":{"a":{"password":"x","topics":[],"publish":"a"}}}', /"publish"/],
    ['{"users":{"join":{"password":"x","topics":[]}}}', /not the name of a gateway/],
  ] as const
  for (const [text, sentence] of sentences) {
    const parsed = parseUsers(text)
    assert.ok(!parsed.ok, text)
    assert.match(parsed.error.message, sentence)
  }
})

test('a changed users file that cannot be read lets nobody in by what it said before, until it can be read', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'marram-users-'))
  t.after(() => rmSync(dir, { recursive: true }))
  const path = join(dir, 'users.json')
  const write = (name: string): void =>
    writeFileSync(path, formatUsers(new Map([[name, { password: CHEAP, topics: [] }]])))
  write('plug')
  const users = usersOf(path, SILENT_LOG)
  assert.deepEqual([...users().keys()], ['plug'])
  // Stands for a file of another user, which root could read all the same.
  rmSync(path)
  mkdirSync(path)
  assert.throws(() => users())
  assert.throws(() => users())
  rmSync(path, { recursive: true })
  write('lamp')
  assert.deepEqual([...users().keys()], ['lamp'])
})

test('no user can have the name of a gateway or of a joiner', () => {
  assert.ok(isUserName('plug-1'))
  assert.ok(!isUserName('join'))
  assert.ok(!isUserName('a'.repeat(23)))
  assert.ok(isUserName('a'.repeat(24)))
  assert.ok(!isUserName('a b'))
})

test('a password that was right is right again without being hashed, and a wrong one never', async () => {
  const checker = new PasswordChecker()
  const slow = await hashPassword('right')
  assert.equal(await checker.check(Buffer.from('right'), slow), 'right')
  const started = process.cpuUsage().user
  for (let i = 0; i < 1_000; i++) assert.equal(await checker.check(Buffer.from('right'), slow), 'right')
  assert.ok(process.cpuUsage().user - started < 2_000_000)
  assert.equal(await checker.check(Buffer.from('wrong'), slow), 'wrong')
  // Another hash of the same password is another login.
  assert.equal(await checker.check(Buffer.from('right'), cheapHash('other')), 'wrong')
})

test('logins beyond what may wait are told so, the others are answered', async () => {
  const checker = new PasswordChecker()
  const count = BROKER_LIMITS.passwordsAtOnce + BROKER_LIMITS.passwordsWaitingMax + 10
  const verdicts = await Promise.all(
    Array.from({ length: count }, (_, i) => checker.check(Buffer.from(`wrong ${i}`), CHEAP)),
  )
  assert.equal(verdicts.filter((verdict) => verdict === 'busy').length, 10)
  assert.equal(verdicts.filter((verdict) => verdict === 'wrong').length, count - 10)
  assert.equal(await checker.check(Buffer.from('right'), CHEAP), 'right')
})
