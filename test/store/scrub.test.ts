import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Keyring } from '../../runtime/access/keyring.ts'
import { hex } from '../../runtime/base/bytes.ts'
import { newEpochKey } from '../../runtime/crypto/epoch-key.ts'
import { FEED_KIND_STATE } from '../../runtime/model/batch.ts'
import { spaceOf } from '../../runtime/model/spaces.ts'
import { Database, batchKey, documentKey, Slice } from '../../runtime/store/database.ts'
import type { DiskStore } from '../../runtime/store/disk-store.ts'
import { Scrub, type ScrubFindings } from '../../runtime/store/scrub.ts'
import { examinePlace, verifyStore } from '../../runtime/store/verify.ts'
import { append, Author, MESH_ID } from '../contract/author.ts'
import { openTestStore } from './disk-fixture.ts'

const DOCUMENTS = 300
const STEP = 64
const EPOCH = newEpochKey(1)
const KEYS = new Keyring([{ collection: 'climate', ...EPOCH }])

/** Of an encrypted feed. */
function secretAuthor(): Author {
  const author = new Author('a', 'climate', '', FEED_KIND_STATE, true)
  author.key = { epoch: EPOCH.epoch, nonce: new Uint8Array(12), key: KEYS.of(author.feed, EPOCH.epoch) as Uint8Array }
  return author
}

/** A store that holds `DOCUMENTS` documents of one feed on the disk, and `change` done to them while nobody looked. */
async function changed(
  author: Author,
  change: (database: Database, slice: Slice) => void,
): Promise<{ store: DiskStore; dir: string }> {
  const dir = mkdtempSync(join(tmpdir(), 'marram-scrub-'))
  const store = await openTestStore(dir, { keys: KEYS })
  for (let i = 0; i < DOCUMENTS; i++) await store.append(append(author.put(`k${i}`, `value ${i}`)))
  await store.close()
  const database = new Database(dir, false)
  const slice = new Slice()
  change(database, slice)
  await database.commit(slice)
  await database.flushed()
  await database.close()
  return { store: await openTestStore(dir, { keys: KEYS }), dir }
}

/** The first space, and feed, that a store makes. */
const FIRST = 1

function flip(bytes: Uint8Array | undefined, at: number): Uint8Array {
  assert.ok(bytes, 'there is something to change')
  const copy = Uint8Array.from(bytes)
  copy[at < 0 ? copy.length + at : at] = (copy.at(at) as number) ^ 1
  return copy
}

/** What steps find while documents that were read, and others, are written over and new ones come. */
async function scrubbed(store: DiskStore, author: Author, steps: number): Promise<ScrubFindings> {
  const scrub = new Scrub(store, MESH_ID)
  const found: ScrubFindings[] = []
  for (let i = 0; i < steps; i++) {
    found.push(scrub.step(STEP, 4_096))
    for (const key of [`k${i}`, `k${DOCUMENTS - 1 - i}`, `new ${i}`]) await store.append(append(author.put(key, i)))
    if (i % 5 === 0) await store.sweep()
    // Until it is put right it would be found in every pass.
    if (found.at(-1)?.places.length) break
  }
  return { places: found.flatMap(({ places }) => places), damaged: found.flatMap(({ damaged }) => damaged) }
}

test('a sound store is found sound while it is written, pass after pass', async () => {
  const author = new Author('a')
  const { store, dir } = await changed(author, () => {})
  assert.deepEqual(await scrubbed(store, author, 60), { places: [], damaged: [] })
  await store.close()
  rmSync(dir, { recursive: true })
})

for (const [what, change] of [
  [
    'a document that the card has changed',
    (database, slice) =>
      slice.put(
        'documents',
        documentKey(FIRST, 'k150'),
        flip(database.get('documents', documentKey(FIRST, 'k150')), -3),
      ),
  ],
  ['a document that the card has lost', (_, slice) => slice.remove('documents', documentKey(FIRST, 'k150'))],
] as const satisfies readonly [string, (database: Database, slice: Slice) => void][]) {
  for (const [where, author] of [
    ['', new Author('a')],
    [', where it is encrypted', secretAuthor()],
  ] as const) {
    test(`${what} is found in one pass, and comes back as its batches say${where}`, async () => {
      const { store, dir } = await changed(author, change)
      const { places } = await scrubbed(store, author, Math.ceil(DOCUMENTS / STEP) + 2)
      assert.deepEqual(places, [{ collection: 'climate', partition: '' }])
      const { documents } = await examinePlace(store, MESH_ID, { collection: 'climate', partition: '' })
      assert.ok(documents >= 1)
      assert.equal(store.get(spaceOf(author.feed), 'k150')?.values[0], 'value 150')
      const { differences } = await verifyStore(store, { meshId: MESH_ID, verify: () => true })
      assert.equal(differences, 0)
      await store.close()
      rmSync(dir, { recursive: true })
    })
  }
}

test('a batch that the card has changed is found by the hash that was signed', async () => {
  const author = new Author('a')
  const { store, dir } = await changed(author, (database, slice) => {
    slice.put('batches', batchKey(FIRST, 200), flip(database.get('batches', batchKey(FIRST, 200)), -1))
  })
  const { damaged, places } = await scrubbed(store, author, 40)
  assert.deepEqual(places, [])
  const { key } = author.feed
  assert.deepEqual(damaged[0], { feedKey: key, collection: 'climate', partition: '', seq: 200 })
  const { bad } = await verifyStore(store, { meshId: MESH_ID, verify: () => true })
  assert.deepEqual(bad[0], {
    feed: hex(author.feed.id),
    author: author.feed.origin,
    collection: 'climate',
    sequence: 200,
    why: 'its body is not the one that was signed',
  })
  await store.close()
  rmSync(dir, { recursive: true })
})

test('a document that the card has changed is never shown as if it were sound: it can be merged into, and comes back whole', async () => {
  const author = new Author('a')
  const { store, dir } = await changed(author, (database, slice) => {
    for (const key of ['k150', 'k151']) {
      const place = documentKey(FIRST, key)
      slice.put('documents', place, flip(database.get('documents', place), -7))
    }
  })
  const found: string[] = []
  store.documents.onDamaged = ({ collection }) => found.push(collection)
  const { space } = author
  const isDamaged = { code: 'storage-damaged' }
  assert.throws(() => store.get(space, 'k150'), isDamaged)
  assert.throws(() => store.scan(space, { limit: DOCUMENTS }), isDamaged)
  await store.append(append(author.put('k151', 'later')))
  assert.throws(() => store.getToWrite(space, 'k151'), isDamaged)
  await store.sweep()
  assert.throws(() => store.get(space, 'k151'), isDamaged)
  assert.ok(found.length > 0)
  assert.equal((await examinePlace(store, MESH_ID, space)).documents, 3, 'two documents and the digest')
  assert.deepEqual([store.get(space, 'k150')?.values, store.get(space, 'k151')?.values], [['value 150'], ['later']])
  assert.equal((await verifyStore(store, { meshId: MESH_ID, verify: () => true })).differences, 0)
  assert.equal(store.scan(space, { limit: 2 * DOCUMENTS }).length, DOCUMENTS)
  await store.close()
  rmSync(dir, { recursive: true })
})
