import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import fc from 'fast-check'
import { hex } from '../../runtime/base/bytes.ts'
import { MarramError } from '../../runtime/base/errors.ts'
import { FEED_KIND_SERIES } from '../../runtime/model/batch.ts'
import { isLive } from '../../runtime/model/document.ts'
import { fieldsOf } from '../../runtime/model/fields.ts'
import { keyOfRow, rowPrefix } from '../../runtime/model/rows.ts'
import type { Value } from '../../runtime/model/value.ts'
import type { Change, Store } from '../../runtime/ports/store.ts'
import type { TableStore } from '../../runtime/store/table-store.ts'
import { verifyStore } from '../../runtime/store/verify.ts'
import { append, Author, bytesOfBatches, MESH_ID, record, type Write } from './author.ts'
import { RetentionModel } from './retention.ts'
import { SequenceSet } from '../../runtime/model/sequences.ts'
import { TypesModel } from './types.ts'

/** How an adapter gives the suite a store: a new one each time, and again with what it holds after a clean stop. */
export interface StoreAdapter {
  open(): Promise<Store>
  /** Closes the store and opens what it left; without it the adapter forgets when it is closed. */
  reopen?(store: Store): Promise<Store>
  /** Moves what is in memory to where it lasts, while the store runs; reads must not change by it. */
  settle?(store: Store): Promise<void>
  discard(store: Store): Promise<void>
}

const TINY = new Uint8Array([1, 2, 3])

/** What every Store must do (runtime/ports/store.ts). */
export function testStore(name: string, adapter: StoreAdapter): void {
  describe(`store contract: ${name}`, () => {
    let store: Store
    beforeEach(async () => {
      store = await adapter.open()
    })
    afterEach(() => adapter.discard(store))

    /** Runs the check on the store as it is, after its contents have moved, and after a restart. */
    async function everywhere(check: () => void): Promise<void> {
      check()
      if (adapter.settle) {
        await adapter.settle(store)
        check()
      }
      if (adapter.reopen) {
        store = await adapter.reopen(store)
        check()
      }
    }

    test('documents of every type, and who links to them, are what a naive model says', async () => {
      for (const seed of [1, 2, 3]) {
        const model = new TypesModel(seed)
        for (let i = 0; i < 60; i++) {
          await model.step(store)
          if (i % 20 === 10) await adapter.settle?.(store)
          model.check(store)
        }
        await everywhere(() => model.check(store))
        const { differences, cells } = await verifyStore(store as TableStore, { meshId: MESH_ID, verify: () => true })
        assert.equal(differences, 0, 'a rebuild from the log gives the same')
        assert.ok(cells > 0)
        store = (await adapter.discard(store), await adapter.open())
      }
    })

    test('rows of a series stand apart, in the order of their times, until their batches are dropped', async () => {
      const author = new Author('a', 'climate', '', FEED_KIND_SERIES)
      const documents = new Author('b')
      const space = { collection: 'climate', partition: '', isSeries: true }
      const names = (): string[] => store.scan(space, { limit: 100 }).map(({ key }) => keyOfRow(key))
      await store.append(
        append(
          author.batch([
            ['k', { n: 1 }],
            ['k', { n: 2 }],
            ['j', { n: 3 }],
          ]),
          documents.put('k', 9),
        ),
      )
      await adapter.settle?.(store)
      await store.append(append(author.batch([['k', { n: 4 }]]), author.batch([['k', null]])))
      await everywhere(() => {
        assert.deepEqual(names(), ['j', 'k', 'k', 'k'])
        assert.equal(store.summary(space).count, 4)
        assert.equal(store.summary({ collection: 'climate', partition: '' }).count, 1)
        assert.deepEqual(store.last(space, rowPrefix('k'))?.document.values, [4])
        assert.equal(store.last(space, rowPrefix('nobody')), undefined)
        assert.equal(store.spaces().length, 2)
        assert.notEqual(hex(store.summary(space).digest), '0'.repeat(64))
      })
      const digest = hex(store.summary(space).digest)
      await store.append({ batches: [], drops: [{ feed: author.feed, seqs: SequenceSet.of([1]) }], records: [] })
      await everywhere(() => {
        assert.deepEqual(names(), ['k'])
        assert.equal(store.summary(space).count, 1)
        assert.equal(hex(store.summary(space).digest), digest, 'each gateway keeps as many rows as it likes')
      })
    })

    describe('log', () => {
      test('a new store has nothing', () => {
        assert.deepEqual([...store.heads()], [])
        assert.equal(store.lastLsn(), 0)
        assert.deepEqual(store.spaces(), [])
        assert.deepEqual(store.scanRecords(''), [])
      })

      test('serves batches byte for byte, from any place on, wherever they lie', async () => {
        const author = new Author('a')
        const first = [author.put('k', 1), author.put('k', 2)]
        const then = [author.put('k', 3), author.put('l', 4)]
        await store.append(append(...first))
        await adapter.settle?.(store)
        await store.append(append(...then))
        const all = bytesOfBatches([...first, ...then])
        await everywhere(() => {
          for (let from = 1; from <= 5; from++) {
            assert.deepEqual(store.batches(author.feed.key, from, 1e9).map(hex), all.slice(from - 1).map(hex))
          }
        })
      })

      test('reads batches until the bytes asked for are passed, but at least one', async () => {
        const author = new Author('a')
        const batches = [author.put('k', 1), author.put('k', 2), author.put('k', 3)]
        await store.append(append(...batches))
        const length = batches[0]?.batch.bytes.length as number
        await everywhere(() => {
          assert.equal(store.batches(author.feed.key, 1, 0).length, 1)
          assert.equal(store.batches(author.feed.key, 1, 1).length, 1)
          assert.equal(store.batches(author.feed.key, 1, length).length, 2)
          assert.equal(store.batches(author.feed.key, 2, 1e9).length, 2)
          assert.equal(store.batches(author.feed.key, 4, 1e9).length, 0)
          assert.equal(store.batches('no such feed', 1, 1e9).length, 0)
        })
      })

      test('heads say how far each feed goes, and number batches in the order in which they came', async () => {
        const a = new Author('a')
        const b = new Author('b', 'climate', 'north')
        const batches = [a.put('k', 1), b.put('k', 2), a.put('k', 3)]
        for (const batch of batches) await store.append(append(batch))
        await everywhere(() => {
          const [first, second, third] = batches.map(({ batch }) => batch)
          const heads = [...store.heads()].map(({ feed, ...head }) => ({ key: feed.key, ...head }))
          assert.deepEqual(
            heads.map(({ key, seq, hash, hlc, lsn, bytes }) => [key, seq, hex(hash), hlc, lsn, bytes]),
            [
              [a.feed.key, 2, hex(third!.hash), third!.header.hlc, 3, first!.bytes.length + third!.bytes.length],
              [b.feed.key, 1, hex(second!.hash), second!.header.hlc, 2, second!.bytes.length],
            ],
          )
          assert.equal(store.head(b.feed.key)?.feed.origin, b.feed.origin)
          assert.deepEqual(store.head(a.feed.key)?.feed.descriptor, a.feed.descriptor)
          assert.equal(store.head('no such feed'), undefined)
          assert.equal(store.lastLsn(), 3)
        })
      })

      test('appends that wait together take effect in the order of their calls', async () => {
        const author = new Author('a')
        const seen: number[] = []
        store.subscribe(({ document }) => seen.push(fieldsOf(document)['value'] as number))
        const done: number[] = []
        const waiting = Array.from({ length: 20 }, (_, i) => {
          return store.append(append(author.put(`k${i}`, i))).then(() => done.push(i))
        })
        await Promise.all(waiting)
        assert.deepEqual(
          seen,
          Array.from({ length: 20 }, (_, i) => i),
        )
        assert.deepEqual(done, seen)
      })

      test('nothing is seen of an append before it resolves', async () => {
        const author = new Author('a')
        const waiting = store.append({ batches: [author.put('k', 1)], records: [{ key: 'r/1', value: TINY }] })
        assert.equal(store.head(author.feed.key), undefined)
        assert.equal(store.get(author.space, 'k'), undefined)
        assert.equal(store.getRecord('r/1'), undefined)
        assert.deepEqual(store.spaces(), [])
        await waiting
        assert.equal(store.head(author.feed.key)?.seq, 1)
        assert.deepEqual(fieldsOf(store.get(author.space, 'k')!), { value: 1 })
        assert.deepEqual(store.getRecord('r/1'), TINY)
      })

      test('a batch without operations is stored and forwarded, and shows nothing, after a restart as well', async () => {
        const author = new Author('a')
        const hidden = { ...author.put('k', 1), ops: null }
        await store.append(append(hidden))
        await everywhere(() => {
          assert.equal(store.batches(author.feed.key, 1, 1e9).length, 1)
          assert.equal(store.get(author.space, 'k'), undefined)
          assert.deepEqual(store.spaces(), [])
        })
      })

      test('an append of nothing resolves', async () => {
        await store.append({ batches: [], records: [] })
      })
    })

    describe('log, refused', () => {
      const refusals: { name: string; make: () => ReturnType<Author['put']>[] }[] = [
        { name: 'a batch that leaves a gap', make: () => new Author('g').batchesOf(3).slice(2) },
        { name: 'a feed that does not begin at its first batch', make: () => new Author('g').batchesOf(2).slice(1) },
        { name: 'the same batch twice', make: () => new Author('g').batchesOf(1).flatMap((b) => [b, b]) },
        { name: 'batches in the wrong order', make: () => new Author('g').batchesOf(2).toReversed() },
        {
          name: 'a batch of another branch of the feed',
          make: () => [new Author('g').put('k', 1), new Author('g').batchesOf(2)[1] as ReturnType<Author['put']>],
        },
      ]
      for (const { name: what, make } of refusals) {
        test(`${what}: none of the append is taken, and the next one is`, async () => {
          const other = new Author('other')
          await assert.rejects(store.append(append(other.put('k', 1), ...make())))
          await store.append(append(...new Author('other').batchesOf(1), ...new Author('g').batchesOf(1)))
          assert.equal(store.head(other.feed.key)?.seq, 1)
          assert.equal(store.head(new Author('g').feed.key)?.seq, 1)
          assert.equal(store.lastLsn(), 2)
        })
      }

      for (const key of ['', 'k'.repeat(1001), 'ü'.repeat(501)]) {
        test(`a record with a key of ${Buffer.byteLength(key)} bytes`, async () => {
          await assert.rejects(store.append(record(key, TINY)))
          assert.deepEqual(store.scanRecords(''), [])
        })
      }

      test('an append that is greater than any may be', async () => {
        const isTooLarge = (error: unknown): boolean => error instanceof MarramError && error.code === 'too-large'
        await assert.rejects(store.append(record('k', new Uint8Array(2_000_000))), isTooLarge)
      })

      test('anything after it was closed', async () => {
        await store.close()
        const isClosed = (error: unknown): boolean => error instanceof MarramError && error.code === 'closed'
        await assert.rejects(store.append(record('k', TINY)), isClosed)
        await store.close()
      })
    })

    describe('documents', () => {
      test('writes merge by their stamps, whatever the order in which they came', async () => {
        const a = new Author('a')
        const b = new Author('b')
        await store.append(append(a.batch([['k', { x: 'new', y: 'a' }]], 2_000_000)))
        await store.append(append(b.batch([['k', { x: 'old', z: 'b' }]], 1_500_000)))
        await everywhere(() => {
          assert.deepEqual(fieldsOf(store.get(a.space, 'k')!), { x: 'new', y: 'a', z: 'b' })
        })
      })

      test('a change reaches what lies beneath and keeps the rest of the document', async () => {
        const author = new Author('a')
        await store.append(append(author.batch([['k', { x: 1, y: 2 }]])))
        if (adapter.reopen) store = await adapter.reopen(store)
        await store.append(append(author.batch([['k', { y: 3, z: 4 }]])))
        await everywhere(() => assert.deepEqual(fieldsOf(store.get(author.space, 'k')!), { x: 1, y: 3, z: 4 }))
      })

      test('a deleted document is there without cells, and what is older stays dead', async () => {
        const author = new Author('a')
        const late = new Author('late')
        await store.append(append(author.put('k', 1), author.batch([['k', null]])))
        await store.append(append(late.batch([['k', { value: 'zombie' }]], 999_999)))
        await everywhere(() => {
          const document = store.get(author.space, 'k')
          assert.ok(document)
          assert.equal(isLive(document), false)
          assert.deepEqual(document.values, [])
          assert.equal(document.deleted?.seq, 2)
          assert.equal(store.summary(author.space).count, 0)
        })
      })

      test('a document remembers feed, sequence and stamp of every cell, and the number of its last batch', async () => {
        const author = new Author('a')
        await store.append(
          append(
            author.batch([
              ['k', { x: 1 }],
              ['k', { y: 2 }],
            ]),
          ),
        )
        await store.append(append(author.batch([['k', { x: 3 }]])))
        await everywhere(() => {
          const document = store.get(author.space, 'k')!
          assert.equal(document.lsn, 2)
          const writes = document.paths.map((path, i) => [path, document.writes[i]!.seq, document.writes[i]!.index])
          assert.deepEqual(
            writes.sort(([a], [b]) => (String(a) < String(b) ? -1 : 1)),
            [
              ['x', 2, 0],
              ['y', 1, 1],
            ],
          )
          assert.equal(document.writes[0]!.origin, author.feed.origin)
          assert.equal(document.writes[0]!.feed, store.head(author.feed.key)?.feed)
        })
      })

      const values: Value[] = [
        true,
        false,
        0,
        -0,
        -1,
        21.5,
        1e300,
        2 ** 53 - 1,
        -(2 ** 53 - 1),
        2 ** 53,
        5e-324,
        '',
        'ü',
        '🌊'.repeat(40),
        'x'.repeat(300),
        [],
        [1, [2, [null]]],
        {},
        { b: 1, a: { '1': [] } },
        new Uint8Array([0, 255]),
        [{ k: new Uint8Array(3) }],
      ]
      test('values come back as they were', async () => {
        const author = new Author('a')
        await store.append(append(author.batch(values.map((value, i): Write => [`k${i}`, { value }]))))
        await everywhere(() => {
          values.forEach((value, i) => {
            const found = fieldsOf(store.get(author.space, `k${i}`)!)['value']
            assert.deepEqual(plain(found as Value), plain(value === 0 ? 0 : value))
          })
        })
      })

      test('collections and partitions do not see each other', async () => {
        const authors = [new Author('a'), new Author('a', 'climate', 'north'), new Author('a', 'plugs')]
        for (const [i, author] of authors.entries()) await store.append(append(author.put('k', i)))
        await everywhere(() => {
          authors.forEach((author, i) => assert.deepEqual(fieldsOf(store.get(author.space, 'k')!), { value: i }))
          const names = store.spaces().map(({ collection, partition }) => `${collection}/${partition}`)
          assert.deepEqual(names, ['climate/', 'climate/north', 'plugs/'])
          assert.equal(store.get({ collection: 'none', partition: '' }, 'k'), undefined)
          assert.deepEqual(store.scan({ collection: 'none', partition: '' }, { limit: 9 }), [])
          assert.equal(store.summary({ collection: 'none', partition: '' }).count, 0)
        })
      })

      test('subscribers hear once of every document that a flush changed, before the append resolves', async () => {
        const author = new Author('a')
        const heard: string[] = []
        let isResolved = false
        const stop = store.subscribe((change: Change) => {
          assert.equal(isResolved, false)
          heard.push(
            `${change.collection}/${change.partition}/${change.key}=${JSON.stringify(fieldsOf(change.document))}`,
          )
        })
        await store.append(
          append(
            author.batch([
              ['k', { x: 1 }],
              ['l', { x: 1 }],
              ['k', { x: 2 }],
            ]),
          ),
        )
        isResolved = true
        assert.deepEqual(heard, ['climate//k={"x":2}', 'climate//l={"x":1}'])
        stop()
        await store.append(append(author.put('k', 3)))
        assert.equal(heard.length, 2)
      })

      test('what changes nothing is not told', async () => {
        const author = new Author('a')
        const late = new Author('late')
        await store.append(append(author.put('k', 1)))
        const heard: string[] = []
        store.subscribe(({ key }) => heard.push(key))
        await store.append(append(late.batch([['k', { value: 'older' }]], 5)))
        assert.deepEqual(heard, [])
      })

      test('a subscriber that throws harms neither the others nor the append', async () => {
        const author = new Author('a')
        const heard: string[] = []
        store.subscribe(() => {
          throw new Error('a mistake')
        })
        store.subscribe(({ key }) => heard.push(key))
        await store.append(append(author.put('k', 1)))
        assert.deepEqual(heard, ['k'])
      })
    })

    describe('scan', () => {
      const keys = ['a', 'a/1', 'a/10', 'a/2', 'aa', 'b', 'é', 'z', '\uffee', '🌊', 'k'.repeat(512)]

      test('goes in the order of UTF-8 bytes, over what lies in memory and beneath', async () => {
        const author = new Author('a')
        const written = keys.toSorted()
        await store.append(
          append(author.batch(written.filter((_, i) => i % 2 === 0).map((key): Write => [key, { key }]))),
        )
        await adapter.settle?.(store)
        await store.append(
          append(author.batch(written.filter((_, i) => i % 2 === 1).map((key): Write => [key, { key }]))),
        )
        const order = keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
        await everywhere(() => {
          const found = store.scan(author.space, { limit: 100 })
          assert.deepEqual(
            found.map(({ key }) => key),
            order,
          )
          for (const { key, document } of found) assert.deepEqual(fieldsOf(document), { key })
        })
      })

      test('pages of any size give each document once; prefix and start cut exactly (property)', async () => {
        const author = new Author('a')
        await store.append(append(author.batch(keys.map((key): Write => [key, { key }]))))
        await adapter.settle?.(store)
        await store.append(
          append(
            author.batch([
              ['a/3', { key: 'a/3' }],
              ['a/1', { key: 'changed' }],
              ['b', null],
            ]),
          ),
        )
        const bytes = (key: string): Buffer => Buffer.from(key)
        const all = [...keys, 'a/3'].sort((x, y) => Buffer.compare(bytes(x), bytes(y)))
        const someKey = fc.constantFrom(...all, '', 'a/', 'nothing', '\u{1f30a}x')
        const property = fc.property(
          someKey,
          someKey,
          fc.boolean(),
          fc.integer({ min: 1, max: 5 }),
          (prefix, start, isAfter, limit) => {
            const expected = all.filter((key) => {
              const order = Buffer.compare(bytes(key), bytes(start))
              return key.startsWith(prefix) && (order > 0 || (order === 0 && !isAfter))
            })
            const found: string[] = []
            let range = { prefix, start, isAfter, limit }
            for (;;) {
              const page = store.scan(author.space, range).map(({ key }) => key)
              found.push(...page)
              if (page.length < limit) break
              range = { prefix, start: page.at(-1) as string, isAfter: true, limit }
            }
            assert.deepEqual(found, expected)
          },
        )
        await everywhere(() => fc.assert(property, { numRuns: 150, seed: 7 }))
      })

      test('a limit below one gives nothing', async () => {
        const author = new Author('a')
        await store.append(append(author.put('k', 1)))
        assert.deepEqual(store.scan(author.space, { limit: 0 }), [])
      })
    })

    describe('summary', () => {
      test('counts live documents', async () => {
        const author = new Author('a')
        await store.append(
          append(
            author.batch([
              ['k', { x: 1 }],
              ['l', { x: 1 }],
              ['m', { x: 1 }],
            ]),
          ),
        )
        await everywhere(() => assert.equal(store.summary(author.space).count, 3))
        await store.append(
          append(
            author.batch([
              ['k', null],
              ['l', { x: null }],
              ['m', { x: 2 }],
            ]),
          ),
        )
        await everywhere(() => assert.equal(store.summary(author.space).count, 1))
      })

      test('the digest is zero when nothing is there, and again when all of it is deleted', async () => {
        const author = new Author('a')
        const zero = '00'.repeat(32)
        assert.equal(hex(store.summary(author.space).digest), zero)
        await store.append(append(author.put('k', 1)))
        await everywhere(() => assert.notEqual(hex(store.summary(author.space).digest), zero))
        await store.append(append(author.batch([['k', null]])))
        await everywhere(() => assert.equal(hex(store.summary(author.space).digest), zero))
      })

      test('the digest tells key, path, value, stamp and author apart', async () => {
        const digests = new Set<string>()
        const variants: readonly (readonly [string, Write, number])[] = [
          ['a', ['k', { x: 1 }], 10],
          ['b', ['k', { x: 1 }], 10],
          ['a', ['l', { x: 1 }], 10],
          ['a', ['k', { y: 1 }], 10],
          ['a', ['k', { x: 2 }], 10],
          ['a', ['k', { x: '1' }], 10],
          ['a', ['k', { x: 1 }], 11],
        ]
        for (const [i, [name, write, hlc]] of variants.entries()) {
          const author = new Author(name, 'climate', `p${i}`)
          await store.append(append(author.batch([write], hlc)))
          digests.add(hex(store.summary(author.space).digest))
        }
        assert.equal(digests.size, variants.length)
      })

      test('the digest is the same in whatever order batches came and were swept (property)', async () => {
        let partition = 0
        const write = fc.tuple(
          fc.constantFrom('k', 'l', 'm'),
          fc.option(
            fc.dictionary(fc.constantFrom('x', 'y', 'z'), fc.constantFrom<Value>(1, 'two', null, { b: 1, a: [2] })),
          ),
        )
        const histories = fc.array(fc.array(fc.array(write, { maxLength: 4 }), { maxLength: 4 }), {
          minLength: 2,
          maxLength: 3,
        })
        await fc.assert(
          fc.asyncProperty(histories, fc.infiniteStream(fc.nat()), async (history, choices) => {
            const digests = new Set<string>()
            for (let order = 0; order < 3; order++) {
              // Partitions keep the runs apart; neither they nor feeds and numbers may show in the digest.
              partition += 1
              const feeds = history.map((batches, i) => {
                const author = new Author(`author ${i}`, 'climate', `p${partition}`)
                return { author, left: batches.map((writes, at) => author.batch(writes as Write[], 100 + at * 3 + i)) }
              })
              for (let left = feeds; left.length > 0; left = left.filter((feed) => feed.left.length > 0)) {
                const next = left[choices.next().value % left.length]?.left.shift()
                if (next !== undefined) await store.append(append(next))
                if (adapter.settle && choices.next().value % 4 === 0) await adapter.settle(store)
              }
              const space = feeds[0]!.author.space
              digests.add(`${store.summary(space).count} ${hex(store.summary(space).digest)}`)
            }
            assert.equal(digests.size, 1)
          }),
          { numRuns: 12, seed: 11 },
        )
      })
    })

    describe('records', () => {
      test('hold what was set last, until removed', async () => {
        await store.append(record('peer/a', TINY))
        await store.append(record('peer/b', TINY))
        await everywhere(() => assert.deepEqual(store.getRecord('peer/a'), TINY))
        await store.append({
          batches: [],
          records: [
            { key: 'peer/a', value: new Uint8Array() },
            { key: 'peer/b', value: null },
          ],
        })
        await everywhere(() => {
          assert.deepEqual(new Uint8Array(store.getRecord('peer/a')!), new Uint8Array())
          assert.equal(store.getRecord('peer/b'), undefined)
          assert.equal(store.getRecord('peer/c'), undefined)
        })
      })

      test('are the store’s own: what the caller does with its bytes later does not reach them', async () => {
        const value = new Uint8Array([1])
        const waiting = store.append(record('k', value))
        value[0] = 9
        await waiting
        value[0] = 8
        assert.equal(store.getRecord('k')?.[0], 1)
      })

      test('are found by prefix, in order', async () => {
        for (const key of ['b/2', 'a/1', 'b/10', 'b', 'b/é', 'c']) await store.append(record(key, TINY))
        await adapter.settle?.(store)
        await store.append({
          batches: [],
          records: [
            { key: 'b/1', value: TINY },
            { key: 'b/2', value: null },
          ],
        })
        await everywhere(() => {
          assert.deepEqual(
            store.scanRecords('b/').map(({ key }) => key),
            ['b/1', 'b/10', 'b/é'],
          )
          assert.deepEqual(
            store.scanRecords('').map(({ key }) => key),
            ['a/1', 'b', 'b/1', 'b/10', 'b/é', 'c'],
          )
        })
      })
    })

    for (let seed = 1; seed <= 6; seed++) {
      test(`logs and documents agree with a model through fills, drops, cuts, sweeps and restarts (seed ${seed})`, async () => {
        const model = new RetentionModel(seed)
        for (let i = 0; i < 60; i++) {
          await model.step(store)
          if (adapter.settle && (i + seed) % 4 === 0) await adapter.settle(store)
          if (adapter.reopen && (i + seed) % 7 === 0) store = await adapter.reopen(store)
          model.check(store)
        }
      })
    }

    test('the state after random appends, sweeps and restarts is the fold of all batches (model)', async () => {
      const model = new Map<string, { hlc: number; value: Value }>()
      const authors = ['a', 'b'].map((name) => new Author(name))
      const step = fc.tuple(fc.nat(1), fc.constantFrom('k', 'l', 'm', 'n'), fc.nat(9), fc.nat(5))
      let hlc = 1000
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
          for (const [who, key, value, what] of steps) {
            if (what === 0 && adapter.settle) await adapter.settle(store)
            if (what === 1 && adapter.reopen) store = await adapter.reopen(store)
            hlc += 1
            await store.append(append(authors[who]!.batch([[key, { value }]], hlc)))
            model.set(key, { hlc, value })
          }
          for (const [key, { value }] of model)
            assert.deepEqual(fieldsOf(store.get(authors[0]!.space, key)!), { value })
          assert.equal(store.summary(authors[0]!.space).count, model.size)
        }),
        { numRuns: 10, seed: 3 },
      )
    })
  })
}

function plain(value: Value): unknown {
  return JSON.parse(
    JSON.stringify(value, (_, item: unknown) => (item instanceof Uint8Array ? { hex: hex(item) } : item)),
  )
}
