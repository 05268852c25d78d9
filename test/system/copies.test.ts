import assert from 'node:assert/strict'
import { cpSync, rmSync } from 'node:fs'
import { test } from 'node:test'
import type { StatusView } from '../../runtime/ports/operations.ts'
import { found, GatewayProcess, joined, temporaryFolder, until } from '../end-to-end/harness.ts'

/** The dialled side waits longer each time that its copy takes its place at the neighbour's. */
const HEAL_MS = 240_000

/** All have the same documents under these keys. */
async function untilAllHave(keys: readonly string[], gateways: readonly GatewayProcess[]): Promise<void> {
  await until(
    `all have ${keys.join(', ')}`,
    async () => {
      const digests = await Promise.all(gateways.map((gateway) => gateway.digest()))
      const lists = await Promise.all(gateways.map((gateway) => gateway.run('list', 'climate', '--json')))
      return new Set(digests).size === 1 && lists.every((list) => keys.every((key) => list.includes(`"${key}"`)))
    },
    HEAL_MS,
  )
}

test('two gateways that run from one copied card are named in an alarm, and lose neither’s writes', async (t) => {
  const folder = temporaryFolder()
  const host = await found(t, folder, 'host')
  const original = await joined(t, folder, 'original', host)
  await original.run('put', 'climate', 'before', '{"value":1}')
  await untilAllHave(['before'], [host, original])
  await original.stop()

  const copy = new GatewayProcess(`${folder}/copy`)
  t.after(() => copy.stop('SIGKILL'))
  cpSync(original.dir, copy.dir, { recursive: true, filter: (path) => !/\/(lock|marram\.sock)$/.test(path) })
  await original.start()
  await copy.start()
  await original.run('put', 'climate', 'by-the-original', '{"value":2}')
  await copy.run('put', 'climate', 'by-the-copy', '{"value":3}')
  await untilAllHave(['before', 'by-the-original', 'by-the-copy'], [host, original, copy])
  const { peerId } = await original.json<StatusView>('status')
  for (const gateway of [host, original, copy]) {
    const { warnings } = await gateway.json<StatusView>('status')
    assert.ok(
      warnings.some((warning) => warning.startsWith('clone-or-fork') && warning.includes(peerId)),
      `no alarm in ${gateway.dir}: ${warnings.join('; ')}`,
    )
  }
})

test('a gateway whose card is put back from an old copy gets its later writes back and goes on', async (t) => {
  const folder = temporaryFolder()
  const host = await found(t, folder, 'host')
  const gateway = await joined(t, folder, 'gateway', host)
  await gateway.run('put', 'climate', 'old', '{"value":1}')
  await gateway.stop()
  const kept = `${folder}/kept`
  cpSync(gateway.dir, kept, { recursive: true })
  await gateway.start()
  await gateway.run('put', 'climate', 'later', '{"value":2}')
  await untilAllHave(['old', 'later'], [host, gateway])
  await gateway.stop()

  rmSync(gateway.dir, { recursive: true })
  cpSync(kept, gateway.dir, { recursive: true })
  await gateway.start()
  await gateway.run('put', 'climate', 'after', '{"value":3}')
  await untilAllHave(['old', 'later', 'after'], [host, gateway])
})
