import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SELF_COLLECTION } from '../../runtime/model/names.ts'
import { Author } from './author.ts'
import { Played } from './played.ts'

const MINUTE_MS = 60_000

function retained({ gateway }: Played, { feed }: Author): readonly number[] {
  return [...(gateway.disk.head(feed.key)?.retained.values() ?? [])]
}

test('dead batches stay until everyone asked has confirmed the checkpoint that says so', () => {
  const played = new Played(3)
  const [author, other] = [new Author(played, 1), new Author(played, 2, SELF_COLLECTION)]
  for (let n = 0; n < 4; n++) author.put('hall', { n })
  author.checkpoint([4])
  author.push()
  other.beacon([author.held(4)])
  other.push()
  played.pass(2 * MINUTE_MS)
  assert.deepEqual(retained(played, author), [1, 2, 3, 4, 5])
  other.beacon([author.held()])
  other.push()
  played.pass(2 * MINUTE_MS)
  assert.deepEqual(retained(played, author), [4, 5])
})

test('of what died together a delete leaves after what it keeps dead, in whatever feeds they are', () => {
  const played = new Played(3)
  const [deleter, writer, third] = [new Author(played, 1), new Author(played, 2), new Author(played, 3)]
  writer.put('hall', { n: 1 })
  played.pass(10)
  deleter.delete('hall')
  third.put('other', { n: 1 })
  writer.checkpoint([], [deleter.held(), third.held()])
  deleter.checkpoint([], [writer.held(), third.held()], true)
  for (const author of [deleter, writer]) author.push()
  const says = [new Author(played, 1, SELF_COLLECTION), new Author(played, 2, SELF_COLLECTION)] as const
  says[0].beacon([writer.held()])
  says[1].beacon([deleter.held()])
  for (const author of says) author.push()
  played.pass(MINUTE_MS)
  assert.deepEqual(
    [retained(played, deleter), retained(played, writer)],
    [
      [1, 2],
      [1, 2],
    ],
  )
  // Now everything is confirmed, and all of it is found dead at one look.
  third.push()
  played.pass(MINUTE_MS)
  assert.deepEqual([retained(played, deleter), retained(played, writer)], [[2], [2]])
  for (const { after } of played.drops) assert.deepEqual([...after], [])
})
