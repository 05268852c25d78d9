import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { KEYS_REPLACED, type Ended, type Gateway } from '../../runtime/gateway/gateway.ts'
import { LastingGateway, openGateway } from '../../runtime/gateway/open.ts'
import { SILENT_LOG } from '../../runtime/ports/log.ts'
import { initGateway } from '../../runtime/setup.ts'

/** A gateway whose first process is to end when `end` is called, and begins again in a real directory. */
function lasting(t: TestContext) {
  const dir = mkdtempSync(join(tmpdir(), 'marram-test-'))
  initGateway({ dir, mesh: 'test' })
  const said: string[] = []
  const log = { ...SILENT_LOG, info: (event: string) => void said.push(event) }
  const options = { dir, log, set: ['broker.listen=["mqtt://127.0.0.1:0"]', 'mesh.discovery=[]'] }
  let end: (ended: Ended) => void = () => {}
  const closed = new Promise<Ended>((resolve) => (end = resolve))
  const reload = (): Promise<void> => Promise.resolve(void said.push('old'))
  const old = { closed, reload, close: () => closed.then(() => {}) } as unknown as Gateway
  const gateway = new LastingGateway(options, old)
  t.after(async () => {
    await gateway.close()
    rmSync(dir, { recursive: true, force: true })
  })
  return { gateway, options, said, end: () => end({ code: null, reason: KEYS_REPLACED }) }
}

test('what is to be read again while a gateway begins again is read by the one that runs then', async (t) => {
  const { gateway, said, end } = lasting(t)
  end()
  await new Promise(setImmediate)
  await gateway.reload()
  assert.deepEqual(
    said.filter((event) => ['old', 'ready', 'profile-applied'].includes(event)),
    ['ready', 'profile-applied'],
  )
})

test('a gateway that is closed while it begins again has closed for good, and nobody is told that it would not', async (t) => {
  const { gateway, options, end } = lasting(t)
  end()
  await new Promise(setImmediate)
  await gateway.close()
  assert.deepEqual(await gateway.closed, { code: null, reason: null })
  const again = await openGateway(options)
  await again.close()
})

test('a gateway that is closed while its keys are replaced does not begin again', async (t) => {
  const { gateway, said, end } = lasting(t)
  const closing = gateway.close()
  end()
  await closing
  assert.deepEqual(await gateway.closed, { code: null, reason: null })
  assert.ok(!said.includes('ready'))
})

test('how long a gateway runs does not change with its clock', async (t) => {
  const { gateway, end } = lasting(t)
  end()
  await new Promise(setImmediate)
  await gateway.reload()
  const now = Date.now()
  t.mock.method(Date, 'now', () => now + 1_700_000_000_000)
  const { uptime } = gateway.operations.status()
  assert.ok(uptime < 600, String(uptime))
})
