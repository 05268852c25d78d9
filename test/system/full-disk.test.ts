import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { verifyStore } from '../../runtime/store/verify.ts'
import { freeBytesOf } from '../../runtime/store/disk-space.ts'
import { Author, MESH_ID } from '../contract/author.ts'
import { openTestStore } from '../store/disk-fixture.ts'

const WRITER = fileURLToPath(new URL('full-disk-writer.js', import.meta.url))

interface Report {
  readonly code: string
  readonly isFull: boolean
  readonly acknowledged: number
  readonly head: number
  readonly documents: number
  readonly batches: number
}

/** Needs root: every test has a disk of its own, a small tmpfs. */
describe('a store on a disk that fills', () => {
  let disk: string
  let dir: string
  beforeEach(() => {
    disk = mkdtempSync(join(tmpdir(), 'marram-full-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=12M', 'tmpfs', disk])
    dir = join(disk, 'data')
  })
  afterEach(() => {
    execFileSync('umount', [disk])
    rmdirSync(disk)
  })

  /** In a process of its own: going on after LMDB has found no space would abort it. */
  function fillDisk(reserve: number): Report {
    const out = execFileSync(process.execPath, [WRITER, dir, String(reserve)], { stdio: ['ignore', 'pipe', 'pipe'] })
    return JSON.parse(out.toString()) as Report
  }
  const grow = (): Buffer => execFileSync('mount', ['-o', 'remount,size=48M', disk])

  async function assertWhole(acknowledged: number): Promise<void> {
    const store = await openTestStore(dir)
    const author = new Author('a')
    const head = store.head(author.feed.key)
    assert.ok(
      head !== undefined && head.seq >= acknowledged,
      `${acknowledged} were acknowledged, ${head?.seq} are there`,
    )
    const found = await verifyStore(store, { meshId: MESH_ID, verify: () => true })
    assert.deepEqual([found.bad, found.differences], [[], 0])
    author.resume(head)
    await store.append({ batches: [author.put('after', 1)], records: [] })
    await store.close()
  }

  test('refuses writes, goes on reading, stops in order, and loses nothing that it acknowledged', async () => {
    const { code, isFull, acknowledged, head, documents, batches } = fillDisk(0)
    assert.deepEqual(
      { code, isFull, head, documents, batches },
      { code: 'storage-full', isFull: true, head: acknowledged, documents: 500, batches: 1 },
    )
    assert.equal(existsSync(join(dir, 'ballast')), false, 'the ballast is given up for the next start')
    grow()
    await assertWhole(acknowledged)
  })

  test('begins again on the room that the ballast leaves, until that is full too', async () => {
    const first = fillDisk(0)
    const second = fillDisk(0)
    assert.equal(second.code, 'storage-full')
    assert.ok(second.acknowledged >= first.acknowledged)
    grow()
    await assertWhole(second.acknowledged)
  })

  test('refuses writes before the reserve is touched', async () => {
    const reserve = 4 * 1_048_576
    const { code, acknowledged, head } = fillDisk(reserve)
    assert.deepEqual({ code, head }, { code: 'storage-full', head: acknowledged })
    // What a sweep had begun with may have taken a little of it.
    assert.ok(freeBytesOf(disk) > reserve / 2)
    await assertWhole(acknowledged)
  })

  test('does not start on a full disk, and says so', async () => {
    writeFileSync(join(disk, 'filler'), Buffer.alloc(11.5 * 1_048_576))
    await assert.rejects(openTestStore(dir, { reserveFreeBytes: 4_194_304 }), { code: 'storage-full' })
    await assert.rejects(openTestStore(dir, { ring: { segments: 3, segmentBytes: 1_048_576 } }), {
      code: 'storage-full',
    })
    rmSync(join(disk, 'filler'))
    const store = await openTestStore(dir)
    await store.append({ batches: [new Author('a').put('k', 1)], records: [] })
    await store.close()
  })
})
