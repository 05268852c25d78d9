import assert from 'node:assert/strict'
import { test } from 'node:test'
import { aligned, table } from '../../runtime/cli/table.ts'

test('columns are aligned; a name with a line end forges no row, and one very wide cell moves no other line', () => {
  assert.equal(
    table(
      ['NAME', 'PEER'],
      [
        ['shop\nroof  p9', 'p1'],
        ['b', 'p2'],
      ],
    ),
    'NAME            PEER\nshop\\nroof  p9  p1\nb               p2',
  )
  const wide = 'x'.repeat(100)
  assert.deepEqual(aligned([[wide, 'by me'], ['1', 'by me'], ['alone']]), [
    `${wide}  by me`,
    `1${' '.repeat(39)}  by me`,
    'alone',
  ])
})
