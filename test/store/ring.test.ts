import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { randomInteger, seededRandom } from '../../runtime/base/random.ts'
import { BLOCK_BYTES, HEADER_BYTES, sealRecord, type Position } from '../../runtime/store/ring-record.ts'
import { recoverRing } from '../../runtime/store/ring-recovery.ts'
import { createRing, Ring, segmentPath } from '../../runtime/store/ring.ts'

const SHAPE = { segments: 3, segmentBytes: 8 * BLOCK_BYTES, salt: 0x5eed }

describe('ring', () => {
  let dir: string
  let start: Position
  let ring: Ring
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'marram-ring-'))
    start = createRing(dir, SHAPE)
    ring = new Ring(dir, SHAPE, start, 0)
  })
  afterEach(() => {
    ring.close()
    rmSync(dir, { recursive: true })
  })

  function write(payload: Uint8Array): Promise<Position> {
    return new Promise((resolve, reject) => {
      const record = Buffer.concat([Buffer.alloc(HEADER_BYTES), payload])
      const next = ring.write(record, (error) => (error === null ? resolve(next) : reject(error)))
    })
  }
  const recovered = (mark: Position): string[] => texts(recoverRing(dir, SHAPE, mark, false).payloads)
  const texts = (payloads: readonly Uint8Array[]): string[] => payloads.map((bytes) => Buffer.from(bytes).toString())

  test('gives back what was written, in order, and where to go on', async () => {
    for (const text of ['one', '', 'three', 'x'.repeat(9000)]) await write(Buffer.from(text))
    assert.deepEqual(recovered(start), ['one', '', 'three', 'x'.repeat(9000)])
    assert.deepEqual(recoverRing(dir, SHAPE, start, false).next, ring.next)
  })

  test('every record begins on a block of its own', async () => {
    for (const bytes of [1, BLOCK_BYTES - HEADER_BYTES, BLOCK_BYTES - HEADER_BYTES + 1])
      await write(Buffer.alloc(bytes))
    assert.equal(ring.next.offset, 4 * BLOCK_BYTES)
  })

  test('reads from the mark on, and no lap that was overwritten or left over ever shows (seeded laps)', async () => {
    const random = seededRandom(5)
    let mark = start
    let since: string[] = []
    for (let i = 0; i < 400; i++) {
      const text = `${i} `.padEnd(randomInteger(random, 10, 3 * BLOCK_BYTES), 'x')
      if (!ring.fits(HEADER_BYTES + text.length) || random() < 0.2) {
        mark = ring.next
        since = []
        ring.release(mark)
      }
      await write(Buffer.from(text))
      since.push(text)
      assert.deepEqual(recovered(mark), since)
    }
    assert.ok(ring.next.number > 400)
  })

  test('has no room for what would overwrite the segment of the mark, until that is released', async () => {
    const payload = Buffer.alloc(SHAPE.segmentBytes - HEADER_BYTES)
    for (let i = 0; i < SHAPE.segments; i++) await write(payload)
    assert.equal(ring.fits(HEADER_BYTES + 1), false)
    assert.equal(ring.fill, 1)
    ring.release({ ...ring.next, segment: 1 })
    assert.equal(ring.fits(HEADER_BYTES + payload.length), true)
  })

  test('a last record that is torn at any byte is not there, and all before it are', async () => {
    for (const text of ['first', 'second']) await write(Buffer.from(text))
    const at = ring.next.offset
    const last = Buffer.from('the last record, which a power cut tears')
    await write(last)
    const path = segmentPath(dir, 0)
    const whole = readFileSync(path)
    for (let i = 0; i < HEADER_BYTES + last.length; i++) {
      const torn = Buffer.from(whole)
      torn.fill(0, at + i, at + HEADER_BYTES + last.length)
      writeFileSync(path, torn)
      assert.deepEqual(recovered(start), ['first', 'second'], `cut at byte ${i}`)
      const flipped = Buffer.from(whole)
      flipped[at + i] = (flipped[at + i] as number) ^ (1 << (i % 8))
      writeFileSync(path, flipped)
      assert.deepEqual(recovered(start), ['first', 'second'], `flipped at byte ${i}`)
    }
    writeFileSync(path, whole)
    assert.equal(recovered(start).length, 3)
  })

  test('goes on over a torn record, and what was torn never comes back', async () => {
    await write(Buffer.from('kept'))
    const { offset } = ring.next
    await write(Buffer.alloc(3 * BLOCK_BYTES, 't'))
    const path = segmentPath(dir, 0)
    const torn = readFileSync(path)
    torn.fill(0, offset + 2 * BLOCK_BYTES)
    writeFileSync(path, torn)
    ring.close()
    const { next } = recoverRing(dir, SHAPE, start, false)
    assert.equal(next.offset, offset)
    ring = new Ring(dir, SHAPE, next, 0)
    for (const text of ['after', 'more']) await write(Buffer.from(text))
    assert.deepEqual(recovered(start), ['kept', 'after', 'more'])
  })

  test('a record damaged before others is told from a torn one', async () => {
    for (const text of ['first', 'second', 'third', 'fourth']) await write(Buffer.from(text))
    const path = segmentPath(dir, 0)
    const bytes = readFileSync(path)
    bytes[BLOCK_BYTES + HEADER_BYTES] = 0
    writeFileSync(path, bytes)
    const { payloads, stranded, next } = recoverRing(dir, SHAPE, start, false)
    assert.deepEqual(texts(payloads), ['first'])
    assert.deepEqual(texts(stranded), ['third', 'fourth'])
    assert.equal(next.number, 2)
  })

  test('bytes that look like a record, made without the salt, pass for none', async () => {
    await write(Buffer.from('first'))
    const at = { number: 3, segment: 0, offset: 0, previous: 1 }
    const forged = Buffer.concat([Buffer.alloc(HEADER_BYTES), Buffer.from('forged')])
    sealRecord(forged, at, SHAPE.salt ^ 1)
    // Aligned so that the forged header stands at the start of a block.
    await write(Buffer.concat([Buffer.alloc(BLOCK_BYTES - HEADER_BYTES), forged]))
    await write(Buffer.from('third'))
    assert.equal(recovered(start).length, 3)
    assert.deepEqual(recoverRing(dir, SHAPE, ring.next, false).stranded, [])
  })

  test('a segment that is missing or cut is damage, and empty for a repair', async () => {
    for (const text of ['first', 'second']) await write(Buffer.from(text))
    truncateSync(segmentPath(dir, 0), BLOCK_BYTES)
    assert.throws(() => new Ring(dir, SHAPE, start, 0), { code: 'storage-damaged' })
    rmSync(segmentPath(dir, 1))
    assert.throws(() => recoverRing(dir, SHAPE, start, false), { code: 'storage-damaged' })
    assert.equal(recoverRing(dir, SHAPE, start, true).payloads.length, 1)
  })
})
