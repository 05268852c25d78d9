import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import type { StatusView } from '../../runtime/ports/operations.ts'
import { found, GatewayProcess, joined, temporaryFolder, until, untilEqual } from './harness.ts'

const MINUTE_MS = 60_000
const AHEAD_MS = Date.UTC(2099, 0, 1) - Date.now()

async function shown(gateway: GatewayProcess, key: string): Promise<unknown> {
  const lines = (await gateway.run('list', 'climate', '--json')).split('\n').filter((line) => line !== '')
  const documents = lines.map((line) => JSON.parse(line) as { key: string; value: unknown })
  return documents.find((document) => document.key === key)?.value
}

const isShown = (gateway: GatewayProcess, key: string, temperature: number) => async (): Promise<boolean> =>
  JSON.stringify(await shown(gateway, key)) === JSON.stringify({ temperature })

test('a board that boots in 1970 goes by the time of its neighbour, and says so', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = await joined(t, folder, 'b', a, { clockOffMs: -Date.now() })
  await until('b knows the time', async () => (await b.json<StatusView>('status')).clock.class === 1)
  const { clock, warnings } = await b.json<StatusView>('status')
  assert.equal(clock.source, 'neighbours')
  assert.ok(Math.abs(clock.offsetMs - Date.now()) < MINUTE_MS, `its time is ${clock.offsetMs} ms from 1970`)
  assert.deepEqual(warnings, [])

  const { stamp } = await b.json<{ stamp: string }>('put', 'climate', 'kitchen', '{"temperature":21}')
  assert.ok(Math.abs(Date.parse(stamp.split('+')[0] as string) - Date.now()) < MINUTE_MS, stamp)
  await untilEqual(a, b)
})

test('alone, it warns that it has no clock to trust and goes on from when it was made', async (t) => {
  const folder = temporaryFolder()
  const b = await found(t, folder, 'b', { clockOffMs: -Date.now() })
  const { clock, warnings } = await b.json<StatusView>('status')
  assert.deepEqual([clock.class, clock.source], [0, 'none'])
  assert.match(warnings.join('\n'), /^no-trusted-clock: /m)
  const { stamp } = await b.json<{ stamp: string }>('put', 'climate', 'kitchen', '{"temperature":21}')
  assert.ok(Math.abs(Date.parse(stamp.split('+')[0] as string) - Date.now()) < MINUTE_MS, stamp)
})

test('what a gateway wrote under a clock in 2099 arrives when its clock is right, later writes win over it, and whom it admitted then can write', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = await joined(t, folder, 'b', a)
  await a.stop()
  await a.start({ clockOffMs: AHEAD_MS, isClockTrusted: true })
  await a.run('put', 'climate', 'kitchen', '{"temperature":20}')
  await a.run('put', 'climate', 'kitchen', '{"temperature":21}')
  const c = await joined(t, folder, 'c', a)
  await c.run('put', 'climate', 'attic', '{"temperature":5}')
  assert.match((await c.json<StatusView>('status')).warnings.join('\n'), /^clock-(ahead|doubted): /m)
  await until('b waits for it', () => b.lines.some(({ event }) => event === 'batch-deferred'))
  assert.equal(await shown(b, 'kitchen'), undefined)

  await a.stop('SIGKILL')
  await a.start()
  await until('a is set back', () => a.lines.some(({ event }) => event === 'clock-set-back'))
  // In the middle of it.
  await a.stop('SIGKILL')
  await a.start()
  await until('b has what a wrote', isShown(b, 'kitchen', 21))
  await b.run('put', 'climate', 'kitchen', '{"temperature":22}')
  await until('the later write wins', isShown(a, 'kitchen', 22))
  await until('b has what c wrote', isShown(b, 'attic', 5))
  await untilEqual(a, b, c)
  for (const gateway of [a, b, c]) {
    const { clock, warnings } = await gateway.json<StatusView>('status')
    assert.ok(clock.aheadMs < MINUTE_MS, `its stamps are ${clock.aheadMs} ms ahead`)
    assert.deepEqual(warnings, [])
  }
})

test("stamps that are ahead end nobody else's membership: only the time that is believed does", async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a')
  const b = new GatewayProcess(join(folder, 'b'))
  t.after(() => b.stop('SIGKILL'))
  const { token } = await a.json<{ token: string }>('invite', '--until', '1d')
  await b.run('join', token)
  await b.start({ set: ['node.name=b'] })
  await until('b is enrolled', async () => (await b.json<StatusView>('status')).enrolled)
  await a.stop()
  await a.start({ clockOffMs: AHEAD_MS, isClockTrusted: true })
  const c = await joined(t, folder, 'c', a, { bootstrap: [b.address] })
  await a.stop()
  assert.match((await c.json<StatusView>('status')).warnings.join('\n'), /^clock-(ahead|doubted): /m)
  await until('c is linked with b', async () => (await c.json<StatusView>('status')).links.up === 1)
})
