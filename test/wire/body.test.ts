import assert from 'node:assert/strict'
import { deflateRawSync } from 'node:zlib'
import { test } from 'node:test'
import fc from 'fast-check'
import { sha256 } from '../../runtime/crypto/hash.ts'
import { OP_DELETE, OP_PUT, type BatchHeader, type Ops } from '../../runtime/model/batch.ts'
import { decodeBody, encodeBody } from '../../runtime/wire/body.ts'
import { encodeValue } from '../../runtime/wire/cbor.ts'

function headerOf(body: Uint8Array, flags: number): BatchHeader {
  const zeros = new Uint8Array(32)
  return {
    feedId: new Uint8Array(16),
    seq: 1,
    prev: zeros,
    hlc: 1,
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
      const { body, flags } = encodeBody(made)
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
  const { body, flags } = encodeBody({
    docs: ['d'],
    shapes: [{ kind: 0, paths: ['a'] }],
    opDocs: [0],
    opShapes: [0],
    values: [1],
  })
  const header = headerOf(body, flags)
  assert.equal(decodeBody({ ...header, bodyHash: new Uint8Array(32) }, body).ok, false)
  assert.equal(decodeBody({ ...header, bodyLength: 1 }, body).ok, false)
  assert.equal(decodeBody({ ...header, flags: 2 }, body).ok, false)
  const repetition = encodeBody({
    docs: ['d'],
    shapes: [{ kind: 0, paths: ['a'] }],
    opDocs: [0],
    opShapes: [0],
    values: ['x'.repeat(30_000)],
  })
  assert.ok(repetition.body.length < 200)
  assert.ok(decodeBody(headerOf(repetition.body, repetition.flags), repetition.body).ok)
  const bomb = new Uint8Array(deflateRawSync(Buffer.alloc(20_000_000)))
  assert.equal(decodeBody(headerOf(bomb, 1), bomb).ok, false)
})
