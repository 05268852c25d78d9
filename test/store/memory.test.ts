import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { fieldsOf } from '../../runtime/model/fields.ts'
import { createMemoryStore } from '../../runtime/store/memory.ts'
import { append, Author } from '../contract/author.ts'
import { testStore } from '../contract/store.ts'

testStore('memory', {
  open: async () => createMemoryStore(),
  discard: (store) => store.close(),
})

describe('memory store', () => {
  /** A disk whose flushes end when the test says so. */
  function manualDisk(): {
    onFlush: (bytes: number, done: () => void) => void
    flush: () => void
    waiting: () => number
  } {
    const waiting: (() => void)[] = []
    return {
      onFlush: (_, done) => waiting.push(done),
      flush: () => waiting.shift()?.(),
      waiting: () => waiting.length,
    }
  }
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

  test('what arrives during a flush forms the next one', async () => {
    const disk = manualDisk()
    const store = createMemoryStore(disk)
    const author = new Author('a')
    const first = store.append(append(author.put('k', 1)))
    await turn()
    const later = [store.append(append(author.put('k', 2))), store.append(append(author.put('k', 3)))]
    await turn()
    assert.equal(disk.waiting(), 1)
    disk.flush()
    await first
    assert.equal(store.head(author.feed.key)?.seq, 1)
    disk.flush()
    await Promise.all(later)
    assert.equal(store.status().flushes, 2)
    await store.close()
  })

  test('a disk that flushes at once keeps the order', async () => {
    const store = createMemoryStore({ onFlush: (_, done) => done() })
    const author = new Author('a')
    await Promise.all(author.batchesOf(50).map((batch) => store.append(append(batch))))
    assert.equal(store.head(author.feed.key)?.seq, 50)
  })

  for (const isFlushKept of [false, true]) {
    test(`a crash loses what waits, and ${isFlushKept ? 'keeps' : 'loses'} the flush under way when told so`, async () => {
      const disk = manualDisk()
      const store = createMemoryStore(disk)
      const author = new Author('a')
      const batches = author.batchesOf(3)
      const appends = [store.append(append(batches[0]!))]
      await turn()
      disk.flush()
      await appends[0]
      appends.push(store.append(append(batches[1]!)))
      await turn()
      appends.push(store.append(append(batches[2]!)))
      const next = store.crash(isFlushKept)
      disk.flush()
      const settled = await Promise.allSettled(appends)
      assert.deepEqual(
        settled.map(({ status }) => status),
        ['fulfilled', 'rejected', 'rejected'],
      )
      await assert.rejects(store.append(append(batches[2]!)))
      assert.equal(next.head(author.feed.key)?.seq, isFlushKept ? 2 : 1)
      await next.append(append(...batches.slice(isFlushKept ? 2 : 1)))
      assert.equal(next.head(author.feed.key)?.seq, 3)
      assert.deepEqual(fieldsOf(next.get(author.space, 'k')!), { value: 2 })
    })
  }
})
