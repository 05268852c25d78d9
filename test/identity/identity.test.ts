import assert from 'node:assert/strict'
import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { takeLock } from '../../runtime/identity/lock.ts'
import { loadIdentity, loadRootKey } from '../../runtime/identity/identity.ts'
import { chooseIncarnation, readMark, writeMark } from '../../runtime/identity/mark.ts'
import { exportRootKey } from '../../runtime/identity/root-key.ts'
import { initGateway, joinGateway } from '../../runtime/setup.ts'
import { encodeInvite } from '../../runtime/wire/invite.ts'

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'marram-identity-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

test('a lock whose holder is about to write its name is held; one that stays empty is not', async (t) => {
  const dir = folder(t)
  const script = `
    const { openSync, readFileSync, writeSync } = require('node:fs')
    const lock = openSync(${JSON.stringify(join(dir, 'lock'))}, 'wx')
    const stat = readFileSync('/proc/self/stat', 'utf8')
    const started = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    console.log('made')
    setTimeout(() => writeSync(lock, process.pid + ' ' + started + ' ' + boot), 50)
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  assert.throws(() => takeLock(dir), { code: 'in-use' })
  child.kill('SIGKILL')
  await once(child, 'exit')
  writeFileSync(join(dir, 'lock'), '')
  takeLock(dir).release()
})

test('a directory has one holder; one that was killed leaves it free, and so does another boot', async (t) => {
  const dir = folder(t)
  const lock = takeLock(dir)
  assert.throws(() => takeLock(dir), { code: 'in-use' })
  lock.release()

  const script = `import('${new URL('../../runtime/identity/lock.js', import.meta.url).href}').then(({ takeLock }) => { takeLock(${JSON.stringify(dir)}); console.log('held'); setInterval(() => {}, 1000) })`
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  assert.throws(() => takeLock(dir), { code: 'in-use', message: new RegExp(`process ${child.pid} `) })
  child.kill('SIGKILL')
  await once(child, 'exit')
  takeLock(dir).release()

  // The number of a process that lives now, as it was given before a restart of the machine.
  writeFileSync(join(dir, 'lock'), `${process.pid} 1 00000000-0000-0000-0000-000000000000`)
  takeLock(dir).release()
  assert.deepEqual(readdirSync(dir), [])
})

test('of three that find a stale lock one alone holds the directory, however slowly one of them takes it away', async (t) => {
  const dir = folder(t)
  writeFileSync(join(dir, 'lock'), `${process.pid} 1 00000000-0000-0000-0000-000000000000`)
  const contender = (isSlow: boolean): ChildProcessByStdio<null, Readable, null> => {
    const script = `
      const fs = require('node:fs')
      const slow = (name) => {
        const real = fs[name]
        fs[name] = (...args) => {
          console.log('slow')
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400)
          return real(...args)
        }
      }
      if (${isSlow}) for (const name of ['renameSync', 'linkSync', 'rmSync']) slow(name)
      require('node:module').syncBuiltinESMExports()
      import('${new URL('../../runtime/identity/lock.js', import.meta.url).href}').then(({ takeLock }) => {
        try { takeLock(${JSON.stringify(dir)}); console.log('held') } catch ({ code }) { console.log(code) }
        setInterval(() => {}, 1000)
      })`
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
    t.after(() => child.kill('SIGKILL'))
    return child
  }
  const holders: string[] = []
  const decided = async (child: ChildProcessByStdio<null, Readable, null>, name: string): Promise<void> => {
    for await (const said of child.stdout) {
      if (String(said).includes('held')) holders.push(name)
      if (/held|in-use/.test(String(said))) return
    }
  }
  const slow = contender(true)
  await once(slow.stdout, 'readable')
  const ends = [decided(slow, 'slow')]
  const quick = contender(false)
  await decided(quick, 'quick')
  const isOver = Promise.all(ends).then(() => true)
  while (!(await Promise.race([isOver, sleep(5, false)]))) {
    try {
      takeLock(dir)
      holders.push('third')
      break
    } catch (error) {
      assert.equal((error as { code: string }).code, 'in-use')
    }
  }
  await isOver
  assert.equal(holders.length, 1, holders.join())
})

test('an identity is for its owner’s eyes, comes back as it was made, and a damaged file is named', (t) => {
  const dir = folder(t)
  const { peerId, meshId } = initGateway({ dir, mesh: 'greenhouse' })
  assert.match(peerId, /^[a-z2-7]{23}$/)
  assert.match(meshId, /^[0-9a-f]{32}$/)
  for (const name of readdirSync(join(dir, 'identity')))
    assert.equal(statSync(join(dir, 'identity', name)).mode & 0o777, 0o600, name)
  assert.equal(loadIdentity(dir).mesh.name, 'greenhouse')
  const file = join(dir, 'identity/device.json')
  const content = readFileSync(file, 'utf8')
  for (const damaged of ['', content.slice(0, 40), '{}', content.replace(/"secretKey": "../, '"secretKey": "')]) {
    writeFileSync(file, damaged)
    assert.throws(() => loadIdentity(dir), { code: 'storage-damaged', message: /device\.json/ })
  }
  assert.throws(() => initGateway({ dir, mesh: 'greenhouse' }), { code: 'already-exists' })
  assert.throws(() => initGateway({ dir: join(dir, 'x'), mesh: 'No Name' }), { code: 'bad-request' })
})

test('the root key that an init left behind which power cut short is not that of the mesh that is joined then', (t) => {
  const [cut, dir, other] = [folder(t), folder(t), folder(t)]
  for (const each of [cut, other]) initGateway({ dir: each, mesh: 'greenhouse' })
  mkdirSync(join(dir, 'identity'))
  for (const file of ['identity/root.json', 'identity/mesh.json']) copyFileSync(join(cut, file), join(dir, file))
  const { mesh } = loadIdentity(other)
  const { meshId, name: meshName, rootPublicKey } = mesh
  const [inviteId, secret] = [new Uint8Array(8), new Uint8Array(16)]
  joinGateway({
    dir,
    token: encodeInvite({ meshId, meshName, rootPublicKey, addresses: [], inviteId, secret, expiry: 0 }),
  })
  assert.equal(loadRootKey(dir, loadIdentity(dir).mesh), null)
  assert.throws(() => exportRootKey(dir, join(dir, 'root'), true), { code: 'not-found' })
  assert.ok(existsSync(join(dir, 'identity/root.json')), 'it may be wanted elsewhere')
  assert.equal(loadRootKey(other, mesh)?.length, 32)
})

test('a store goes on with its incarnation only when it is the one that its mark knows, and no older', (t) => {
  const dir = folder(t)
  assert.equal(readMark(dir), null)
  const mark = { incarnation: '00112233aabbccdd', lsn: 10, hlc: 5 }
  writeMark(dir, mark)
  assert.deepEqual(readMark(dir), mark)
  const same = { incarnation: mark.incarnation, lsn: 10 }
  assert.deepEqual(chooseIncarnation(mark, same), { incarnation: mark.incarnation, why: null })
  assert.deepEqual(chooseIncarnation(mark, { ...same, lsn: 99 }), { incarnation: mark.incarnation, why: null })
  const others = [
    chooseIncarnation(mark, { ...same, lsn: 9 }),
    chooseIncarnation(mark, { ...same, incarnation: 'ffffffffffffffff' }),
    chooseIncarnation(mark, { incarnation: null, lsn: 0 }),
    chooseIncarnation(null, same),
    chooseIncarnation(null, { incarnation: null, lsn: 0 }),
  ]
  for (const { incarnation, why } of others) {
    assert.notEqual(incarnation, mark.incarnation)
    assert.ok(why)
  }
  writeFileSync(join(dir, 'identity/mark'), '{"incarnation":"x"}')
  assert.throws(() => readMark(dir), { code: 'storage-damaged' })
})
