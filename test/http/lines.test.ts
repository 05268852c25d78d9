import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import fc from 'fast-check'
import { readBody, readLines } from '../../runtime/http/lines.ts'

async function linesOf(chunks: readonly Buffer[], bytesMax = 1_000): Promise<string[]> {
  const lines: string[] = []
  for await (const line of readLines(Readable.from(chunks), bytesMax)) lines.push(line.toString('utf8'))
  return lines
}

/** The bytes in pieces that may end anywhere, within a character too. */
function inPieces(text: string, size: number): Buffer[] {
  const bytes = Buffer.from(text)
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size))
}

test('lines are what stands between line ends, wherever the pieces of the stream end', async () => {
  const line = fc.string({ unit: 'binary' }).filter((text) => !/[\r\n]/.test(text))
  await fc.assert(
    fc.asyncProperty(fc.array(line), fc.integer({ min: 1, max: 7 }), async (lines, size) => {
      const text = lines.map((each) => `${each}\n`).join('')
      assert.deepEqual(await linesOf(inPieces(text, size)), lines)
    }),
  )
})

test('a last line without an end counts, and line ends of Windows are taken off', async () => {
  assert.deepEqual(await linesOf([Buffer.from('a\r\n\r\nb')]), ['a', '', 'b'])
})

test('a line over the bound is cut behind it, and those after it are whole', async () => {
  const pieces = inPieces(`${'x'.repeat(5_000)}\nnext\n`, 64)
  const [long, next, ...rest] = await linesOf(pieces, 100)
  assert.ok(long !== undefined && long.length > 100 && long.length <= 164)
  assert.deepEqual([next, ...rest], ['next'])
})

test('a body over the bound is refused before all of it is in memory', async () => {
  let given = 0
  const endless = async function* (): AsyncGenerator<Buffer> {
    for (;;) {
      given += 1
      yield Buffer.alloc(100)
    }
  }
  await assert.rejects(readBody(endless(), 1_000), { code: 'too-large' })
  assert.equal(given, 11)
  assert.equal(await readBody(Readable.from([Buffer.alloc(1_000, 'a')]), 1_000), 'a'.repeat(1_000))
})

test('a body that is no UTF-8 is refused, a letter in two pieces is read', async () => {
  await assert.rejects(readBody(Readable.from([Buffer.from([98, 255, 99])]), 10), { code: 'bad-request' })
  assert.equal(await readBody(Readable.from([Buffer.from([0xc3]), Buffer.from([0xa4])]), 10), 'ä')
})
