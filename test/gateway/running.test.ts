import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Driver } from '../../runtime/driver/driver.ts'
import { Running } from '../../runtime/gateway/running.ts'
import type { Mesh } from '../../runtime/mesh/mesh.ts'

const onFailed = (error: unknown): void => assert.fail(String(error))

test("a frame that is not the engine's own counts for its budget, if there was a link to send it over", () => {
  const spent: number[] = []
  const driver = { start: () => {}, spent: (bytes: number) => spent.push(bytes) } as unknown as Driver
  const mesh = { sendTo: (peerId: string) => peerId === 'linked' } as unknown as Mesh
  const running = new Running({ makeDriver: () => driver, makeMesh: () => mesh, others: () => new Map(), onFailed })
  running.start()
  running.send('linked', new Uint8Array(300))
  running.send('gone', new Uint8Array(500))
  assert.deepEqual(spent, [300])
})

test('what is written is either handed over before new keys are taken, or refused', async () => {
  const written: string[] = []
  const driver = {
    start: () => {},
    write: (collection: string) => Promise.resolve(void written.push(collection)),
  } as unknown as Driver
  const running = new Running({
    makeDriver: () => driver,
    makeMesh: () => ({}) as Mesh,
    others: () => new Map(),
    onFailed,
  })
  running.start()
  await running.write('early', '', [])
  running.endWrites()
  await assert.rejects(running.write('late', '', []), { code: 'closed' })
  assert.deepEqual(written, ['early'])
})

test('no engine begins when the gateway stops while one takes the place of another', async () => {
  let engines = 0
  let goOn = (): void => {}
  const driver = { start: () => (engines += 1), close: () => Promise.resolve(), view: { clock: 0 } }
  const running = new Running({
    makeDriver: () => driver as unknown as Driver,
    makeMesh: () => ({ closeAll: () => {} }) as unknown as Mesh,
    others: () => new Map(),
    onFailed,
  })
  running.start()
  const between = new Promise<void>((resolve) => (goOn = resolve))
  const replaced = running.replace(
    () => true,
    () => between,
  )
  await new Promise(setImmediate)
  const closed = running.close()
  goOn()
  await closed
  assert.deepEqual([await replaced, engines], [false, 1])
})

test('what another engine rests on and the disk does not take ends the gateway, and nobody else', async () => {
  const failed: unknown[] = []
  const driver = { start: () => {}, close: () => Promise.resolve(), view: { clock: 0 } } as unknown as Driver
  const running = new Running({
    makeDriver: () => driver,
    makeMesh: () => ({ closeAll: () => {} }) as unknown as Mesh,
    others: () => new Map(),
    onFailed: (error) => void failed.push(error),
  })
  running.start()
  const full = new Error('the disk is full')
  const isReplaced = await running.replace(
    () => true,
    () => Promise.reject(full),
  )
  assert.deepEqual([isReplaced, failed], [false, [full]])
})
