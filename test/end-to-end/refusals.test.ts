import assert from 'node:assert/strict'
import { once } from 'node:events'
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import type { StatusView } from '../../runtime/ports/operations.ts'
import { found, GatewayProcess, joined, marram, temporaryFolder, until, untilEqual } from './harness.ts'

test('what stops a gateway from starting is one sentence on stderr and its exit code', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const empty = join(folder, 'empty')

  const noIdentity = await marram('run', '--dir', empty)
  assert.equal(noIdentity.code, 1)
  assert.match(noIdentity.stderr, /marram init.*marram join/)

  const inUse = await marram('run', '--dir', a.dir)
  assert.equal(inUse.code, 75)
  assert.match(inUse.stderr, new RegExp(`process ${a.pid} `))

  const again = await marram('init', '--mesh', 'other', '--dir', a.dir)
  assert.deepEqual([again.code, (await a.json<StatusView>('status')).mesh], [73, 'test'])
  const { token } = await a.json<{ token: string }>('invite')
  assert.equal((await marram('join', token, '--dir', a.dir)).code, 73)

  const other = new GatewayProcess(join(folder, 'other'))
  await other.run('init', '--mesh', 'other')
  const port = await marram('run', '--dir', other.dir, '--set', `broker.listen=["mqtt://127.0.0.1:${a.port}"]`)
  assert.equal(port.code, 73)
  assert.match(port.stderr, new RegExp(`port ${a.port}`))

  const profile = join(folder, 'profile.json')
  writeFileSync(profile, '{\n  "schemaVersion": 1,\n  "brokr": {}\n}\n')
  const badProfile = await marram('run', '--dir', other.dir, '--profile', profile)
  assert.equal(badProfile.code, 78)
  assert.match(badProfile.stderr, /profile\.json:3.*brokr.*broker/)
  assert.equal((await marram('profile', 'validate', profile)).code, 78)

  assert.equal((await marram('put', 'climate')).code, 2)
  assert.equal((await marram('no-such-command')).code, 2)
  assert.equal((await marram('put', 'climate', 'k', '{"x":1}', '--dir', other.dir)).code, 69)
  assert.equal((await marram('get', 'climate', 'nothing', '--dir', a.dir)).code, 1)
  assert.match((await marram('status', '--dir', profile)).stderr, /it holds no identity/)
  const endless = await marram('invite', '--expires', '0s', '--dir', a.dir)
  assert.equal(endless.code, 1)
  assert.match(endless.stderr, /for no time/)
  const asJson = await marram('get', 'climate', 'nothing', '--dir', a.dir, '--json')
  assert.equal((JSON.parse(asJson.stderr) as { error: { code: string } }).error.code, 'not-found')
})

test('a damaged store refuses to start and names its repair; the repair loses nothing that is whole', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  for (let i = 0; i < 5; i++) await a.run('put', 'climate', `k${i}`, '{"x":1}')
  await a.stop('SIGKILL')
  // A byte is flipped in the middle of the log: behind it stand whole records, so it is no torn end.
  const ring = readdirSync(join(a.dir, 'data'))
    .filter((name) => /ring|log/.test(name))
    .sort()[0] as string
  const path = join(a.dir, 'data', ring)
  const bytes = readFileSync(path)
  const at = bytes.indexOf('k2')
  assert.ok(at > 0, 'the write is in the log')
  bytes[at] = (bytes[at] as number) ^ 1
  writeFileSync(path, bytes)
  const refused = await marram('run', '--dir', a.dir)
  assert.equal(refused.code, 74)
  assert.match(refused.stderr, /verify --repair/)
  const repaired = await marram('verify', '--repair', '--dir', a.dir, '--json')
  assert.ok([0, 1].includes(repaired.code), repaired.stderr)
  await a.start()
  assert.ok((await a.json<{ count: number }>('count', 'climate')).count >= 2)
  await a.stop()
  assert.equal((await marram('verify', '--dir', a.dir)).code, 0)
})

test('a key that was not admitted does not start, and a store put back from a copy goes on as a new incarnation', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = await joined(t, folder, 'b', a)
  await b.run('put', 'climate', 'one', '{"x":1}')
  await untilEqual(a, b)
  await b.stop()
  cpSync(join(b.dir, 'data'), join(folder, 'copy'), { recursive: true })
  await b.start()
  await b.run('put', 'climate', 'two', '{"x":2}')
  await untilEqual(a, b)
  await b.stop()
  cpSync(join(folder, 'copy'), join(b.dir, 'data'), { recursive: true, force: true })
  await b.start()
  assert.ok(b.lines.some(({ event, why }) => event === 'new-incarnation' && /put back from a copy/.test(String(why))))
  await b.run('put', 'climate', 'three', '{"x":3}')
  await untilEqual(a, b)
  assert.equal((await a.json<{ count: number }>('count', 'climate')).count, 3)
  await b.stop()

  const device = join(b.dir, 'identity/device.json')
  const other = new GatewayProcess(join(folder, 'other'))
  await other.run('init', '--mesh', 'other')
  writeFileSync(device, readFileSync(join(other.dir, 'identity/device.json')))
  const wrongKey = await marram('run', '--dir', b.dir)
  assert.equal(wrongKey.code, 74)
  assert.match(wrongKey.stderr, /not the one that was admitted/)
})

test('a used invite is refused, says so, and the refused gateway goes on serving its own devices', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const { token } = await a.json<{ token: string }>('invite')
  const [b, c] = [new GatewayProcess(join(folder, 'b')), new GatewayProcess(join(folder, 'c'))]
  for (const gateway of [b, c]) t.after(() => gateway.stop('SIGKILL'))
  await b.run('join', token)
  await b.start()
  await until('b is enrolled', async () => (await b.json<StatusView>('status')).enrolled)
  await c.run('join', token)
  await c.start()
  await until('c knows that it was refused', async () => (await c.json<StatusView>('status')).enrolment === 'used')
  assert.ok((await c.json<StatusView>('status')).warnings.some((warning) => warning.startsWith('enrolment-refused')))
  await c.run('put', 'climate', 'own', '{"x":1}')
  assert.equal((await marram('get', 'climate', 'own', '--dir', a.dir)).code, 1)
  const tampered = `${token.slice(0, -4)}AAAA`
  assert.notEqual((await marram('join', tampered.slice(0, 30), '--dir', join(folder, 'd'))).code, 0)
})

test('a gateway that is refused and cannot write that down goes on serving', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const { token } = await a.json<{ token: string }>('invite')
  await a.run('invite', '--revoke', token)
  const b = new GatewayProcess(join(folder, 'b'))
  t.after(() => b.stop('SIGKILL'))
  await b.run('join', token)
  mkdirSync(join(b.dir, 'identity/mesh.json.tmp'))
  await b.start()
  await until('it was refused', () => b.lines.some(({ event }) => event === 'refusal-not-kept') || !b.isRunning)
  await b.run('put', 'climate', 'own', '{"x":1}')
  assert.equal((await b.json<StatusView>('status')).enrolment, 'unknown')
  assert.equal(await b.stop(), 0)
})

test('a joiner keeps what its devices said before it was admitted, and shares it afterwards', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const { token } = await a.json<{ token: string }>('invite')
  const b = new GatewayProcess(join(folder, 'b'))
  t.after(() => b.stop('SIGKILL'))
  await b.run('join', token)
  await a.stop()
  await b.start()
  await b.run('put', 'climate', 'early', '{"said":"before admission"}')
  await b.run('put', 'climate', 'gone', '{"x":1}')
  await b.run('delete', 'climate', 'gone')
  await b.stop('SIGKILL')
  await a.start()
  await b.start()
  await until('b is enrolled', async () => (await b.json<StatusView>('status')).enrolled)
  await untilEqual(a, b)
  assert.match(await a.run('get', 'climate', 'early', '--json'), /before admission/)
})

test('bytes from hell cost a connection, nothing else', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  await a.run('put', 'climate', 'k', '{"x":1}')
  const before = (await a.json<StatusView>('status')).memory.rss
  // A CONNECT that announces 268 MB, then pours.
  const huge = connect(a.port, '127.0.0.1')
  huge.on('error', () => {})
  huge.write(Buffer.from([0x10, 0xff, 0xff, 0xff, 0x7f]))
  const closed = new Promise((resolve) => huge.on('close', resolve))
  for (let i = 0; i < 300 && !huge.destroyed; i++) {
    if (!huge.write(Buffer.alloc(1 << 20)))
      await Promise.race([new Promise((resolve) => huge.once('drain', resolve)), closed])
  }
  await closed
  const after = (await a.json<StatusView>('status')).memory.rss
  assert.ok(after - before < 64 << 20, `memory grew by ${(after - before) >> 20} MiB`)
  // Garbage, half a packet, and nothing at all.
  for (const bytes of [
    Buffer.alloc(4_096, 0xff),
    Buffer.from([0x10, 0x20, 0x00]),
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
  ]) {
    const socket = connect(a.port, '127.0.0.1')
    socket.on('error', () => {})
    socket.end(bytes)
    await once(socket, 'close')
  }
  assert.equal((await a.run('get', 'climate', 'k', '--json')).includes('"x":1'), true)
})

test('a gateway of another mesh gets no link and no data, however often it knocks', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  await a.run('put', 'climate', 'private', '{"x":1}')
  const stranger = new GatewayProcess(join(folder, 'stranger'))
  t.after(() => stranger.stop('SIGKILL'))
  await stranger.run('init', '--mesh', 'test')
  await stranger.start({ bootstrap: [a.address], set: ['log.level=debug'] })
  await until('it was turned away', () => stranger.lines.filter(({ event }) => event === 'dial-ended').length >= 2)
  assert.equal((await a.json<StatusView>('status')).links.up, 0)
  assert.equal((await marram('get', 'climate', 'private', '--dir', stranger.dir)).code, 1)
})
