import assert from 'node:assert/strict'
import { test } from 'node:test'
import { OP_PUT, type Batch, type Feed } from '../../runtime/model/batch.ts'
import { hlcFromMs } from '../../runtime/model/stamp.ts'
import { decodeBatch } from '../../runtime/wire/batch.ts'
import { encodeBody } from '../../runtime/wire/body.ts'
import { encodeDescriptor } from '../../runtime/wire/descriptor.ts'
import type { Message } from '../../runtime/wire/message.ts'
import { forgedBatch } from '../fuzz/forge.ts'
import { fakeSignature } from '../simulation/gateway.ts'
import { Played, START_MS } from './played.ts'

const LINK = 100
const LATER_LINK = 2
const NEIGHBOUR = 1
const ANOTHER = 2
const ALIAS = 7

test('a feed of which a neighbour had another branch is asked for again when that one is gone and somebody is ahead', () => {
  const played = new Played()
  const feed = played.neighboursFeed('climate')
  const first = batchOf(played, feed, 1, new Uint8Array(32))
  const other = batchOf(played, feed, 2, new Uint8Array(32).fill(9))
  const second = batchOf(played, feed, 2, first.hash)
  played.link(LATER_LINK, ANOTHER)
  played.sayOn(LATER_LINK, ...headOf(feed, first))
  played.say(...headOf(feed, first))
  played.pass(100)
  played.sayOn(LATER_LINK, { type: 'data', batches: [first.bytes] })
  played.pass(100)
  played.say(...headOf(feed, other), { type: 'data', batches: [other.bytes] })
  const refusals = played.pass(100).filter((message) => message.type === 'nack')
  assert.deepEqual(
    refusals.map(({ code }) => code),
    ['fork'],
  )
  played.gateway.linkDown(LINK)
  played.pass(120_000)
  played.sayOn(LATER_LINK, ...headOf(feed, second))
  const wants = played.pass(1_000).filter((message) => message.type === 'want')
  assert.ok(wants.some(({ entries }) => entries.some(([alias, from]) => alias === ALIAS && from === 2)))
  played.sayOn(LATER_LINK, { type: 'data', batches: [second.bytes] })
  played.pass(1_000)
  assert.equal(played.gateway.disk.head(feed.key)?.seq, 2)
})

function headOf(feed: Feed, { header, hash }: Batch): Message[] {
  return [
    { type: 'feed', alias: ALIAS, descriptor: encodeDescriptor(feed.descriptor), chain: [] },
    { type: 'have', entries: [[ALIAS, header.seq, hash.slice(0, 8)]], marker: null },
  ]
}

function batchOf({ meshId, keys }: Played, feed: Feed, seq: number, prev: Uint8Array): Batch {
  const hlc = hlcFromMs(START_MS) + seq
  const shapes = [{ kind: OP_PUT, paths: ['temperature'] }]
  const { body, flags } = encodeBody({ docs: ['a'], shapes, opDocs: [0], opShapes: [0], values: [seq] }, hlc)
  const header = { feedId: feed.id, seq, prev, hlc, flags, minReader: 1 }
  const bytes = forgedBatch(meshId, header, body, (message) => fakeSignature(keys[NEIGHBOUR] as Uint8Array, message))
  const batch = decodeBatch(meshId, bytes)
  assert.ok(batch.ok)
  return batch.value
}
