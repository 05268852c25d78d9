import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { DocumentView, StatusView } from '../../runtime/ports/operations.ts'
import { found, joined, marram, temporaryFolder, until, type GatewayProcess } from './harness.ts'

const NOTHING_FROM_DEVICES = 'sources=[]'

/** Readings go to the partition of this cell. */
function readingsOf(cell: string): string[] {
  const collections = { readings: { kind: 'state', partition: '{cell}' }, '*': { kind: 'state' } }
  return [NOTHING_FROM_DEVICES, `node.cell=${cell}`, `collections=${JSON.stringify(collections)}`]
}

/** What a gateway has on its disk, whatever it shows. */
async function countOf(gateway: GatewayProcess, collection: string): Promise<number> {
  return (await gateway.json<StatusView>('status')).collections[collection]?.count ?? 0
}

async function has(gateway: GatewayProcess, collection: string, key: string): Promise<boolean> {
  return (await marram('get', collection, key, '--dir', gateway.dir)).code === 0
}

async function refused(gateway: GatewayProcess, ...args: readonly string[]): Promise<string> {
  const { code, stderr } = await marram(...args, '--json', '--dir', gateway.dir)
  assert.equal(code, 1)
  return stderr
}

/** The profile that it uses from now on. */
async function keep(gateway: GatewayProcess, folder: string, interest: readonly string[]): Promise<void> {
  const file = join(folder, 'profile.json')
  writeFileSync(file, JSON.stringify({ broker: { listen: [`mqtt://127.0.0.1:${gateway.port}`] }, interest }))
  await gateway.run('profile', 'set', file)
}

test('three gateways that keep all, one collection and one partition: each has just that, and carries no more', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a', { set: readingsOf('south') })
  const b = await joined(t, folder, 'b', a, { set: [NOTHING_FROM_DEVICES, 'interest=["climate"]'] })
  const c = await joined(t, folder, 'c', a, { set: [...readingsOf('north'), 'interest=["readings/north"]'] })
  assert.deepEqual((await c.json<StatusView>('status')).interest, ['readings/north'])

  await a.run('put', 'climate', 'kitchen', '{"temperature":21}')
  await a.run('put', 'readings', 'meter-south', '{"power":1}')
  await c.run('put', 'readings', 'meter-north', '{"power":2}')
  await until('a has what c wrote', () => has(a, 'readings', 'meter-north'))
  await until('b has what a wrote', () => has(b, 'climate', 'kitchen'))
  // Of what each link says in order, the last is there: had there been anything else, it would be too.
  await a.run('put', 'climate', 'last', '{"x":1}')
  await until('b has the last', () => has(b, 'climate', 'last'))
  assert.deepEqual(Object.keys((await b.json<StatusView>('status')).collections), ['climate'])
  assert.equal(await countOf(c, 'readings'), 1)
  assert.equal(await has(c, 'readings', 'meter-south'), false)

  assert.match(
    await refused(b, 'put', 'readings', 'k', '{"x":1}'),
    /"not-kept".*this gateway keeps \\?"climate\\?".*add/,
  )
  assert.match(await refused(b, 'list', 'readings'), /"not-kept"/)
  assert.match(await refused(c, 'put', 'climate', 'k', '{"x":1}'), /"not-kept"/)

  // Only a keeps both: of those who keep climate there is one more.
  await a.run('put', 'climate', 'kitchen', '{"temperature":22}', '--wait', '1')
  await until('a knows what c keeps', async () => {
    const { stderr } = await marram(
      'put',
      'climate',
      'kitchen',
      '{"x":1}',
      '--wait',
      '2',
      '--timeout',
      '1s',
      '--dir',
      a.dir,
    )
    return /the mesh has 2, of which 1 keep "climate", nothing was written/.test(stderr)
  })
})

test('what is gained comes, what is lost goes, and what a gateway wrote itself reaches the others all the same', async (t) => {
  const folder = temporaryFolder()
  const a = await found(t, folder, 'a', { set: [NOTHING_FROM_DEVICES] })
  const b = await joined(t, folder, 'b', a, { set: [NOTHING_FROM_DEVICES] })
  const lines = Array.from({ length: 2_000 }, (_, i) => JSON.stringify({ key: `meter-${i}`, value: { power: i } }))
  writeFileSync(join(folder, 'readings.ndjson'), lines.join('\n'))
  await a.run('import', 'readings', join(folder, 'readings.ndjson'))
  await a.run('put', 'climate', 'kitchen', '{"temperature":21}')
  await until('b has all', async () => (await countOf(b, 'readings')) === 2_000 && (await countOf(b, 'climate')) === 1)

  await keep(b, folder, ['climate'])
  assert.deepEqual((await b.json<StatusView>('status')).interest, ['climate'])
  assert.match(await refused(b, 'count', 'readings'), /"not-kept"/)
  await until('it is gone from the disk', () => b.lines.some(({ event }) => event === 'left'))
  await a.run('put', 'readings', 'meter-0', '{"power":-1}')
  await a.run('put', 'climate', 'kitchen', '{"temperature":22}', '--wait', '1')

  await keep(b, folder, ['climate', 'readings'])
  const powerOf = async (gateway: GatewayProcess): Promise<unknown> =>
    (await gateway.json<DocumentView>('get', 'readings', 'meter-0')).value['power']
  await until(
    'b has the readings again',
    async () => (await countOf(b, 'readings')) === 2_000 && (await powerOf(b)) === -1,
  )
  assert.equal(await a.digest(), await b.digest())

  // Written while nobody could have it, in what is not kept any more when somebody can.
  await a.stop()
  await b.run('put', 'readings', 'written-alone', '{"x":1}')
  await keep(b, folder, ['climate'])
  await b.stop('SIGKILL')
  await b.start({ set: [] })
  await a.start()
  await until('a has what b wrote', () => has(a, 'readings', 'written-alone'))
  assert.equal((await marram('verify', '--dir', b.dir)).code, 75)
  await b.stop()
  assert.equal((await marram('verify', '--dir', b.dir)).code, 0)
})
