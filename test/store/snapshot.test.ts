import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { decodeBackup, decodeRows, encodeBackup } from '../../runtime/store/backup-format.ts'
import type { DiskStore } from '../../runtime/store/disk-store.ts'
import { restoreStore } from '../../runtime/store/open.ts'
import { verifyStore } from '../../runtime/store/verify.ts'
import { append, Author, MESH_ID } from '../contract/author.ts'
import { openTestStore } from './disk-fixture.ts'

const HEADER = { meshId: '00', hlc: 1, identity: {} }
let folder = ''
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'marram-snapshot-'))
})
after(() => rmSync(folder, { recursive: true }))

/** What is written as fast as the disk takes it, until told to stop. */
function keepWriting(store: DiskStore, author: Author): { written: number; stop(): Promise<void> } {
  let isStopped = false
  const writing = { written: 0, stop: async (): Promise<void> => {} }
  const run = (async () => {
    while (!isStopped) {
      await store.append(append(author.put(`k${writing.written % 500}`, writing.written)))
      writing.written += 1
      await turn()
    }
  })()
  writing.stop = async () => {
    isStopped = true
    await run
  }
  return writing
}

async function restored(name: string, backup: AsyncIterable<Uint8Array>): Promise<DiskStore> {
  const dir = join(folder, name)
  mkdirSync(dir)
  const { rows } = await decodeBackup(backup, name)
  await restoreStore(dir, decodeRows(rows, name), name)
  return openTestStore(dir)
}

test('a snapshot holds all that was acknowledged before it, as of one moment, whatever is written meanwhile', async () => {
  const store = await openTestStore(join(folder, 'busy'))
  const author = new Author('a')
  const writing = keepWriting(store, author)
  for (let round = 0; round < 3; round++) {
    while (writing.written < 800 * (round + 1)) await turn()
    const acknowledged = writing.written
    const snapshot = await store.snapshot()
    await assert.rejects(store.snapshot(), { code: 'overloaded' })
    const pieces: Uint8Array[] = []
    for await (const piece of encodeBackup(HEADER, snapshot.rows())) {
      pieces.push(piece)
      const from = writing.written
      while (writing.written < from + 3) await turn()
    }
    assert.ok(writing.written > acknowledged + 20, 'writes went on, or this shows little')
    const copy = await restored(`copy-${round}`, piecesOf(pieces))
    const head = copy.head(author.feed.key)
    assert.ok((head?.seq ?? 0) >= acknowledged, `${head?.seq} of ${acknowledged} acknowledged batches`)
    assert.ok((head?.seq ?? 0) < writing.written, 'of one moment')
    const found = await verifyStore(copy, { meshId: MESH_ID, verify: () => true })
    assert.deepEqual({ ...found, cells: 0 }, { batches: head?.seq, bad: [], cells: 0, differences: 0 })
    assert.notDeepEqual(copy.instance, store.instance, 'cursors of the old store are not its own')
    await copy.close()
  }
  await writing.stop()
  await store.close()
})

test('a store that is closed ends the backup that is read from it', async () => {
  const store = await openTestStore(join(folder, 'closing'))
  const author = new Author('a')
  for (let i = 0; i < 700; i++) await store.append(append(author.put(`k${i}`, 'x'.repeat(500))))
  const rows = (await store.snapshot()).rows()
  await rows.next()
  await store.close()
  await assert.rejects(async () => {
    for await (const _ of rows);
  }, /the store is closed/)
})

test('a backup of which anything is cut, changed or added is none, wherever pieces end', async () => {
  const store = await openTestStore(join(folder, 'small'))
  await store.append(append(new Author('a').put('k', 1)))
  const pieces: Uint8Array[] = []
  for await (const piece of encodeBackup(HEADER, (await store.snapshot()).rows())) pieces.push(piece)
  await store.close()
  const whole = Buffer.concat(pieces)
  const read = async (bytes: Uint8Array, pieceBytes: number): Promise<number> => {
    const { rows } = await decodeBackup(cut(bytes, pieceBytes), 'it')
    let count = 0
    for await (const { key } of decodeRows(rows, 'it')) count += key.length > 0 ? 1 : 0
    return count
  }
  const count = await read(whole, whole.length)
  assert.ok(count > 5)
  for (const pieceBytes of [1, 7, 33, 1_000]) assert.equal(await read(whole, pieceBytes), count)
  for (let at = 0; at < whole.length; at += 13) {
    const changed = Buffer.from(whole)
    changed[at] = (changed[at] as number) ^ 1
    await assert.rejects(read(changed, 50), { code: 'storage-damaged' }, `byte ${at}`)
    await assert.rejects(read(whole.subarray(0, at), 50), { code: 'storage-damaged' }, `cut at ${at}`)
  }
  await assert.rejects(read(Buffer.concat([whole, Buffer.alloc(1)]), 50), { code: 'storage-damaged' })
})

async function* piecesOf(pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* pieces
}

async function* cut(bytes: Uint8Array, pieceBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes)
}
