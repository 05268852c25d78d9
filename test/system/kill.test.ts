import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connectAsync } from 'mqtt'
import { randomInteger, seededRandom } from '../../runtime/base/random.ts'
import type { DocumentView, StatusView } from '../../runtime/ports/operations.ts'
import {
  found,
  joined,
  marram,
  temporaryFolder,
  until,
  untilEqual,
  type GatewayProcess,
} from '../end-to-end/harness.ts'

const ROUNDS = 30

/** SPEC I5: QoS 1 publishes and commands until the gateway is gone; what was acknowledged is in `acknowledged`. */
async function load(
  gateway: GatewayProcess,
  round: number,
  acknowledged: Map<string, number>,
  isOver: () => boolean,
): Promise<void> {
  const mqtt = await connectAsync(gateway.address, { protocolVersion: 4, reconnectPeriod: 0 })
  mqtt.on('error', () => {})
  let count = 0
  const publish = async (device: number): Promise<void> => {
    while (!isOver()) {
      const n = ++count
      const key = `round-${round}-device-${device}`
      try {
        await mqtt.publishAsync(`zigbee2mqtt/${key}`, JSON.stringify({ n }), { qos: 1 })
        acknowledged.set(key, n)
      } catch {
        return
      }
    }
  }
  const command = async (): Promise<void> => {
    for (let n = 1; !isOver(); n++) {
      const key = `round-${round}-command-${n}`
      const { code } = await marram('put', 'climate', key, JSON.stringify({ n }), '--dir', gateway.dir)
      if (code === 0) acknowledged.set(key, n)
    }
  }
  // A connection that was cut never answers what is under way: the round ends with the kill.
  void Promise.all([...Array.from({ length: 10 }, (_, device) => publish(device)), command()])
  await until('the round is over', isOver)
  mqtt.end(true)
}

test(
  `${ROUNDS} kills at random moments under load: everything acknowledged is there afterwards, on it and on its peer`,
  { timeout: 600_000 },
  async (t) => {
    const random = seededRandom(20_261_123)
    const folder = temporaryFolder()
    const a = await found(t, folder, 'a')
    const b = await joined(t, folder, 'b', a)
    const acknowledged = new Map<string, number>()
    for (let round = 1; round <= ROUNDS; round++) {
      let isOver = false
      const loading = load(a, round, acknowledged, () => isOver)
      await new Promise((resolve) => setTimeout(resolve, randomInteger(random, 150, 900)))
      await a.stop('SIGKILL')
      isOver = true
      await loading
      await a.start()
      if (round % 10 === 0) await check(a, acknowledged)
    }
    await until('the link is up', async () => (await b.json<StatusView>('status')).links.up === 1)
    await untilEqual(a, b)
    await check(a, acknowledged)
    await check(b, acknowledged)
    t.diagnostic(`${acknowledged.size} documents acknowledged over ${ROUNDS} kills`)
    assert.ok(acknowledged.size > ROUNDS * 5)
  },
)

async function check(gateway: GatewayProcess, acknowledged: ReadonlyMap<string, number>): Promise<void> {
  const listed = (await gateway.run('list', 'climate', '--json'))
    .split('\n')
    .map((line) => JSON.parse(line) as DocumentView)
  const held = new Map(listed.map(({ key, value }) => [key, Number(value['n'])]))
  for (const [key, n] of acknowledged)
    assert.ok((held.get(key) ?? 0) >= n, `${key} was acknowledged at ${n}, found ${held.get(key)}`)
}
