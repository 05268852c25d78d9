import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { initGateway, joinGateway } from '../../runtime/setup.ts'
import type { PeerView, StatusView } from '../../runtime/ports/operations.ts'
import { GatewayProcess, temporaryFolder, until, untilEqual, type StartOptions } from '../end-to-end/harness.ts'
import { Namespaces, namespacesMissing } from './soak/namespaces.ts'

const skip = namespacesMissing() ?? false
const COUNT = 5

/** Gateways in namespaces of their own at one switch, without a route and without an address of any other. */
async function meshed(t: TestContext): Promise<{ network: Namespaces; gateways: GatewayProcess[] }> {
  const folder = temporaryFolder()
  const network = new Namespaces(COUNT)
  const gateways = Array.from({ length: COUNT }, (_, i) => new GatewayProcess(join(folder, `g${i}`)))
  t.after(async () => {
    await Promise.all(gateways.map((gateway) => gateway.stop('SIGKILL')))
    network.remove()
  })
  await network.add()
  const start = (i: number): Promise<void> => (gateways[i] as GatewayProcess).start(optionsOf(network, i))
  const [founder, ...others] = gateways as [GatewayProcess, ...GatewayProcess[]]
  initGateway({ dir: founder.dir, mesh: 'found' })
  await start(0)
  for (const [i, gateway] of others.entries()) {
    const { token } = await founder.json<{ token: string }>('invite')
    joinGateway({ dir: gateway.dir, token })
    await start(i + 1)
  }
  for (const gateway of others)
    await until('it is enrolled', async () => (await gateway.json<StatusView>('status')).enrolled)
  return { network, gateways }
}

function optionsOf(network: Namespaces, i: number): StartOptions {
  const set = ['mesh.discovery=["mdns"]', `node.name=g${i}`]
  return { host: '0.0.0.0', port: 1883, within: network.within(i), set }
}

const put = (gateway: GatewayProcess, key: string): Promise<string> => gateway.run('put', 'climate', key, '{"t":1}')

async function peersOf(gateway: GatewayProcess): Promise<PeerView[]> {
  const lines = await gateway.run('peers', '--json')
  return lines.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as PeerView]))
}

test('gateways at one switch find each other by multicast DNS alone, and become one mesh', { skip }, async (t) => {
  const { gateways } = await meshed(t)
  const [a, ...others] = gateways as [GatewayProcess, ...GatewayProcess[]]
  for (const [i, gateway] of gateways.entries()) await put(gateway, `k${i}`)
  await untilEqual(a, ...others)
  assert.equal((await a.json<{ count: number }>('count', 'climate')).count, COUNT)
  for (const gateway of gateways) {
    await until('it has two links', async () => (await gateway.json<StatusView>('status')).links.up >= 2)
    const known = (await peersOf(gateway)).flatMap(({ addresses }) => addresses)
    assert.ok(known.length > 0 && known.every(({ from }) => from.includes('mdns') && !from.includes('bootstrap')))
  }
})
