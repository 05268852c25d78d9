import assert from 'node:assert/strict'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Database, documentKey, Slice } from '../../runtime/store/database.ts'
import { decodeSpace } from '../../runtime/store/layout.ts'
import { found, joined, marram, temporaryFolder, until } from './harness.ts'

const COUNT = '{"opened":{"$add":1}}'

/** Turns a bit in the middle of what LMDB holds of a document. */
async function turnBit(dir: string, collection: string, key: string): Promise<void> {
  const database = new Database(join(dir, 'data'), false)
  const slice = new Slice()
  for (let number = 1; number < 64; number++) {
    const bytes = database.get('spaces', Buffer.from([0, 0, 0, number]))
    const space = bytes && decodeSpace(bytes)
    if (space?.ok !== true || space.value.collection !== collection) continue
    const place = documentKey(number, key)
    const document = Uint8Array.from(database.get('documents', place) as Uint8Array)
    const middle = document.length >> 1
    document[middle] = (document[middle] as number) ^ 4
    slice.put('documents', place, document)
  }
  await database.commit(slice)
  await database.flushed()
  await database.close()
}

test('a gateway whose card has changed documents goes on, shows no wrong value, and soon shows the right one again', async (t) => {
  const folder = temporaryFolder()
  const gateway = await found(t, folder, 'a')
  await gateway.run('put', 'climate', 'hall', '{"temperature":21}')
  for (let i = 0; i < 3; i++) await gateway.run('put', 'climate', 'door', COUNT)
  await gateway.stop()
  for (const key of ['hall', 'door']) await turnBit(gateway.dir, 'climate', key)
  await gateway.start()

  // What goes on from a damaged document waits for it; nothing begins anew.
  await until('the counter counts again', async () => {
    const counted = await marram('put', 'climate', 'door', COUNT, '--dir', gateway.dir)
    if (counted.code !== 0) assert.match(counted.stderr, /damaged/)
    return counted.code === 0
  })
  await until('the values are back', async () => {
    const read = await marram('get', 'climate', 'hall', '--dir', gateway.dir, '--json')
    if (read.code !== 0) {
      assert.match(read.stderr, /damaged/)
      return false
    }
    assert.match(read.stdout, /21/)
    return true
  })
  assert.match((await marram('get', 'climate', 'door', '--dir', gateway.dir, '--json')).stdout, /4/)
  await gateway.stop()
  assert.equal((await marram('verify', '--dir', gateway.dir)).code, 0)
})

test('a store in which LMDB does not find its way is said to be lost, with what is left to do, and comes back from a neighbour', async (t) => {
  const folder = temporaryFolder()
  const gateway = await found(t, folder, 'a')
  const neighbour = await joined(t, folder, 'b', gateway)
  await gateway.run('put', 'climate', 'hall', '{"temperature":21}', '--wait', '1')
  await gateway.stop()
  const data = join(gateway.dir, 'data')
  const whole = readFileSync(join(data, 'data.mdb'))
  const isTurned = (at: number): boolean => at < 8_192 && at % 4_096 >= 64 && at % 4_096 < 104
  const damages: { readonly [what: string]: Buffer } = {
    'what the first two pages say of tables': Buffer.from(whole.map((byte, at) => (isTurned(at) ? byte ^ 0x5a : byte))),
    'the first page': Buffer.from(whole).fill(0, 0, 4_096),
    'the second page': Buffer.from(whole).fill(0xa5, 4_096, 8_192),
  }
  const isLost = async (what: string, ...args: readonly string[]): Promise<void> => {
    const { code, stderr } = await marram(...args, '--dir', gateway.dir)
    assert.equal(code, 74, `${what}: ${args.join(' ')}`)
    assert.match(stderr, /the store is damaged .*marram restore FILE --force.* or move the folder away/, what)
    assert.doesNotMatch(stderr, /verify --repair/)
  }
  for (const [what, bytes] of Object.entries(damages)) {
    writeFileSync(join(data, 'data.mdb'), bytes)
    await isLost(what, 'verify')
    await isLost(what, 'run')
  }
  await isLost('the second page', 'verify', '--repair')
  // By this LMDB may end whatever process it is in.
  writeFileSync(join(data, 'data.mdb'), Buffer.from(whole).fill(0, 8_192))
  await isLost('every page of its tables', 'verify')
  renameSync(data, `${data}-damaged`)
  await gateway.start({ bootstrap: [neighbour.address] })
  await until('it has it again', async () => (await marram('get', 'climate', 'hall', '--dir', gateway.dir)).code === 0)
})
