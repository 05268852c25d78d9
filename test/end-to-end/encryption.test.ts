import assert from 'node:assert/strict'
import { cpSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { connectAsync } from 'mqtt'
import type { StatusView } from '../../runtime/ports/operations.ts'
import { found, GatewayProcess, joined, marram, temporaryFolder, until, type StartOptions } from './harness.ts'

const SECRETS = { secrets: { kind: 'state', encrypted: true }, '*': { kind: 'state' } }
/** Linked with whom they are told to alone. */
const ALONE = ['mesh.discovery=["bootstrap"]', 'sources=[]', 'interest=["*"]']
const ENCRYPTED = [...ALONE, `collections=${JSON.stringify(SECRETS)}`]
/** Nowhere but in the plaintext. */
const MARKER = 'the-combination-is-4711'

async function invitedAs(
  t: TestContext,
  folder: string,
  name: string,
  host: GatewayProcess,
  role: string,
  options: StartOptions,
): Promise<GatewayProcess> {
  const gateway = new GatewayProcess(join(folder, name))
  t.after(() => gateway.stop('SIGKILL'))
  const { token } = await host.json<{ token: string }>('invite', '--role', role)
  await gateway.run('join', token)
  await gateway.start(options)
  await until(`${name} is enrolled`, async () => (await gateway.json<StatusView>('status')).enrolled)
  return gateway
}

async function valueOf(gateway: GatewayProcess, key: string): Promise<unknown> {
  const { code, stdout } = await marram('get', 'secrets', key, '--json', '--dir', gateway.dir)
  return code === 0 ? (JSON.parse(stdout) as { value: unknown }).value : null
}

function holds(folder: string, text: string): boolean {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .some((entry) => readFileSync(join(entry.parentPath, entry.name)).includes(text))
}

async function statusOf(gateway: GatewayProcess): Promise<StatusView> {
  return gateway.json<StatusView>('status')
}

test('what one gateway writes encrypted another reads through a third that cannot (SPEC I26, I27)', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a', { set: ENCRYPTED })
  const b = await invitedAs(t, folder, 'b', a, 'relay', { set: ALONE, bootstrap: [a.address] })
  const c = await joined(t, folder, 'c', a, { set: ALONE, bootstrap: [b.address] })

  const heard: string[] = []
  const listener = await connectAsync(b.address, { protocolVersion: 4 })
  t.after(() => listener.end(true))
  listener.on('message', (topic, payload) => heard.push(`${topic} ${payload.toString()}`))
  await listener.subscribeAsync(['marram/data/secrets/#', 'marram/data/climate/#', 'marram/data/#'])

  await a.run('put', 'secrets', 'safe', JSON.stringify({ code: MARKER }))
  await until('c reads it', async () => (await valueOf(c, 'safe')) !== null)
  assert.deepEqual(await valueOf(c, 'safe'), { code: MARKER })
  await c.run('put', 'secrets', 'safe', '{"by":"c"}')
  await until('a reads what c wrote', async () => JSON.stringify(await valueOf(a, 'safe')).includes('"by":"c"'))
  assert.equal(await a.digest(), await c.digest())

  const refused = await marram('get', 'secrets', 'safe', '--json', '--dir', b.dir)
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /"no-key"/)
  assert.match((await marram('put', 'secrets', 'x', '{"a":1}', '--json', '--dir', b.dir)).stderr, /"no-key"/)
  assert.deepEqual((await statusOf(b)).encryption['secrets']?.readable, false)
  assert.ok(((await statusOf(b)).encryption['secrets']?.waiting ?? 0) >= 2)
  assert.deepEqual((await statusOf(c)).encryption['secrets'], { epoch: 1, readable: true, waiting: 0, held: 0 })

  // Whoever comes later gets the keys of what is there, and all of it from one who cannot read it.
  await a.run('put', 'secrets', 'second', JSON.stringify({ code: MARKER }))
  await until('b holds it', async () => (await statusOf(b)).encryption['secrets']?.waiting === 3)
  const d = await joined(t, folder, 'd', a, { set: ALONE, bootstrap: [b.address] })
  await until('d reads all of it', async () => (await d.digest()) === (await a.digest()))
  assert.deepEqual(await valueOf(d, 'second'), { code: MARKER })

  // Restarted it reads the same.
  await c.stop('SIGKILL')
  await c.start({ set: ALONE, bootstrap: [b.address] })
  assert.deepEqual(await valueOf(c, 'second'), { code: MARKER })
  await c.stop()
  assert.equal((await marram('verify', '--dir', c.dir)).code, 0)

  await listener.unsubscribeAsync('marram/data/#')
  await a.run('put', 'climate', 'hall', '{"t":1}')
  await until('clients of b hear what b may read', () => heard.length > 0)
  await listener.subscribeAsync(['marram/data/secrets/#', 'marram/data/climate/hall'])
  await until('they are answered too', () => heard.length > 1)
  assert.ok(
    heard.every((message) => message.startsWith('marram/data/climate/hall ')),
    heard.join('\n'),
  )

  await Promise.all([a.stop(), b.stop(), d.stop()])
  assert.equal(holds(b.dir, MARKER), false, 'no plaintext on the disk of the one that passes it on')
  assert.equal(holds(d.dir, MARKER), true, 'it would have been found')
  assert.equal((await marram('verify', '--dir', b.dir)).code, 0)
})

test('what a device says where there is no key yet is kept over a restart and written when the key comes', async (t) => {
  const folder = temporaryFolder()
  const forOps = { ...SECRETS, secrets: { ...SECRETS.secrets, readers: ['ops'] } }
  const set = [...ALONE, `collections=${JSON.stringify(forOps)}`]
  const a = await found(t, folder, 'a', { set })
  const c = await joined(t, folder, 'c', a, { set: ALONE, bootstrap: [a.address] })
  await until('c knows that it is encrypted', async () => (await statusOf(c)).encryption['secrets'] !== undefined)
  const device = await connectAsync(c.address, { protocolVersion: 4 })
  await device.publishAsync('marram/data/secrets/door/set', '{"open":true}', { qos: 1 })
  await device.publishAsync('marram/data/secrets/door/set', '{"open":false,"by":"c"}', { qos: 1 })
  device.end(true)
  assert.deepEqual((await statusOf(c)).encryption['secrets'], { epoch: 1, readable: false, waiting: 0, held: 2 })
  assert.match((await marram('put', 'secrets', 'door', '{"a":1}', '--json', '--dir', c.dir)).stderr, /"no-key"/)
  await c.stop('SIGKILL')
  await c.start({ set: ALONE, bootstrap: [a.address] })
  assert.equal((await statusOf(c)).encryption['secrets']?.held, 2)
  const { peerId } = await statusOf(c)
  await a.run('grant', peerId, '--label', 'ops')
  await until('a has it', async () => JSON.stringify(await valueOf(a, 'door')) === '{"by":"c","open":false}')
  assert.equal((await statusOf(c)).encryption['secrets']?.held, 0)
})

test('a removed reader holds every byte and reads nothing of what is written later (SPEC I27)', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a', { set: ENCRYPTED })
  const b = await invitedAs(t, folder, 'b', a, 'relay', { set: ALONE, bootstrap: [a.address] })
  const c = await joined(t, folder, 'c', a, { set: ALONE, bootstrap: [b.address] })
  await a.run('put', 'secrets', 'safe', '{"code":1}')
  await until('c reads it', async () => (await valueOf(c, 'safe')) !== null)
  const { peerId } = await statusOf(c)
  await a.run('revoke', peerId, '--now')
  await until('a new epoch has begun', async () => (await statusOf(a)).encryption['secrets']?.epoch === 2)
  await a.run('put', 'secrets', 'safe', JSON.stringify({ code: MARKER }))
  await until('b holds it', async () => (await statusOf(b)).encryption['secrets']?.waiting === 2)
  await Promise.all([a.stop(), b.stop(), c.stop()])
  // Every byte that there is: the thief's identity over the store of the one that passes it on.
  cpSync(join(b.dir, 'data'), join(c.dir, 'data'), { recursive: true, force: true })
  const shown = await marram('get', 'secrets', 'safe', '--json', '--dir', c.dir)
  assert.deepEqual(JSON.parse(shown.stdout), { key: 'safe', value: { code: 1 } }, shown.stderr)
  assert.equal(holds(c.dir, MARKER), false)
})
