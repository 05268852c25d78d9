import { cpSync, rmSync } from 'node:fs'
import { test } from 'node:test'
import { found, joined, temporaryFolder, until, type GatewayProcess } from '../end-to-end/harness.ts'

/** A bound for a broken build. */
const HEAL_MS = 120_000

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
