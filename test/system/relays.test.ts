import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { connectAsync } from 'mqtt'
import type { StatusView } from '../../runtime/ports/operations.ts'
import { decodeInvite } from '../../runtime/wire/invite.ts'
import { found, freePort, GatewayProcess, joined, temporaryFolder, until, untilEqual } from '../end-to-end/harness.ts'

const SCRIPT = join(import.meta.dirname, '../../../scripts/relay.mjs')
const DOCUMENTS = 2_000
const CANARY = 'nobody-on-the-relay-reads-this'

class RelayProcess {
  readonly port: number
  readonly #args: readonly string[]
  #child: ChildProcess | null = null

  constructor(name: string, port: number, args: readonly string[] = []) {
    this.port = port
    this.#args = [SCRIPT, name, '--port', String(port), ...args]
  }

  get address(): string {
    return `mqtt://127.0.0.1:${this.port}`
  }

  /** Resolves when it takes connections. */
  async start(): Promise<void> {
    const child = spawn(process.execPath, this.#args, { stdio: ['ignore', 'pipe', 'ignore'], detached: true })
    this.#child = child
    let said = ''
    child.stdout?.on('data', (text: Buffer) => (said += text.toString()))
    await until('the relay is ready', () => said.includes('ready') || child.exitCode !== null, 90_000)
    assert.equal(child.exitCode, null, `the relay did not start: ${said}`)
  }

  /** The whole group at once, as the power does. */
  async kill(): Promise<void> {
    if (!this.#child || this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = once(this.#child, 'exit')
    process.kill(-(this.#child.pid as number), 'SIGKILL')
    await gone
  }
}

/** Two members of one mesh that have no way to each other but what `settings` gives them. */
async function apart(t: TestContext, settings: readonly string[]): Promise<readonly [GatewayProcess, GatewayProcess]> {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = await joined(t, folder, 'b', a)
  await Promise.all([a.stop(), b.stop()])
  const set = ['mesh.discovery=["bootstrap"]', ...settings]
  for (const gateway of [a, b]) await gateway.start({ port: 0, set, bootstrap: ['mqtt://127.0.0.1:1'] })
  return [a, b]
}

const isLinked = async (gateway: GatewayProcess): Promise<boolean> =>
  (await gateway.json<{ links: { up: number } }>('status')).links.up === 1

for (const name of ['mosquitto', 'nats', 'rabbitmq']) {
  test(`two gateways that reach only ${name} converge through it; it learns nothing; killed in the middle, nothing is lost`, async (t) => {
    const relay = new RelayProcess(name, await freePort())
    t.after(() => relay.kill())
    await relay.start()
    const [a, b] = await apart(t, [`mesh.relays=["${relay.address}"]`])
    await until('they are linked', () => isLinked(a), 60_000)
    const listener = await connectAsync(relay.address, { username: 'guest', password: 'guest' })
    t.after(() => listener.end(true))
    const passed: Buffer[] = []
    listener.on('message', (_topic, payload) => passed.push(payload))
    await listener.subscribeAsync('#')

    const file = join(a.dir, 'documents.ndjson')
    const line = (i: number): string => JSON.stringify({ key: `k${i}`, text: `${CANARY} ${i}`, noise: Math.random() })
    writeFileSync(file, Array.from({ length: DOCUMENTS }, (_, i) => line(i)).join('\n'))
    const importing = a.run('import', 'climate', file)
    await until('some of it has arrived', async () => (await b.json<{ count: number }>('count', 'climate')).count > 0)
    await relay.kill()
    await importing
    await b.run('put', 'climate', 'meanwhile', '{"text":"written while the relay was down"}')
    await relay.start()
    await untilEqual(a, b)
    const { count } = await b.json<{ count: number }>('count', 'climate')
    assert.equal(count, DOCUMENTS + 1)
    const bytes = Buffer.concat(passed)
    assert.ok(bytes.length > 1_000, `only ${bytes.length} bytes passed the listener`)
    assert.ok(!bytes.includes(CANARY) && !bytes.includes('climate'), 'plaintext passed the relay')
  })
}

test('a relay that asks for a login is told the one of its file; without it the owner reads why there is no link', async (t) => {
  const relay = new RelayProcess('mosquitto', await freePort(), ['--user', 'greenhouse', '--password', 'secret'])
  t.after(() => relay.kill())
  await relay.start()
  const [a, b] = await apart(t, [`mesh.relays=["${relay.address}"]`])
  await until('it says why', async () =>
    (await a.json<StatusView>('status')).warnings.some((warning) => warning.startsWith('relay-not-reached')),
  )
  for (const { dir } of [a, b])
    writeFileSync(
      join(dir, 'relays.json'),
      JSON.stringify({ [relay.address]: { user: 'greenhouse', password: 'secret' } }),
    )
  await until('they are linked', () => isLinked(a), 90_000)
})

test('a gateway to which no member has a way is let in over a relay, which learns nothing of the invite', async (t) => {
  const folder = temporaryFolder()
  const relay = new RelayProcess('mosquitto', await freePort())
  t.after(() => relay.kill())
  await relay.start()
  const settings = { set: ['mesh.discovery=["bootstrap"]', `mesh.relays=["${relay.address}"]`] }
  const a = await found(t, folder, 'a', settings)
  // One that may let nobody in hears of it as well.
  const c = await joined(t, folder, 'c', a, settings)
  const { token } = await a.json<{ token: string }>('invite')
  // Nobody is where the invite says.
  await a.stop()
  await a.start({ ...settings, port: await freePort() })
  const listener = await connectAsync(relay.address)
  t.after(() => listener.end(true))
  const passed: Buffer[] = []
  listener.on('message', (_topic, payload) => passed.push(payload))
  await listener.subscribeAsync('#')

  const b = new GatewayProcess(join(folder, 'b'))
  t.after(() => b.stop('SIGKILL'))
  await b.run('join', token)
  await b.start(settings)
  await until('it is let in', async () => (await b.json<{ enrolled: boolean }>('status')).enrolled, 60_000)
  await b.run('put', 'climate', 'hall', `{"text":"${CANARY}"}`)
  await untilEqual(a, b, c)
  const bytes = Buffer.concat(passed)
  const invite = decodeInvite(token)
  assert.ok(invite.ok)
  assert.ok(bytes.length > 1_000, `only ${bytes.length} bytes passed the listener`)
  for (const secret of [invite.value.secret, invite.value.inviteId, Buffer.from(CANARY)])
    assert.ok(!bytes.includes(Buffer.from(secret)), 'something of it passed the relay as it is')
})
