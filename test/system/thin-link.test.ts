import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { seededRandom } from '../../runtime/base/random.ts'
import { clientOf } from '../../runtime/cli/client.ts'
import type { StatusView } from '../../runtime/ports/operations.ts'
import { initGateway, joinGateway } from '../../runtime/setup.ts'
import { GatewayProcess, temporaryFolder, until } from '../end-to-end/harness.ts'
import { Namespaces, namespacesMissing } from './soak/namespaces.ts'

const KBIT = 200
const LOSS_PERCENT = 5
const BYTES_PER_SECOND = 8_192
/** A full bucket at the beginning, and one frame that overdraws it. */
const BURST_BYTES = 2 * 65_536
const READINGS = 400

const skip = namespacesMissing() ?? false

test(
  `on a line of ${KBIT} kbit/s that loses ${LOSS_PERCENT} % a budget is kept, and what is urgent comes before what waits`,
  { skip, timeout: 300_000 },
  async (t) => {
    const folder = temporaryFolder()
    const network = new Namespaces(2)
    const [a, b] = [new GatewayProcess(join(folder, 'a')), new GatewayProcess(join(folder, 'b'))]
    t.after(async () => {
      for (const gateway of [a, b]) await gateway.stop('SIGKILL')
      network.remove()
    })
    await network.add()
    const set = [
      `sync.budget={"bytesPerSecond":"${BYTES_PER_SECOND / 1_024}KiB"}`,
      'sync.priority={"alarms":"urgent","readings":"low"}',
      'mesh.discovery=["bootstrap"]',
    ]
    const start = (gateway: GatewayProcess, i: number): Promise<void> =>
      gateway.start({ host: '0.0.0.0', port: 1883, within: network.within(i), set, bootstrap: [addressOf(1 - i)] })
    const addressOf = (i: number): string => `mqtt://${network.host(i)}:1883`
    initGateway({ dir: a.dir, mesh: 'thin' })
    await start(a, 0)
    const { token } = await a.json<{ token: string }>('invite')
    joinGateway({ dir: b.dir, token })
    await start(b, 1)
    await until('b is enrolled', async () => (await b.json<StatusView>('status')).enrolled)
    for (const i of [0, 1]) {
      await network.setRate(i, KBIT)
      await network.setLoss(i, LOSS_PERCENT)
    }

    // What nothing can compress: it takes longer than the test needs to show what it shows.
    const client = clientOf(a.dir)
    const before = await sentBy(a)
    const startedAt = performance.now()
    const random = seededRandom(1)
    const text = (): string => Buffer.from(Array.from({ length: 1_000 }, () => random() * 256)).toString('base64')
    for (let i = 0; i < READINGS; i++)
      await client.json('PUT', `collections/readings/documents/r${i}`, { text: text() })
    await until('b has the first of it', async () => Number(await b.run('count', 'readings')) > 0, 60_000)
    await client.json('PUT', 'collections/alarms/documents/fire', { state: 'on' })
    await until('the alarm has come', async () => Number(await b.run('count', 'alarms')) === 1, 60_000)
    const come = Number(await b.run('count', 'readings'))
    assert.ok(come < READINGS, 'the alarm did not wait for all the readings')
    await until('all has come', async () => Number(await b.run('count', 'readings')) === READINGS, 180_000)
    const seconds = (performance.now() - startedAt) / 1_000
    const sent = (await sentBy(a)) - before
    t.diagnostic(`${sent} bytes in ${Math.round(seconds)} s; ${come} of ${READINGS} readings came before the alarm`)
    const most = BURST_BYTES + BYTES_PER_SECOND * seconds
    assert.ok(sent <= most, `${sent} bytes in ${seconds} s, the budget is ${most}`)
  },
)

async function sentBy(gateway: GatewayProcess): Promise<number> {
  return (await gateway.json<StatusView>('status')).links.bytesSent
}
