import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SequenceSet } from '../../runtime/model/sequences.ts'
import { Author } from './author.ts'
import { Played } from './played.ts'

test('where what lies beside the chain, for a fill, is of another branch than the rest, the fork is found there and proven', () => {
  const played = new Played(3)
  const [author, copy] = [new Author(played, 1), new Author(played, 1)]
  for (let n = 0; n < 5; n++) copy.batches.push(author.put('hall', { n }))
  const other = copy.put('hall', { n: -1 })
  for (let n = 5; n < 7; n++) author.put('hall', { n })
  const checkpoint = author.checkpoint([6, 7])
  author.push(2)
  author.tell(8)
  played.say({ type: 'data', batches: [checkpoint.bytes] })
  played.pass(20)
  // The neighbour has the sixth of the one branch, and somebody had that of the other.
  played.say({ type: 'data', batches: [other.bytes, (author.batches[6] as typeof other).bytes] })
  for (let round = 0; round < 3; round++) {
    const wants = played.pass(200).flatMap((message) => (message.type === 'want' ? message.entries : []))
    const asked = new SequenceSet(wants.flatMap(([, , , runs]) => runs ?? []).slice(-2))
    const batches = author.batches.filter(({ header }) => asked.has(header.seq))
    played.say({ type: 'data', batches: batches.map(({ bytes }) => bytes) })
  }
  played.pass(200)
  assert.equal(played.gateway.authority.sealOf(author.feed), 6)
})
