import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { connectAsync } from 'mqtt'
import { CLIENT_LIMITS } from '../../runtime/base/limits.ts'
import type { StatusView } from '../../runtime/ports/operations.ts'
import { initGateway } from '../../runtime/setup.ts'
import { GatewayProcess, temporaryFolder } from '../end-to-end/harness.ts'
import { Namespaces, namespacesMissing } from './soak/namespaces.ts'

const CONNECTIONS = 10_000
const WRITER = join(import.meta.dirname, 'connections-writer.js')

test(
  '10,000 connections from one address hold few places, and devices elsewhere are served all the while',
  { skip: namespacesMissing() ?? false, timeout: 240_000 },
  async (t) => {
    const network = new Namespaces(1)
    const gateway = new GatewayProcess(join(temporaryFolder(), 'a'))
    t.after(async () => {
      await gateway.stop('SIGKILL')
      network.remove()
    })
    await network.add()
    initGateway({ dir: gateway.dir, mesh: 'crowded' })
    await gateway.start({ host: '0.0.0.0', set: ['mesh.discovery=["bootstrap"]'] })
    const before = (await gateway.json<StatusView>('status')).memory.rss
    const device = await connectAsync(gateway.address, { reconnectPeriod: 0, keepalive: 5 })
    t.after(() => device.endAsync(true))

    const [command, ...args] = [...network.within(0), process.execPath, WRITER]
    let isOver = false
    const attack = promisify(execFile)(command as string, [
      ...args,
      network.gateway,
      String(gateway.port),
      String(CONNECTIONS),
    ])
    void attack.finally(() => (isOver = true)).catch(() => {})
    let published = 0
    while (!isOver) await device.publishAsync('zigbee2mqtt/hall', `{"temperature":${(published += 1)}}`, { qos: 1 })
    const { stdout } = await attack
    const { opened, held } = JSON.parse(stdout) as { opened: number; held: number }
    assert.ok(opened > CONNECTIONS / 2, `${opened} connections were opened, or this shows little`)
    assert.ok(held <= CLIENT_LIMITS.connectionsPerAddressMax, `${held} were held at once`)
    assert.ok(published > 20, `the device was answered ${published} times`)
    assert.match(await gateway.run('get', 'climate', 'hall'), new RegExp(`\\b${published}\\b`))
    const { rss } = (await gateway.json<StatusView>('status')).memory
    assert.ok(rss - before < 64 * 2 ** 20, `memory grew by ${Math.round((rss - before) / 2 ** 20)} MiB`)
  },
)
