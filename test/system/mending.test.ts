import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { batchKey, Database, Slice } from '../../runtime/store/database.ts'
import { found, joined, marram, temporaryFolder, until, untilEqual } from '../end-to-end/harness.ts'

/** Flips one bit of a stored batch's body. */
async function damage(dir: string, feed: number, seq: number): Promise<void> {
  const database = new Database(join(dir, 'data'), false)
  const bytes = Uint8Array.from(database.get('batches', batchKey(feed, seq)) as Uint8Array)
  bytes[bytes.length - 1] = (bytes[bytes.length - 1] as number) ^ 1
  const slice = new Slice()
  slice.put('batches', batchKey(feed, seq), bytes)
  await database.commit(slice)
  await database.flushed()
  await database.close()
}

test('batches that the card has damaged come again from a neighbour, and nothing else does', async (t) => {
  const folder = temporaryFolder()
  const host = await found(t, folder, 'host')
  const gateway = await joined(t, folder, 'gateway', host)
  for (let i = 0; i < 12; i++) await host.run('put', 'climate', `sensor-${i}`, `{"value":${i}}`)
  await untilEqual(host, gateway)
  await host.stop()
  // The feed of documents is the second, after that of members.
  for (const seq of [2, 3, 7]) await damage(host.dir, 2, seq)
  const checked = await marram('verify', '--dir', host.dir, '--json')
  assert.equal(checked.code, 1)
  assert.equal((JSON.parse(checked.stdout) as { bad: unknown[] }).bad.length, 3)
  assert.equal((await marram('verify', '--repair', '--dir', host.dir)).code, 0)
  // Nobody has sent them again yet; what they had changed is still there.
  assert.equal((await host.json<{ count: number }>('count', 'climate')).count, 12)
  await host.start()
  await until('the batches are mended', () => host.lines.some(({ event }) => event === 'mended'), 60_000)
  await untilEqual(host, gateway)
  await host.stop()
  assert.equal((await marram('verify', '--dir', host.dir)).code, 0)
})
