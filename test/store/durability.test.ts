import assert from 'node:assert/strict'
import {
  closeSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { hex } from '../../runtime/base/bytes.ts'
import { createVerifier } from '../../runtime/crypto/signature.ts'
import { fieldsOf } from '../../runtime/model/fields.ts'
import { Database, documentKey, numberKey, Slice, batchKey } from '../../runtime/store/database.ts'
import type { DiskStore } from '../../runtime/store/disk-store.ts'
import { segmentPath } from '../../runtime/store/ring.ts'
import { verifyStore, type Verification } from '../../runtime/store/verify.ts'
import { append, Author, MESH_ID, record, type Write } from '../contract/author.ts'
import { openTestStore } from './disk-fixture.ts'

const verifier = createVerifier()

describe('store on a disk', () => {
  let dir: string
  let copies: string[]
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'marram-durable-'))
    copies = []
  })
  afterEach(() => {
    for (const path of [dir, ...copies]) rmSync(path, { recursive: true })
  })

  /** The files as a power cut at this moment would leave them. */
  function powerCut(): string {
    const copy = mkdtempSync(join(tmpdir(), 'marram-cut-'))
    copies.push(copy)
    cpSync(dir, copy, { recursive: true })
    rmSync(join(copy, 'lock.mdb'), { force: true })
    return copy
  }
  const verify = (store: DiskStore, isRepair = false): Promise<Verification> =>
    verifyStore(store, {
      meshId: MESH_ID,
      isRepair,
      verify: (feed, { signed, signature }) => verifier.verify(feed.descriptor.publicKey, signed, signature),
    })
  const someWrites = (from: number, count: number): Write[] =>
    Array.from({ length: count }, (_, i): Write => [`k${from + i}`, { value: from + i, text: 'x'.repeat(50) }])

  test('everything that was acknowledged is there after a power cut, swept or not', async () => {
    const author = new Author('a')
    const store = await openTestStore(dir)
    await store.append({
      batches: [author.batch(someWrites(0, 10))],
      records: [{ key: 'r/1', value: new Uint8Array([1]) }],
    })
    await store.sweep()
    await store.append({
      batches: [author.batch(someWrites(5, 10))],
      records: [{ key: 'r/2', value: new Uint8Array([2]) }],
    })
    const { count, digest } = store.summary(author.space)
    for (const readOnly of [true, false]) {
      const again = await openTestStore(powerCut(), { readOnly })
      assert.equal(again.head(author.feed.key)?.seq, 2)
      assert.deepEqual(
        [again.summary(author.space).count, hex(again.summary(author.space).digest)],
        [count, hex(digest)],
      )
      assert.deepEqual(
        again.scanRecords('r/').map(({ value }) => value),
        [new Uint8Array([1]), new Uint8Array([2])],
      )
      assert.deepEqual(await verify(again), { batches: 2, bad: [], cells: 30, differences: 0 })
      await again.close()
    }
    await store.close()
  })

  test('a power cut at any moment of a sweep leaves a whole store', async () => {
    const author = new Author('a')
    const store = await openTestStore(dir, { tableBytesMax: 8_388_608, ring: { segments: 3, segmentBytes: 1_048_576 } })
    for (let i = 0; i < 6; i++) await store.append(append(author.batch(someWrites(i * 700, 900))))
    let isDone = false
    const sweep = store.sweep().then(() => {
      isDone = true
    })
    const cuts: string[] = []
    for (let i = 0; !isDone && i < 12; i++) {
      cuts.push(powerCut())
      await new Promise((resolve) => setImmediate(resolve))
    }
    await sweep
    cuts.push(powerCut())
    const digest = hex(store.summary(author.space).digest)
    for (const cut of cuts) {
      const again = await openTestStore(cut)
      assert.equal(hex(again.summary(author.space).digest), digest)
      const found = await verifyStore(again, { meshId: MESH_ID, verify: () => true })
      assert.deepEqual([found.batches, found.bad, found.differences], [6, [], 0])
      await again.close()
    }
    await store.close()
  })

  test('appends go on during a sweep, and what they change is swept by the next', async () => {
    const author = new Author('a')
    const store = await openTestStore(dir, { ring: { segments: 3, segmentBytes: 1_048_576 } })
    await store.append(append(author.batch(someWrites(0, 1000))))
    const sweep = store.sweep()
    await store.append(
      append(
        author.batch([
          ['k1', { value: 'changed' }],
          ['new', { value: 1 }],
        ]),
      ),
    )
    await sweep
    assert.deepEqual(fieldsOf(store.get(author.space, 'k1')!)['value'], 'changed')
    assert.equal(store.summary(author.space).count, 1001)
    await store.close()
    const again = await openTestStore(dir)
    assert.deepEqual(fieldsOf(again.get(author.space, 'k1')!)['value'], 'changed')
    assert.deepEqual((await verify(again)).differences, 0)
    await again.close()
  })

  test('what comes during a sweep overwrites nothing of the log that LMDB does not hold yet', async () => {
    const author = new Author('a')
    const other = new Author('b')
    const store = await openTestStore(dir, { tableBytesMax: 16_777_216, ring: { segments: 3, segmentBytes: 65_536 } })
    for (let i = 0; i < 16; i++) await store.append(append(author.batch(someWrites(i * 1000, 1000))))
    let isDone = false
    const sweep = store.sweep().then(() => {
      isDone = true
    })
    const cuts: { readonly path: string; readonly acknowledged: number }[] = []
    // Far more than the ring holds, unless the sweep ends before.
    for (let seq = 1; !isDone && seq <= 60; seq++) {
      await store.append(append(other.batch([['noise', { value: hex(randomBytes(5000)) }]])))
      if (seq % 4 === 0) cuts.push({ path: powerCut(), acknowledged: seq })
    }
    await sweep
    await store.close()
    for (const { path, acknowledged } of cuts) {
      const again = await openTestStore(path)
      assert.equal(again.head(author.feed.key)?.seq, 16)
      assert.ok((again.head(other.feed.key)?.seq ?? 0) >= acknowledged)
      assert.equal(again.summary(author.space).count, 16_001)
      await again.close()
    }
  })

  test('takes many times its ring and table, bounded in memory, when all writers write at once', async () => {
    const tableBytesMax = 262_144
    const store = await openTestStore(dir, { tableBytesMax, ring: { segments: 3, segmentBytes: 65_536 } })
    const author = new Author('a')
    const batches = Array.from({ length: 150 }, (_, i) => author.batch(someWrites(i * 40, 40)))
    let peak = 0
    const stop = store.subscribe(() => {
      peak = Math.max(peak, store.status().tableBytes)
    })
    await Promise.all(batches.map((batch) => store.append(append(batch))))
    stop()
    assert.ok(peak > tableBytesMax / 2, 'the table was used')
    assert.ok(peak < tableBytesMax * 1.25, `the table had ${peak} bytes`)
    assert.equal(store.summary(author.space).count, 6000)
    assert.equal(store.scan(author.space, { limit: 10_000 }).length, 6000)
    await store.close()
  })

  test('reading alone changes no byte', async () => {
    const author = new Author('a')
    const store = await openTestStore(dir)
    await store.append(append(author.put('k', 1)))
    const cut = powerCut()
    await store.close()
    const before = readdirSync(cut).map((name) => [name, hex(readFileSync(join(cut, name)))])
    const reader = await openTestStore(cut, { readOnly: true })
    assert.deepEqual(fieldsOf(reader.get(author.space, 'k')!), { value: 1 })
    await assert.rejects(reader.append(record('r', null)), { code: 'not-supported' })
    await reader.close()
    const after = readdirSync(cut).filter((name) => name !== 'lock.mdb')
    assert.deepEqual(
      after.map((name) => [name, hex(readFileSync(join(cut, name)))]),
      before,
    )
  })

  test('keeps its instance for life, and a new store has another', async () => {
    const store = await openTestStore(dir)
    const { instance } = store
    await store.close()
    const again = await openTestStore(dir)
    assert.equal(hex(again.instance), hex(instance))
    assert.equal(instance.length, 8)
    await again.close()
    rmSync(dir, { recursive: true })
    const other = await openTestStore(dir)
    assert.notEqual(hex(other.instance), hex(instance))
    await other.close()
  })

  test('a ring that can no longer be written is fatal: the append is rejected, and so is every later one', async () => {
    const fatal: string[] = []
    const store = await openTestStore(dir, { onFatal: ({ code }) => fatal.push(code) })
    const author = new Author('a')
    await store.append(append(author.put('k', 1)))
    breakRing(dir)
    await assert.rejects(store.append(append(author.put('k', 2))), { code: 'storage-io' })
    await assert.rejects(store.append(record('r', null)), { code: 'storage-io' })
    assert.deepEqual(fatal, ['storage-io'])
    assert.deepEqual(fieldsOf(store.get(author.space, 'k')!), { value: 1 })
    assert.equal(store.head(author.feed.key)?.seq, 1)
    await store.close()
  })

  describe('refused at the start', () => {
    test('no store to be read', async () => {
      await assert.rejects(openTestStore(join(dir, 'none'), { readOnly: true }), { code: 'not-found' })
      assert.equal(existsSync(join(dir, 'none')), false)
    })

    test('a store of a newer format', async () => {
      await (await openTestStore(dir)).close()
      await write('meta', Buffer.from('format'), new Uint8Array([2]))
      await assert.rejects(openTestStore(dir), { code: 'not-supported' })
    })

    for (const key of ['mark', 'ring', 'instance']) {
      test(`a store whose ${key} is gone`, async () => {
        await (await openTestStore(dir)).close()
        await write('meta', Buffer.from(key), null)
        await assert.rejects(openTestStore(dir), { code: 'storage-damaged' })
      })
    }

    test('a ring with damage before its end, and the repair keeps what still follows', async () => {
      const [a, b] = [new Author('a'), new Author('b')]
      const store = await openTestStore(dir)
      for (const batch of [a.put('k', 1), b.put('l', 1), a.put('k', 2), a.put('k', 3)])
        await store.append(append(batch))
      const cut = powerCut()
      await store.close()
      const path = segmentPath(cut, 0)
      const bytes = readFileSync(path)
      // The third record: it begins on the third block.
      bytes[2 * 4096 + 100] = (bytes[2 * 4096 + 100] as number) ^ 1
      writeFileSync(path, bytes)
      await assert.rejects(openTestStore(cut), { code: 'storage-damaged', message: /verify --repair/ })
      const repaired = await openTestStore(cut, { isRepair: true })
      assert.equal(repaired.head(a.feed.key)?.seq, 1)
      assert.equal(repaired.head(b.feed.key)?.seq, 1)
      await repaired.append(append(b.put('l', 2)))
      await repaired.close()
      const again = await openTestStore(cut)
      assert.equal(again.head(b.feed.key)?.seq, 2)
      assert.deepEqual((await verify(again)).differences, 0)
      await again.close()
    })

    test('a ring of another size', async () => {
      await (await openTestStore(dir)).close()
      copyFileSync(join(dir, 'data.mdb'), segmentPath(dir, 1))
      await assert.rejects(openTestStore(dir), { code: 'storage-damaged', message: /it must have/ })
    })
  })

  describe('verification', () => {
    let author: Author
    beforeEach(async () => {
      author = new Author('a')
      const store = await openTestStore(dir)
      await store.append(append(author.batch(someWrites(0, 20)), author.batch([['k3', null]])))
      await store.close()
    })

    async function damaged(what: () => Promise<void>): Promise<DiskStore> {
      await what()
      return openTestStore(dir)
    }

    test('finds nothing in a sound store', async () => {
      const store = await openTestStore(dir)
      assert.deepEqual(await verify(store), { batches: 2, bad: [], cells: 38, differences: 0 })
      await store.close()
    })

    test('names a batch with a flipped bit, wherever the bit is', async () => {
      const stored = await read('batches', batchKey(1, 1))
      for (const at of [1, 40, 150, stored.length - 1]) {
        const flipped = Uint8Array.from(stored)
        flipped[at] = (flipped[at] as number) ^ 1
        const store = await damaged(() => write('batches', batchKey(1, 1), flipped))
        const { bad } = await verify(store)
        assert.deepEqual([bad[0]?.feed, bad[0]?.sequence], [hex(author.feed.id), 1], `byte ${at}`)
        await store.close()
      }
    })

    test('names a batch that is missing', async () => {
      const store = await damaged(() => write('batches', batchKey(1, 2), null))
      const { bad } = await verify(store)
      assert.deepEqual(
        bad.map(({ sequence, why }) => [sequence, why]),
        [[2, 'it is missing']],
      )
      await store.close()
    })

    const damages: { readonly name: string; readonly make: () => Promise<void> }[] = [
      { name: 'a document that is gone', make: () => write('documents', documentKey(1, 'k5'), null) },
      {
        name: 'a value that has changed',
        make: async () => {
          const bytes = await read('documents', documentKey(1, 'k5'))
          bytes[bytes.length - 1] = 0x79
          await write('documents', documentKey(1, 'k5'), bytes)
        },
      },
      {
        name: 'a document that does not decode',
        make: () => write('documents', documentKey(1, 'k5'), new Uint8Array([255])),
      },
      {
        name: 'a document that nobody wrote',
        make: async () => write('documents', documentKey(1, 'ghost'), await read('documents', documentKey(1, 'k5'))),
      },
      {
        name: 'a summary that is wrong',
        make: async () => {
          const bytes = await read('spaces', numberKey(1))
          bytes[bytes.length - 1] = (bytes[bytes.length - 1] as number) ^ 1
          await write('spaces', numberKey(1), bytes)
        },
      },
    ]
    for (const { name, make } of damages) {
      test(`finds ${name}, and the repair puts it right for good`, async () => {
        const sound = await openTestStore(dir)
        const digest = hex(sound.summary(author.space).digest)
        await sound.close()
        let store = await damaged(make)
        assert.ok((await verify(store)).differences > 0)
        await verify(store, true)
        assert.equal((await verify(store)).differences, 0)
        await store.close()
        store = await openTestStore(dir)
        assert.deepEqual(await verify(store), { batches: 2, bad: [], cells: 38, differences: 0 })
        assert.equal(hex(store.summary(author.space).digest), digest)
        assert.equal(store.get(author.space, 'ghost'), undefined)
        await store.close()
      })
    }
  })

  type Table = Parameters<Slice['put']>[0]

  async function write(table: Table, key: Buffer, value: Uint8Array | null): Promise<void> {
    const database = new Database(dir, false)
    const slice = new Slice()
    if (value === null) slice.remove(table, key)
    else slice.put(table, key, value)
    await database.commit(slice)
    await database.flushed()
    await database.close()
  }

  async function read(table: Table, key: Buffer): Promise<Uint8Array> {
    const database = new Database(dir, true)
    const value = Uint8Array.from(database.get(table, key) as Uint8Array)
    await database.close()
    return value
  }
})

/** Puts a disk that takes nothing in the place of the ring's files, under the same descriptors. */
function breakRing(dir: string): void {
  for (const name of readdirSync('/proc/self/fd')) {
    if (!linkOf(name).startsWith(join(dir, 'ring-'))) continue
    closeSync(Number(name))
    while (openSync('/dev/full', 'r+') !== Number(name));
  }
}

/** Empty for the descriptor of the listing itself, which is gone by now. */
function linkOf(name: string): string {
  const path = join('/proc/self/fd', name)
  return existsSync(path) ? readlinkSync(path) : ''
}
