import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { connectAsync, type MqttClient } from 'mqtt'
import { found, joined, temporaryFolder, until, type GatewayProcess } from '../end-to-end/harness.ts'

const MESSAGES = 1_000
const RULES = 'bridge=[{"topic":"site/#","direction":"both","qos":1,"keep":"7d"}]'
const SHAPE = 'mesh.discovery=["bootstrap"]'

/** What a lasting session at a gateway was told, by topic. */
interface Listener {
  readonly client: MqttClient
  readonly heard: Map<string, string[]>
}

async function listening(t: TestContext, gateway: GatewayProcess): Promise<Listener> {
  const heard = new Map<string, string[]>()
  const client = await connectAsync(gateway.address, { clientId: 'listener', clean: false, reconnectPeriod: 300 })
  t.after(() => client.end(true))
  client.on('message', (topic, payload) => heard.set(topic, [...(heard.get(topic) ?? []), payload.toString()]))
  await client.subscribeAsync('site/#', { qos: 1 })
  return { client, heard }
}

/** `count` members, each dialling those whose numbers `neighbours` gives. */
async function meshOf(
  t: TestContext,
  count: number,
  neighbours: (index: number) => readonly number[],
): Promise<readonly GatewayProcess[]> {
  const folder = temporaryFolder()
  const host = await found(t, folder, '0', { set: [RULES, SHAPE] })
  const gateways = [host]
  for (let index = 1; index < count; index++)
    gateways.push(await joined(t, folder, String(index), host, { set: [RULES, SHAPE] }))
  for (const gateway of gateways) await gateway.stop()
  // Each keeps its port, so all addresses are known.
  for (const [index, gateway] of gateways.entries()) {
    const bootstrap = neighbours(index).map((other) => (gateways[other] as GatewayProcess).address)
    await gateway.start({ set: [RULES, SHAPE], bootstrap })
  }
  return gateways
}

const SHAPES: readonly [string, number, (index: number) => readonly number[]][] = [
  ['a pair that each bridge the other', 2, (index) => [1 - index]],
  ['a ring of five', 5, (index) => [(index + 1) % 5]],
  ['a full mesh of five', 5, (index) => [0, 1, 2, 3, 4].filter((other) => other !== index)],
]

for (const [shape, count, neighbours] of SHAPES) {
  test(`in ${shape} each message comes once to each other gateway, in order, and the last retained one stands everywhere`, async (t) => {
    const gateways = await meshOf(t, count, neighbours)
    const listeners = await Promise.all(gateways.map((gateway) => listening(t, gateway)))
    const all = Array.from({ length: MESSAGES }, (_, i) => String(i))
    const sender = (listeners[0] as Listener).client
    await Promise.all(all.map((text) => sender.publishAsync('site/count', text, { qos: 1 })))
    await until(
      'all have come',
      () => listeners.every(({ heard }) => (heard.get('site/count')?.length ?? 0) >= MESSAGES),
      60_000,
    )
    await Promise.all(
      listeners.map(({ client }, i) => client.publishAsync('site/mode', `by ${i}`, { qos: 1, retain: true })),
    )
    await sender.publishAsync('site/end', 'end', { qos: 1 })
    await until('what was said last has come', () => listeners.every(({ heard }) => heard.has('site/end')))
    for (const { heard } of listeners) assert.deepEqual(heard.get('site/count'), all)
    const retained = (): Promise<string[]> => Promise.all(gateways.map((gateway) => retainedAt(gateway, 'site/mode')))
    await until('one retained message stands everywhere', async () => new Set(await retained()).size === 1)
  })
}

test('what was said while a gateway was away comes when it is back, and what it had published is not repeated', async (t) => {
  const [a, b] = (await meshOf(t, 2, (index) => [1 - index])) as [GatewayProcess, GatewayProcess]
  const { client } = await listening(t, a)
  const { heard } = await listening(t, b)
  await client.publishAsync('site/alarms', 'before', { qos: 1 })
  await until('it has come', () => heard.get('site/alarms')?.length === 1)
  await b.stop()
  await client.publishAsync('site/alarms', 'meanwhile', { qos: 1 })
  await client.publishAsync('site/binary', Buffer.from([0xff, 0, 1]), { qos: 1 })
  await client.publishAsync('site/mode', 'night', { qos: 1, retain: true })
  await client.publishAsync('site/gone', 'x', { qos: 1, retain: true })
  await client.publishAsync('site/gone', '', { qos: 1, retain: true })
  await b.start({ set: [RULES, SHAPE], bootstrap: [a.address] })
  await until('it has come', () => heard.get('site/alarms')?.length === 2 && heard.has('site/binary'))
  assert.deepEqual(heard.get('site/alarms'), ['before', 'meanwhile'])
  await until('the retained message stands there', async () => (await retainedAt(b, 'site/mode')) === 'night')
  assert.equal(await retainedAt(b, 'site/gone'), '')
  await b.stop('SIGKILL')
  await b.start({ set: [RULES, SHAPE], bootstrap: [a.address] })
  await client.publishAsync('site/alarms', 'after', { qos: 1 })
  await until('it has come', () => heard.get('site/alarms')?.at(-1) === 'after')
  // A crash may repeat the last second, in order; what was published longer ago it may not.
  assert.equal(heard.get('site/alarms')?.filter((text) => text === 'before').length, 1)
})

/** What a new subscriber is told at once; empty when nothing is. */
async function retainedAt(gateway: GatewayProcess, topic: string): Promise<string> {
  const client = await connectAsync(gateway.address, { clientId: `asks` })
  try {
    const told = new Promise<string>((resolve) => {
      client.on('message', (_topic, payload, { retain }) => retain && resolve(payload.toString()))
      setTimeout(() => resolve(''), 1_000)
    })
    await client.subscribeAsync(topic, { qos: 1 })
    return await told
  } finally {
    await client.endAsync(true)
  }
}
