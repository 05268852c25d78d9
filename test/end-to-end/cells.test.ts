import assert from 'node:assert/strict'
import { networkInterfaces } from 'node:os'
import { test } from 'node:test'
import type { PeerView, StatusView } from '../../runtime/ports/operations.ts'
import { found, joined, temporaryFolder, until, untilEqual, type GatewayProcess } from './harness.ts'

interface Seen {
  readonly gateway: GatewayProcess
  readonly status: StatusView
  /** The cells of its neighbours. */
  readonly linked: readonly PeerView[]
}

/** Gateways on this machine tell each other where they are only by an address beyond loopback. */
const HOST = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .find(({ internal, family }) => !internal && family === 'IPv4')?.address

async function look(gateways: readonly GatewayProcess[]): Promise<Seen[]> {
  return Promise.all(
    gateways.map(async (gateway) => {
      const lines = (await gateway.run('peers', '--json')).split('\n').filter((line) => line !== '')
      const peers = lines.map((line) => JSON.parse(line) as PeerView)
      const linked = peers.filter(({ state }) => state === 'up')
      return { gateway, status: await gateway.json<StatusView>('status'), linked }
    }),
  )
}

/** Full meshes within cells, and between them links from each bridge to each bridge and no others. */
function isShaped(seen: readonly Seen[]): boolean {
  return seen.every(({ status: { cell, bridge }, linked }) => {
    const mates = seen.filter(({ status }) => status.cell === cell).length - 1
    const across = linked.filter((peer) => peer.cell !== cell)
    const bridges = seen.filter(({ status }) => status.bridge && status.cell !== cell).length
    if (linked.length - across.length !== mates) return false
    return bridge ? across.length === bridges && across.every((peer) => peer.bridge) : across.length === 0
  })
}

const bridgesOf = (seen: readonly Seen[], cell: string): Seen[] =>
  seen.filter(({ status }) => status.cell === cell && status.bridge)

test('two cells of three come to be joined by two bridges each, and another takes over when one is killed', async (t) => {
  if (HOST === undefined) return t.skip('this machine has no address beyond loopback')
  const folder = temporaryFolder()
  const of = (cell: string): { host: string; set: string[] } => ({
    host: HOST,
    set: [`node.cell=${cell}`, 'mesh.discovery=["bootstrap","exchange"]'],
  })
  const first = await found(t, folder, 'north-1', of('north'))
  const gateways = [first]
  for (const name of ['north-2', 'north-3', 'south-1', 'south-2', 'south-3'])
    gateways.push(await joined(t, folder, name, first, of(name.split('-')[0] as string)))

  let seen: Seen[] = []
  await until('the mesh has its shape', async () => isShaped((seen = await look(gateways))), 180_000)
  assert.deepEqual([bridgesOf(seen, 'north').length, bridgesOf(seen, 'south').length], [2, 2])
  for (const { status, linked } of seen) {
    assert.equal(status.links.up, status.links.wanted)
    for (const { quality, cell, links } of linked)
      assert.ok(quality !== null && quality > 0 && cell !== null && links !== null, `${quality} ${cell} ${links}`)
  }

  const [killed] = bridgesOf(seen, 'south') as [Seen]
  await killed.gateway.stop('SIGKILL')
  const left = gateways.filter((gateway) => gateway !== killed.gateway)
  const isTakenOver = async (): Promise<boolean> =>
    isShaped((seen = await look(left))) && bridgesOf(seen, 'south').length === 2
  await until('another has taken over', isTakenOver, 180_000)
  await first.run('put', 'climate', 'hall', '{"temperature":21}')
  await untilEqual(first, ...left.slice(1))
})
