import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hex } from '../../runtime/base/bytes.ts'
import { encodeDescriptor } from '../../runtime/wire/descriptor.ts'
import { SimulatedDisk, type DiskFeed } from '../simulation/disk.ts'
import { Played } from './played.ts'

const ALIAS = 9
/** The one after the restart. */
const LINK = 2

function write(played: Played, temperature: number): void {
  played.gateway.write('climate', { kind: 'put', key: 'hall', fields: { temperature } })
  played.pass(100)
}

/** An older state of the store is put back, and the gateway goes on with it. */
function putBack({ gateway }: Played, { feed, batches }: DiskFeed, count: number): void {
  gateway.crash()
  gateway.disk = new SimulatedDisk(gateway.watch)
  const left = [...batches.values()].slice(0, count).map((held) => ({ feed, ...held }))
  gateway.disk.append({ batches: left, records: [] })
  gateway.disk.flushOne()
  gateway.start()
}

test('a store that was put back goes on under a new incarnation once a neighbour shows a later batch of its own', () => {
  const played = new Played()
  for (const temperature of [1, 2]) write(played, temperature)
  const { key, descriptor } = played.ownFeed('climate')
  const whole = played.gateway.disk.feeds.get(key) as DiskFeed
  const last = whole.batches.get(2)?.batch
  assert.ok(last !== undefined)
  const before = hex(played.gateway.incarnation)
  putBack(played, whole, 1)
  played.link(LINK, 1)
  played.sayOn(LINK, { type: 'feed', alias: ALIAS, descriptor: encodeDescriptor(descriptor), chain: [] })
  played.sayOn(LINK, { type: 'have', entries: [[ALIAS, 2, last.hash.slice(0, 8)]], marker: null })
  played.sayOn(LINK, { type: 'data', batches: [last.bytes] })
  played.pass(1_000)
  assert.notEqual(hex(played.gateway.incarnation), before)
})
