import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fieldsOf } from '../../runtime/model/fields.ts'
import { SequenceSet } from '../../runtime/model/sequences.ts'
import { encodeDescriptor } from '../../runtime/wire/descriptor.ts'
import { SimulatedDisk, type DiskFeed } from '../simulation/disk.ts'
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
