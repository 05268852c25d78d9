import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hex } from '../../runtime/base/bytes.ts'
import { PROTOCOL_LIMITS } from '../../runtime/base/limits.ts'
import { randomInteger, seededRandom } from '../../runtime/base/random.ts'
import { fieldsOf } from '../../runtime/model/fields.ts'
import { SELF_COLLECTION } from '../../runtime/model/names.ts'
import { hlcFromMs } from '../../runtime/model/stamp.ts'
import type { WriteOp } from '../../runtime/ports/writer.ts'
import { AHEAD_PREFIX } from '../../runtime/sync/overrun.ts'
import { encodeAheadSeal } from '../../runtime/wire/ahead-seal.ts'
import { decodeMessages } from '../../runtime/wire/message.ts'
import type { SimulatedGateway } from '../simulation/gateway.ts'
import { Mesh } from '../simulation/mesh.ts'
import { Author } from './author.ts'
import { Played } from './played.ts'

const AHEAD_MS = Date.UTC(2099, 0, 1) - Date.UTC(2026, 0, 1)
/** On the word of one clock alone none is set back before. */
const ALONE_MS = 400_000
const PLACE = { collection: 'climate', partition: '' }
/** Nothing stamped in the years of the wrong clock. */
const SANE = hlcFromMs(Date.UTC(2027, 0, 1))

const put = (fields: { readonly [path: string]: number | null }, key = 'hall'): WriteOp => ({
  kind: 'put',
  key,
  fields: { ...fields },
})

function shown(gateway: SimulatedGateway, key = 'hall'): unknown {
  const document = gateway.disk.document(PLACE, key)
  return document && fieldsOf(document)
}

/** Its clock is in 2099, and something vouches for it. */
function runAhead(gateway: SimulatedGateway): void {
  gateway.clockBaseMs = gateway.rightClockMs + AHEAD_MS
}

function comeBack(gateway: SimulatedGateway): void {
  gateway.clockBaseMs = gateway.rightClockMs
}

function assertSane(mesh: Mesh): void {
  for (const { disk, engine, index } of mesh.gateways) {
    assert.ok((engine?.view.clock ?? 0) < SANE, `the clock of gateway ${index} is sane`)
    for (const { feed, hlc } of disk.heads())
      assert.ok(hlc < SANE, `gateway ${index} holds nothing of the future in ${feed.descriptor.collection}`)
  }
}

test('SPEC I32: what was written under a clock in 2099 arrives when the clock is right again, and later puts win over it', () => {
  const mesh = new Mesh({
    gateways: 3,
    edges: [
      [0, 1],
      [1, 2],
    ],
  })
  const [author, middle, far] = [mesh.at(0), mesh.at(1), mesh.at(2)]
  author.write('climate', put({ temperature: 1 }))
  mesh.pass(5_000)
  const before = hex(author.incarnation)
  runAhead(author)
  author.write('climate', put({ temperature: 2 }))
  author.write('climate', put({ humidity: 40 }))
  author.write('climate', put({ temperature: 3 }))
  mesh.pass(30_000)
  assert.deepEqual(shown(middle), { temperature: 1 }, 'who knows the time waits')
  comeBack(author)
  mesh.pass(60_000)
  assert.notEqual(hex(author.incarnation), before)
  for (const gateway of [author, middle, far]) assert.deepEqual(shown(gateway), { temperature: 3, humidity: 40 })
  far.write('climate', put({ temperature: 4 }))
  mesh.pass(5_000)
  for (const gateway of [author, middle, far]) assert.deepEqual(shown(gateway), { temperature: 4, humidity: 40 })
  assertSane(mesh)
})

test('all kinds of writes come back as they were, in the order in which they were made', () => {
  const mesh = new Mesh({ gateways: 2, edges: [[0, 1]] })
  const [author, other] = [mesh.at(0), mesh.at(1)]
  author.write('climate', { kind: 'add', key: 'hall', path: 'tags', elements: ['old', 'kept'] })
  author.write('climate', { kind: 'count', key: 'hall', path: 'opened', by: 2 })
  author.write('climate', put({ temperature: 1 }, 'gone'))
  author.write('climate', put({ temperature: 1 }, 'anew'))
  mesh.pass(5_000)
  runAhead(author)
  for (let i = 1; i <= 12; i++) {
    author.write('climate', put({ temperature: i }))
    mesh.pass(100)
  }
  const ops: WriteOp[] = [
    { kind: 'remove', key: 'hall', path: 'tags', subs: ['e"old"'] },
    { kind: 'add', key: 'hall', path: 'tags', elements: ['brief', 'new'] },
    { kind: 'remove', key: 'hall', path: 'tags', subs: ['e"brief"'] },
    { kind: 'count', key: 'hall', path: 'opened', by: 3 },
    { kind: 'delete', key: 'gone' },
    { kind: 'delete', key: 'anew' },
    put({ humidity: 5 }, 'anew'),
    put({ removed: 1 }),
    put({ removed: null }),
  ]
  for (const op of ops) {
    author.write('climate', op)
    mesh.pass(100)
  }
  const wanted = shown(author)
  comeBack(author)
  mesh.pass(60_000)
  for (const gateway of [author, other]) {
    assert.deepEqual(shown(gateway), wanted)
    assert.deepEqual(shown(gateway, 'gone'), {})
    assert.deepEqual(shown(gateway, 'anew'), { humidity: 5 })
  }
  assert.deepEqual(wanted, { temperature: 12, tags: ['kept', 'new'], opened: 5 })
  other.write('climate', { kind: 'add', key: 'hall', path: 'tags', elements: ['brief'] })
  mesh.pass(5_000)
  assert.deepEqual((shown(author) as { tags: unknown }).tags, ['brief', 'kept', 'new'], 'nothing keeps it out')
  assertSane(mesh)
})

test('a power cut at any moment of it changes nothing of what comes of it', () => {
  for (let afterMs = 0; afterMs < 300; afterMs += 6) {
    const mesh = new Mesh({ gateways: 2, edges: [[0, 1]], seed: 1 + afterMs })
    const [author, other] = [mesh.at(0), mesh.at(1)]
    author.write('climate', put({ temperature: 0 }))
    mesh.pass(5_000)
    runAhead(author)
    for (let i = 1; i <= 12; i++) {
      author.write('climate', put({ temperature: i, [`field${i}`]: i, ...((i === 1 || i === 12) && { ends: i }) }))
      mesh.pass(100)
    }
    const wanted = shown(author)
    comeBack(author)
    while (author.engine?.view.isClockAhead !== true) mesh.pass(10)
    mesh.pass(afterMs)
    author.crash()
    mesh.stopped(0)
    mesh.pass(0)
    author.start()
    mesh.pass(90_000)
    for (const gateway of [author, other]) assert.deepEqual(shown(gateway), wanted, `after ${afterMs} ms`)
    assertSane(mesh)
  }
})

test('who had no clock and took it over is set back too, and what was written there meanwhile comes back', () => {
  const mesh = new Mesh({
    gateways: 3,
    edges: [
      [0, 1],
      [1, 2],
      [0, 2],
    ],
  })
  const [author, blind, knowing] = [mesh.at(0), mesh.at(1), mesh.at(2)]
  for (const link of [1, 2]) mesh.linkDown(link)
  blind.trust = 0
  blind.clockBaseMs = -1
  runAhead(author)
  mesh.pass(20_000)
  author.write('climate', put({ temperature: 1, pressure: 1 }))
  mesh.pass(20_000)
  blind.write('climate', put({ temperature: 2 }))
  mesh.pass(5_000)
  assert.deepEqual(shown(blind), { temperature: 2, pressure: 1 }, 'who has no other clock follows')
  comeBack(author)
  for (const link of [1, 2]) mesh.linkUp(link)
  mesh.pass(120_000)
  for (const gateway of mesh.gateways) assert.deepEqual(shown(gateway), { temperature: 2, pressure: 1 })
  knowing.write('climate', put({ temperature: 3 }))
  mesh.pass(5_000)
  for (const gateway of mesh.gateways) assert.deepEqual(shown(gateway), { temperature: 3, pressure: 1 })
  assertSane(mesh)
})

test('of two that ran ahead together and heal apart neither gives way to what the other will void: the later write stays', () => {
  const mesh = new Mesh({ gateways: 2, edges: [[0, 1]] })
  const [one, other] = [mesh.at(0), mesh.at(1)]
  for (const gateway of mesh.gateways) runAhead(gateway)
  one.write('climate', put({ temperature: 1, humidity: 1 }))
  one.write('climate', put({ temperature: 1 }, 'gone'))
  mesh.pass(5_000)
  other.write('climate', put({ temperature: 2, humidity: 2, pressure: 2 }))
  other.write('climate', put({ temperature: 2 }, 'gone'))
  mesh.pass(5_000)
  one.write('climate', put({ humidity: 3 }))
  one.write('climate', { kind: 'delete', key: 'gone' })
  mesh.pass(5_000)
  mesh.linkDown(0)
  for (const gateway of mesh.gateways) {
    // What the other has said last it knows no more.
    gateway.crash()
    comeBack(gateway)
    gateway.start()
  }
  mesh.pass(ALONE_MS)
  mesh.linkUp(0)
  mesh.pass(60_000)
  for (const gateway of [one, other]) {
    assert.deepEqual(shown(gateway), { temperature: 2, humidity: 3, pressure: 2 })
    assert.deepEqual(shown(gateway, 'gone') ?? {}, {})
  }
  assertSane(mesh)
})

test('what a gateway defers it refuses in whole milliseconds, though its clock has a fraction', () => {
  const refusals: number[] = []
  const mesh = new Mesh({
    gateways: 2,
    edges: [[0, 1]],
    onFrame: (_from, _to, bytes) => {
      const messages = decodeMessages(bytes)
      assert.ok(messages.ok, 'no frame is malformed')
      for (const message of messages.value) if (message.type === 'nack') refusals.push(message.retryAfterMs)
    },
  })
  mesh.at(1).clockBaseMs += 0.25
  runAhead(mesh.at(0))
  mesh.at(0).write('climate', put({ temperature: 1 }))
  mesh.pass(5_000)
  assert.ok(refusals.length > 0)
})

test('a seal counts by its own stamp, whatever its author wrote into the same document before', () => {
  const played = new Played(3)
  const [author, self] = [new Author(played, 1), new Author(played, 1, SELF_COLLECTION)]
  const key = AHEAD_PREFIX + hex(author.feed.id)
  self.put(key, { early: 1 })
  played.pass(1_000)
  const first = author.put('hall', { temperature: 1 })
  author.push()
  played.pass(1_000)
  self.put(key, { sealed: encodeAheadSeal(author.feed, first, 1) })
  self.push()
  played.pass(60_000)
  assert.equal(played.gateway.disk.head(author.feed.key)?.seq, 1)
})

test('a seal that its author takes back counts no more: who never heard of it takes the same for valid', () => {
  const played = new Played(3)
  const [author, self] = [new Author(played, 1), new Author(played, 1, SELF_COLLECTION)]
  const key = AHEAD_PREFIX + hex(author.feed.id)
  const first = author.put('hall', { temperature: 1 }, 60_000)
  author.push()
  self.put(key, { sealed: encodeAheadSeal(author.feed, first, 1) })
  self.push()
  played.pass(60_000)
  assert.equal(played.gateway.disk.head(author.feed.key)?.seq, 0)
  self.put(key, { sealed: null })
  self.push()
  played.pass(60_000)
  played.say({ type: 'data', batches: [first.bytes] })
  played.pass(1_000)
  assert.equal(played.gateway.disk.head(author.feed.key)?.seq, 1)
})

test('a seal that voids the document that holds it does not come and go', () => {
  const played = new Played(3)
  let cuts = 0
  Object.assign(played, { event: (_: number, name: string) => (cuts += name === 'sealed' ? 1 : 0) })
  const [self, other] = [new Author(played, 1, SELF_COLLECTION), new Author(played, 1, SELF_COLLECTION)]
  other.put('of no', { chain: 1 })
  played.pass(1_000)
  self.put(AHEAD_PREFIX + hex(self.feed.id), {
    sealed: encodeAheadSeal(self.feed, other.put('of no', { chain: 2 }, 60_000), 1),
  })
  self.push()
  played.pass(120_000)
  assert.equal(cuts, 1)
})

test('what fills a batch comes back though it takes more room when it is written again', () => {
  const random = seededRandom(1)
  const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, () => randomInteger(random, 0, 255))
  const values = Array.from({ length: 40 }, () => bytes(1_000))
  const counted = Array.from({ length: 20 }, (_, i) => hex(bytes(8)) + i)
  /** Returns the length of the batch that holds all of it, and what is shown of it elsewhere. */
  const run = (pad: number): readonly [number, number] => {
    const mesh = new Mesh({ gateways: 2, edges: [[0, 1]] })
    const [author, other] = [mesh.at(0), mesh.at(1)]
    runAhead(author)
    author.write('climate', put({ temperature: 1 }))
    const fields = Object.fromEntries([...values, padding.slice(0, pad)].map((value, i) => [`v${i}`, value]))
    author.write('climate', { kind: 'put', key: 'full', fields })
    for (const key of counted) author.write('climate', { kind: 'count', key, path: 'n', by: 1 })
    mesh.pass(1_000)
    const feed = author.disk.heads().find(({ feed: { descriptor } }) => descriptor.collection === 'climate')?.feed
    const length = author.disk.batch(feed?.key ?? '', 2)?.bytes.length ?? 0
    comeBack(author)
    mesh.pass(60_000)
    const shownThere = counted.filter((key) => shown(other, key) !== undefined).length
    return [length, shownThere + (other.disk.document(PLACE, 'full')?.paths.length ?? 0)]
  }
  const padding = bytes(16_000)
  const [length] = run(0)
  const [full, there] = run(PROTOCOL_LIMITS.batchBytesMax - length - 8)
  assert.ok(full > PROTOCOL_LIMITS.batchBytesMax - 20, `it has ${full} bytes`)
  assert.equal(there, counted.length + values.length + 1)
})

test('what a thief has sealed with a stolen key comes back when what it wrote is void', () => {
  const played = new Played(3)
  const [author, self] = [new Author(played, 1), new Author(played, 1, SELF_COLLECTION)]
  for (let n = 1; n <= 5; n++) author.put(`hall-${n}`, { n })
  author.checkpoint([1, 2, 3, 4, 5])
  author.push()
  const first = author.put('hall', { n: 7 }, 60_000)
  self.put(AHEAD_PREFIX + hex(author.feed.id), { sealed: encodeAheadSeal(author.feed, first, 1) })
  self.push()
  played.pass(60_000)
  assert.equal(played.gateway.disk.head(author.feed.key)?.seq, 0)
  const seals = new Map([
    [author.feed.key, 7],
    [self.feed.key, 1],
  ])
  played.gateway.learnRemoval({ origin: author.feed.origin, reason: 'revoke', seals, bound: new Set() })
  played.pass(60_000)
  assert.equal(played.gateway.disk.head(author.feed.key)?.seq, 6)
  assert.deepEqual(shown(played.gateway, 'hall-5'), { n: 5 })
})

test('a single operation that fits in no batch any more is named, and the others are written again', () => {
  const random = seededRandom(1)
  const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, () => randomInteger(random, 0, 255))
  const padding = [bytes(30_000), bytes(20_000)]
  const row = (key: string, fields: { readonly [path: string]: Uint8Array }): WriteOp => ({ kind: 'row', key, fields })
  const run = (pad: number): { readonly length: number; readonly mesh: Mesh } => {
    const mesh = new Mesh({ gateways: 2, edges: [[0, 1]] })
    const author = mesh.at(0)
    runAhead(author)
    author.write('climate', row('full', { a: padding[0] as Uint8Array, b: (padding[1] as Uint8Array).slice(0, pad) }))
    mesh.pass(1_000)
    author.write('climate', row('small', {}))
    mesh.pass(1_000)
    const feed = author.disk.heads().find(({ feed: { descriptor } }) => descriptor.collection === 'climate')?.feed
    const length = author.disk.batch(feed?.key ?? '', 1)?.bytes.length ?? 0
    comeBack(author)
    mesh.pass(60_000)
    return { length, mesh }
  }
  const pad = 18_000
  const { length } = run(pad)
  const { length: full, mesh } = run(pad + PROTOCOL_LIMITS.batchBytesMax - length)
  assert.ok(full > PROTOCOL_LIMITS.batchBytesMax - 2, `it has ${full} bytes`)
  const named = mesh.events.filter(({ name }) => name === 'reissue-refused')
  // Perhaps more than once, until the disk knows it.
  const [first] = named
  assert.deepEqual([first?.from, first?.fields.seq, first?.fields.key, first?.fields.why], [0, 1, 'full', 'too-large'])
  const again = mesh.events.filter(({ name }) => name === 'reissued')
  assert.deepEqual(
    again.map(({ fields }) => fields.operations),
    [1],
  )
  assert.deepEqual(mesh.at(0).disk.scanRecords('sync/reissue/'), [], 'nothing waits any more')
})

/** A gateway without a clock and its one neighbour, which says for so long that it is 2099, and then what is right, again and again. */
function withLiar(): { readonly mesh: Mesh; readonly blind: SimulatedGateway; readonly lie: (rounds: number) => void } {
  const mesh = new Mesh({
    gateways: 3,
    edges: [
      [0, 1],
      [1, 2],
    ],
  })
  const [liar, blind] = [mesh.at(0), mesh.at(1)]
  mesh.vanish(2)
  blind.trust = 0
  blind.clockBaseMs = -1
  const lie = (rounds: number): void => {
    for (let round = 1; round <= rounds; round++) {
      runAhead(liar)
      mesh.pass(40_000)
      blind.write('climate', put({ round }))
      mesh.pass(20_000)
      comeBack(liar)
      mesh.pass(ALONE_MS)
    }
  }
  return { mesh, blind, lie }
}

test('on the word of one neighbour alone a clock is set back ever more seldom, also after a restart', () => {
  const { mesh, blind, lie } = withLiar()
  lie(3)
  const before = hex(blind.incarnation)
  lie(3)
  assert.equal(hex(blind.incarnation), before)
  assert.deepEqual([blind.engine?.view.isClockAhead, blind.engine?.view.clockDoubt], [true, 'alone'])
  blind.crash()
  blind.start()
  mesh.stopped(1)
  mesh.pass(120_000)
  assert.equal(hex(blind.incarnation), before)
  mesh.pass(600_000)
  assert.notEqual(hex(blind.incarnation), before, 'who goes on saying so is believed in the end')
  assert.deepEqual([shown(blind), shown(mesh.at(0))], [{ round: 3 }, { round: 3 }])
})

test('another neighbour that says the same makes up for it', () => {
  const { mesh, blind, lie } = withLiar()
  lie(5)
  const before = hex(blind.incarnation)
  mesh.vanished.delete(2)
  mesh.at(2).start()
  mesh.linkUp(1)
  mesh.pass(120_000)
  assert.notEqual(hex(blind.incarnation), before)
  for (const gateway of mesh.gateways) assert.deepEqual(shown(gateway), { round: 5 })
  assertSane(mesh)
})
