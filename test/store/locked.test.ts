import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { Keyring } from '../../runtime/access/keyring.ts'
import { newEpochKey } from '../../runtime/crypto/epoch-key.ts'
import { LOCKED, type Content } from '../../runtime/model/batch.ts'
import { fieldsOf } from '../../runtime/model/fields.ts'
import { SequenceSet } from '../../runtime/model/sequences.ts'
import type { AppendBatch, Store } from '../../runtime/ports/store.ts'
import { createMemoryStore } from '../../runtime/store/memory.ts'
import type { TableStore } from '../../runtime/store/table-store.ts'
import { verifyStore } from '../../runtime/store/verify.ts'
import { append, Author, MESH_ID } from '../contract/author.ts'
import { openTestStore } from './disk-fixture.ts'

const [FIRST, SECOND] = [newEpochKey(1), newEpochKey(2)]
const SPACE = { collection: 'climate', partition: '', isEncrypted: true } as const

/** An author of an encrypted feed. */
class Writer extends Author {
  readonly keyring = new Keyring([FIRST, SECOND].map((key) => ({ collection: 'climate', ...key })))

  constructor(name = 'a') {
    super(name, 'climate', '', 0, true)
  }

  write(key: string, value: number, { epoch } = FIRST, ops: Content = LOCKED): AppendBatch {
    this.key = { epoch, nonce: new Uint8Array(12).fill(value), key: this.keyring.of(this.feed, epoch) as Uint8Array }
    return { ...this.put(key, value), ops }
  }
}

function valueOf(store: Store, key: string): unknown {
  const document = store.get(SPACE, key)
  return document && fieldsOf(document)['value']
}

function lockedIn(store: Store, { feed }: Author): number[] {
  return [...(store.head(feed.key)?.locked ?? new SequenceSet()).values()]
}

async function isSound(store: TableStore): Promise<boolean> {
  const { bad, differences } = await verifyStore(store, { meshId: MESH_ID, verify: () => true })
  return bad.length === 0 && differences === 0
}

describe('batches whose key is not here', () => {
  test('are kept and served as they came, show nothing, and are shown when their key comes', async () => {
    const keyring = new Keyring()
    const store = createMemoryStore({ keys: keyring })
    const author = new Writer()
    const batches = [author.write('k', 1), author.write('l', 2, SECOND), author.write('k', 3)]
    const changed: string[] = []
    store.subscribe(({ key, isEncrypted }) => changed.push(`${key} ${isEncrypted}`))
    for (const batch of batches) await store.append(append(batch))
    assert.equal(store.head(author.feed.key)?.seq, 3)
    assert.deepEqual(
      store.batches(author.feed.key, 1, 1e6),
      batches.map(({ batch }) => batch.bytes),
    )
    assert.deepEqual(lockedIn(store, author), [1, 2, 3])
    assert.deepEqual([valueOf(store, 'k'), valueOf(store, 'l'), changed], [undefined, undefined, []])
    assert.ok(await isSound(store))

    keyring.add({ collection: 'climate', ...FIRST })
    assert.deepEqual(await store.unlock(), [])
    assert.deepEqual([valueOf(store, 'k'), valueOf(store, 'l')], [3, undefined])
    assert.deepEqual([lockedIn(store, author), changed], [[2], ['k true']])
    assert.equal(store.get({ collection: 'climate', partition: '' }, 'k'), undefined, 'it stands apart')
    const document = store.get(SPACE, 'k')
    assert.ok((document?.lsn ?? 0) > store.lastLsn() - 1, 'who asks what has changed since finds it')
    assert.ok(await isSound(store))

    // One that was on its way when its key came.
    keyring.add({ collection: 'climate', ...SECOND })
    await store.append(append(author.write('m', 4, SECOND)))
    assert.deepEqual([valueOf(store, 'm'), lockedIn(store, author)], [4, [2]])
    await store.unlock()
    assert.equal(valueOf(store, 'l'), 2)
    assert.ok(await isSound(store))
  })

  test('that do not open with it are named, and change nothing', async () => {
    const keyring = new Keyring()
    const store = createMemoryStore({ keys: keyring })
    const author = new Writer()
    author.key = { epoch: FIRST.epoch, nonce: new Uint8Array(12), key: new Uint8Array(32) }
    await store.append(append({ ...author.put('k', 1), ops: LOCKED }))
    await store.append(append(author.write('l', 2)))
    keyring.add({ collection: 'climate', ...FIRST })
    assert.deepEqual(await store.unlock(), [{ feed: author.feed, seq: 1 }])
    assert.deepEqual([valueOf(store, 'k'), valueOf(store, 'l'), lockedIn(store, author)], [undefined, 2, []])
    assert.ok(await isSound(store))
  })

  test('leave the log without a trace, and are no more waited for', async () => {
    const store = createMemoryStore()
    const author = new Writer()
    for (const batch of [author.write('k', 1), author.write('k', 2)]) await store.append(append(batch))
    const seqs = new SequenceSet([1, 1])
    await store.append({ batches: [], drops: [{ feed: author.feed, seqs }], records: [] })
    assert.deepEqual(lockedIn(store, author), [2])
    await store.append({
      batches: [],
      drops: [{ feed: author.feed, seqs: new SequenceSet([2, 2]), isDamaged: true }],
      records: [],
    })
    assert.deepEqual(lockedIn(store, author), [])
    assert.ok(await isSound(store))
  })

  test('what a cut takes back of readable ones is folded anew', async () => {
    const store = createMemoryStore({ keys: new Writer().keyring })
    const author = new Writer()
    const [first, ...rest] = [author.write('k', 1), author.write('k', 2), author.write('l', 3)] as const
    for (const batch of [first, ...rest]) await store.append(append(batch))
    assert.deepEqual([valueOf(store, 'k'), valueOf(store, 'l')], [2, 3])
    const { seq, hlc } = first.batch.header
    const head = { seq, hlc, hash: first.batch.hash }
    await store.append({
      batches: [],
      drops: [{ feed: author.feed, seqs: new SequenceSet([2, 3]), head }],
      records: [],
    })
    assert.deepEqual([valueOf(store, 'k'), valueOf(store, 'l')], [1, undefined])
    assert.ok(await isSound(store))
  })
})

describe('on a disk batches whose key is not here', () => {
  test('wait over restarts, swept or not, and a key that came is not lost', async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'marram-locked-'))
    t.after(() => rmSync(dir, { recursive: true }))
    const author = new Writer()
    let store = await openTestStore(dir)
    for (let i = 1; i <= 50; i++) await store.append(append(author.write(`k${i}`, i)))
    await store.sweep()
    for (let i = 51; i <= 100; i++) await store.append(append(author.write(`k${i}`, i)))
    await store.close()

    store = await openTestStore(dir)
    assert.equal(lockedIn(store, author).length, 100)
    assert.equal(valueOf(store, 'k1'), undefined)
    await store.close()

    // The key is in its file, and what waits was not unlocked before the gateway stopped.
    store = await openTestStore(dir, { keys: author.keyring })
    assert.deepEqual(lockedIn(store, author), [])
    for (const i of [1, 50, 51, 100]) assert.equal(valueOf(store, `k${i}`), i)
    assert.ok(await isSound(store))
    await store.close()

    store = await openTestStore(dir, { keys: author.keyring })
    assert.equal(store.summary(SPACE).count, 100)
    assert.ok(await isSound(store))
    await store.close()
  })

  test('of more than the table holds are unlocked in slices that are swept', async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'marram-locked-'))
    t.after(() => rmSync(dir, { recursive: true }))
    const author = new Writer()
    const keyring = new Keyring()
    const store = await openTestStore(dir, { keys: keyring, tableBytesMax: 262_144 })
    for (let i = 1; i <= 2_000; i++) await store.append(append(author.write(`k${i}`, i % 256)))
    for (const key of author.keyring.all()) keyring.add(key)
    await store.unlock()
    assert.equal(store.summary(SPACE).count, 2_000)
    assert.ok(store.status().tableBytes < 600_000, `${store.status().tableBytes} bytes of memory`)
    assert.ok(await isSound(store))
    await store.close()
  })
})
