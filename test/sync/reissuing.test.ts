import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hex } from '../../runtime/base/bytes.ts'
import { OP_ADD, OP_REMOVE, type Batch } from '../../runtime/model/batch.ts'
import { fieldsOf } from '../../runtime/model/fields.ts'
import { SELF_COLLECTION } from '../../runtime/model/names.ts'
import { FORK_PREFIX } from '../../runtime/sync/forks.ts'
import { encodeProof } from '../../runtime/wire/proof.ts'
import { Author } from './author.ts'
import { Played } from './played.ts'

const PLACE = { collection: 'climate', partition: '' }

function shown({ gateway }: Played, key: string): unknown {
  const document = gateway.disk.document(PLACE, key)
  return document && fieldsOf(document)
}

/** A former incarnation of the gateway has written this, and a copy of it something else from the second batch on. */
function fork(played: Played, former: Author): void {
  const copy = new Author(played, 0)
  copy.batches.push(former.batches[0] as Batch)
  const theirs = copy.put('elsewhere', { n: 0 })
  const member = new Author(played, 1, SELF_COLLECTION)
  const proof = encodeProof(former.feed, former.batches[1] as Batch, theirs)
  member.put(FORK_PREFIX + hex(former.feed.id), { proof })
  member.push()
}

test('what was added and removed again on a branch that is void does not come back', () => {
  const played = new Played()
  const former = new Author(played, 0)
  former.put('hall', { n: 1 })
  const { header } = former.write({
    docs: ['hall'],
    shapes: [{ kind: OP_ADD, paths: ['tags'] }],
    values: [['brief', 'kept']],
  })
  const seen = ['e"brief"', header.hlc, 0, former.feed.origin]
  former.write({ docs: ['hall'], shapes: [{ kind: OP_REMOVE, paths: ['tags'] }], values: [[seen]] })
  former.push()
  assert.deepEqual(shown(played, 'hall'), { n: 1, tags: ['kept'] })
  fork(played, former)
  played.pass(60_000)
  assert.equal(played.gateway.disk.head(former.feed.key)?.seq, 1)
  assert.deepEqual(shown(played, 'hall'), { n: 1, tags: ['kept'] })
})
