import assert from 'node:assert/strict'
import { deflateRawSync } from 'node:zlib'
import { test } from 'node:test'
import fc from 'fast-check'
import { sha256 } from '../../runtime/crypto/hash.ts'
import {
  OP_ADD,
  OP_COUNTER,
  OP_DELETE,
  OP_LINK,
  OP_PUT,
  OP_REMOVE,
  type BatchHeader,
  type Ops,
} from '../../runtime/model/batch.ts'
import type { Value } from '../../runtime/model/value.ts'
import { decodeBody, encodeBody } from '../../runtime/wire/body.ts'
import { encodeValue } from '../../runtime/wire/cbor.ts'

const HLC = 5_000_000_000_000_000

function headerOf(body: Uint8Array, flags: number): BatchHeader {
  const zeros = new Uint8Array(32)
  return {
    feedId: new Uint8Array(16),
    seq: 1,
    prev: zeros,
    hlc: HLC,
    bodyHash: sha256(body),
    bodyLength: body.length,
    flags,
    minReader: 1,
  }
}

/** Decodes a body that was made of anything at all. */
function decoded(content: unknown): ReturnType<typeof decodeBody> {
  const body = encodeValue(content)
  return decodeBody(headerOf(body, 0), body)
}

const ops = fc
  .array(
    fc.record({
      doc: fc.nat(9),
      shape: fc.nat(2),
      values: fc.tuple(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.string({ unit: 'grapheme' })),
    }),
    { maxLength: 60 },
  )
  .map((drawn): Ops => {
    const shapes = [
      { kind: OP_PUT, paths: ['temperature', 'room'] },
      { kind: OP_DELETE, paths: [] },
      { kind: 77, paths: ['later'] },
    ]
    return {
      docs: Array.from({ length: 10 }, (_, i) => `doc ${i}`),
      shapes,
      opDocs: drawn.map(({ doc }) => doc),
      opShapes: drawn.map(({ shape }) => shape),
      values: drawn.flatMap(({ shape, values }) => values.slice(0, [2, 0, 1][shape])),
    }
  })

test('what is encoded decodes to the same operations, unknown kinds too', () => {
  fc.assert(
    fc.property(ops, (made) => {
      const { body, flags } = encodeBody(made, HLC)
      const read = decodeBody(headerOf(body, flags), body)
      assert.ok(read.ok)
      // CBOR has one zero.
      assert.deepEqual(
        { ...read.value },
        { ...made, values: made.values.map((value) => (Object.is(value, -0) ? 0 : value)) },
      )
    }),
  )
})

test('an operation that may not be stored is passed over and keeps its place', () => {
  const read = decoded([
    ['fine', 'bad\u0001', 'x'],
    [
      [0, 'a'],
      [0, '__proto__'],
    ],
    [0, 1, 2, 0],
    [0, 0, 1, 0],
    [1, 2, 3, 'y'.repeat(40_000)],
  ])
  assert.ok(read.ok)
  assert.deepEqual(
    read.value.opShapes.map((shape) => read.value.shapes[shape]?.kind),
    [0, 255, 255, 255],
  )
  assert.equal(read.value.values.length, 4)
})

test('a body that is malformed as a whole is an error', () => {
  const good = [['d'], [[0, 'a']], [0], [0], [1]]
  assert.ok(decoded(good).ok)
  const wrong: unknown[] = [
    {},
    [],
    good.slice(0, 4),
    [['d'], [[0, 'a']], [1], [0], [1]],
    [['d'], [[0, 'a']], [0], [1], [1]],
    [['d'], [[0, 'a']], [0], [0], [1, 2]],
    [['d'], [[0, 'a']], [0], [0, 0], [1]],
    [['d'], [[0, 'a', 'a']], [0], [0], [1, 1]],
    [['d'], [[255, 'a']], [0], [0], [1]],
    [['d'], [[-1, 'a']], [0], [0], [1]],
    [[1], [[0, 'a']], [0], [0], [1]],
    [['d'], [['a']], [0], [0], [1]],
    [['d'], [[0, 'a']], [0.5], [0], [1]],
    [['d'], [[0]], Array.from({ length: 1_025 }, () => 0), 0, []],
  ]
  for (const content of wrong) assert.equal(decoded(content).ok, false, JSON.stringify(content).slice(0, 80))
})

test('another hash or length, an unknown compression and a bomb are errors', () => {
  const { body, flags } = encodeBody(
    {
      docs: ['d'],
      shapes: [{ kind: 0, paths: ['a'] }],
      opDocs: [0],
      opShapes: [0],
      values: [1],
    },
    HLC,
  )
  const header = headerOf(body, flags)
  assert.equal(decodeBody({ ...header, bodyHash: new Uint8Array(32) }, body).ok, false)
  assert.equal(decodeBody({ ...header, bodyLength: 1 }, body).ok, false)
  assert.equal(decodeBody({ ...header, flags: 2 }, body).ok, false)
  const repetition = encodeBody(
    {
      docs: ['d'],
      shapes: [{ kind: 0, paths: ['a'] }],
      opDocs: [0],
      opShapes: [0],
      values: ['x'.repeat(30_000)],
    },
    HLC,
  )
  assert.ok(repetition.body.length < 200)
  assert.ok(decodeBody(headerOf(repetition.body, repetition.flags), repetition.body).ok)
  const bomb = new Uint8Array(deflateRawSync(Buffer.alloc(20_000_000)))
  assert.equal(decodeBody(headerOf(bomb, 1), bomb).ok, false)
})

/** One operation of kind `kind` on one field. */
function typed(kind: number, value: Value, stamps?: Ops['stamps']): Ops {
  const ops = { docs: ['d'], shapes: [{ kind, paths: ['a'] }], opDocs: [0], opShapes: [0], values: [value] }
  return stamps ? { ...ops, stamps } : ops
}

test('counters, sets, links, removals and older stamps come back as they were', () => {
  const author = 'a'.repeat(23)
  const all: Ops[] = [
    typed(OP_COUNTER, [1, 0.5]),
    typed(OP_COUNTER, [1, 0, '00ff00ff00ff00ff']),
    typed(OP_ADD, ['text', 1, -2.5, true, '\u0000']),
    typed(OP_LINK, [
      ['pumps', '', 'p1'],
      ['pumps', 'north', 'p/1', 'feeds'],
    ]),
    typed(OP_REMOVE, [
      ['e"text"', HLC, 1_023, author],
      ['lpumps\u0000north\u0000p/1\u0000feeds', 0, 0, author],
      ['lpumps\u0000\u0000p1\u0000', HLC - 1, 0, author],
    ]),
    typed(OP_PUT, 1, [{ hlc: HLC - 7, index: 1_023 }]),
  ]
  for (const ops of all) {
    const { body, flags } = encodeBody(ops, HLC)
    const read = decodeBody(headerOf(body, flags), body)
    assert.ok(read.ok)
    assert.deepEqual(read.value, ops)
  }
})

test('a value that its kind of operation has not is passed over', () => {
  const author = 'a'.repeat(23)
  const wrong: [number, unknown][] = [
    [OP_COUNTER, 5],
    [OP_COUNTER, [1]],
    [OP_COUNTER, [-1, 0]],
    [OP_COUNTER, [1, 2 ** 60]],
    [OP_COUNTER, [1, 0, 'ff']],
    [OP_COUNTER, null],
    [OP_ADD, []],
    [OP_ADD, 'a'],
    [OP_ADD, [null]],
    [OP_ADD, [['a']]],
    [OP_ADD, ['x'.repeat(600)]],
    [OP_LINK, [['pumps', 'p1']]],
    [OP_LINK, [['Pumps', '', 'p1']]],
    [OP_LINK, [['pumps', '', '']]],
    [OP_LINK, [['pumps', '', 'p1', '']]],
    [OP_REMOVE, [['e"a"', 0, 0]]],
    [OP_REMOVE, [['e"a"', -1, 0, author]]],
    [OP_REMOVE, [['e"a"', 0.5, 0, author]]],
    [OP_REMOVE, [['e"a"', HLC + 1, 0, author]]],
    [OP_REMOVE, [['e"a"', 0, 1_024, author]]],
    [OP_REMOVE, [['e"a"', 0, 0, 'nobody']]],
    [OP_REMOVE, [['e "a"', 0, 0, author]]],
    [OP_REMOVE, [['c1', 0, 0, author]]],
    [OP_REMOVE, [['lpumps', 0, 0, author]]],
  ]
  for (const [kind, value] of wrong) {
    const read = decoded([['d'], [[kind, 'a']], [0], [0], [value]])
    assert.ok(read.ok, JSON.stringify(value))
    assert.equal(read.value.shapes[read.value.opShapes[0] as number]?.kind, 255, JSON.stringify([kind, value]))
  }
})

test('a stamp that is no stamp makes the body malformed', () => {
  const bodyWith = (stamps: unknown): unknown[] => [['d'], [[OP_PUT, 'a']], [0], [0], [1], stamps]
  assert.ok(decoded(bodyWith(null)).ok)
  assert.ok(decoded([...bodyWith([[0], [0]]), null, 'from a later version']).ok)
  const wrong = [
    7,
    [],
    [[0]],
    [[0], [0, 0]],
    [[0.5], [0]],
    [[-1], [0]],
    [[HLC + 1], [0]],
    [[null], [0]],
    [[0], [1_024]],
  ]
  for (const stamps of wrong) assert.equal(decoded(bodyWith(stamps)).ok, false, JSON.stringify(stamps))
})
