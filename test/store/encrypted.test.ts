import assert from 'node:assert/strict'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { utf8 } from '../../runtime/base/bytes.ts'
import { decodeBackup, decodeRows, encodeBackup } from '../../runtime/store/backup-format.ts'
import { Database, documentKey, Slice } from '../../runtime/store/database.ts'
import type { DiskStore } from '../../runtime/store/disk-store.ts'
import { restoreStore } from '../../runtime/store/open.ts'
import { ValueCipher } from '../../runtime/store/value-cipher.ts'
import { verifyStore } from '../../runtime/store/verify.ts'
import { append, Author, MESH_ID, record } from '../contract/author.ts'
import { openTestStore } from './disk-fixture.ts'

const KEY = new Uint8Array(32).fill(7)
const OTHER = new Uint8Array(32).fill(8)
const SECRET = 'what a device said'
const SPACE = { collection: 'climate', partition: '' }

describe('encrypted store', () => {
  let folder: string
  let dir: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'marram-encrypted-'))
    dir = join(folder, 'data')
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  const open = (encryptionKey: Uint8Array | null): Promise<DiskStore> => openTestStore(dir, { encryptionKey })
  const isOnDisk = (text: string): boolean =>
    readdirSync(dir).some((name) => readFileSync(join(dir, name)).includes(text))
  const textOf = (store: DiskStore, key: string): string => JSON.stringify(store.get(SPACE, key)?.values[0])

  async function fill(store: DiskStore, count: number): Promise<void> {
    const author = new Author('a')
    for (let i = 0; i < count; i++) await store.append(append(author.put(`k${i}`, `${SECRET} ${i} ${'x'.repeat(500)}`)))
    await store.append(record('held/1', utf8(SECRET)))
  }

  async function expectAll(store: DiskStore, count: number): Promise<void> {
    for (const i of [0, count >> 1, count - 1]) assert.ok(textOf(store, `k${i}`).startsWith(`"${SECRET} ${i} `))
    assert.deepEqual(store.getRecord('held/1'), utf8(SECRET))
    const found = await verifyStore(store, { meshId: MESH_ID, verify: () => true })
    assert.deepEqual({ ...found, cells: 0 }, { batches: count, bad: [], cells: 0, differences: 0 })
  }

  test('nothing that was said is on the disk, neither in the log nor swept, and all is there again', async () => {
    const store = await open(KEY)
    await fill(store, 30)
    assert.ok(!isOnDisk(SECRET), 'in the log')
    await store.sweep()
    assert.ok(!isOnDisk(SECRET), 'in LMDB')
    await store.close()
    const again = await open(KEY)
    await expectAll(again, 30)
    await again.close()
  })

  test('neither another key nor none opens it, nor changes anything of it', async () => {
    const store = await open(KEY)
    await fill(store, 3)
    await store.close()
    for (const [key, why] of [
      [OTHER, /not the one that it is encrypted with/],
      [null, /put "encryption": "values"/],
    ] as const)
      for (const readOnly of [false, true])
        await assert.rejects(
          openTestStore(dir, { encryptionKey: key, readOnly }),
          (error: Error & { code: string }) => {
            assert.equal(error.code, 'no-key')
            assert.match(error.message, why)
            return true
          },
        )
    const again = await open(KEY)
    await expectAll(again, 3)
    await again.close()
  })

  test('a store that held values in plain is encrypted when it gets a key, and goes on where a crash stopped it', async (t) => {
    const plain = await open(null)
    await fill(plain, 3_000)
    await plain.close()
    assert.ok(isOnDisk(SECRET))
    const offline = await openTestStore(dir, { encryptionKey: KEY, readOnly: true })
    await expectAll(offline, 3_000)
    await offline.close()
    type Commit = (this: Database, slice: Slice) => Promise<void>
    const { commit } = Database.prototype as { commit: Commit }
    for (const crashAt of [1, 3, 4, 7]) {
      let commits = 0
      const crashing = t.mock.method(Database.prototype, 'commit', function (this: Database, slice: Slice) {
        const isEncrypting = slice.writes.some(({ key }) => key.toString() === 'encrypting')
        if (isEncrypting && (commits += 1) === crashAt) throw new Error('the power is gone')
        return commit.call(this, slice)
      })
      await assert.rejects(open(KEY), /the power is gone/, `at commit ${crashAt}`)
      crashing.mock.restore()
    }
    await assert.rejects(open(OTHER), { code: 'no-key' })
    for (const readOnly of [false, true])
      await assert.rejects(openTestStore(dir, { encryptionKey: KEY, readOnly, mayEncrypt: false }), {
        code: 'not-running',
        message: /start the gateway/,
      })
    const store = await open(KEY)
    await expectAll(store, 3_000)
    await store.append(append(new Author('b').put('new', 1)))
    await store.close()
    const again = await open(KEY)
    assert.equal(textOf(again, 'new'), '1')
    await again.close()
  })

  test('a store in plain stays so with whoever is not to encrypt it, which a repair may write to', async () => {
    const plain = await open(null)
    await fill(plain, 3)
    await plain.close()
    await assert.rejects(openTestStore(dir, { encryptionKey: KEY, mayEncrypt: false }), {
      code: 'not-running',
      message: /start the gateway/,
    })
    const repaired = await openTestStore(dir, { encryptionKey: KEY, mayEncrypt: false, isRepair: true })
    await repaired.append(append(new Author('b').put('new', 1)))
    // As after a crash: what was appended is in the log alone.
    cpSync(dir, join(folder, 'copy'), { recursive: true })
    await repaired.close()
    dir = join(folder, 'copy')
    const again = await open(null)
    assert.equal(textOf(again, 'new'), '1')
    await again.close()
    const encrypted = await open(KEY)
    for (const i of [0, 1, 2]) assert.ok(textOf(encrypted, `k${i}`).startsWith(`"${SECRET} ${i} `))
    await encrypted.close()
    await assert.rejects(open(null), { code: 'no-key' })
  })

  test('a value that was put in the place of another is damaged there, not shown', async () => {
    const store = await open(KEY)
    await fill(store, 2)
    await store.close()
    const database = new Database(dir, false)
    const [first, second] = database.rows('documents', null, 2)
    const slice = new Slice()
    slice.put('documents', (first as { key: Buffer }).key, (second as { value: Uint8Array }).value)
    await database.commit(slice)
    await database.flushed()
    await database.close()
    const again = await open(KEY)
    const damaged: string[] = []
    again.documents.onDamaged = ({ collection }) => damaged.push(collection)
    assert.throws(() => again.get(SPACE, 'k0'), { code: 'storage-damaged' })
    assert.deepEqual(damaged, ['climate'])
    assert.ok(textOf(again, 'k1').startsWith(`"${SECRET} 1`))
    await again.close()
  })

  test('a backup of it is encrypted too, and is restored with the same key', async () => {
    const store = await open(KEY)
    await fill(store, 20)
    const pieces: Uint8Array[] = []
    for await (const piece of encodeBackup({ meshId: '00', hlc: 1, identity: {} }, (await store.snapshot()).rows()))
      pieces.push(piece)
    await store.close()
    dir = join(folder, 'restored')
    mkdirSync(dir)
    const { rows } = await decodeBackup(
      (async function* () {
        yield* pieces
      })(),
      'it',
    )
    await restoreStore(dir, decodeRows(rows, 'it'), 'it')
    assert.ok(!isOnDisk(SECRET))
    await assert.rejects(open(null), { code: 'no-key' })
    const restored = await open(KEY)
    await expectAll(restored, 20)
    await restored.close()
  })
})

test('a sealed value opens in its own place alone, under its own key, and no two are alike', () => {
  const cipher = new ValueCipher(KEY)
  const place = { table: 'documents', key: documentKey(1, 'k') }
  const sealed = cipher.seal(place, utf8(SECRET))
  assert.deepEqual(new ValueCipher(KEY).open(place, sealed), utf8(SECRET))
  assert.notDeepEqual(cipher.seal(place, utf8(SECRET)), sealed)
  assert.equal(cipher.open({ ...place, table: 'records' }, sealed), null)
  assert.equal(cipher.open({ ...place, key: documentKey(2, 'k') }, sealed), null)
  assert.equal(new ValueCipher(OTHER).open(place, sealed), null)
  for (let at = 0; at < sealed.length; at++) {
    const changed = Uint8Array.from(sealed)
    changed[at] = (changed[at] as number) ^ 1
    assert.equal(cipher.open(place, changed), null, `byte ${at}`)
    assert.equal(cipher.open(place, sealed.subarray(0, at)), null, `cut at ${at}`)
  }
})
