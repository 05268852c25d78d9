import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Client } from '../../runtime/cli/client.ts'
import type { Network } from './soak/mesh.ts'
import { namespacesMissing } from './soak/namespaces.ts'
import { lostOf, soak } from './soak/soak.ts'

const MINUTES = 0.5
const missing = namespacesMissing()

const soaks: readonly [Network, number][] = [
  ['proxy', 3],
  ['namespaces', 4],
]
for (const [network, seed] of soaks) {
  const skip = network === 'namespaces' && missing !== null ? missing : false
  const name = `two gateways under kills, stops and faults of the network (${network}) lose nothing and end up equal`
  test(name, { timeout: 300_000, skip }, async (t) => {
    const stop = new AbortController()
    t.signal.addEventListener('abort', () => stop.abort())
    const options = { gateways: 2, minutes: MINUTES, seed, network, shape: 'ring', hasFaults: true } as const
    const result = await soak(options, stop.signal)
    t.diagnostic(JSON.stringify(result))
    assert.deepEqual(result.failures, [])
    assert.ok(Object.keys(result.faults).length >= 3, 'there were faults')
  })
}

test(
  'a hub with sixteen busy peers takes from each of them, answers meanwhile, and all end up equal',
  { timeout: 300_000 },
  async (t) => {
    const stop = new AbortController()
    t.signal.addEventListener('abort', () => stop.abort())
    const options = { gateways: 17, minutes: 0.3, seed: 1, network: 'proxy', shape: 'hub', hasFaults: false } as const
    const result = await soak(options, stop.signal)
    t.diagnostic(JSON.stringify(result))
    assert.deepEqual(result.failures, [])
    assert.ok(result.leastAtFirst > 0.5, 'no peer starves')
  },
)

test('a soak notices an acknowledged write that a gateway has not, or has in an older state', async () => {
  const lines = ['{"key":"old","value":{"n":4}}', '{"key":"superseded","value":{"n":9}}']
  const client = {
    async *lines() {
      yield* lines
    },
  } as Partial<Client> as Client
  const acknowledged = new Map([
    ['old', 5],
    ['superseded', 8],
    ['gone', 1],
  ])
  assert.deepEqual(await lostOf([{ client }], acknowledged), [
    'old was acknowledged at 5, gateway 0 has 4',
    'gone was acknowledged at 1, gateway 0 has nothing',
  ])
})
