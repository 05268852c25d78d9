import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FEED_KIND_STATE, OP_DELETE, OP_PUT, type Feed, type Ops } from '../../runtime/model/batch.ts'
import {
  CHANGED,
  emptyDocument,
  isLive,
  mergeDelete,
  mergeDocument,
  mergeOps,
  mergePut,
  type Document,
  type Write,
} from '../../runtime/model/document.ts'
import { fieldsOf } from '../../runtime/model/fields.ts'
import { compareStamps } from '../../runtime/model/stamp.ts'
import type { Value } from '../../runtime/model/value.ts'

const FEEDS = new Map(['a', 'b', 'c'].map((origin) => [origin, feedOf(origin)]))

function feedOf(origin: string): Feed {
  const bytes = new Uint8Array(32)
  const descriptor = {
    publicKey: bytes,
    incarnation: bytes,
    collection: 'c',
    partition: '',
    kind: FEED_KIND_STATE,
    encrypted: false,
  }
  return { id: bytes, key: origin, origin, descriptor }
}

interface Operation {
  readonly write: Write
  /** Null deletes the document. */
  readonly put: ReadonlyMap<string, Value> | null
}

/** What an operation writes is a function of its stamp, as it is of a signed batch. */
function operationAt(hlc: number, index: number, origin: string, put: ReadonlyMap<string, Value> | null): Operation {
  return { write: { hlc, index, origin, feed: FEEDS.get(origin) as Feed, seq: hlc }, put }
}

/** Few stamps, so that equal times and equal indexes of several authors are common. */
const operations: fc.Arbitrary<Operation[]> = fc.uniqueArray(
  fc
    .record({
      hlc: fc.integer({ min: 1, max: 6 }),
      index: fc.integer({ min: 0, max: 2 }),
      origin: fc.constantFrom('a', 'b', 'c'),
      put: fc.option(
        fc
          .dictionary(
            fc.constantFrom('x', 'y', 'z', 'w'),
            fc.constantFrom<Value>(null, 0, 1, 'text', false, { n: null }),
            { minKeys: 1, noNullPrototype: true },
          )
          .map((fields) => new Map(Object.entries(fields))),
        { freq: 4 },
      ),
    })
    .map(({ hlc, index, origin, put }) => operationAt(hlc, index, origin, put)),
  { maxLength: 12, comparator: (a, b) => compareStamps(a.write, b.write) === 0 },
)

function apply(document: Document, { put, write }: Operation): boolean {
  if (put === null) return mergeDelete(document, write) === CHANGED
  return mergePut(document, [...put.keys()], [...put.values()], 0, write) === CHANGED
}

function folded(list: readonly Operation[]): Document {
  const document = emptyDocument()
  for (const operation of list) apply(document, operation)
  return document
}

interface Cells {
  readonly deleted: Write | null
  readonly cells: ReadonlyMap<string, { readonly value: Value; readonly write: Write }>
}

function cellsOf(document: Document): Cells {
  const cells = document.paths.map(
    (path, i) => [path, { value: document.values[i] as Value, write: document.writes[i] as Write }] as const,
  )
  return { deleted: document.deleted, cells: new Map(cells.toSorted(([a], [b]) => (a < b ? -1 : 1))) }
}

/** The rule as it is told: replay by stamp, a delete empties the document, a put overwrites its fields. */
function oracle(list: readonly Operation[]): Cells {
  let deleted: Write | null = null
  let cells = new Map<string, { value: Value; write: Write }>()
  for (const { put, write } of list.toSorted((a, b) => compareStamps(a.write, b.write))) {
    if (put === null) {
      deleted = write
      cells = new Map()
    } else for (const [path, value] of put) cells.set(path, { value, write })
  }
  return { deleted, cells: new Map([...cells].toSorted(([a], [b]) => (a < b ? -1 : 1))) }
}

/** SPEC I12: a list, and the same list in another order with some operations told twice. */
const shuffled = operations.chain((list) =>
  fc
    .tuple(
      fc.shuffledSubarray(list, { minLength: list.length }),
      fc.array(fc.nat({ max: Math.max(0, list.length - 1) }), { maxLength: 4 }),
    )
    .map(([order, twice]) => ({ list, order: [...order, ...twice.flatMap((i) => list[i] ?? [])] })),
)

test('a document is the fold of its operations in whatever order and however often they come', () => {
  fc.assert(
    fc.property(shuffled, ({ list, order }) => {
      assert.deepEqual(cellsOf(folded(order)), oracle(list))
    }),
    { numRuns: 2000 },
  )
})

test('merging documents is commutative, associative and idempotent', () => {
  const merged = (...documents: Document[]): Cells => {
    const into = emptyDocument()
    for (const document of documents) mergeDocument(into, document)
    return cellsOf(into)
  }
  fc.assert(
    fc.property(operations, fc.nat(), fc.nat(), (list, i, j) => {
      const [from, to] = [Math.min(i % 13, j % 13), Math.max(i % 13, j % 13)]
      const [a, b, c] = [folded(list.slice(0, from)), folded(list.slice(from, to)), folded(list.slice(to))]
      const whole = oracle(list)
      assert.deepEqual(merged(a, b, c), whole)
      assert.deepEqual(merged(c, a, b), whole)
      const bc = folded(list.slice(from, to))
      mergeDocument(bc, c)
      assert.deepEqual(merged(a, bc), whole)
      assert.deepEqual(merged(a, b, c, a, c), whole)
    }),
    { numRuns: 1000 },
  )
})

test('a merge says that it changed exactly when the document is another', () => {
  fc.assert(
    fc.property(shuffled, ({ order }) => {
      const document = emptyDocument()
      for (const operation of order) {
        const before = cellsOf(document)
        const isChange = apply(document, operation)
        assert.equal(isChange, !isEqual(before, cellsOf(document)))
      }
    }),
    { numRuns: 1000 },
  )
})

function isEqual(a: Cells, b: Cells): boolean {
  const text = ({ deleted, cells }: Cells): string =>
    JSON.stringify([stampOf(deleted), [...cells].map(([path, { value, write }]) => [path, value, stampOf(write)])])
  return text(a) === text(b)
}

function stampOf(write: Write | null): unknown {
  return write && [write.hlc, write.index, write.origin]
}

test('every cell lies above the delete, so what was deleted never comes back', () => {
  fc.assert(
    fc.property(operations, (list) => {
      const { deleted, writes } = folded(list)
      if (deleted !== null) for (const write of writes) assert.ok(compareStamps(write, deleted) > 0)
    }),
  )
})

test('at one time the greater index wins, then the greater author', () => {
  const put = (value: Value): Map<string, Value> => new Map([['x', value]])
  const rivals = [
    operationAt(5, 0, 'a', put('a0')),
    operationAt(5, 1, 'a', put('a1')),
    operationAt(5, 1, 'b', put('b1')),
  ]
  assert.deepEqual(fieldsOf(folded(rivals)), { x: 'b1' })
  assert.deepEqual(fieldsOf(folded(rivals.toReversed())), { x: 'b1' })
})

test('a delete of the same stamp voids the write', () => {
  const write = operationAt(5, 0, 'a', new Map([['x', 1]]))
  const removal = operationAt(5, 0, 'a', null)
  assert.ok(!isLive(folded([write, removal])))
  assert.ok(!isLive(folded([removal, write])))
})

test('a write after a delete brings back its own fields alone', () => {
  const list = [
    operationAt(
      1,
      0,
      'a',
      new Map([
        ['x', 1],
        ['y', 1],
      ]),
    ),
    operationAt(2, 0, 'b', null),
    operationAt(3, 0, 'a', new Map([['x', 2]])),
  ]
  assert.deepEqual(fieldsOf(folded(list)), { x: 2 })
})

test('null removes a field, an older value does not return, and a document of removed fields is not live', () => {
  const list = [operationAt(2, 0, 'a', new Map([['x', null]])), operationAt(1, 0, 'a', new Map([['x', 1]]))]
  assert.deepEqual(fieldsOf(folded(list)), {})
  assert.ok(!isLive(folded(list)))
  assert.ok(isLive(folded([operationAt(1, 0, 'a', new Map([['x', false]]))])))
})

test('fields come in the order of their names', () => {
  const list = [operationAt(1, 0, 'a', new Map([['z', 1]])), operationAt(2, 0, 'a', new Map([['a', 1]]))]
  assert.deepEqual(Object.keys(fieldsOf(folded(list))), ['a', 'z'])
})

test('documents of one shape share its paths, and changing one leaves the others', () => {
  const paths = ['x', 'y'] as const
  const [first, second] = [emptyDocument(), emptyDocument()]
  const { write } = operationAt(1, 0, 'a', null)
  mergePut(first, paths, [1, 2], 0, write)
  mergePut(second, paths, [3, 4], 0, write)
  mergePut(first, ['z'], [5], 0, operationAt(2, 0, 'a', null).write)
  assert.deepEqual(fieldsOf(first), { x: 1, y: 2, z: 5 })
  assert.deepEqual(fieldsOf(second), { x: 3, y: 4 })
  assert.deepEqual(paths, ['x', 'y'])
})

test('operations of a batch take their values by shape, and those of an unknown kind are passed over', () => {
  const ops: Ops = {
    docs: ['one', 'two'],
    shapes: [
      { kind: OP_PUT, paths: ['x', 'y'] },
      { kind: 99, paths: ['q'] },
      { kind: OP_DELETE, paths: [] },
    ],
    opDocs: [0, 1, 1, 0, 1],
    opShapes: [0, 1, 0, 2, 1],
    values: [1, 2, 'skipped', 3, 4, 'skipped'],
  }
  const documents = new Map([
    ['one', emptyDocument()],
    ['two', emptyDocument()],
  ])
  const changed: string[] = []
  const source = { feed: FEEDS.get('a') as Feed, seq: 7, hlc: 100, lsn: 9 }
  mergeOps(
    ops,
    source,
    (key) => documents.get(key) as Document,
    (key) => changed.push(key),
  )
  assert.deepEqual(changed, ['one', 'two', 'one'])
  assert.deepEqual(fieldsOf(documents.get('two') as Document), { x: 3, y: 4 })
  assert.ok(!isLive(documents.get('one') as Document))
  assert.equal(documents.get('one')?.deleted?.index, 3)
  assert.equal(documents.get('two')?.lsn, 9)
  assert.equal(documents.get('two')?.writes[0]?.index, 2)
})
