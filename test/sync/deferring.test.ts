import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hex } from '../../runtime/base/bytes.ts'
import { GATEWAY_LIMITS } from '../../runtime/base/limits.ts'
import type { Batch } from '../../runtime/model/batch.ts'
import { fieldsOf } from '../../runtime/model/fields.ts'
import { SELF_COLLECTION } from '../../runtime/model/names.ts'
import { decodeMessages } from '../../runtime/wire/message.ts'
import { encodeDescriptor } from '../../runtime/wire/descriptor.ts'
import { AHEAD_PREFIX } from '../../runtime/sync/overrun.ts'
import { encodeAheadSeal } from '../../runtime/wire/ahead-seal.ts'
import { Mesh } from '../simulation/mesh.ts'
import { Author } from './author.ts'
import { Played } from './played.ts'

const MINUTE_MS = 60_000

test('of many batches stamped ahead, whose times come one after another, few are sent in vain', () => {
  let sent = 0
  const mesh = new Mesh({
    gateways: 2,
    edges: [[0, 1]],
    onFrame: (from, _to, bytes) => {
      const messages = from === 0 ? decodeMessages(bytes) : null
      if (!messages?.ok) return
      for (const message of messages.value) if (message.type === 'data') sent += message.batches.length
    },
  })
  const [author, other] = [mesh.at(0), mesh.at(1)]
  mesh.pass(1_000)
  sent = 0
  const batches = 300
  // Later than what is let pass, and not so late that it would set itself back.
  author.clockBaseMs += 600_000
  for (let i = 0; i < batches; i++) {
    author.write('climate', { kind: 'put', key: `sensor-${i}`, fields: { temperature: i } })
    mesh.pass(1_000)
  }
  mesh.pass(30_000)
  const before = other.disk.document({ collection: 'climate', partition: '' }, 'sensor-0')
  assert.ok(before !== undefined, 'what is due is here')
  mesh.pass(330_000)
  for (let i = 0; i < batches; i++) {
    assert.ok(other.disk.document({ collection: 'climate', partition: '' }, `sensor-${i}`), `batch ${i} is here`)
  }
  assert.ok(sent <= 12 * batches, `${sent} batches were sent for ${batches}`)
})

/** Writes on under a clock that is ten minutes ahead, and says that what it wrote before is dead. */
function goOnAhead(author: Author): void {
  author.put('hall', { temperature: author.batches.length }, 10 * MINUTE_MS)
  author.checkpoint([author.batches.length])
}

test('where one neighbour offers a checkpoint before its time, what comes before it is had from another', () => {
  const played = new Played(3)
  const author = new Author(played, 1)
  for (let n = 1; n <= 3; n++) author.put('hall', { temperature: n })
  goOnAhead(author)
  author.offer(5)
  const [link, alias] = [7, 77]
  played.link(link, 2)
  played.sayOn(link, { type: 'feed', alias, descriptor: encodeDescriptor(author.feed.descriptor), chain: [] })
  played.sayOn(link, { type: 'have', entries: [[alias, 3, author.held(3).hash8]], marker: null })
  const wants = played.pass(500).flatMap((message) => (message.type === 'want' ? message.entries : []))
  assert.deepEqual(
    wants.filter(([asked]) => asked === alias),
    [[alias, 1, 1]],
  )
})

test('a feed whose author’s clock stays ahead goes on by the checkpoint that was offered first, when its time has come', () => {
  const played = new Played()
  const author = new Author(played, 1)
  for (let n = 1; n <= 3; n++) author.put('hall', { temperature: n })
  goOnAhead(author)
  author.offer(5)
  assert.equal(played.gateway.disk.head(author.feed.key), undefined)
  played.pass(6 * MINUTE_MS)
  goOnAhead(author)
  author.offer(7)
  assert.equal(played.gateway.disk.head(author.feed.key)?.seq, 5)
})

test('a checkpoint that was offered before its time and is void by then keeps nobody from asking that neighbour', () => {
  const played = new Played(3)
  const [author, self] = [new Author(played, 1), new Author(played, 1, SELF_COLLECTION)]
  for (let n = 1; n <= 3; n++) author.put('hall', { temperature: n })
  goOnAhead(author)
  author.offer(5)
  self.put(AHEAD_PREFIX + hex(author.feed.id), { sealed: encodeAheadSeal(author.feed, author.batches[3] as Batch, 4) })
  self.push()
  const wants = [...author.tell(3), ...played.pass(MINUTE_MS)].flatMap((one) =>
    one.type === 'want' ? one.entries : [],
  )
  assert.ok(
    wants.some(([, from, mode]) => from === 1 && mode === 1),
    'the feed is asked for from its beginning',
  )
})

test('where the time becomes known while a checkpoint is fetched that is before its time, what comes before is had from another', () => {
  const played = new Played(3)
  const { gateway } = played
  gateway.crash()
  gateway.trust = 0
  gateway.start()
  played.again()
  const author = new Author(played, 1)
  for (let n = 1; n <= 3; n++) author.put('hall', { temperature: n })
  goOnAhead(author)
  author.tell(5)
  played.say({ type: 'data', batches: [(author.batches[4] as Batch).bytes] })
  played.pass(20)
  gateway.trust = 2
  played.say({ type: 'data', batches: [(author.batches[3] as Batch).bytes] })
  played.pass(1_000)
  const [link, alias] = [7, 77]
  played.link(link, 2)
  played.sayOn(link, { type: 'feed', alias, descriptor: encodeDescriptor(author.feed.descriptor), chain: [] })
  played.sayOn(link, { type: 'have', entries: [[alias, 3, author.held(3).hash8]], marker: null })
  const wants = played.pass(MINUTE_MS).flatMap((message) => (message.type === 'want' ? message.entries : []))
  assert.ok(
    wants.some(([asked, from]) => asked === alias && from === 1),
    'it is asked for from its beginning',
  )
  gateway.linkDown(link)
  played.pass(10 * MINUTE_MS)
  author.offer(5)
  assert.equal(gateway.disk.head(author.feed.key)?.seq, 5)
})

test('of checkpoints that were offered before their time those that are passed by now take no place from others', () => {
  const played = new Played(3)
  const others = Array.from({ length: GATEWAY_LIMITS.earlyPerLinkMax }, (_, n) => {
    return new Author(played, 2, `other-${n}`, 300 + n)
  })
  for (const other of others) {
    goOnAhead(other)
    other.offer(2)
  }
  played.pass(11 * MINUTE_MS)
  for (const other of others) {
    other.push()
    assert.equal(played.gateway.disk.head(other.feed.key)?.seq, 2)
  }
  const author = new Author(played, 1)
  author.put('hall', { temperature: 1 })
  goOnAhead(author)
  author.offer(3)
  const [link, alias] = [7, 77]
  played.link(link, 2)
  played.sayOn(link, { type: 'feed', alias, descriptor: encodeDescriptor(author.feed.descriptor), chain: [] })
  played.sayOn(link, { type: 'have', entries: [[alias, 1, author.held(1).hash8]], marker: null })
  const wants = played.pass(500).flatMap((message) => (message.type === 'want' ? message.entries : []))
  assert.deepEqual(
    wants.filter(([asked]) => asked === alias),
    [[alias, 1, 1]],
  )
})

test('a feed that waits as a whole, for many are offered before their time, waits no longer when a second seal is lower', () => {
  const played = new Played(3)
  const [author, self] = [new Author(played, 1), new Author(played, 1, SELF_COLLECTION)]
  for (let n = 1; n <= 3; n++) author.put('hall', { temperature: n })
  goOnAhead(author)
  author.put('hall', { temperature: 6 }, 10 * MINUTE_MS)
  for (let n = 0; n < GATEWAY_LIMITS.earlyPerLinkMax; n++) {
    const other = new Author(played, 2, `other-${n}`, 300 + n)
    goOnAhead(other)
    other.offer(2)
  }
  const sealAt = (seq: number): void => {
    const sealed = encodeAheadSeal(author.feed, author.batches[seq - 1] as Batch, seq)
    self.put(AHEAD_PREFIX + hex(author.feed.id), { sealed })
    self.push()
  }
  sealAt(6)
  author.offer(5)
  played.pass(MINUTE_MS)
  sealAt(4)
  const wants = [...author.tell(3), ...played.pass(MINUTE_MS)].flatMap((one) =>
    one.type === 'want' ? one.entries : [],
  )
  assert.ok(
    wants.some(([alias, from, mode]) => alias === 201 && from === 1 && mode === 1),
    'the feed is asked for from its beginning',
  )
})

test('what comes before a batch that waits for its time is asked for again when the disk had no room for it', () => {
  const played = new Played()
  const author = new Author(played, 1)
  for (let n = 1; n <= 3; n++) author.put('hall', { temperature: n })
  author.put('hall', { temperature: 4 }, 10 * MINUTE_MS)
  played.gateway.isDiskFull = true
  author.push()
  played.gateway.isDiskFull = false
  const wants = played.pass(MINUTE_MS).flatMap((one) => (one.type === 'want' ? one.entries : []))
  assert.ok(
    wants.some(([, from, mode]) => from === 1 && mode === 1),
    'the feed is asked for from its beginning',
  )
})

test('a feed whose author’s clock stays ahead goes on though the link is lost again and again before a checkpoint’s time has come', () => {
  const mesh = new Mesh({ gateways: 2, edges: [[0, 1]] })
  const [author, other] = [mesh.at(0), mesh.at(1)]
  author.clockBaseMs += 10 * MINUTE_MS
  let written = 0
  for (let minute = 1; minute <= 20; minute++) {
    for (let i = 0; i < 6; i++) {
      author.write('climate', { kind: 'put', key: 'hall', fields: { written: ++written } })
      mesh.pass(10_000)
    }
    if (minute % 2 > 0) continue
    mesh.linkDown(0)
    mesh.linkUp(0)
  }
  const document = other.disk.document({ collection: 'climate', partition: '' }, 'hall')
  const shown = Number(fieldsOf(document ?? assert.fail('nothing is here'))['written'])
  // Five minutes are let pass, and the other five it lags behind.
  assert.ok(shown >= written - 6 * 6, `of ${written} writes ${shown} are here`)
})

test('when the disk refuses what comes before a batch whose time has not come, it is asked for again at once', () => {
  const played = new Played()
  const author = new Author(played, 1)
  for (let n = 1; n <= 3; n++) author.put('hall', { temperature: n })
  author.put('hall', { temperature: 4 }, 600 * MINUTE_MS)
  played.gateway.isDiskFull = true
  author.push()
  played.gateway.isDiskFull = false
  const wants = played.pass(2_000).flatMap((message) => (message.type === 'want' ? message.entries : []))
  assert.ok(
    wants.some(([, from, mode]) => from === 1 && mode === 1),
    'it is asked for from its beginning',
  )
  played.say({ type: 'data', batches: author.batches.map(({ bytes }) => bytes) })
  played.pass(200)
  assert.equal(played.gateway.disk.head(author.feed.key)?.seq, 3)
})

/** Once behind for ever: who had been sent what an author stamped in 2099, before its store was put back and it wrote something else. */
test('of what waits for a time that is far another neighbour that is ahead may have another branch: it is asked too', () => {
  const played = new Played(3)
  const { gateway } = played
  const author = new Author(played, 1)
  for (let n = 1; n <= 3; n++) author.put('hall', { temperature: n })
  author.push()
  author.put('hall', { temperature: 4 }, 600 * MINUTE_MS)
  author.push()
  author.batches.pop()
  const [link, alias] = [7, 77]
  const batch = author.put('hall', { temperature: 5 })
  played.link(link, 2)
  played.sayOn(link, { type: 'feed', alias, descriptor: encodeDescriptor(author.feed.descriptor), chain: [] })
  played.sayOn(link, { type: 'have', entries: [[alias, 4, author.held(4).hash8]], marker: null })
  const wants = played.pass(1_000).flatMap((message) => (message.type === 'want' ? message.entries : []))
  assert.deepEqual(
    wants.filter(([asked]) => asked === alias),
    [[alias, 4, 1]],
  )
  played.sayOn(link, { type: 'data', batches: [batch.bytes] })
  played.pass(1_000)
  assert.equal(gateway.disk.head(author.feed.key)?.seq, 4)
})
