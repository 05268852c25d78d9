import assert from 'node:assert/strict'
import { networkInterfaces } from 'node:os'
import { test } from 'node:test'
import type { PeerView } from '../../runtime/ports/operations.ts'
import { found, joined, temporaryFolder, until, untilEqual, type GatewayProcess } from './harness.ts'

/** Gateways on this machine tell each other where they are only by an address beyond loopback. */
const HOST = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .find(({ internal, family }) => !internal && family === 'IPv4')?.address

async function linkedOf(gateway: GatewayProcess): Promise<string[]> {
  const lines = (await gateway.run('peers', '--json')).split('\n').filter((line) => line !== '')
  const peers = lines.map((line) => JSON.parse(line) as PeerView)
  return peers.filter(({ state }) => state === 'up').map(({ name }) => name)
}

test('whoever finds no place at the one gateway that it knows is told of another, and joins the mesh there', async (t) => {
  if (HOST === undefined) return t.skip('this machine has no address beyond loopback')
  const folder = temporaryFolder()
  const of = (name: string, ...set: string[]): { host: string; set: string[] } => ({
    host: HOST,
    set: ['mesh.discovery=["bootstrap","exchange"]', `node.name=${name}`, ...set],
  })
  const full = await found(t, folder, 'full', of('full', 'mesh.links.min=1', 'mesh.links.max=1'))
  const second = await joined(t, folder, 'second', full, of('second'))
  await until('it is full', async () => (await linkedOf(full)).join() === 'second')
  const third = await joined(t, folder, 'third', full, of('third'))
  await until('it is linked with the other one', async () => (await linkedOf(third)).join() === 'second', 60_000)
  assert.deepEqual(await linkedOf(full), ['second'])
  await third.run('put', 'climate', 'hall', '{"temperature":21}')
  await untilEqual(full, second, third)
})
