import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  createReadStream,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { test } from 'node:test'
import { writeBackup } from '../../runtime/backup.ts'
import { decodeBackup, encodeBackup, encodeRow } from '../../runtime/store/backup-format.ts'
import { found, joined, marram, temporaryFolder, until, untilEqual } from './harness.ts'

const NONE = { throwIfNoEntry: false } as const
const MAIN = join(import.meta.dirname, '../../runtime/cli/main.js')

test('a gateway whose disk was lost is restored, gets its later writes back and goes on', async (t) => {
  const folder = temporaryFolder()
  const host = await found(t, folder, 'host')
  const gateway = await joined(t, folder, 'gateway', host)
  const file = `${folder}/gateway.backup`
  await gateway.run('put', 'climate', 'old', '{"value":1}')
  await untilEqual(host, gateway)
  await gateway.stop()
  await gateway.run('backup', file, '--with-identity')
  assert.equal(statSync(file).mode & 0o777, 0o600, 'only its owner may read the keys')
  await gateway.start()
  await gateway.run('put', 'climate', 'later', '{"value":2}')
  await untilEqual(host, gateway)
  await gateway.stop()

  rmSync(gateway.dir, { recursive: true })
  await gateway.run('restore', file)
  await gateway.start()
  await until('the later write is back', async () =>
    (await gateway.run('list', 'climate', '--json')).includes('"later"'),
  )
  await gateway.run('put', 'climate', 'after', '{"value":3}')
  await until('the host has the write after', async () =>
    (await host.run('list', 'climate', '--json')).includes('"after"'),
  )
  await untilEqual(host, gateway)
  assert.doesNotMatch(await gateway.run('status', '--json'), /clone-or-fork/)
})

test('a gateway that runs is backed up while devices write; the backup goes on as a new incarnation and rejoins', async (t) => {
  const folder = temporaryFolder()
  const host = await found(t, folder, 'host')
  const gateway = await joined(t, folder, 'gateway', host)
  await untilEqual(host, gateway)
  const lines = Array.from({ length: 3_000 }, (_, i) => JSON.stringify({ key: `k${i}`, value: { count: i } }))
  writeFileSync(`${folder}/documents`, lines.join('\n'))
  await gateway.run('put', 'climate', 'before', '{"value":1}')
  const importing = gateway.run('import', 'climate', `${folder}/documents`)
  await until(
    'the import is under way',
    async () => (await gateway.json<{ count: number }>('count', 'climate')).count > 50,
  )
  const file = `${folder}/gateway.backup`
  await gateway.run('backup', file, '--with-identity')
  assert.equal(statSync(file).mode & 0o777, 0o600, 'only its owner may read the keys')
  await importing
  await untilEqual(host, gateway)
  await gateway.stop()

  rmSync(gateway.dir, { recursive: true })
  await gateway.run('restore', file)
  assert.match(await gateway.run('get', 'climate', 'before'), /1/)
  assert.match(await gateway.run('verify'), /0 bad.* 0 documents differed/)
  await gateway.start()
  await gateway.run('put', 'climate', 'after', '{"value":3}')
  await until('both have all', async () => {
    const counts = await Promise.all([host, gateway].map((each) => each.json<{ count: number }>('count', 'climate')))
    return counts.every(({ count }) => count === 3_002)
  })
  await untilEqual(host, gateway)
  assert.doesNotMatch(await gateway.run('status', '--json'), /clone-or-fork/)
})

test('whoever is killed in the middle of a backup, nothing under its name is half a file', async (t) => {
  const folder = temporaryFolder()
  const host = await found(t, folder, 'host')
  const value = 'x'.repeat(3_000)
  const lines = Array.from({ length: 8_000 }, (_, i) => JSON.stringify({ key: `k${i}`, value: { value: value + i } }))
  writeFileSync(`${folder}/documents`, lines.join('\n'))
  await host.run('import', 'climate', `${folder}/documents`)
  const file = `${folder}/host.backup`

  const client = spawn(process.execPath, [MAIN, 'backup', file, '--dir', host.dir], { stdio: 'ignore' })
  await until('its file grows', () => existsSync(`${file}.partial`))
  client.kill('SIGKILL')
  await once(client, 'exit')
  assert.equal(existsSync(file), false)
  // The gateway goes on, and takes the next.
  await until('another succeeds', async () => (await marram('backup', file, '--dir', host.dir)).code === 0)
  assert.equal(existsSync(`${file}.partial`), false)
  rmSync(file)

  const killed = marram('backup', file, '--dir', host.dir)
  await until('its file grows', () => existsSync(`${file}.partial`))
  await host.stop('SIGKILL')
  const { code, stderr } = await killed
  assert.notEqual(code, 0)
  assert.match(stderr, /Cannot/)
  assert.deepEqual([existsSync(file), existsSync(`${file}.partial`)], [false, false])
  await host.start()
  assert.equal((await host.json<{ count: number }>('count', 'climate')).count, 8_000)
})

test('of two backups that are written to one file at once, no half one takes the place', async () => {
  const path = `${temporaryFolder()}/gateway.backup`
  const held = (): { release: () => void; bytes: AsyncGenerator<Uint8Array> } => {
    let release = (): void => {}
    const wait = new Promise<void>((resolve) => (release = resolve))
    const rows = async function* (): AsyncGenerator<Uint8Array> {
      yield encodeRow(1, Buffer.alloc(8), new Uint8Array(2_000_000))
      await wait
      yield encodeRow(1, Buffer.alloc(8, 1), new Uint8Array(8))
    }
    return { release, bytes: encodeBackup({ meshId: '00'.repeat(16), hlc: 0, identity: {} }, rows()) }
  }
  const [first, second] = [held(), held()]
  const grows = (): Promise<void> => until('it grows', () => (statSync(`${path}.partial`, NONE)?.size ?? 0) > 0)
  const early = writeBackup('/nowhere', path, first.bytes, false)
  await grows()
  const { ino } = statSync(`${path}.partial`)
  const late = writeBackup('/nowhere', path, second.bytes, false)
  await until('the other one grows', () => (statSync(`${path}.partial`, NONE)?.ino ?? ino) !== ino)
  first.release()
  await assert.rejects(early, { code: 'in-use' })
  assert.equal(existsSync(path), false)
  second.release()
  assert.equal(await late, statSync(path).size)
})

test('a damaged or unwanted backup changes nothing', async (t) => {
  const folder = temporaryFolder()
  const host = await found(t, folder, 'host')
  await host.run('put', 'climate', 'kept', '{"value":1}')
  await host.stop()
  const file = `${folder}/host.backup`
  await host.run('backup', file)
  assert.equal((await marram('backup', file, '--dir', host.dir)).code, 73, 'a file is not overwritten')
  assert.equal((await marram('backup', `${folder}/none/x`, '--dir', host.dir)).code, 73, 'there is no such folder')
  assert.equal((await marram('restore', file, '--dir', host.dir)).code, 73, 'data is not overwritten')
  const nowhere = await marram('restore', file, '--dir', `${folder}/nowhere`)
  assert.match(nowhere.stderr, /neither it nor the backup holds an identity/)
  assert.equal(existsSync(`${folder}/nowhere/data`), false)

  symlinkSync(`${folder}/unplugged`, `${folder}/disk`)
  const unplugged = await marram('restore', file, '--dir', `${folder}/disk`)
  assert.equal(unplugged.code, 74)
  assert.match(unplugged.stderr, /disk": there is no such file or folder/)

  const whole = readFileSync(file)
  for (const [what, bytes] of [
    ['cut short', whole.subarray(0, whole.length - 1)],
    ['empty', Buffer.alloc(0)],
    ['a bit turned', whole.map((byte, at) => (at === whole.length >> 1 ? byte ^ 1 : byte))],
  ] as const) {
    writeFileSync(file, bytes)
    const refused = await marram('restore', file, '--force', '--dir', host.dir)
    assert.equal(refused.code, 74, what)
    assert.match(refused.stderr, /no whole backup/, what)
  }
  assert.match(await host.run('get', 'climate', 'kept'), /1/)
})

test('a gateway is as it was on a new card: profile, device logins and certificate come back with its keys', async (t) => {
  const folder = temporaryFolder()
  const host = await found(t, folder, 'host')
  await host.stop()
  const profile = `${folder}/given.json`
  const users = 'file:logins/users.json'
  writeFileSync(profile, JSON.stringify({ id: 'shed', revision: 7, node: { name: 'shed' }, broker: { users } }))
  await host.run('profile', 'set', profile)
  await host.run('user', 'add', 'plug', '--topics', 'tele/#')
  const kept = ['profile.json', 'logins/users.json', 'identity/tls.pem']
  await host.start({ protocol: 'mqtts' })
  const before = kept.map((name) => readFileSync(join(host.dir, name), 'utf8'))
  const [whole, bare] = [`${folder}/whole.backup`, `${folder}/bare.backup`]
  assert.match(await host.run('backup', whole, '--with-identity'), /SECRET KEYS/)
  assert.match(await host.run('backup', bare), /Keys, profile and device logins are not in it/)
  assert.doesNotMatch(readFileSync(bare, 'latin1'), /scrypt|shed/)
  await host.stop()

  rmSync(host.dir, { recursive: true })
  assert.deepEqual(await host.json('restore', whole), { restored: true, profile: 'backup' })
  assert.deepEqual(
    kept.map((name) => readFileSync(join(host.dir, name), 'utf8')),
    before,
  )
  assert.equal(statSync(join(host.dir, 'logins/users.json')).mode & 0o777, 0o600)
  assert.match(await host.run('restore', bare, '--force'), /The profile that is there stays/)
  rmSync(join(host.dir, 'profile.json'))
  assert.match(await host.run('restore', bare, '--force'), /Profile and device logins are NOT in the backup/)
  assert.equal(existsSync(join(host.dir, 'profile.json')), false)
})

test('a backup with keys names the files that the gateway needs and it has not', async (t) => {
  const folder = temporaryFolder()
  const host = await found(t, folder, 'host')
  await host.stop()
  const [users, key, profile] = ['users.json', 'store.key', 'given.json'].map((name) => `${folder}/${name}`) as [
    string,
    string,
    string,
  ]
  writeFileSync(users, '{}')
  writeFileSync(key, '00'.repeat(32))
  const storage = { encryption: 'values', key: `file:${key}` }
  writeFileSync(profile, JSON.stringify({ broker: { users: `file:${users}` }, storage }))
  await host.run('profile', 'set', profile)
  await host.start()
  await host.stop()
  const { leftOut } = await host.json<{ leftOut: string[] }>('backup', `${folder}/whole.backup`, '--with-identity')
  assert.deepEqual(leftOut, [users, key])
  assert.ok((await host.run('backup', `${folder}/again.backup`, '--with-identity')).includes(`${users}, ${key}`))
  const bare = await host.json<{ leftOut: string[] }>('backup', `${folder}/bare.backup`)
  assert.deepEqual(bare.leftOut, [])
})

test('a backup from before profiles were in it is restored, and one that names files elsewhere writes none there', async (t) => {
  const folder = temporaryFolder()
  const host = await found(t, folder, 'host')
  await host.stop()
  const file = `${folder}/host.backup`
  await host.run('backup', file, '--with-identity')
  const { header } = await decodeBackup(createReadStream(file), file)
  assert.deepEqual(header.settings, {}, 'there is no profile of its own')
  const { settings: _, ...old } = header
  const others = { '../elsewhere.json': '{}', [`${folder}/elsewhere.json`]: '{}' }
  for (const [made, profile] of [
    [old, 'missing'],
    [{ ...old, settings: others }, 'default'],
  ] as const) {
    const { rows } = await decodeBackup(createReadStream(file), file)
    const copy = `${folder}/${profile}.backup`
    writeFileSync(copy, await buffer(encodeBackup(made, rows)))
    rmSync(host.dir, { recursive: true })
    assert.deepEqual(await host.json('restore', copy), { restored: true, profile })
  }
  assert.equal(existsSync(`${folder}/elsewhere.json`), false)
  await host.start()
})

test('a restore that is cut short between the old data and the new is finished by whatever comes next', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const file = join(folder, 'a.backup')
  await a.run('put', 'climate', 'k', '{"x":1}')
  await a.run('backup', file)
  await a.stop()
  const cut = join(folder, 'cut.cjs')
  writeFileSync(
    cut,
    `const fs = require('node:fs')
    const { renameSync } = fs
    fs.renameSync = (from, to) => from.endsWith('data-restored') ? process.kill(process.pid, 'SIGKILL') : renameSync(from, to)
    require('node:module').syncBuiltinESMExports()`,
  )
  const { signal } = spawnSync(process.execPath, ['-r', cut, MAIN, 'restore', file, '--force', '--dir', a.dir])
  assert.equal(signal, 'SIGKILL')
  await a.start()
  assert.deepEqual(await a.json('get', 'climate', 'k'), { key: 'k', value: { x: 1 } })
  assert.deepEqual(
    readdirSync(a.dir).filter((name) => name.startsWith('data')),
    ['data'],
  )
})
