import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { SystemClock } from '../../runtime/clock/system.ts'
import { Gateway } from '../../runtime/gateway/gateway.ts'
import { openGateway, type GatewayOptions } from '../../runtime/gateway/open.ts'
import { loadIdentity } from '../../runtime/identity/identity.ts'
import { takeLock } from '../../runtime/identity/lock.ts'
import { loadProfile } from '../../runtime/identity/profile-file.ts'
import { SILENT_LOG } from '../../runtime/ports/log.ts'
import { initGateway } from '../../runtime/setup.ts'

const SET = ['broker.listen=["mqtt://127.0.0.1:0"]', 'mesh.discovery=[]']

function made(t: TestContext): GatewayOptions {
  const dir = mkdtempSync(join(tmpdir(), 'marram-test-'))
  initGateway({ dir, mesh: 'test' })
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  return { dir, log: SILENT_LOG, set: SET }
}

test('what fails of a stop keeps nothing else from being closed', async (t) => {
  const options = made(t)
  const gateway = await openGateway(options)
  const mark = join(options.dir, 'identity', 'mark')
  // No file can take its place.
  rmSync(mark)
  mkdirSync(mark)
  await gateway.close()
  assert.deepEqual(await gateway.closed, { code: null, reason: null })
  rmSync(mark, { recursive: true })
  const again = await openGateway(options)
  await again.close()
})

test('a gateway that is to stop while it starts leaves nothing open', async (t) => {
  const options = made(t)
  const { dir } = options
  let goOn = (): void => {}
  const asked = new Promise<null>((resolve) => (goOn = () => resolve(null)))
  const readAgain = () => loadProfile({ dir, set: SET })
  const gateway = new Gateway({
    dir,
    identity: loadIdentity(dir),
    parsed: readAgain(),
    readAgain,
    set: SET,
    lock: takeLock(dir),
    log: SILENT_LOG,
    clock: new SystemClock({ buildMs: 0, probes: [{ source: 'rtc', look: () => asked }] }),
  })
  const starting = gateway.start()
  const closing = gateway.close()
  goOn()
  await Promise.allSettled([starting, closing])
  const again = await openGateway(options)
  await again.close()
})

test('who watches a gateway is told nothing more when it has stopped, and does not wait for it', async (t) => {
  const gateway = await openGateway(made(t))
  const { operations } = gateway
  await operations.put('climate', 'kitchen', { temperature: 21 })
  const events = operations.watch('climate')[Symbol.asyncIterator]()
  const begunLater = operations.watch('climate')[Symbol.asyncIterator]()
  assert.equal(((await events.next()).value as { key: string }).key, 'kitchen')
  const next = events.next()
  await gateway.close()
  assert.equal((await next).done, true)
  assert.equal((await begunLater.next()).done, true)
})
