import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { MarramError } from '../../runtime/base/errors.ts'
import { HTTP_LIMITS } from '../../runtime/base/limits.ts'
import { ask, begin, openDoor } from './door.ts'

function reports(text: string): { [name: string]: unknown }[] {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { [name: string]: unknown })
}

describe('import', () => {
  test('takes documents as export writes them, and flat ones', async (t) => {
    const { dir, operations } = await openDoor(t)
    const lines = [
      '{"key":"a","value":{"x":1}}',
      '{"key":"b","x":2,"y":[3]}',
      '{"key":"c","value":4}',
      '{"key":"d","value":{"x":5},"y":6}',
    ]
    const { text } = await ask(dir, 'POST', 'collections/climate/import', lines.join('\n'))
    assert.deepEqual(reports(text).at(-1), { imported: 4, skipped: 0 })
    assert.deepEqual(
      [...(operations.collections.get('climate') ?? [])],
      [
        ['a', { x: 1 }],
        ['b', { x: 2, y: [3] }],
        ['c', { value: 4 }],
        ['d', { value: { x: 5 }, y: 6 }],
      ],
    )
  })

  test('names each line that is wrong by its number, and takes the others', async (t) => {
    const { dir } = await openDoor(t)
    const wrong: readonly (string | Buffer)[] = [
      'no JSON',
      '[]',
      'null',
      '{"value":{"x":1}}',
      '{"key":7,"x":1}',
      '{"key":"empty"}',
      Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]),
      `{"key":"long","x":"${'x'.repeat(HTTP_LIMITS.lineBytesMax)}"}`,
    ]
    const good = Buffer.from('{"key":"good","x":1}\n')
    const body = wrong.flatMap((line) => [good, Buffer.from(line), Buffer.from('\n\n')])
    const said = reports((await ask(dir, 'POST', 'collections/climate/import', Buffer.concat(body))).text)
    assert.deepEqual(said.at(-1), { imported: wrong.length, skipped: wrong.length })
    const named = said.filter(({ line }) => line !== undefined)
    assert.deepEqual(
      named.map(({ line }) => line).sort((a, b) => Number(a) - Number(b)),
      wrong.map((_, i) => 3 * i + 2),
    )
    for (const { error } of named) assert.match(String(error), /^Cannot /)
  })

  test('keeps the order of lines that write the same document', async (t) => {
    const { dir, operations } = await openDoor(t)
    const lines = Array.from({ length: 3_000 }, (_, i) => `{"key":"same","x":${i}}`)
    await ask(dir, 'POST', 'collections/climate/import', lines.join('\n'))
    assert.deepEqual(operations.get('climate', 'same')?.value, { x: 2_999 })
  })

  test('ends with the error when going on makes no sense, and says up to which line all is dealt with', async (t) => {
    const { dir, operations } = await openDoor(t)
    operations.beforeWrite = (key) => {
      if (key === 'k4') throw new MarramError('storage-full', 'Cannot write: the disk is full')
    }
    // So many that the gateway has not read them all when it answers.
    const lines = ['', ...Array.from({ length: 100_000 }, (_, i) => `{"key":"k${i}","x":1}`)]
    const said = reports((await ask(dir, 'POST', 'collections/climate/import', lines.join('\n'))).text)
    assert.deepEqual(said.at(-1), { error: { code: 'storage-full', message: 'Cannot write: the disk is full' } })
    assert.equal(said.at(-2)?.['lines'], 5, 'the empty line and k0 to k3')
    assert.equal(operations.get('climate', 'k3')?.value['x'], 1)
  })

  test('reads no further ahead than its bound while the disk is slow', async (t) => {
    const { dir, operations } = await openDoor(t)
    let begun = 0
    let proceed: () => void = () => {}
    const slow = new Promise<void>((resolve) => {
      proceed = resolve
    })
    const full = new Promise<void>((resolve) => {
      operations.beforeWrite = () => {
        begun += 1
        if (begun === HTTP_LIMITS.importLinesMax) resolve()
        return slow
      }
    })
    const total = 3 * HTTP_LIMITS.importLinesMax
    const lines = Array.from({ length: total }, (_, i) => `{"key":"k${i}","x":1}\n`)
    const response = await begin(dir, 'POST', 'collections/climate/import', lines.join(''))
    await full
    // Whatever else had been read would have begun by the time this is answered.
    await ask(dir, 'GET', 'status')
    assert.equal(begun, HTTP_LIMITS.importLinesMax)
    proceed()
    let text = ''
    for await (const chunk of response as AsyncIterable<Buffer>) text += chunk.toString()
    assert.deepEqual(reports(text).at(-1), { imported: total, skipped: 0 })
  })
})
