import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import fc from 'fast-check'
import { HTTP_LIMITS } from '../../runtime/base/limits.ts'
import { csvOf, linesOfCsv } from '../../runtime/cli/csv.ts'

interface Read {
  readonly lines: string[]
  readonly refused: [number, string][]
}

async function read(text: string | Buffer, size = 64): Promise<Read> {
  const bytes = Buffer.from(text)
  const count = Math.ceil(bytes.length / size)
  const pieces = Array.from({ length: count }, (_, i) => bytes.subarray(i * size, (i + 1) * size))
  const refused: [number, string][] = []
  const lines: string[] = []
  for await (const line of linesOfCsv(Readable.from(pieces), (number, fault) => refused.push([number, fault])))
    lines.push(line)
  return { lines, refused }
}

async function written(documents: readonly object[]): Promise<string> {
  let text = ''
  for await (const line of csvOf(() => Readable.from(documents.map((each) => JSON.stringify(each)))))
    text += `${line}\n`
  return text
}

test('what is written as CSV reads back equal, whatever the texts and wherever the pieces of the file end', async () => {
  const name = fc.oneof(fc.string({ minLength: 1 }), fc.constantFrom('__proto__', 'constructor', '"', ','))
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('', '1', 'true', '"', 'a\r\nb', ' 1 ', '007', '1e999'),
  )
  const value = fc.oneof(text, fc.jsonValue()).filter((each) => each !== null)
  const document = fc.record({
    key: fc.string({ minLength: 1 }),
    value: fc.dictionary(
      name.filter((n) => n !== 'key'),
      value,
      { minKeys: 1 },
    ),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(document, { minLength: 1 }), fc.integer({ min: 1, max: 9 }), async (documents, size) => {
      const { lines, refused } = await read(await written(documents), size)
      const flat = documents.map((each) => JSON.stringify({ key: each.key, ...sorted(each.value) }))
      assert.deepEqual(lines.filter((line) => line !== '').map(normal), flat.map(normal))
      assert.deepEqual(refused, [])
    }),
  )
})

test('rows of a series keep their time and name, so that they are the same rows when they come back', async () => {
  const rows = [
    { key: 'plug-1', value: { power: 20, time: 7 }, time: '2026-11-27T03:11:23.840Z', row: '01a' },
    { key: 'plug,2', value: { row: 'x' }, time: '2026-11-27T03:11:24.000Z', row: '01b' },
  ]
  const text = await written(rows)
  assert.match(text, /^key,\$time,\$row,power,row,time\nplug-1,2026-11-27T03:11:23\.840Z,01a,20,,7\n/)
  const { lines, refused } = await read(text)
  assert.deepEqual(
    [lines.filter((line) => line !== '').map((line) => JSON.parse(line) as unknown), refused],
    [rows, []],
  )
  // What is added by hand is a new row, at the time of its import.
  assert.equal((await read('key,$time,$row,a\nk,,,1\n')).lines[1], '{"key":"k","a":1}')
  assert.match((await read('key,$time,$row,a\nk,2026-11-27,,1\n')).refused[0]?.[1] ?? '', /a "\$time" and no "\$row"/)
  await assert.rejects(written([{ key: 'k', value: { $row: 1 } }]), /a field "\$row".*use NDJSON/)
})

/** Through JSON, with members in order: what a gateway would keep of it. */
function normal(line: string): unknown {
  return Object.entries(JSON.parse(line) as object).sort(([a], [b]) => (a < b ? -1 : 1))
}

function sorted(value: object): object {
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}

test('cells mean what a spreadsheet shows: numbers, true and false, else text; empty is no field', async () => {
  const { lines } = await read('key,a,b,c,d\nk,1.5,true,kitchen,\n')
  assert.deepEqual(JSON.parse(lines[1] as string), { key: 'k', a: 1.5, b: true, c: 'kitchen' })
})

test('digits that a number would lose stay a text, and numbers that are exact stay numbers', async () => {
  const { lines } = await read('key,serial,code,large,small\nk,12345678901234567890,007,1e+300,0.1\n')
  assert.deepEqual(JSON.parse(lines[1] as string), {
    key: 'k',
    serial: '12345678901234567890',
    code: '007',
    large: 1e300,
    small: 0.1,
  })
})

test('a key is a text, even where it looks like a number', async () => {
  assert.deepEqual((await read('key,a\n42,1\n')).lines, ['', '{"key":"42","a":1}'])
})

test('quotes, line ends of Windows, a byte order mark and a last line without an end are understood', async () => {
  const { lines } = await read('\ufeffkey,a\r\nk,"x, ""y"""\r\nl,5"6')
  assert.deepEqual(lines, ['', '{"key":"k","a":"x, \\"y\\""}', '{"key":"l","a":"5\\"6"}'])
})

test('the number of a line is the number it has in the file, also behind cells over several lines', async () => {
  const { lines, refused } = await read('key,a\nk,"x\ny\nz"\nl,1,surplus\nm,2\n')
  assert.deepEqual(refused, [[5, '"surplus" is in a column that has no name']])
  assert.deepEqual(lines, ['', '{"key":"k","a":"x\\ny\\nz"}', '', '', '', '{"key":"m","a":2}'])
})

test('a file that is no CSV of documents is refused and says why', async () => {
  await assert.rejects(read('name,a\nx,1\n'), /has no column "key"/)
  await assert.rejects(read('key,a,a\nx,1,2\n'), /names "a" twice/)
  await assert.rejects(read(Buffer.from('key,a\nx,\xe4\n', 'latin1')), /must be UTF-8/)
  await assert.rejects(read('key,a\nx,"never closed\ny,1\n'), /quote that has no end/)
  const endless = `key,a\nx,"${'y'.repeat(HTTP_LIMITS.lineBytesMax)}`
  await assert.rejects(read(endless, 65_536), /is a quote not closed/)
})

test('documents that CSV has no place for are refused: a field named key, a field that was new in the second reading', async () => {
  await assert.rejects(written([{ key: 'k', value: { key: 1 } }]), /use NDJSON/)
  let readings = 0
  const growing = (): Readable => {
    readings += 1
    return Readable.from([JSON.stringify({ key: 'k', value: readings === 1 ? { a: 1 } : { a: 1, b: 2 } })])
  }
  await assert.rejects(async () => {
    for await (const _ of csvOf(growing));
  }, /"b" is new since the export began/)
})

test('a field named "value" is not taken for the whole document', async () => {
  const documents = [
    { key: 'k', value: { value: { a: 1 } } },
    { key: 'l', value: { other: 2, value: [3] } },
  ]
  const { lines } = await read(await written(documents))
  assert.deepEqual(
    lines.filter((line) => line !== '').map((line) => JSON.parse(line) as object),
    documents,
  )
  assert.deepEqual((await read('key,value\n,5\nk,5\n')).lines, [
    '',
    '{"value":{"value":5}}',
    '{"key":"k","value":{"value":5}}',
  ])
})
