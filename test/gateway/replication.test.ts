import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Replication } from '../../runtime/gateway/replication.ts'
import type { CollectionRules } from '../../runtime/operations/documents.ts'
import { trimSeries } from '../../runtime/operations/retention.ts'
import { SILENT_LOG } from '../../runtime/ports/log.ts'
import { gateway, link, MESH, unlink, until, type Gateway } from '../operations/gateways.ts'

const RULES = {
  refusal: () => null,
  keepsSome: () => true,
  strangeness: () => null,
  partitionOf: () => '',
} as unknown as CollectionRules

/** A gateway with its transfers; its monotonic clock is set by hand. */
class Home {
  readonly told: [name: string, state: unknown][] = []
  readonly gateway: Gateway
  readonly others: Set<string>
  readonly successors: Map<string, string> = new Map()
  atMs = 0
  roomBytes = 1e9
  sought = 0
  replication: Replication

  constructor(own: Gateway, ...others: readonly Gateway[]) {
    this.gateway = own
    this.others = new Set(others.map(({ peer }) => peer.peerId))
    this.replication = this.restarted()
  }

  /** What another process finds on the same disk. */
  restarted(): Replication {
    const { store, driver, peer } = this.gateway
    this.replication = new Replication({
      store,
      meshId: MESH,
      peerId: peer.peerId,
      driver: () => driver,
      rules: () => RULES,
      belongs: () => true,
      isKnown: (peerId) => this.others.has(peerId),
      successorOf: (peerId) => this.successors.get(peerId),
      isMember: (peerId) => this.others.has(peerId),
      nameOf: () => 'archive',
      addressesOf: () => [],
      isReachable: () => false,
      roomBytes: () => this.roomBytes,
      onSought: () => (this.sought += 1),
      tell: (name, fields) => {
        const { state, alert } = fields as { state?: string; alert?: string }
        this.told.push([name, state ?? alert])
      },
      log: SILENT_LOG,
      monotonicMs: () => this.atMs,
    })
    return this.replication
  }

  look(afterMs: number): void {
    this.atMs += afterMs
    this.replication.look()
  }

  get state(): string | undefined {
    return this.replication.replications()[0]?.state
  }

  get lag(): number | undefined {
    return this.replication.replications()[0]?.lag?.batches
  }
}

async function write(to: Gateway, count: number): Promise<void> {
  for (let n = 0; n < count; n++) await to.documents.put('readings', 'sensor', { n })
}

test('a transfer is told when it catches up, when it has been cut off for a while, and not again after a restart', async () => {
  const [a, b] = [gateway(1), gateway(2)]
  const home = new Home(a, b)
  const to = b.peer.peerId
  await write(a, 3)
  await home.replication.replicate('readings', { to })
  assert.deepEqual([home.state, home.lag, home.sought, home.replication.isSought(to)], ['unreachable', 3, 1, true])
  link(a, b, 1)
  await until('it has all', () => home.lag === 0)
  home.look(0)
  assert.deepEqual(home.told, [['replication', 'current']])

  unlink(a, b, 1)
  home.look(5_000)
  await write(a, 2)
  home.look(5_000)
  assert.deepEqual([home.state, home.lag, home.told.length], ['unreachable', 2, 1], 'it may be back in a moment')
  assert.deepEqual(home.replication.warnings, [])
  home.look(5_000)
  assert.deepEqual(home.told[1], ['replication', 'unreachable'])
  assert.match(home.replication.warnings[0] ?? '', /^replication-unreachable: "readings" to archive .*mesh\.bootstrap/)

  await until('that is on the disk', () => {
    home.restarted().look()
    return home.replication.warnings.length === 1
  })
  assert.deepEqual([home.state, home.lag], ['unreachable', 2])
  home.look(60_000)
  assert.equal(home.told.length, 2)
  link(a, b, 2)
  await until('it has the rest', () => home.lag === 0)
  home.look(0)
  assert.deepEqual(home.told[2], ['replication', 'current'])

  const last = await home.replication.stopReplicating('readings', { to })
  assert.equal(last.state, 'current')
  assert.deepEqual([home.restarted().replications(), home.replication.isSought(to)], [[], false])
  for (const { driver } of [a, b]) await driver.close()
})

test('a warning names the command that ends a transfer as a shell takes it', async () => {
  const [a, b] = [gateway(18), gateway(19)]
  const home = new Home(a, b)
  const to = b.peer.peerId
  await home.replication.replicate('*', { to })
  await home.replication.replicate('readings', { to, partition: "o'north hall" })
  home.others.delete(to)
  const [all, hall] = home.replication.warnings
  assert.ok(all?.includes(`"marram replicate '*' --to ${to} --stop"`), all)
  assert.ok(hall?.includes(String.raw`"marram replicate readings --partition 'o'\''north hall' --to`), hall)
  for (const { driver } of [a, b]) await driver.close()
})

test('it covers what others wrote, and nothing of other collections', async () => {
  const [a, b, c] = [gateway(3), gateway(4), gateway(5)]
  const home = new Home(a, b, c)
  link(a, c, 1)
  await write(c, 2)
  await a.documents.put('climate', 'hall', { t: 1 })
  await until('a has what c wrote', () => a.documents.count('readings') === 2)
  await home.replication.replicate('readings', { to: b.peer.peerId })
  await home.replication.replicate('*', { to: b.peer.peerId })
  await home.replication.replicate('climate', { to: b.peer.peerId, partition: 'north' })
  assert.deepEqual(
    home.replication.replications().map(({ lag }) => lag?.batches),
    [2, 3, 0],
  )
  for (const { driver } of [a, b, c]) await driver.close()
})

test('retention leaves what the peer lacks, counts what it can not leave, and waits for no one who was removed', async () => {
  const [a, b] = [gateway(6), gateway(7)]
  const home = new Home(a, b)
  const to = b.peer.peerId
  await write(a, 10)
  assert.equal(home.replication.hold(), null)
  await home.replication.replicate('readings', { to })
  const keep = { ageMs: 3_600_000, bytes: null as number | null }
  const trim = async (): Promise<number> => {
    const drops = await trimSeries(a.store, () => keep, Date.now() + 7_200_000, home.replication.hold())
    home.replication.dropped(drops)
    return drops.reduce((sum, { seqs }) => sum + seqs.size, 0)
  }
  assert.equal(await trim(), 0)
  home.roomBytes = 0
  assert.equal(await trim(), 9)
  assert.deepEqual(home.told, [['alert', 'replication-dropped']])
  assert.equal(home.replication.replications()[0]?.dropped, 9)
  assert.match(home.replication.warnings[0] ?? '', /^replication-dropped: .*9 batches .*marram replicate readings --to/)

  home.roomBytes = 1e9
  await write(a, 5)
  link(a, b, 1)
  await until('it has what is left', () => home.lag === 0)
  assert.equal(b.documents.count('readings'), 6)
  unlink(a, b, 1)
  await write(a, 5)
  assert.equal(await trim(), 6, 'what it has')
  assert.equal(a.documents.count('readings'), 5)
  home.others.delete(to)
  assert.equal(home.state, 'refused')
  assert.equal(await trim(), 4)
  assert.equal(home.replication.replications()[0]?.dropped, 9, 'nobody is there to lack it')
  for (const { driver } of [a, b]) await driver.close()
})

test('it follows a gateway whose keys were replaced', async () => {
  const [a, b, c] = [gateway(10), gateway(11), gateway(12)]
  const home = new Home(a, b)
  await home.replication.replicate('readings', { to: b.peer.peerId })
  home.others.delete(b.peer.peerId)
  home.others.add(c.peer.peerId)
  home.successors.set(b.peer.peerId, c.peer.peerId)
  home.look(0)
  assert.deepEqual([home.replication.isSought(c.peer.peerId), home.state, home.sought], [true, 'unreachable', 2])
  await until('that is on the disk', () => home.restarted().isSought(c.peer.peerId))
  for (const { driver } of [a, b, c]) await driver.close()
})

test('retention waits for the gateway with the new keys at once', async () => {
  const [a, b, c] = [gateway(15), gateway(16), gateway(17)]
  const home = new Home(a, b)
  await home.replication.replicate('readings', { to: b.peer.peerId })
  await write(a, 5)
  home.others.delete(b.peer.peerId)
  home.others.add(c.peer.peerId)
  home.successors.set(b.peer.peerId, c.peer.peerId)
  const keep = { ageMs: 3_600_000, bytes: null }
  const trim = (): ReturnType<typeof trimSeries> =>
    trimSeries(a.store, () => keep, Date.now() + 7_200_000, home.replication.hold())
  assert.deepEqual(await trim(), [])
  await until('that is on the disk', () => home.restarted().isSought(c.peer.peerId))
  link(a, c, 1)
  await until('it has all', () => home.lag === 0)
  assert.equal((await trim())[0]?.seqs.size, 4, 'what it confirmed')
  for (const { driver } of [a, b, c]) await driver.close()
})

test('changes at one time, and what is saved meanwhile, all stay', async () => {
  const [a, b] = [gateway(13), gateway(14)]
  const home = new Home(a, b)
  const to = b.peer.peerId
  await home.replication.replicate('one', { to })
  const changes = [
    home.replication.replicate('two', { to }),
    home.replication.replicate('three', { to }),
    home.replication.stopReplicating('one', { to }),
  ]
  home.look(600_000)
  await Promise.resolve()
  home.look(600_000)
  await assert.rejects(home.replication.replicate('two', { to }), { code: 'already-exists' })
  await Promise.all(changes)
  home.look(600_000)
  const collections = (): string[] => home.replication.replications().map(({ collection }) => collection)
  assert.deepEqual(collections(), ['two', 'three'])
  home.restarted()
  assert.deepEqual(collections(), ['two', 'three'])
  for (const { driver } of [a, b]) await driver.close()
})

test('there are only so many, each once', async () => {
  const [a, b] = [gateway(8), gateway(9)]
  const home = new Home(a, b)
  const to = b.peer.peerId
  for (let n = 0; n < 64; n++) await home.replication.replicate(`c${n}`, { to })
  await assert.rejects(home.replication.replicate('c3', { to }), { code: 'already-exists' })
  await assert.rejects(home.replication.replicate('more', { to }), { code: 'overloaded' })
  await assert.rejects(home.replication.stopReplicating('more', { to }), { code: 'not-found' })
  await home.replication.stopReplicating('c3', { to })
  await home.replication.replicate('more', { to })
  assert.equal(home.restarted().replications().length, 64)
  for (const { driver } of [a, b]) await driver.close()
})
