import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { hex } from '../../runtime/base/bytes.ts'
import { readMark, writeMark } from '../../runtime/identity/mark.ts'
import { SequenceSet } from '../../runtime/model/sequences.ts'
import { emptyDocument, mergePut, type Document, type Write } from '../../runtime/model/document.ts'
import type { Value } from '../../runtime/model/value.ts'
import { ByteReader } from '../../runtime/store/byte-reader.ts'
import { ByteWriter } from '../../runtime/store/byte-writer.ts'
import { contributionOf } from '../../runtime/store/digest.ts'
import { readEntries, RecordWriter } from '../../runtime/store/entries.ts'
import {
  decodeDocument,
  decodeHead,
  decodeMark,
  decodeRingShape,
  decodeSpace,
  encodeDocument,
  encodeHead,
  encodeMark,
  encodeRingShape,
  encodeSpace,
} from '../../runtime/store/layout.ts'
import { compareUtf8 } from '../../runtime/store/order.ts'
import { sealRecord } from '../../runtime/store/ring-record.ts'
import { decodeCursor, encodeCursor } from '../../runtime/sync/cursors.ts'
import { FeedHistory } from '../../runtime/sync/history.ts'
import { Author } from '../contract/author.ts'
import { golden } from '../golden/read.ts'

const { feed } = new Author('golden')
const write = (seq: number, index: number): Write => ({ hlc: 1_000_000 + seq, index, origin: feed.origin, feed, seq })

/** Two fields of one write, one of another, a removed one, over a delete. */
function goldenDocument(): Document {
  const document: Document = { ...emptyDocument(), deleted: write(1, 0), lsn: 300 }
  mergePut(document, ['temperature', 'room'], [21.5, 'küche'], 0, write(2, 1))
  mergePut(document, ['on'], [true], 0, write(3, 0))
  mergePut(document, ['gone'], [null], 0, write(4, 0))
  return document
}

function encoded(encode: (writer: ByteWriter) => void): Uint8Array {
  const writer = new ByteWriter(Buffer.alloc(1))
  encode(writer)
  return writer.view()
}

/** A change to any of these needs a new FORMAT and a way from the old one. */
describe('format 1 on the disk', () => {
  const head = {
    feed,
    seq: 7,
    hash: new Uint8Array(32).fill(1),
    hlc: 2 ** 52,
    lsn: 300,
    bytes: 123_456,
    retained: new SequenceSet([1, 3, 7, 7]),
  }
  const space = { collection: 'climate', partition: 'north', count: 2, digest: 255n }
  const mark = { position: { number: 70_000, segment: 2, offset: 8192, previous: 0xdeadbeef }, lsn: 300 }
  const shape = { segments: 4, segmentBytes: 8_388_608, salt: 0x01020304 }

  test('a document', () => {
    const document = goldenDocument()
    const bytes = encoded((writer) => encodeDocument(writer, { document, contribution: 1n }, () => 5))
    assert.equal(hex(bytes), hex(golden('disk/document')))
    const decoded = decodeDocument(bytes, (number) => (number === 5 ? feed : undefined))
    assert.ok(decoded.ok)
    assert.deepEqual(decoded.value, { document, contribution: 1n })
    assert.equal(decoded.value.document.writes[0], decoded.value.document.writes[1], 'cells of one write share it')
  })

  test('a document’s part in the digest', () => {
    assert.equal(contributionOf(space, 'kitchen', goldenDocument()).toString(16), hex(golden('disk/contribution')))
    assert.equal(contributionOf(space, 'kitchen', { ...emptyDocument(), deleted: write(1, 0) }), 0n)
  })

  test('a head, a space, a mark and the shape of the ring', () => {
    assert.equal(hex(encodeHead(head)), hex(golden('disk/head')))
    assert.deepEqual(decodeHead(encodeHead(head), feed), { ok: true, value: head })
    assert.equal(hex(encodeSpace(space)), hex(golden('disk/space')))
    assert.deepEqual(decodeSpace(encodeSpace(space)), { ok: true, value: space })
    assert.equal(hex(encodeMark(mark)), hex(golden('disk/mark')))
    assert.deepEqual(decodeMark(encodeMark(mark)), { ok: true, value: mark })
    assert.equal(hex(encodeRingShape(shape)), hex(golden('disk/ring')))
    assert.deepEqual(decodeRingShape(encodeRingShape(shape)), { ok: true, value: shape })
  })

  test('a ring record and its entries', () => {
    const writer = new RecordWriter(400)
    writer.feed(1, new Uint8Array([9, 9]))
    const stored = writer.batch(1, 1, new Uint8Array([7, 8]), undefined)
    writer.batch(1, 1, new Uint8Array([5]), 'aside')
    writer.batch(1, 0, new Uint8Array([6]), { seq: 300, hash: new Uint8Array(32).fill(3), hlc: 9 })
    writer.drop(1, new SequenceSet([2, 4, 9, 9]), null)
    writer.record('peer/a', new Uint8Array([1]))
    writer.record('peer/b', null)
    const record = writer.finish()
    sealRecord(record, mark.position, shape.salt)
    assert.equal(hex(record), hex(golden('disk/record')))
    assert.deepEqual(hex(stored), '010708')
    const entries = [...readEntries(record.subarray(18))].map((entry) =>
      JSON.stringify(entry, (_, item: unknown) => (item instanceof Uint8Array ? hex(item) : item)),
    )
    assert.equal(entries.length, 7)
    assert.equal(entries[4], '{"type":"drop","feed":1,"seqs":{},"end":null}')
    assert.equal(entries[6], '{"type":"record","key":"peer/b","value":null}')
  })

  test('the mark beside the key', () => {
    const dir = mkdtempSync(join(tmpdir(), 'marram-mark-'))
    try {
      const content = { incarnation: '0011223344556677', lsn: 300, hlc: 2 ** 52 }
      mkdirSync(join(dir, 'identity'))
      writeMark(dir, content)
      assert.equal(readFileSync(join(dir, 'identity/mark'), 'hex'), hex(golden('disk/mark-file')))
      writeFileSync(join(dir, 'identity/mark'), golden('disk/mark-file'))
      assert.deepEqual(readMark(dir), content)
    } finally {
      rmSync(dir, { recursive: true })
    }
  })

  test('records of the engine: a cursor and what is known of a feed’s past', () => {
    const cursor = { instance: new Uint8Array(8).fill(5), lsn: 300 }
    assert.equal(hex(encodeCursor(cursor)), hex(golden('disk/cursor')))
    assert.deepEqual(decodeCursor(golden('disk/cursor')), cursor)
    const history = new FeedHistory()
    const checkpoint = {
      floor: 1,
      live: new SequenceSet(),
      root: head.hash,
      before: head,
      deps: [],
      dropsTombstones: false,
    }
    history.decode(golden('disk/history'), (seq) => ({ seq, hlc: seq, checkpoint }))
    assert.deepEqual([history.applied?.seq, history.base?.seq, history.preJump], [5, 5, 3])
    assert.deepEqual([history.keptBytes, history.compactedSeq, history.pending[0]?.seq], [100, 4, 9])
    assert.equal(hex(history.encode()), hex(golden('disk/history')))
  })

  test('a document cut or damaged anywhere is a failure, never a throw', () => {
    const bytes = golden('disk/document')
    const feedOf = (number: number): typeof feed | undefined => (number === 5 ? feed : undefined)
    for (let i = 0; i < bytes.length; i++) assert.equal(decodeDocument(bytes.subarray(0, i), feedOf).ok, false)
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const damaged = Uint8Array.from(bytes)
        damaged[at] = (damaged[at] as number) ^ change
        assert.equal(decodeDocument(damaged, feedOf).ok, false)
      }),
      { numRuns: 2000, seed: 1 },
    )
  })
})

describe('codec', () => {
  const json = fc.jsonValue({ maxDepth: 6 }) as fc.Arbitrary<Value>
  const values = fc.oneof(
    json,
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.maxSafeInteger(),
    fc.uint8Array() as fc.Arbitrary<Value>,
    fc.string({ unit: 'binary', maxLength: 200 }),
  )

  test('gives back every value (property)', () => {
    fc.assert(
      fc.property(values, fc.boolean(), (value, isCanonical) => {
        const reader = new ByteReader(encoded((writer) => writer.value(value, isCanonical)))
        const found = reader.value()
        assert.ok(reader.isAtEnd)
        // Zero has one form here: gateways that decode a batch see no sign either.
        assert.deepEqual(unsigned(found), unsigned(value))
      }),
      { numRuns: 500, seed: 2 },
    )
  })

  test('is the same for the same content in canonical form, whatever the order of keys', () => {
    const one = encoded((writer) => writer.value({ a: 1, b: { d: [2], c: 3 } }, true))
    const other = encoded((writer) => writer.value({ b: { c: 3, d: [2] }, a: 1 }, true))
    assert.equal(hex(one), hex(other))
  })

  test('natural numbers of every size come back', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.nat(53), (value, bits) => {
        const number = Math.floor(value / 2 ** bits)
        assert.equal(new ByteReader(encoded((writer) => writer.natural(number))).natural(), number)
      }),
      { numRuns: 500, seed: 3 },
    )
  })

  test('a count of more items than there are bytes is refused before it costs memory', () => {
    for (const tag of [8, 9]) {
      const bytes = encoded((writer) => {
        writer.u8(tag)
        writer.natural(2 ** 40)
      })
      assert.throws(() => new ByteReader(bytes).value(), RangeError)
    }
  })

  test('keys sort as their UTF-8 bytes do (property)', () => {
    const text = fc.string({
      unit: fc.constantFrom('a', 'b', 'é', '\ud7ff', '\ue000', '\uffee', '🌊', '\u{10ffff}'),
      maxLength: 4,
    })
    fc.assert(
      fc.property(text, text, (a, b) => {
        assert.equal(Math.sign(compareUtf8(a, b)), Buffer.compare(Buffer.from(a), Buffer.from(b)))
      }),
      { numRuns: 1000, seed: 4 },
    )
  })
})

function unsigned(value: Value): unknown {
  return JSON.parse(
    JSON.stringify({ value }, (_, item: unknown) => (item instanceof Uint8Array ? { hex: hex(item) } : item)),
  )
}
