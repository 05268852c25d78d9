import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fieldsOf } from '../../runtime/model/fields.ts'
import { SequenceSet } from '../../runtime/model/sequences.ts'
import { encodeDescriptor } from '../../runtime/wire/descriptor.ts'
import { appliedCheckpoint } from '../simulation/checks.ts'
import { SimulatedDisk, type DiskFeed } from '../simulation/disk.ts'
import { incomplete } from '../simulation/histories.ts'
import { Author } from './author.ts'
import { Played } from './played.ts'

const COUNTED = 5
const ALIAS = 9
/** The one after the restart. */
const LINK = 2

function count(played: Played): void {
  played.gateway.write('climate', { kind: 'count', key: 'door', path: 'opened', by: 1 })
  played.pass(100)
}

function total(played: Played): unknown {
  const document = played.gateway.disk.document({ collection: 'climate', partition: '' }, 'door')
  return document && fieldsOf(document)['opened']
}

/** The gateway goes on with a log that lacks its last batch, and documents that know nothing of it. */
function loseLast({ gateway }: Played, { feed, batches, head }: DiskFeed): void {
  gateway.crash()
  gateway.disk = new SimulatedDisk(gateway.watch)
  const left = [...batches.values()].slice(0, -1).map((held) => ({ feed, ...held }))
  gateway.disk.append({ batches: left, drops: [{ feed, seqs: new SequenceSet(), head }], records: [] })
  gateway.disk.flushOne()
  gateway.start()
}

test('what is counted while the last counts are lacking is counted beside them, so that all is there when they are back', () => {
  const played = new Played()
  for (let i = 0; i < COUNTED; i++) count(played)
  const { key, descriptor } = played.ownFeed('climate')
  const whole = played.gateway.disk.feeds.get(key) as DiskFeed
  const last = whole.batches.get(COUNTED)?.batch
  assert.ok(last !== undefined)
  loseLast(played, whole)
  assert.equal(total(played), COUNTED - 1)
  count(played)
  played.link(LINK, 1)
  played.sayOn(LINK, { type: 'feed', alias: ALIAS, descriptor: encodeDescriptor(descriptor), chain: [] })
  played.sayOn(LINK, { type: 'have', entries: [[ALIAS, COUNTED, last.hash.slice(0, 8)]], marker: null })
  const wants = played.pass(10_000).flatMap((message) => (message.type === 'want' ? message.entries : []))
  assert.deepEqual(wants.at(-1), [ALIAS, COUNTED, 0, [COUNTED, COUNTED]])
  played.sayOn(LINK, { type: 'data', batches: [last.bytes] })
  played.pass(1_000)
  assert.equal(total(played), COUNTED + 1)
})

test('a feed whose checkpoint is damaged goes by it all the same, and asks for nothing that it had declared dead', () => {
  const played = new Played()
  const { gateway } = played
  const author = new Author(played, 1)
  for (let i = 1; i <= 6; i++) author.put('hall', { temperature: i })
  const checkpoint = author.checkpoint([1, 6])
  const { seq } = checkpoint.header
  author.put('hall', { temperature: 7 })
  author.push()
  const dead = SequenceSet.range(2, 5)
  const { feed } = author
  gateway.disk.append({ batches: [], drops: [{ feed, seqs: dead }], records: [] })
  gateway.disk.append({ batches: [], drops: [{ feed, seqs: SequenceSet.of([seq]), isDamaged: true }], records: [] })
  while (gateway.disk.cached > 0) gateway.disk.flushOne()
  gateway.crash()
  gateway.start()
  played.link(LINK, 1)
  played.sayOn(LINK, { type: 'feed', alias: ALIAS, descriptor: encodeDescriptor(feed.descriptor), chain: [] })
  const { hash8 } = author.held()
  played.sayOn(LINK, { type: 'have', entries: [[ALIAS, author.batches.length, hash8]], marker: null })
  const wants = played.pass(30_000).flatMap((message) => (message.type === 'want' ? message.entries : []))
  const numbers = wants.map(([, , , runs]) => runs).filter((runs) => runs !== undefined)
  assert.ok(numbers.length > 0)
  for (const runs of numbers) assert.deepEqual(runs, [seq, seq])
  played.sayOn(LINK, { type: 'data', batches: [checkpoint.bytes] })
  played.pass(10_000)
  assert.equal(appliedCheckpoint(gateway, feed)?.seq, seq)
  assert.deepEqual(incomplete(gateway), [])
})
