import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { hex } from '../../runtime/base/bytes.ts'
import {
  FEED_KIND_STATE,
  OP_ADD,
  OP_COUNTER,
  OP_DELETE,
  OP_LINK,
  OP_PUT,
  OP_REMOVE,
  type Feed,
  type Ops,
  type OpStamp,
} from '../../runtime/model/batch.ts'
import {
  elementSub,
  kindOfCell,
  linkSub,
  type CellKind,
  type Element,
  type Reference,
} from '../../runtime/model/cells.ts'
import { emptyDocument, mergeDocument, mergeOps, type Document } from '../../runtime/model/document.ts'
import { fieldsOf } from '../../runtime/model/fields.ts'
import { compareStamps, type Stamp } from '../../runtime/model/stamp.ts'
import type { Value } from '../../runtime/model/value.ts'

/** Counters, sets and links beside registers and deletes: merged as batches are, and compared with what is told of them. */

const ORIGINS = ['a', 'b', 'c'].map((letter) => letter.repeat(23))
const FEEDS = new Map(ORIGINS.map((origin, i) => [origin, feedOf(origin, i)]))

function feedOf(origin: string, i: number): Feed {
  const id = new Uint8Array(16).fill(i)
  const descriptor = {
    publicKey: new Uint8Array(32).fill(i),
    incarnation: new Uint8Array(8).fill(i),
    collection: 'c',
    partition: '',
    kind: FEED_KIND_STATE,
    encrypted: false,
  }
  return { id, key: String(i), origin, descriptor }
}

interface Operation {
  readonly kind: number
  readonly value: Value
  readonly stamp: Stamp
  /** The batch that holds it: the first, or a later one that tells it again under its stamp. */
  readonly seq: number
}

const ELEMENTS: readonly Element[] = ['x', 'y', 1, true]
const REFERENCES: readonly Reference[] = [
  ['pumps', '', 'p1'],
  ['pumps', '', 'p1', 'feeds'],
  ['valves', 'north', 'v'],
]
const SUBS = [...ELEMENTS.map(elementSub), ...REFERENCES.map(linkSub)]

const stamps: fc.Arbitrary<Stamp> = fc.record({
  hlc: fc.integer({ min: 1, max: 5 }),
  index: fc.integer({ min: 0, max: 1 }),
  origin: fc.constantFrom(...ORIGINS),
})

/** Few stamps, so that removes meet the adds that they saw, and others. */
const contents: fc.Arbitrary<{ readonly kind: number; readonly value: Value }> = fc.oneof(
  { weight: 1, arbitrary: fc.constant({ kind: OP_DELETE, value: null }) },
  { weight: 3, arbitrary: fc.constantFrom(null, 1, 'one').map((value) => ({ kind: OP_PUT, value })) },
  { weight: 3, arbitrary: fc.tuple(fc.nat(9), fc.nat(9)).map((value) => ({ kind: OP_COUNTER, value })) },
  {
    weight: 4,
    arbitrary: fc.subarray([...ELEMENTS], { minLength: 1 }).map((value) => ({ kind: OP_ADD, value })),
  },
  {
    weight: 3,
    arbitrary: fc.subarray([...REFERENCES], { minLength: 1 }).map((value) => ({ kind: OP_LINK, value })),
  },
  {
    weight: 4,
    arbitrary: fc
      .array(fc.tuple(fc.constantFrom(...SUBS), stamps), { minLength: 1, maxLength: 3 })
      .map((seen) => ({ kind: OP_REMOVE, value: seen.map(([sub, at]) => [sub, at.hlc, at.index, at.origin]) })),
  },
)

/** What an operation writes is a function of its stamp, as it is of a signed batch; some are told a second time. */
const operations: fc.Arbitrary<Operation[]> = fc
  .uniqueArray(fc.tuple(stamps, contents), { maxLength: 14, comparator: ([a], [b]) => compareStamps(a, b) === 0 })
  .map((list) =>
    list.flatMap(([stamp, { kind, value }], i) => {
      const first = { kind, value, stamp, seq: stamp.hlc }
      return i % 4 === 3 ? [first, { ...first, seq: 100 + i }] : [first]
    }),
  )

function apply(document: Document, { kind, value, stamp, seq }: Operation): void {
  const feed = FEEDS.get(stamp.origin) as Feed
  const isDelete = kind === OP_DELETE
  const older: OpStamp[] = [{ hlc: stamp.hlc, index: stamp.index }]
  const ops: Ops = {
    docs: ['d'],
    shapes: [{ kind, paths: isDelete ? [] : ['field'] }],
    opDocs: [0],
    opShapes: [0],
    values: isDelete ? [] : [value],
    stamps: older,
  }
  mergeOps(
    ops,
    { feed, seq, hlc: 1_000, lsn: 1 },
    () => document,
    () => {},
  )
}

function folded(list: readonly Operation[]): Document {
  const document = emptyDocument()
  for (const operation of list) apply(document, operation)
  return document
}

/** Every cell with its value, its stamp and the batch that holds it. */
function cellsOf(document: Document): unknown {
  const { deleted } = document
  const cells = document.paths.map((name, i) => {
    const { feed, seq, hlc, index, origin } = document.writes[i] as Document['writes'][number]
    return [name, document.values[i], hlc, index, origin, feed.key, seq]
  })
  const by = deleted && [deleted.hlc, deleted.index, deleted.origin, deleted.feed.key, deleted.seq]
  return { deleted: by, cells: cells.toSorted(([a], [b]) => ((a as string) < (b as string) ? -1 : 1)) }
}

/** A write to one cell, as the rule is told: an element of a set is a cell, so is each author's part of a counter. */
interface CellWrite {
  readonly cell: string
  readonly value: Value
  readonly stamp: Stamp
}

function writesOf({ kind, value, stamp }: Operation): CellWrite[] {
  switch (kind) {
    case OP_PUT:
      return [{ cell: 'register', value, stamp }]
    case OP_COUNTER:
      return [{ cell: `counter ${stamp.origin}`, value, stamp }]
    case OP_ADD:
      return (value as Element[]).map((element) => ({ cell: elementSub(element), value: element, stamp }))
    case OP_LINK:
      return (value as Reference[]).map((link) => ({ cell: linkSub(link), value: link, stamp }))
    default:
      return (value as [string, number, number, string][]).map(([cell, hlc, index, origin]) => ({
        cell,
        value: null,
        stamp: { hlc, index, origin },
      }))
  }
}

/** Sorted by stamp, a removal behind the add that it saw; applied one after the other above the greatest delete. */
function oracle(list: readonly Operation[]): { register: Value; total: number | null; set: string[]; links: string[] } {
  const deletes = list.filter(({ kind }) => kind === OP_DELETE).map(({ stamp }) => stamp)
  const last = deletes.toSorted(compareStamps).at(-1)
  const writes = list.filter(({ kind }) => kind !== OP_DELETE).flatMap(writesOf)
  writes.sort((a, b) => compareStamps(a.stamp, b.stamp) || Number(a.value === null) - Number(b.value === null))
  const cells = new Map<string, Value>()
  for (const { cell, value, stamp } of writes) if (!last || compareStamps(stamp, last) > 0) cells.set(cell, value)
  const live = [...cells].filter(([, value]) => value !== null)
  const totals = live.filter(([cell]) => cell.startsWith('counter ')).map(([, value]) => value as [number, number])
  return {
    register: cells.get('register') ?? null,
    total: totals.length === 0 ? null : totals.reduce((sum, [p, n]) => sum + p - n, 0),
    set: live.flatMap(([cell]) => (cell.startsWith('e') ? [cell] : [])).sort(),
    links: live.flatMap(([cell]) => (cell.startsWith('l') ? [cell] : [])).sort(),
  }
}

function shown(document: Document): ReturnType<typeof oracle> {
  const as = (kind: CellKind): Value | undefined => {
    const isWritten = document.paths.some((name, i) => kindOfCell(name) === kind && document.values[i] !== null)
    return isWritten ? fieldsOf(document, new Map([['field', kind]]))['field'] : undefined
  }
  const links = document.paths.filter((name, i) => name.startsWith('field\0l') && document.values[i] !== null)
  const texts = [
    ...new Set(links.map((name) => name.slice('field\0l'.length).split('\0')).map(([c, , k]) => `${c}/${k}`)),
  ]
  assert.deepEqual(as('link') ?? [], texts.sort(), 'links are shown as collection/key')
  return {
    register: as('register') ?? null,
    total: (as('counter') as number | undefined) ?? null,
    set: ((as('set') ?? []) as Element[]).map(elementSub).sort(),
    links: links.map((name) => name.slice('field\0'.length)).sort(),
  }
}

const shuffled = operations.chain((list) =>
  fc
    .tuple(
      fc.shuffledSubarray(list, { minLength: list.length }),
      fc.array(fc.nat({ max: Math.max(0, list.length - 1) }), { maxLength: 4 }),
    )
    .map(([order, twice]) => ({ list, order: [...order, ...twice.flatMap((i) => list[i] ?? [])] })),
)

test('every type is what its operations say, sorted by stamp, in whatever order and however often they come', () => {
  fc.assert(
    fc.property(shuffled, ({ list, order }) => {
      assert.deepEqual(shown(folded(order)), oracle(list))
      assert.deepEqual(cellsOf(folded(order)), cellsOf(folded(list)))
    }),
    { numRuns: 3000 },
  )
})

test('merging documents of every type is commutative, associative and idempotent', () => {
  const merged = (...documents: Document[]): unknown => {
    const into = emptyDocument()
    for (const document of documents) mergeDocument(into, document)
    return cellsOf(into)
  }
  fc.assert(
    fc.property(operations, fc.nat(15), fc.nat(15), (list, i, j) => {
      const [from, to] = [Math.min(i, j), Math.max(i, j)]
      const [a, b, c] = [folded(list.slice(0, from)), folded(list.slice(from, to)), folded(list.slice(to))]
      const whole = cellsOf(folded(list))
      assert.deepEqual(merged(a, b, c), whole)
      assert.deepEqual(merged(c, b, a), whole)
      const bc = folded(list.slice(from, to))
      mergeDocument(bc, c)
      assert.deepEqual(merged(a, bc), whole)
      assert.deepEqual(merged(a, b, c, a, c), whole)
    }),
    { numRuns: 2000 },
  )
})

test('an author who gives one stamp to two values deceives nobody into another state than the rest', () => {
  const [origin] = ORIGINS as [string]
  const lies = [1, 'one', null, { a: 1 }, { a: 2 }].map((value, i): Operation => {
    return { kind: OP_PUT, value, stamp: { hlc: 3, index: 0, origin }, seq: i }
  })
  fc.assert(
    fc.property(fc.shuffledSubarray(lies, { minLength: 2 }), (order) => {
      assert.deepEqual(cellsOf(folded(order)), cellsOf(folded(order.toReversed())))
    }),
  )
})

test('an add that the remover had not seen survives, and what it saw goes', () => {
  const [a, b] = ORIGINS as [string, string]
  const saw = (hlc: number): Value => [[elementSub('x'), hlc, 0, a]]
  const first = { kind: OP_ADD, value: ['x'], stamp: { hlc: 1, index: 0, origin: a }, seq: 1 }
  const second = { kind: OP_ADD, value: ['x'], stamp: { hlc: 2, index: 0, origin: a }, seq: 2 }
  const removal = { kind: OP_REMOVE, value: saw(1), stamp: { hlc: 9, index: 0, origin: b }, seq: 9 }
  assert.deepEqual(fieldsOf(folded([first, removal])), {})
  assert.deepEqual(fieldsOf(folded([first, removal, second])), { field: ['x'] })
  assert.deepEqual(fieldsOf(folded([second, { ...removal, value: saw(2) }, first])), {})
})

test('a counter adds what every author has counted, and an author may go on with what an earlier store of its counted', () => {
  const [a, b] = ORIGINS as [string, string]
  const count = (origin: string, hlc: number, value: Value): Operation => {
    return { kind: OP_COUNTER, value, stamp: { hlc, index: 0, origin }, seq: hlc }
  }
  const list = [count(a, 1, [5, 0]), count(b, 1, [3, 1]), count(a, 2, [6, 0]), count(a, 1, [5, 0])]
  assert.deepEqual(fieldsOf(folded(list)), { field: 8 })
  const ofEarlier = hex((FEEDS.get(a) as Feed).descriptor.incarnation)
  assert.deepEqual(fieldsOf(folded([...list, count(a, 3, [10, 0, ofEarlier])])), { field: 12 })
  assert.deepEqual(fieldsOf(folded([...list, count(a, 3, [10, 0, '0123456789abcdef'])])), { field: 18 })
})

test('a field of which the profile says nothing shows what was written to it last', () => {
  const [origin] = ORIGINS as [string]
  const put = { kind: OP_PUT, value: 'text', stamp: { hlc: 1, index: 0, origin }, seq: 1 }
  const add = { kind: OP_ADD, value: ['x'], stamp: { hlc: 2, index: 0, origin }, seq: 2 }
  assert.deepEqual(fieldsOf(folded([put, add])), { field: ['x'] })
  assert.deepEqual(fieldsOf(folded([add, { ...put, stamp: { hlc: 3, index: 0, origin } }])), { field: 'text' })
  assert.deepEqual(fieldsOf(folded([put, add]), new Map([['field', 'register']])), { field: 'text' })
  assert.deepEqual(fieldsOf(folded([put]), new Map([['field', 'set']])), { field: 'text' })
})
