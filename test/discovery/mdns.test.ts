import assert from 'node:assert/strict'
import { mock, test, type TestContext } from 'node:test'
import { DISCOVERY_LIMITS } from '../../runtime/base/limits.ts'
import { Mdns, type MdnsOptions } from '../../runtime/discovery/mdns.ts'
import type { Hint } from '../../runtime/ports/discovery.ts'
import { SILENT_LOG } from '../../runtime/ports/log.ts'
import { announcementOf, countless, renamed } from './forged.ts'
import { TestNetwork, type TestHost } from './network.ts'

const MESH8 = '0123abcd'

interface Found {
  readonly mdns: Mdns
  readonly hints: Hint[]
}

/** A gateway on that host, which has announced and asked when this returns. */
function gateway(t: TestContext, network: TestHost, name: string, options: Partial<MdnsOptions> = {}): Found {
  const hints: Hint[] = []
  const mdns = new Mdns({
    network,
    mesh8: MESH8,
    peerId: name.repeat(23),
    cell: null,
    listener: { protocol: 'mqtt', host: '::', port: 1883 },
    onHint: (hint) => hints.push(hint),
    isSeeking: () => true,
    random: () => 0.5,
    log: SILENT_LOG,
    monotonicMs: () => Date.now(),
    ...options,
  })
  mdns.start()
  t.after(() => mdns.close())
  return { mdns, hints }
}

/** Time goes on in steps, so that what one timer caused is done before the next. */
async function pass(ms: number): Promise<void> {
  for (let at = 0; at < ms; at += 100) {
    mock.timers.tick(100)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

function withClock(t: TestContext): void {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: 1_000 })
  t.after(() => mock.timers.reset())
}

const unique = (hints: readonly Hint[]): string[] => [
  ...new Set(hints.map(({ address, peerId }) => `${peerId[0]} ${address}`)),
]

test('gateways of one mesh hear of each other, with where they can be dialled, whoever came first', async (t) => {
  withClock(t)
  const network = new TestNetwork()
  const a = gateway(t, network.host('10.0.0.1'), 'a')
  await pass(20_000)
  const tls = { protocol: 'mqtts', host: '0.0.0.0', port: 8883 } as const
  const b = gateway(t, network.host('10.0.0.2'), 'b', { listener: tls, cell: 'north' })
  await pass(5_000)
  assert.deepEqual(unique(a.hints), ['b mqtts://10.0.0.2:8883'])
  assert.deepEqual(unique(b.hints), ['a mqtt://10.0.0.1:1883'])
})

test('another mesh on the same network is not heard of, nor is who announces nothing', async (t) => {
  withClock(t)
  const network = new TestNetwork()
  const a = gateway(t, network.host('10.0.0.1'), 'a')
  gateway(t, network.host('10.0.0.2'), 'b', { mesh8: 'ffffffff' })
  gateway(t, network.host('10.0.0.3'), 'c', { listener: null })
  await pass(10_000)
  assert.deepEqual(a.hints, [])
})

test('every interface is spoken on, also one that comes later', async (t) => {
  withClock(t)
  const network = new TestNetwork()
  const host = network.host('10.0.0.1', '10.0.1.1')
  const a = gateway(t, host, 'a')
  const near = gateway(t, network.host('10.0.1.2'), 'b')
  const late = gateway(t, network.host('10.0.2.2'), 'c')
  await pass(10_000)
  assert.deepEqual(unique(a.hints), ['b mqtt://10.0.1.2:1883'])
  assert.deepEqual(unique(near.hints), ['a mqtt://10.0.1.1:1883'], 'by the address on its own network')
  host.addresses = ['10.0.0.1', '10.0.1.1', '10.0.2.1']
  await pass(20_000)
  assert.deepEqual(unique(late.hints), ['a mqtt://10.0.2.1:1883'])
  assert.ok(unique(a.hints).includes('c mqtt://10.0.2.2:1883'))
})

test('a gateway that listens on one address is announced there only', async (t) => {
  withClock(t)
  const network = new TestNetwork()
  gateway(t, network.host('10.0.0.1', '10.0.1.1'), 'a', {
    listener: { protocol: 'mqtt', host: '10.0.1.1', port: 1883 },
  })
  const other = gateway(t, network.host('10.0.0.2'), 'b')
  const near = gateway(t, network.host('10.0.1.2'), 'c')
  await pass(10_000)
  assert.deepEqual(unique(other.hints), [])
  assert.deepEqual(unique(near.hints), ['a mqtt://10.0.1.1:1883'])
})

test('one that has moved to another address is heard of there', async (t) => {
  withClock(t)
  const network = new TestNetwork()
  const a = gateway(t, network.host('10.0.0.1'), 'a')
  const host = network.host('10.0.0.2')
  gateway(t, host, 'b')
  await pass(10_000)
  host.addresses = ['10.0.0.7']
  await pass(120_000)
  assert.deepEqual(unique(a.hints), ['b mqtt://10.0.0.2:1883', 'b mqtt://10.0.0.7:1883'])
})

test('a clean end says goodbye: its records with a time to live of nothing', async (t) => {
  withClock(t)
  const host = new TestNetwork().host('10.0.0.1')
  const { mdns } = gateway(t, host, 'a')
  await pass(5_000)
  const before = host.sent.length
  await Promise.all([mdns.close(), pass(1_000)])
  const [goodbye] = host.sent.slice(before)
  assert.ok(goodbye, 'something was said')
  assert.equal(ttlOfFirstAnswer(goodbye.packet), 0)
})

/** Behind a header without questions stand a name, type, class, and the time to live (RFC 1035 4.1.3). */
function ttlOfFirstAnswer(packet: Buffer): number {
  let at = 12
  while (packet[at] !== 0) at += (packet[at] as number) + 1
  return packet.readUInt32BE(at + 5)
}

test('a flood of announcements is read so often and no more, whoever it comes from', async (t) => {
  withClock(t)
  const network = new TestNetwork()
  const host = network.host('10.0.0.1')
  const a = gateway(t, host, 'a')
  const template = await announcementOf(MESH8, () => pass(5_000))
  await pass(10_000)
  const [before, startedAt] = [a.mdns.figures(), Date.now()]
  const count = 20_000
  for (let i = 0; i < count; i++) {
    network.deliver(renamed(template, i), `10.0.0.${2 + (i % 250)}`)
    if (i % 1_000 === 0) await pass(100)
  }
  const seconds = (Date.now() - startedAt) / 1_000
  const after = a.mdns.figures()
  const read = after.read - before.read
  const most = DISCOVERY_LIMITS.packetsAtOnce + seconds * DISCOVERY_LIMITS.packetsPerSecond
  assert.ok(after.received - before.received >= count, 'everything came')
  assert.ok(read >= DISCOVERY_LIMITS.packetsAtOnce && read <= most, `${read} packets were read in ${seconds} s`)
  assert.equal(after.dropped, after.received - after.read)
  assert.ok(a.hints.length > 0 && a.hints.length <= read, 'a packet of one announcement tells of one gateway')
})

test('what is malformed, far too much or of something else ends nothing, and is not read', async (t) => {
  withClock(t)
  const network = new TestNetwork()
  const a = gateway(t, network.host('10.0.0.1'), 'a')
  const template = await announcementOf(MESH8, () => pass(5_000))
  await pass(10_000)
  const before = a.mdns.figures().read
  const unread = [
    Buffer.alloc(0),
    Buffer.alloc(11),
    Buffer.concat([template, Buffer.alloc(2_000)]),
    countless(template),
    Buffer.from(template.toString('latin1').replaceAll('_marram', '_printr'), 'latin1'),
  ]
  for (const packet of unread) network.deliver(packet, '10.0.0.9')
  assert.equal(a.mdns.figures().read, before)
  for (let at = 12; at < template.length; at++) {
    const cut = template.subarray(0, at)
    const twisted = Buffer.from(template)
    twisted[at] = 0xc0
    for (const packet of [cut, twisted]) network.deliver(packet, `10.0.0.${2 + (at % 250)}`)
    await pass(100)
  }
  assert.ok(a.mdns.figures().read > before, 'some of it looked sound')
  gateway(t, network.host('10.0.0.2'), 'b')
  await pass(120_000)
  assert.ok(unique(a.hints).includes('b mqtt://10.0.0.2:1883'), 'it hears on')
})

test('questions are answered so often and no more', async (t) => {
  withClock(t)
  const network = new TestNetwork()
  const host = network.host('10.0.0.1')
  gateway(t, host, 'a')
  await pass(10_000)
  const asker = network.host('10.0.0.2')
  gateway(t, asker, 'b')
  await pass(10_000)
  const question = asker.sent.find(({ packet }) => ((packet[2] as number) & 0x80) === 0)
  assert.ok(question)
  const before = host.sent.length
  for (let i = 0; i < 5_000; i++) network.deliver(question.packet, `10.0.0.${3 + (i % 250)}`)
  await pass(1_000)
  const answers = host.sent.length - before
  assert.ok(
    answers > 0 && answers <= 2 * DISCOVERY_LIMITS.sentAtOnce + 2 * DISCOVERY_LIMITS.sentPerSecond,
    `${answers}`,
  )
})
