import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import type { DocumentView, StatusView } from '../../runtime/ports/operations.ts'
import type { ReplicationView } from '../../runtime/ports/replication.ts'
import { found, joined, marram, temporaryFolder, until, type GatewayProcess } from './harness.ts'

const NOTHING_FROM_DEVICES = 'sources=[]'
const HOUR_MS = 3_600_000

function keeping(age: string | null, name: string): string[] {
  const readings = { kind: 'series', ...(age !== null && { retain: { age } }) }
  const collections = JSON.stringify({ readings, '*': { kind: 'state' } })
  return [NOTHING_FROM_DEVICES, `node.name=${name}`, `collections=${collections}`, 'mesh.discovery=["bootstrap"]']
}

async function add(gateway: GatewayProcess, ...rows: readonly number[]): Promise<void> {
  for (const n of rows) await gateway.run('put', 'readings', 'sensor', JSON.stringify({ n }))
}

async function rowsOf(gateway: GatewayProcess): Promise<unknown[]> {
  const lines = (await gateway.run('list', 'readings', '--json')).split('\n').filter((line) => line !== '')
  return lines.map((line) => (JSON.parse(line) as DocumentView).value['n'])
}

async function transferOf(gateway: GatewayProcess): Promise<ReplicationView> {
  return JSON.parse(await gateway.run('replicate', '--list', '--json')) as ReplicationView
}

async function untilState(gateway: GatewayProcess, state: string, batches: number): Promise<void> {
  await until(`the transfer is ${state} with ${batches} batches lacking`, async () => {
    const transfer = await transferOf(gateway)
    return transfer.state === state && transfer.lag?.batches === batches
  })
}

/** Applies retention, as a reload does at once. */
async function reloaded(gateway: GatewayProcess): Promise<void> {
  const count = (): number => gateway.lines.filter(({ event }) => event === 'profile-applied').length
  const before = count()
  process.kill(gateway.pid, 'SIGHUP')
  await until('the profile is applied', () => count() > before)
}

async function refused(gateway: GatewayProcess, ...args: readonly string[]): Promise<[number, string]> {
  const { code, stderr } = await marram('replicate', ...args, '--json', '--dir', gateway.dir)
  return [code, stderr]
}

test('a transfer survives a kill of either side; what the archive lacks outlasts its age here, until it has it or the transfer is stopped', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a', { set: keeping('1m', 'a') })
  const archive = await joined(t, folder, 'archive', a, { set: keeping(null, 'archive') })
  const c = await joined(t, folder, 'c', a, { set: keeping(null, 'c') })
  const { peerId } = await archive.json<StatusView>('status')
  await add(a, 1, 2, 3)
  const begun = await a.json<ReplicationView>('replicate', 'readings', '--to', 'archive')
  assert.deepEqual([begun.collection, begun.partition, begun.peerId], ['readings', null, peerId])
  await untilState(a, 'current', 0)

  await archive.stop('SIGKILL')
  await add(a, 4, 5)
  await add(c, 10, 11)
  await untilState(a, 'unreachable', 4)
  const { confirmed } = await transferOf(a)
  await c.stop()
  await a.stop('SIGKILL')

  // An hour later all rows are too old.
  await a.start({ set: keeping('1m', 'a'), clockOffMs: HOUR_MS, isClockTrusted: true })
  await until('what the archive has is gone', async () => (await rowsOf(a)).length === 4)
  assert.deepEqual(new Set(await rowsOf(a)), new Set([4, 5, 10, 11]))
  const transfer = await transferOf(a)
  assert.deepEqual([transfer.state, transfer.lag?.batches, transfer.since], ['unreachable', 4, begun.since])
  assert.ok((transfer.confirmed ?? '') <= (confirmed ?? ''), 'what a crash loses of it makes it seem longer ago')
  const { replications } = await a.json<StatusView>('status')
  assert.deepEqual(
    replications.map(({ name, state }) => [name, state]),
    [['archive', 'unreachable']],
  )

  await archive.start({ set: keeping(null, 'archive') })
  await untilState(a, 'current', 0)
  assert.deepEqual(new Set(await rowsOf(archive)), new Set([1, 2, 3, 4, 5, 10, 11]))
  await reloaded(a)
  await until('what it has got is gone here', async () => (await rowsOf(a)).length === 2)
  assert.deepEqual(new Set(await rowsOf(a)), new Set([5, 11]), 'the last of each feed stays')

  await archive.stop('SIGKILL')
  await add(a, 6, 7)
  await a.stop('SIGKILL')
  await a.start({ set: keeping('1m', 'a'), clockOffMs: 2 * HOUR_MS, isClockTrusted: true })
  await reloaded(a)
  assert.deepEqual(new Set(await rowsOf(a)), new Set([6, 7, 11]), 'row 5 is known to be there')
  await a.run('replicate', 'readings', '--to', 'archive', '--stop')
  await reloaded(a)
  await until('nothing is kept for it', async () => (await rowsOf(a)).length === 2)
  assert.deepEqual(new Set(await rowsOf(a)), new Set([7, 11]))
  assert.equal(await a.run('replicate', '--list'), 'nothing is replicated to a chosen gateway')
})

test('what makes no sense is refused with a reason; and a transfer says so when its peer keeps the place no more', async (t) => {
  const folder = temporaryFolder()
  const only = [NOTHING_FROM_DEVICES, 'collections={"climate":{},"meters":{"partition":"north"}}']
  const a = await found(t, folder, 'a', { set: only })
  const narrow = 'interest=["climate","meters/north"]'
  const b = await joined(t, folder, 'b', a, { set: [...only, narrow, 'node.name=b'] })
  const lost = await joined(t, folder, 'lost', a, { set: [...only, 'node.name=lost'] })
  const self = (await a.json<StatusView>('status')).peerId
  await until('a knows what b keeps', async () => (await refused(a, 'meters', '--to', 'b'))[0] === 1)

  const expect = async (code: number, sentence: RegExp, ...args: readonly string[]): Promise<void> => {
    const [exit, stderr] = await refused(a, ...args)
    assert.deepEqual([exit, sentence.test(stderr)], [code, true], stderr)
  }
  await expect(1, /"not-found".*there is no such member/, 'climate', '--to', 'nobody')
  await expect(1, /"bad-request".*this gateway itself/, 'climate', '--to', self)
  await expect(1, /"not-supported".*does not declare it/, 'unknown', '--to', 'b')
  await expect(1, /"bad-request".*the system's/, '$mesh', '--to', 'b')
  await expect(1, /"not-kept".*b does not keep all of it but .*meters\/north/, 'meters', '--to', 'b')
  await expect(1, /"not-kept"/, '*', '--to', 'b')
  await expect(1, /"not-found".*no such transfer/, 'climate', '--to', 'b', '--stop')
  await a.run('replicate', 'meters', '--partition', 'north', '--to', 'b')
  await expect(73, /"already-exists"/, 'meters', '--partition', 'north', '--to', 'b')
  await lost.stop()
  await a.run('retire', 'lost', '--now')
  await expect(1, /"not-found".*removed from the mesh/, 'climate', '--to', 'lost')

  await a.run('put', 'meters', 'm1', '{"total":1}')
  await untilState(a, 'current', 0)
  await b.stop()
  await b.start({ set: [...only, 'interest=["climate"]', 'node.name=b'] })
  await until('it is refused', async () => (await transferOf(a)).state === 'refused', 120_000)
  const { warnings } = await a.json<StatusView>('status')
  assert.ok(warnings.some((warning) => warning.startsWith('replication-refused: "meters/north" to b')))
  await until('that was told', () => a.lines.some(({ event, state }) => event === 'replication' && state === 'refused'))
  await a.stop()
  const offline = await a.json<StatusView>('status')
  assert.deepEqual(
    offline.replications.map(({ collection, lag }) => [collection, lag]),
    [['meters', null]],
  )
  assert.equal((await marram('replicate', '--list', '--dir', join(folder, 'a'))).code, 69)
})
