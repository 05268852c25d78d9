import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeValue } from '../../runtime/wire/cbor.ts'
import { encodeDescriptor } from '../../runtime/wire/descriptor.ts'
import { encodeMessages, type Message } from '../../runtime/wire/message.ts'
import { Author } from './author.ts'
import { SequenceSet } from '../../runtime/model/sequences.ts'
import { cursorKey } from '../../runtime/sync/cursors.ts'
import { FeedState } from '../../runtime/sync/feeds.ts'
import { Holding } from '../../runtime/sync/holdings.ts'
import { Played } from './played.ts'

const MINUTE_MS = 60_000
const CREDIT = 1_048_576
const FIRST_LINK = 100
const NEIGHBOUR = 1
/** A second neighbour. */
const OTHER_LINK = 2
const OTHER = 3

/** Our feed of two batches; the neighbour says that its cursor has passed it although it lacks some. */
function withLackingNeighbour(): { readonly played: Played; readonly alias: number } {
  const played = new Played()
  for (const value of [1, 2]) {
    played.gateway.write('climate', { kind: 'put', key: 'hall', fields: { temperature: value } })
    played.pass(1_000)
  }
  const alias = played.aliasOf('climate')
  played.say({ type: 'ack', lsn: 0, credit: CREDIT, entries: [[alias, 1]] })
  sayLacking(played, alias)
  played.pass(1_000)
  assert.equal(held(played), 1)
  return { played, alias }
}

function sayLacking(played: Played, alias: number): void {
  const lsn = played.gateway.engine?.view.lsn ?? 0
  played.say({ type: 'ack', lsn, credit: CREDIT, entries: [], lacking: [alias] })
}

function held(played: Played, collection = 'climate'): number | undefined {
  return played.gateway.engine?.heldBy(played.ownFeed(collection).key)[0]
}

function timesTold(said: readonly Message[], alias: number): number {
  const told = said.flatMap((message) => (message.type === 'have' ? message.entries : []))
  return told.filter(([of]) => of === alias).length
}

test('a feed that a neighbour lacked and names no more is told again, for its confirmation may be lost', () => {
  const { played, alias } = withLackingNeighbour()
  const lsn = played.gateway.engine?.view.lsn ?? 0
  played.say({ type: 'ack', lsn, credit: CREDIT, entries: [] })
  const said = played.pass(2 * MINUTE_MS)
  assert.ok(timesTold(said, alias) > 0, 'it was never told again')
  played.say({ type: 'ack', lsn, credit: CREDIT, entries: [[alias, 2]] })
  assert.equal(held(played), 2)
})

test('a feed that a neighbour goes on naming as lacking is not told again and again', () => {
  const { played, alias } = withLackingNeighbour()
  const said = played.pass(2 * MINUTE_MS)
  assert.equal(timesTold(said, alias), 0)
})

test('SPEC I31: of a cursor that has passed what we never heard of nothing is believed, and all since is told again', () => {
  const { played } = withLackingNeighbour()
  played.gateway.write('plugs', { kind: 'put', key: 'lamp', fields: { isOn: true } })
  played.pass(1_000)
  // That the new feed was passed over was said with the cursor, and is lost.
  const cursor = { instance: played.gateway.incarnation, lsn: played.gateway.engine?.view.lsn ?? 0 }
  played.again(['*'], cursor)
  assert.equal(held(played, 'plugs'), 0)
  const said = played.pass(1_000)
  assert.equal(timesTold(said, played.aliasOf('plugs')), 1)
  played.say({ type: 'ack', lsn: cursor.lsn, credit: CREDIT, entries: [] })
  assert.equal(held(played, 'plugs'), 0)
})

test('a gateway goes on from the cursor that it said, though a later one has come to the disk by the time it is answered', () => {
  const played = new Played()
  const author = new Author(played, NEIGHBOUR)
  author.put('hall', { temperature: 1 })
  author.push()
  played.say({ type: 'have', entries: [], marker: { lsn: 1, frames: 4, numbered: 0 } })
  // The link goes, and with it a cursor to the disk; another comes up at once.
  played.gateway.linkDown(FIRST_LINK)
  played.gateway.linkUp(OTHER_LINK, NEIGHBOUR)
  const greeting = played.pass(100).find(({ type }) => type === 'hello')
  assert.ok(played.gateway.disk.getRecord(cursorKey(played.peerIdOf(NEIGHBOUR))), 'no cursor was kept')
  assert.deepEqual(greeting?.type === 'hello' && greeting.cursor, null)
  played.greet(OTHER_LINK, NEIGHBOUR, ['*'], null, 1)
  played.sayOn(OTHER_LINK, { type: 'have', entries: [], marker: null })
  const confirmed = played.pass(1_000).flatMap((message) => (message.type === 'ack' ? [message.lsn] : []))
  assert.deepEqual([...new Set(confirmed)], [0])
})

test('a neighbour whose cursor we heard of is told of nothing again', () => {
  const { played, alias } = withLackingNeighbour()
  const cursor = { instance: played.gateway.incarnation, lsn: played.gateway.engine?.view.lsn ?? 0 }
  played.say({ type: 'ack', lsn: cursor.lsn, credit: CREDIT, entries: [[alias, 2]] })
  played.again(['*'], cursor)
  const said = played.pass(1_000)
  assert.equal(said.filter(({ type }) => type === 'feed').length, 0)
})

test('SPEC I31: of a feed that jumped a neighbour is not taken to have what was passed over', () => {
  const feed = new Played().ownFeed('climate')
  const holding = new Holding('neighbour')
  holding.lsn = 179
  const jumped = new FeedState(feed, false)
  jumped.head = { ...jumped.head, seq: 15 }
  jumped.lsn = 191
  jumped.history.retained = new SequenceSet([8, 8, 10, 10, 12, 15])
  assert.equal(holding.heldAbout(jumped), 0)
  holding.lsn = 189
  assert.equal(holding.heldAbout(jumped), 13)
  holding.lsn = 187
  assert.equal(holding.heldAbout(jumped), 10)
})

test('SPEC I31: who offers a checkpoint has what is before its floor, and the checkpoint along the chain when it says so', () => {
  const played = new Played()
  const author = new Author(played, 1)
  for (let n = 0; n < 3; n++) author.put('hall', { n })
  const checkpoint = author.checkpoint([3])
  author.push()
  played.link(OTHER_LINK, OTHER)
  const { descriptor } = author.feed
  const { hash8 } = author.held(3)
  const messages: Message[] = [
    { type: 'feed', alias: 5, descriptor: encodeDescriptor(descriptor), chain: [] },
    { type: 'have', entries: [[5, 3, hash8]], marker: null },
    { type: 'data', batches: [checkpoint.bytes] },
  ]
  played.gateway.frame(OTHER_LINK, encodeMessages(messages))
  const holdings = played.gateway.engine?.view.holdings ?? []
  const lag = holdings.find(({ peerId }) => peerId === played.peerIdOf(OTHER))?.lag
  assert.deepEqual(lag, [{ feedKey: author.feed.key, held: 3, head: 4 }])
})

test('of a feed that begins with a jump no neighbour is thought to hold parts that came before', () => {
  const played = new Played(3)
  const author = new Author(played, 1)
  for (let n = 1; n <= 20; n++) author.put('hall', { n })
  author.checkpoint([3, 20])
  const other = 500
  played.link(other, 2)
  author.offer(21, [3])
  const { engine } = played.gateway
  played.sayOn(other, { type: 'ack', entries: [], lsn: engine?.view.lsn ?? 0, credit: 1_048_576 })
  played.pass(100)
  author.offer(21)
  assert.equal(played.gateway.disk.head(author.feed.key)?.seq, 21)
  const holding = engine?.view.holdings.find(({ peerId }) => peerId === played.peerIdOf(2))
  assert.deepEqual(
    holding?.lag.filter(({ feedKey }) => feedKey === author.feed.key).map(({ held }) => held),
    [0],
  )
})

test('SPEC I31: nor after a crash that lost what had been noted at the jump, whether it was the first or not', () => {
  const feed = new Played().ownFeed('climate')
  const holding = new Holding('neighbour')
  holding.lsn = 100
  const jumped = new FeedState(feed, false)
  jumped.head = { ...jumped.head, seq: 21 }
  jumped.history.retained = new SequenceSet([1, 5, 8, 8, 20, 21])
  jumped.history.baseSeq = 21
  jumped.history.preJump = 5
  // The parts came before the number, the jump after it.
  jumped.lsn = 101
  assert.equal(holding.heldAbout(jumped), 4)
  jumped.history.retained = new SequenceSet([8, 8, 20, 21])
  jumped.history.preJump = 0
  assert.equal(holding.heldAbout(jumped), 0)
  // Three batches since: the jump is older.
  jumped.head = { ...jumped.head, seq: 24 }
  jumped.history.retained = new SequenceSet([8, 8, 20, 24])
  jumped.lsn = 103
  assert.equal(holding.heldAbout(jumped), 21)
})

test('SPEC I31: parts beside the chain of a feed, beyond its head, are thought to be with nobody', () => {
  const feed = new Played().ownFeed('climate')
  const holding = new Holding('neighbour')
  holding.lsn = 100
  const filling = new FeedState(feed, false)
  filling.head = { ...filling.head, seq: 5 }
  filling.history.retained = new SequenceSet([1, 5, 8, 8, 10, 10])
  // The last was a batch of the chain.
  filling.lsn = 101
  assert.equal(holding.heldAbout(filling), 4)
})

test('SPEC I31: who has another branch of an own feed, or more than was written here, is not taken to have what is ours', () => {
  const played = new Played()
  for (const value of [1, 2]) {
    played.gateway.write('climate', { kind: 'put', key: 'hall', fields: { temperature: value } })
    played.pass(1_000)
  }
  const alias = played.aliasOf('climate')
  const { descriptor } = played.ownFeed('climate')
  played.say({ type: 'ack', lsn: 0, credit: CREDIT, entries: [[alias, 3]] })
  assert.equal(held(played), 0)
  played.say({ type: 'ack', lsn: 0, credit: CREDIT, entries: [[alias, 2]] })
  assert.equal(held(played), 2)
  played.say({ type: 'feed', alias: 7, descriptor: encodeDescriptor(descriptor), chain: [] })
  played.say({ type: 'have', entries: [[7, 2, new Uint8Array(8)]], marker: null })
  assert.equal(held(played), 0)
})

test('SPEC I31: to who has another branch of a feed nothing of it is confirmed while that is looked into', () => {
  const played = new Played()
  const author = new Author(played, NEIGHBOUR)
  for (const temperature of [1, 2]) author.put('hall', { temperature })
  author.push()
  played.link(OTHER_LINK, OTHER)
  played.pass(1_000)
  played.sayOn(OTHER_LINK, { type: 'feed', alias: 5, descriptor: encodeDescriptor(author.feed.descriptor), chain: [] })
  played.sayOn(OTHER_LINK, { type: 'have', entries: [[5, 2, new Uint8Array(8)]], marker: null })
  const acked = played.pass(1_000).flatMap((message) => (message.type === 'ack' ? message.entries : []))
  assert.deepEqual(
    acked.filter(([alias]) => alias === 5),
    [],
  )
})

test('what a neighbour had said to hold of a store that is gone never counts again, however far the one that is here comes', () => {
  const played = new Played()
  const { gateway } = played
  const write = (collection: string, count: number): void => {
    for (let n = 0; n < count; n++) {
      gateway.write(collection, { kind: 'put', key: 'hall', fields: { n } })
      played.pass(1_000)
    }
  }
  write('climate', 1)
  const lsn = (gateway.engine?.view.lsn ?? 0) + 3
  gateway.linkDown(FIRST_LINK)
  played.pass(1_000)
  const peerId = played.peerIdOf(NEIGHBOUR)
  const key = `sync/held/${peerId}`
  const said = encodeValue([new Uint8Array(8).fill(NEIGHBOUR), 0, lsn, 0, '', '', new Uint8Array(0), [], ['*']])
  gateway.crash()
  gateway.disk.append({ batches: [], records: [{ key, value: said }] })
  gateway.disk.flushOne()
  gateway.start()
  write('energy', 1)
  write('climate', 8)
  gateway.crash()
  gateway.start()
  assert.equal(held(played, 'energy'), 0)
})

test('SPEC I31: who says a head of an own feed that another batch is here is not taken to have what was written here', () => {
  const played = new Played()
  for (const value of [1, 2, 3]) {
    played.gateway.write('climate', { kind: 'put', key: 'hall', fields: { temperature: value } })
    played.pass(1_000)
  }
  const { descriptor } = played.ownFeed('climate')
  played.say({ type: 'feed', alias: 7, descriptor: encodeDescriptor(descriptor), chain: [] })
  played.say({ type: 'have', entries: [[7, 2, new Uint8Array(8)]], marker: null })
  played.say({ type: 'ack', lsn: 0, credit: CREDIT, entries: [[played.aliasOf('climate'), 2]] })
  assert.equal(held(played), 0)
  const wants = played.pass(1_000).flatMap((message) => (message.type === 'want' ? message.entries : []))
  assert.deepEqual(wants.at(-1), [7, 2, 0, [2, 2]], 'what it has is looked into')
})

test('a feed that is told of and never comes, however often it is asked for, holds the cursor up for a minute and is named with it', () => {
  const played = new Played()
  const author = new Author(played, NEIGHBOUR)
  author.put('hall', { temperature: 1 })
  author.tell(1)
  played.say({ type: 'have', entries: [], marker: { lsn: 5, frames: 0, numbered: 0 } })
  const acks = played.pass(3 * MINUTE_MS).flatMap((message) => (message.type === 'ack' ? [message] : []))
  const last = acks.at(-1)
  assert.deepEqual([last?.lsn, last?.lacking?.length], [5, 1])
})
