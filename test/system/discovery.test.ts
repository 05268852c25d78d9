import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { promisify } from 'node:util'
import { DISCOVERY_LIMITS } from '../../runtime/base/limits.ts'
import type { DiscoveryFigures } from '../../runtime/ports/discovery.ts'
import { initGateway, joinGateway } from '../../runtime/setup.ts'
import type { PeerView, StatusView } from '../../runtime/ports/operations.ts'
import { decodeInvite, encodeInvite } from '../../runtime/wire/invite.ts'
import { GatewayProcess, temporaryFolder, until, untilEqual, type StartOptions } from '../end-to-end/harness.ts'
import { Namespaces, namespacesMissing } from './soak/namespaces.ts'

const skip = namespacesMissing() ?? false
const FLOOD = join(import.meta.dirname, 'mdns-flood-writer.js')
const PARTED_MS = 240_000
const PACKETS = 30_000

interface Meshed {
  readonly network: Namespaces
  readonly gateways: GatewayProcess[]
}

/** Gateways in namespaces of their own at one switch, without a route, that may use these ways to find each other. */
async function meshed(t: TestContext, count: number, discovery: readonly string[], lines = count): Promise<Meshed> {
  const folder = temporaryFolder()
  const network = new Namespaces(lines)
  const gateways = Array.from({ length: count }, (_, i) => new GatewayProcess(join(folder, `g${i}`)))
  t.after(async () => {
    await Promise.all(gateways.map((gateway) => gateway.stop('SIGKILL')))
    network.remove()
  })
  await network.add()
  const start = (i: number): Promise<void> => (gateways[i] as GatewayProcess).start(optionsOf(network, i, discovery))
  const [founder, ...others] = gateways as [GatewayProcess, ...GatewayProcess[]]
  initGateway({ dir: founder.dir, mesh: 'found' })
  await start(0)
  for (const [i, gateway] of others.entries()) {
    const { token } = await founder.json<{ token: string }>('invite')
    joinGateway({ dir: gateway.dir, token: discovery.includes('mdns') ? withoutAddresses(token) : token })
    await start(i + 1)
  }
  for (const gateway of others)
    await until('it is enrolled', async () => (await gateway.json<StatusView>('status')).enrolled)
  return { network, gateways }
}

/** Who has it finds the mesh by itself. */
function withoutAddresses(token: string): string {
  const invite = decodeInvite(token)
  assert.ok(invite.ok)
  return encodeInvite({ ...invite.value, addresses: [] })
}

function optionsOf(network: Namespaces, i: number, discovery: readonly string[]): StartOptions {
  const set = [`mesh.discovery=${JSON.stringify(discovery)}`, `node.name=g${i}`]
  return { host: '0.0.0.0', port: 1883, within: network.within(i), set }
}

const put = (gateway: GatewayProcess, key: string): Promise<string> => gateway.run('put', 'climate', key, '{"t":1}')

async function peersOf(gateway: GatewayProcess): Promise<PeerView[]> {
  const lines = await gateway.run('peers', '--json')
  return lines.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as PeerView]))
}

const linksOf = async (gateway: GatewayProcess): Promise<number> => (await gateway.json<StatusView>('status')).links.up

/** What it has said on `event` of the log, and of whom in all. */
function told(gateway: GatewayProcess, event: string): string[] {
  return gateway.lines.flatMap((line) => (line.event === event ? (line['peers'] as string[]) : [])).sort()
}

test(
  'five gateways at one switch find each other by multicast DNS alone; cut in two both parts work, and they heal',
  { skip, timeout: 600_000 },
  async (t) => {
    const { network, gateways } = await meshed(t, 5, ['mdns'])
    const [a, b, c, d, e] = gateways as [GatewayProcess, GatewayProcess, GatewayProcess, GatewayProcess, GatewayProcess]
    for (const [i, gateway] of gateways.entries()) await put(gateway, `k${i}`)
    await untilEqual(a, b, c, d, e)
    for (const gateway of gateways) {
      await until('it has two links', async () => (await linksOf(gateway)) >= 2)
      const known = (await peersOf(gateway)).flatMap(({ addresses }) => addresses)
      assert.ok(known.length > 0 && known.every(({ from }) => from.includes('mdns') && !from.includes('bootstrap')))
    }
    const ids = await Promise.all(gateways.map(async (gateway) => (await gateway.json<StatusView>('status')).peerId))
    const [near, far] = [ids.slice(0, 2).sort(), ids.slice(2).sort()]
    await network.cut([0, 1])
    await until(
      'both parts know of the cut',
      () => told(a, 'partition').length >= 3 && told(e, 'partition').length >= 2,
      PARTED_MS,
    )
    assert.deepEqual([told(a, 'partition'), told(e, 'partition')], [far, near])
    assert.match((await a.json<StatusView>('status')).warnings.join(), /partition: 3 of 4 other gateways/)
    await put(a, 'near')
    await put(e, 'far')
    await untilEqual(a, b)
    await untilEqual(c, d, e)
    assert.notEqual(await a.digest(), await e.digest())
    await network.cut([])
    await until(
      'both parts know that it has healed',
      () => told(a, 'healed').length >= 3 && told(e, 'healed').length >= 2,
      PARTED_MS,
    )
    assert.deepEqual([told(a, 'healed'), told(e, 'healed')], [far, near])
    await untilEqual(a, b, c, d, e)
    assert.equal((await c.json<{ count: number }>('count', 'climate')).count, 7)
  },
)

test(
  'gateways that only know who admitted them learn of each other from it, and stay linked without it',
  { skip, timeout: 300_000 },
  async (t) => {
    const { network, gateways } = await meshed(t, 3, ['bootstrap', 'exchange'])
    const [a, b, c] = gateways as [GatewayProcess, GatewayProcess, GatewayProcess]
    for (const gateway of [b, c]) await until('it has two links', async () => (await linksOf(gateway)) === 2)
    // Who has dialled whom is chance: the one that was dialled hears of the other's address a little later.
    await until('each knows from the first where the other is', async () => {
      const known = await Promise.all([b, c].map(peersOf))
      return [2, 1].every((other, i) =>
        known[i]?.some(({ addresses }) =>
          addresses.some(
            ({ address, from }) => address === `mqtt://${network.host(other)}:1883` && from.includes('exchange'),
          ),
        ),
      )
    })
    await a.stop('SIGKILL')
    await put(b, 'without')
    await untilEqual(b, c)
    // After a restart without anybody to ask, they find each other where they were.
    await Promise.all([b.stop(), c.stop()])
    for (const [i, gateway] of [b, c].entries())
      await gateway.start(optionsOf(network, i + 1, ['bootstrap', 'exchange']))
    await put(c, 'again')
    await untilEqual(b, c)
  },
)

test(
  'a flood of forged announcements costs so much and no more, and nobody is lost by it',
  { skip, timeout: 300_000 },
  async (t) => {
    const { network, gateways } = await meshed(t, 2, ['mdns'], 3)
    const [a, b] = gateways as [GatewayProcess, GatewayProcess]
    const { meshId } = await a.json<StatusView>('status')
    await put(a, 'before')
    await untilEqual(a, b)
    const figures = async (): Promise<DiscoveryFigures> => {
      const { mdns } = (await a.json<StatusView>('status')).discovery
      assert.ok(mdns)
      return mdns
    }
    const [before, startedAt] = [await figures(), performance.now()]
    const flood = network.within(2)
    const args = [...flood.slice(1), process.execPath, FLOOD, meshId.slice(0, 8), network.host(2), String(PACKETS)]
    await promisify(execFile)(flood[0] as string, args)
    const [after, seconds] = [await figures(), (performance.now() - startedAt) / 1_000]
    const received = after.received - before.received
    assert.ok(received > PACKETS / 100, `${received} of ${PACKETS} packets came`)
    const read = after.read - before.read
    const { packetsPerSourceAtOnce, packetsPerSourceSecond, addressesPerHostMax } = DISCOVERY_LIMITS
    // Of each of the three gateways' own packets as much, with the sockets of this one.
    const most = 3 * (packetsPerSourceAtOnce + seconds * packetsPerSourceSecond)
    assert.ok(read > 0 && read <= most, `${read} of ${received} packets were read in ${seconds} s`)
    const { addresses } = (await a.json<StatusView>('status')).discovery
    assert.ok((addresses.mdns ?? 0) <= addressesPerHostMax + 1, `${addresses.mdns} addresses`)
    await put(b, 'after')
    await untilEqual(a, b)
    await b.stop()
    await b.start(optionsOf(network, 1, ['mdns']))
    await put(b, 'restarted')
    await untilEqual(a, b)
  },
)
