import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hex } from '../../runtime/base/bytes.ts'
import { fieldsOf } from '../../runtime/model/fields.ts'
import { SELF_COLLECTION } from '../../runtime/model/names.ts'
import { FORK_PREFIX } from '../../runtime/sync/forks.ts'
import { decodeDescriptor, encodeDescriptor } from '../../runtime/wire/descriptor.ts'
import type { Message } from '../../runtime/wire/message.ts'
import { encodeProof } from '../../runtime/wire/proof.ts'
import { Author } from './author.ts'
import { Played } from './played.ts'

const MINUTE_MS = 60_000

type Hello = Extract<Message, { type: 'hello' }>

/** Collections of whose feeds was spoken, but for the system's. */
function toldOf(said: readonly Message[]): string[] {
  const told = said.flatMap((message) => {
    const descriptor = message.type === 'feed' ? decodeDescriptor(message.descriptor) : null
    return descriptor?.ok ? [descriptor.value.collection] : []
  })
  return told.filter((collection) => !collection.startsWith('$')).sort()
}

function helloIn(said: readonly Message[]): Hello {
  return said.find((message): message is Hello => message.type === 'hello') ?? assert.fail('it has not greeted')
}

/** The neighbour tells that it has three batches of each. */
function tellOf(played: Played, ...collections: readonly string[]): void {
  collections.forEach((collection, alias) => {
    const { descriptor } = played.neighboursFeed(collection)
    played.say(
      { type: 'feed', alias, descriptor: encodeDescriptor(descriptor), chain: [] },
      { type: 'have', entries: [[alias, 3, new Uint8Array(8).fill(3)]], marker: null },
    )
  })
}

test('SPEC I25: of what is not kept nothing is asked for, and nothing refused, whoever tells of it', () => {
  const played = new Played()
  played.gateway.changeInterest(['climate'])
  played.again(['*'], null)
  tellOf(played, 'plugs', 'climate')
  const said = played.pass(5_000)
  const asked = said.flatMap((message) => (message.type === 'want' ? message.entries.map(([alias]) => alias) : []))
  assert.deepEqual([...new Set(asked)], [1])
  assert.deepEqual(
    said.filter(({ type }) => type === 'nack'),
    [],
  )
})

test('SPEC I25: a neighbour hears of what it keeps alone; of what it keeps since it hears all, whatever it confirmed before', () => {
  const played = new Played()
  for (const collection of ['climate', 'plugs']) {
    played.gateway.write(collection, { kind: 'put', key: 'k', fields: { x: 1 } })
  }
  played.pass(1_000)
  played.again(['climate'], null)
  const said = played.pass(1_000)
  assert.deepEqual(toldOf(said), ['climate'])
  const cursor = { instance: helloIn(said).instance, lsn: played.gateway.engine?.view.lsn ?? 0 }
  played.say({ type: 'ack', lsn: cursor.lsn, credit: 1_048_576, entries: [] })
  played.again(['climate'], cursor)
  assert.deepEqual(toldOf(played.pass(1_000)), [], 'it has confirmed that')
  played.again(['climate', 'plugs'], cursor)
  assert.ok(toldOf(played.pass(1_000)).includes('plugs'))
})

test('a gateway that keeps something else greets as another, without a cursor, when the rest is gone', () => {
  const played = new Played()
  played.gateway.write('plugs', { kind: 'put', key: 'k', fields: { x: 1 } })
  played.pass(1_000)
  played.again(['*'], null)
  const before = helloIn(played.pass(1_000))
  assert.deepEqual(before.interest, ['*'])
  played.gateway.changeInterest(['climate'])
  played.again(['*'], null)
  const said = played.pass(2_000)
  const { interest, instance, cursor } = helloIn(said)
  assert.deepEqual(interest, ['climate'])
  assert.notEqual(hex(instance), hex(before.instance))
  assert.equal(cursor, null)
  // What it wrote itself it keeps, and the neighbour hears of it.
  assert.deepEqual(toldOf(said), ['plugs'])
  played.gateway.crash()
  played.gateway.start()
  played.again(['*'], null)
  assert.equal(hex(helloIn(played.pass(1_000)).instance), hex(instance), 'as long as it keeps the same it is the same')
})

test('of a feed that is not kept any more nobody is said to have anything, though it may still be on its way out', () => {
  const played = new Played()
  const author = new Author(played, 1)
  author.put('hall', { temperature: 1 })
  author.push()
  assert.deepEqual(played.gateway.engine?.heldBy(author.feed.key), [1])
  played.gateway.changeInterest(['plugs'])
  assert.equal(played.gateway.disk.head(author.feed.key)?.seq, 1)
  assert.deepEqual(played.gateway.engine?.heldBy(author.feed.key), [])
  const lags = played.gateway.engine?.view.holdings.flatMap(({ lag }) => lag.map(({ feedKey }) => feedKey))
  assert.equal(lags?.includes(author.feed.key), false)
})

test('since when a gateway keeps something it says when it has heard what there is: its clock may be behind what others have settled', () => {
  const played = new Played(3)
  played.gateway.changeInterest(['elsewhere'])
  played.pass(1_000)
  const place = { collection: SELF_COLLECTION, partition: played.gateway.peerId }
  const kept = (): unknown => {
    const document = played.gateway.disk.document(place, 'interest')
    return document && fieldsOf(document)['kept']
  }
  assert.deepEqual(kept(), [['elsewhere', 0]])
  played.gateway.changeInterest(['climate'])
  played.again()
  const author = new Author(played, 1)
  const { header, bytes } = author.put('hall', { temperature: 1 }, 10 * MINUTE_MS)
  author.push()
  played.say({ type: 'have', entries: [], marker: { lsn: 1, frames: 0, numbered: 0 } })
  played.pass(MINUTE_MS)
  assert.equal(played.gateway.disk.head(author.feed.key)?.seq ?? 0, 0)
  assert.deepEqual(kept(), [], 'what it keeps no more it says at once')
  played.pass(4 * MINUTE_MS)
  played.say({ type: 'data', batches: [bytes] })
  played.pass(MINUTE_MS)
  assert.equal(played.gateway.disk.head(author.feed.key)?.seq, 1)
  const [[pattern, since] = []] = kept() as [string, number][]
  assert.equal(pattern, 'climate')
  assert.ok((since ?? 0) > header.hlc)
})

test('what a gateway keeps it says again when what an incarnation before had said comes to it later, for its store was put back', () => {
  const played = new Played()
  played.gateway.changeInterest(['climate'])
  played.again()
  played.pass(MINUTE_MS)
  const place = { collection: SELF_COLLECTION, partition: played.gateway.peerId }
  const kept = (): unknown => {
    const document = played.gateway.disk.document(place, 'interest')
    return document && fieldsOf(document)['kept']
  }
  const before = new Author(played, 0, SELF_COLLECTION)
  before.put('interest', { kept: [['plugs', 0]] })
  before.push()
  played.say({ type: 'have', entries: [], marker: { lsn: 1, frames: 0, numbered: 0 } })
  played.pass(MINUTE_MS)
  const said = kept() as readonly (readonly [string, number])[]
  assert.deepEqual(
    said.map(([pattern]) => pattern),
    ['climate'],
  )
})

test('what a gateway keeps it says again when what an incarnation before had said of it is void', () => {
  const played = new Played(3)
  const { gateway } = played
  // Of which a copy has written too.
  gateway.incarnation = new Uint8Array(8)
  gateway.changeInterest(['climate'])
  played.again()
  played.pass(1_000)
  const place = { collection: SELF_COLLECTION, partition: gateway.peerId }
  const kept = (): unknown => {
    const document = gateway.disk.document(place, 'interest')
    return document && fieldsOf(document)['kept']
  }
  assert.deepEqual(kept(), [['climate', 0]])
  const copy = new Author(played, 0, SELF_COLLECTION)
  const ours = gateway.disk.batch(copy.feed.key, 1)
  gateway.renew()
  played.again()
  played.pass(MINUTE_MS)
  const other = new Author(played, 2, SELF_COLLECTION)
  const proof = encodeProof(copy.feed, copy.put('interest', {}), ours ?? assert.fail('it has said nothing'))
  other.put(FORK_PREFIX + hex(copy.feed.id), { proof })
  other.push()
  assert.equal(gateway.disk.head(copy.feed.key)?.seq, 0)
  played.pass(MINUTE_MS)
  assert.deepEqual(kept(), [['climate', 0]])
})
