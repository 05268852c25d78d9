import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { test } from 'node:test'
import { GATEWAY_LIMITS } from '../../runtime/base/limits.ts'
import { createSigner, createVerifier } from '../../runtime/crypto/signature.ts'
import { Driver } from '../../runtime/driver/driver.ts'
import { DocumentService } from '../../runtime/operations/documents.ts'
import { isBatchValid } from '../../runtime/operations/evidence.ts'
import type { WalkOptions, WatchEvent } from '../../runtime/ports/operations.ts'
import type { CellKind } from '../../runtime/model/cells.ts'
import type { FieldKinds } from '../../runtime/model/fields.ts'
import { SILENT_LOG } from '../../runtime/ports/log.ts'
import { examinePlace } from '../../runtime/store/verify.ts'
import { NO_COLLECTION_KEYS } from '../../runtime/sync/types.ts'
import { createMemoryStore } from '../../runtime/store/memory.ts'
import { peerIdOf } from '../../runtime/crypto/identity.ts'
import { Proofs } from '../../runtime/sync/proofs.ts'
import { Testimonies } from '../../runtime/sync/testimonies.ts'

const KINDS = new Map<string, FieldKinds>([
  [
    'meters',
    new Map<string, CellKind>([
      ['total', 'counter'],
      ['tags', 'set'],
      ['feeds', 'link'],
      ['raw', 'register'],
    ]),
  ],
])
const MESH = new Uint8Array(16).fill(3)

/** The real services, engine and driver over a store in memory, without links. */
function service(): DocumentService {
  const signer = createSigner(new Uint8Array(32).fill(9))
  const verifier = createVerifier()
  const store = createMemoryStore()
  const driver = new Driver({
    engine: {
      meshId: MESH,
      peerId: peerIdOf(signer.publicKey),
      publicKey: signer.publicKey,
      incarnation: new Uint8Array(8),
      clockFloor: 0,
      notBeforeMs: 0,
      name: '',
      version: '',
      batchDelayMs: 0,
      batchOpsMax: 1_024,
    },
    store,
    clock: { wallMs: () => Date.now(), monotonicMs: () => performance.now(), trust: () => 2 },
    authority: {
      isKnown: () => true,
      permits: () => true,
      learn: () => false,
      chainOf: () => [],
      isShared: () => true,
      readable: () => ['*'],
      writers: () => [],
      sealOf: () => Number.POSITIVE_INFINITY,
      aheadOf: () => Number.POSITIVE_INFINITY,
      asked: () => [],
      isClosed: () => false,
      testimonies: new Testimonies(),
      proofs: new Proofs(),
      isMember: () => false,
    },
    keys: NO_COLLECTION_KEYS,
    sign: (message) => signer.sign(message),
    examine: (place) => examinePlace(store, MESH, place),
    verify: () => true,
    log: SILENT_LOG,
    onEvent: () => {},
  })
  return new DocumentService({
    store,
    writer: driver,
    confirmer: { checkWait: () => {}, confirm: driver.confirm },
    rules: () => ({
      partitionOf: () => '',
      isEncrypted: () => false,
      isLocked: () => false,
      isSeries: (name) => (name === 'readings' ? true : null),
      kindsOf: (name) => KINDS.get(name) ?? new Map(),
      refusal: (name) => (name === 'closed' ? 'the profile does not declare it' : null),
      keeps: ({ collection }) => collection !== 'strange',
      keepsSome: (name) => name !== 'strange',
      strangeness: (name) => (name === 'strange' ? 'this gateway does not keep it' : null),
    }),
    wallMs: () => Date.now(),
    instance: '0011223344556677',
    isValid: (feedKey, seq) => isBatchValid(store, MESH, verifier, feedKey, seq),
  })
}

test('a batch writes several documents at once, under one stamp, or none of them', async () => {
  const documents = service()
  await documents.put('climate', 'cellar', { temperature: 12 })
  const { stamp } = await documents.batch('climate', [
    { key: 'kitchen', fields: { temperature: 21 } },
    { key: 'attic', fields: { temperature: 30, humidity: 20 } },
    { key: 'cellar' },
  ])
  assert.deepEqual(
    [...documents.list('climate')].map(({ key }) => key),
    ['attic', 'kitchen'],
  )
  const stampOf = (key: string): string => documents.provenance('climate', key)?.['temperature']?.stamp ?? ''
  const time = (text: string): string => text.slice(0, text.indexOf('+'))
  assert.equal(time(stampOf('kitchen')), time(stamp))
  assert.equal(documents.provenance('climate', 'attic')?.['humidity']?.sequence, 2)
  assert.equal(documents.provenance('climate', 'kitchen')?.['temperature']?.sequence, 2)
  await assert.rejects(
    documents.batch('climate', [{ key: 'kitchen', fields: { temperature: 5 } }, { key: '' }]),
    /Cannot use/,
  )
  const many = Array.from({ length: 1_025 }, (_, i) => ({ key: `k${i}`, fields: { value: i } }))
  await assert.rejects(documents.batch('climate', many), /at most 1024/)
  await assert.rejects(documents.batch('readings', [{ key: 'k', fields: { value: 1 } }]), /series/)
  assert.equal(documents.get('climate', 'kitchen')?.value['temperature'], 21)
})

test('fields merge, null removes one, replace removes the others, delete removes all', async () => {
  const documents = service()
  await documents.put('climate', 'kitchen', { temperature: 21, humidity: 40 })
  await documents.put('climate', 'kitchen', { temperature: 22, room: 'K' })
  assert.deepEqual(documents.get('climate', 'kitchen')?.value, { humidity: 40, room: 'K', temperature: 22 })
  await documents.put('climate', 'kitchen', { room: null })
  assert.deepEqual(documents.get('climate', 'kitchen')?.value, { humidity: 40, temperature: 22 })
  await documents.put('climate', 'kitchen', { only: true }, { replace: true })
  assert.deepEqual(documents.get('climate', 'kitchen')?.value, { only: true })
  assert.equal(documents.provenance('climate', 'kitchen')?.['only']?.valid, true)
  await documents.delete('climate', 'kitchen')
  assert.equal(documents.get('climate', 'kitchen'), undefined)
  assert.deepEqual(documents.digest(), { collections: {} })
  assert.deepEqual(documents.digest('climate'), { collections: {} })
  assert.throws(() => documents.digest('unheard-of'), { code: 'not-found' })
  await assert.rejects(documents.delete('climate', 'kitchen'), { code: 'not-found' })
})

test('what can’t be stored is refused with its code, and nothing of it is written', async () => {
  const documents = service()
  const refused: [string, string, object, string][] = [
    ['Bad Name', 'k', { x: 1 }, 'bad-request'],
    ['$mesh', 'k', { x: 1 }, 'not-permitted'],
    ['closed', 'k', { x: 1 }, 'not-supported'],
    ['strange', 'k', { x: 1 }, 'not-kept'],
    ['climate', '', { x: 1 }, 'bad-request'],
    ['climate', 'k'.repeat(513), { x: 1 }, 'bad-request'],
    ['climate', 'k\u0000', { x: 1 }, 'bad-request'],
    ['climate', 'k', {}, 'bad-request'],
    ['climate', 'k', { x: Number.NaN }, 'bad-request'],
    ['climate', 'k', { x: '\ud800' }, 'bad-request'],
    ['climate', 'k', JSON.parse('{"__proto__":1}') as object, 'bad-request'],
    ['climate', 'k', { x: 'y'.repeat(40_000) }, 'too-large'],
  ]
  for (const [collection, key, fields, code] of refused) {
    await assert.rejects(
      documents.put(collection, key, fields as { x: number }),
      { code },
      `${collection} ${key.slice(0, 9)} ${JSON.stringify(fields).slice(0, 30)}`,
    )
  }
  assert.equal(documents.count('climate'), 0)
})

test('lists by prefix, filter, order, limit and page', async () => {
  const documents = service()
  await Promise.all(
    Array.from({ length: 600 }, (_, i) =>
      documents.put('climate', `s/${String(i).padStart(3, '0')}`, { t: (i * 7) % 600, odd: i % 2 === 1 }),
    ),
  )
  await documents.put('climate', 'other', { t: -1 })
  const keys = (query: Parameters<DocumentService['list']>[1]): string[] =>
    [...documents.list('climate', query)].map(({ key }) => key)
  assert.equal(keys({ prefix: 's/' }).length, 600)
  assert.equal(keys({ where: 'odd = true' }).length, 300)
  assert.deepEqual(keys({ order: 't', limit: 2 }), ['other', 's/000'])
  assert.equal(keys({ order: '-t', limit: 1, prefix: 's/' }).length, 1)
  assert.deepEqual(keys({ after: 's/597' }), ['s/598', 's/599'])
  assert.equal(documents.count('climate'), 601)
  assert.equal(documents.count('climate', { where: 't < 10' }), 11)
  assert.throws(() => keys({ where: 't >' }), { code: 'bad-request' })
})

test('a watcher sees what matches, its changes and its end, and a resumed one only what it missed', async () => {
  const documents = service()
  await documents.put('climate', 'warm', { t: 30 })
  await documents.put('climate', 'cold', { t: 5 })
  const events = documents.watch('climate', { where: 't > 20' })[Symbol.asyncIterator]()
  const next = async (): Promise<WatchEvent> => (await events.next()).value as WatchEvent
  const first = await next()
  assert.deepEqual([first.change, first.key], ['enter', 'warm'])
  await documents.put('climate', 'warm', { t: 31 })
  assert.equal((await next()).change, 'change')
  await documents.put('climate', 'cold', { t: 25 })
  assert.equal((await next()).change, 'enter')
  await documents.put('climate', 'warm', { t: 1 })
  const left = await next()
  assert.deepEqual([left.change, left.key], ['leave', 'warm'])
  await events.return?.(undefined)

  await documents.put('climate', 'new', { t: 40 })
  await documents.delete('climate', 'cold')
  const resumed = documents.watch('climate', { where: 't > 20', since: left.cursor })[Symbol.asyncIterator]()
  const seen = [(await resumed.next()).value as WatchEvent, (await resumed.next()).value as WatchEvent]
  assert.deepEqual(seen.map(({ change, key }) => `${change} ${key}`).sort(), ['enter new', 'leave cold'])
  await resumed.return?.(undefined)
  await assert.rejects(async () => documents.watch('climate', { since: 'nonsense' })[Symbol.asyncIterator]().next(), {
    code: 'bad-request',
  })
})

test('so many watch at once and no more, until one of them ends', async () => {
  const documents = service()
  const { watchersMax } = GATEWAY_LIMITS
  await documents.put('climate', 'hall', { t: 1 })
  const watching = Array.from({ length: watchersMax }, () => documents.watch('climate')[Symbol.asyncIterator]())
  await Promise.all(watching.map((events) => events.next()))
  assert.throws(() => documents.watch('climate'), { code: 'overloaded' })
  await watching[0]?.return?.()
  const another = documents.watch('climate')[Symbol.asyncIterator]()
  assert.equal((await another.next()).done, false)
  for (const events of [...watching, another]) await events.return?.()
})

test('watchers that have ended leave nothing at a signal that many share', async () => {
  const documents = service()
  await documents.put('climate', 'kitchen', { t: 1 })
  const { signal } = new AbortController()
  for (let i = 0; i < 5; i++) for await (const _ of documents.watch('climate', { signal })) break
  assert.deepEqual(getEventListeners(signal, 'abort'), [])
})

test('a slow watcher is told the latest state of everything that changed, however much it was', async () => {
  const documents = service()
  const controller = new AbortController()
  const events = documents.watch('climate', { signal: controller.signal })[Symbol.asyncIterator]()
  const pending = events.next()
  await turn()
  const latest = new Map<string, number>()
  for (let round = 0; round < 3; round++) {
    await Promise.all(
      Array.from({ length: 5_000 }, (_, i) => {
        latest.set(`k${i}`, round)
        return documents.put('climate', `k${i}`, { round })
      }),
    )
  }
  const seen = new Map<string, number>()
  let event = (await pending) as IteratorResult<WatchEvent>
  while (!event.done) {
    seen.set(event.value.key, Number(event.value.value['round']))
    if (seen.size === latest.size && [...seen.values()].every((round) => round === 2)) break
    event = await events.next()
  }
  controller.abort()
  assert.deepEqual(seen, latest)
})

test('a counter counts every write, in one batch, in races, and from nothing after a delete', async () => {
  const documents = service()
  const total = (): unknown => documents.get('meters', 'm')?.value['total']
  await documents.put('meters', 'm', { total: { $add: 5 } })
  assert.equal(total(), 5)
  await Promise.all(Array.from({ length: 3_000 }, (_, i) => documents.put('meters', 'm', { total: { $add: i % 3 } })))
  assert.equal(total(), 3_005)
  const racing: Promise<unknown>[] = []
  for (let i = 0; i < 200; i++) {
    racing.push(documents.put('meters', 'm', { total: { $add: 1 }, note: i }))
    if (i % 7 === 0) await turn()
  }
  await Promise.all(racing)
  assert.equal(total(), 3_205)
  const last = [documents.delete('meters', 'm'), documents.put('meters', 'm', { total: { $add: 2 } })]
  last.push(documents.put('meters', 'm', { total: { $add: -0.5 } }))
  await Promise.all(last)
  assert.equal(total(), 1.5)
  await documents.put('meters', 'm', { total: { $add: 0.1 } }, { replace: true })
  await documents.put('meters', 'm', { total: { $add: 0.2 } })
  assert.equal(total(), 0.3)
})

test('a set takes elements and gives them back, by what was seen, whatever else is under way', async () => {
  const documents = service()
  const tags = (): unknown => documents.get('meters', 'm')?.value['tags']
  await documents.put('meters', 'm', { tags: { $add: ['b', 'a', 2, 10, true] } })
  assert.deepEqual(tags(), [2, 10, 'a', 'b', true])
  await documents.put('meters', 'm', { tags: { $add: ['c'], $remove: ['b', true, 'unknown'] } })
  assert.deepEqual(tags(), [2, 10, 'a', 'c'])
  await Promise.all([
    documents.put('meters', 'm', { tags: { $add: ['d', 'e'] } }),
    documents.put('meters', 'm', { tags: { $remove: ['d', 2, 10] } }),
  ])
  assert.deepEqual(tags(), ['a', 'c', 'e'])
  await documents.put('meters', 'm', { tags: ['x', 'a'] })
  assert.deepEqual(tags(), ['a', 'x'])
  const receipt = await documents.put('meters', 'm', { tags: { $remove: ['nobody'] } })
  assert.match(receipt.stamp, /@/)
  await documents.put('meters', 'm', { tags: null, other: 1 })
  assert.deepEqual(documents.get('meters', 'm')?.value, { other: 1 })
  const many = Array.from({ length: 900 }, (_, i) => `element ${i}`)
  await documents.put('meters', 'm', { tags: { $add: many } })
  await documents.put('meters', 'm', { tags: ['last'] })
  assert.deepEqual(tags(), ['last'])
})

test('links are added as texts or objects, shown as texts, and removed by either', async () => {
  const documents = service()
  const feeds = (): unknown => documents.get('meters', 'm')?.value['feeds']
  await documents.put('meters', 'm', {
    feeds: { $link: ['pumps/p1', { collection: 'pumps', key: 'p/2', label: 'x' }] },
  })
  assert.deepEqual(feeds(), ['pumps/p/2', 'pumps/p1'])
  await documents.put('meters', 'm', { feeds: { $link: [{ collection: 'pumps', key: 'p1', label: 'again' }] } })
  assert.deepEqual(feeds(), ['pumps/p/2', 'pumps/p1'])
  await documents.put('meters', 'm', { feeds: { $remove: ['pumps/p1'] } })
  assert.deepEqual(feeds(), ['pumps/p/2'], 'a text stands for links of every label')
  await documents.put('meters', 'm', { feeds: { $remove: [{ collection: 'pumps', key: 'p/2', label: 'other' }] } })
  assert.deepEqual(feeds(), ['pumps/p/2'])
  await documents.put('meters', 'm', { feeds: ['valves/v'] })
  assert.deepEqual(feeds(), ['valves/v'])
})

test('changes work in fields that no profile declares, and what can’t be meant is refused', async () => {
  const documents = service()
  await documents.put('other', 'd', { n: { $add: 1 }, s: { $add: ['a'] }, l: { $link: 'pumps/p1' } })
  await documents.put('other', 'd', { n: { $add: 1 }, l: { $remove: 'pumps/p1' } })
  assert.deepEqual(documents.get('other', 'd')?.value, { n: 2, s: ['a'] })
  await documents.put('other', 'd', { s: null })
  assert.deepEqual(documents.get('other', 'd')?.value, { n: 2 })
  await documents.put('meters', 'm', { raw: { $add: 1 } })
  assert.deepEqual(documents.get('meters', 'm')?.value, { raw: { $add: 1 } }, 'a declared plain value is kept as it is')
  const refused: [string, object][] = [
    ['meters', { total: 5 }],
    ['meters', { total: null }],
    ['meters', { total: { $add: ['a'] } }],
    ['meters', { total: { $add: 1e300 } }],
    ['meters', { total: { $add: 1, $remove: ['a'] } }],
    ['meters', { tags: 'a' }],
    ['meters', { tags: { $add: 1 } }],
    ['meters', { tags: { $add: [['a']] } }],
    ['meters', { tags: { $add: ['x'.repeat(600)] } }],
    ['meters', { tags: { $link: ['pumps/p1'] } }],
    ['meters', { feeds: ['nowhere'] }],
    ['meters', { feeds: [{ collection: 'pumps' }] }],
    ['meters', { feeds: [{ collection: 'pumps', key: 'p', more: 1 }] }],
    ['other', { n: null }],
    ['other', { x: { $add: ['a'], $link: ['pumps/p1'] } }],
    ['other', { x: { $add: ['a'], $remov: ['b'] } }],
    ['other', { x: { $link: ['pumps/p1'], note: 1 } }],
  ]
  const before = documents.digest()
  for (const [collection, fields] of refused) {
    const put = documents.put(collection, collection === 'other' ? 'd' : 'm', fields as { x: number })
    await assert.rejects(put, { code: 'bad-request' }, JSON.stringify(fields).slice(0, 60))
  }
  await documents.put('meters', 'full', { tags: { $add: Array.from({ length: 1_500 }, (_, i) => i) } })
  await documents.put('meters', 'full', { tags: { $add: Array.from({ length: 1_500 }, (_, i) => 2_000 + i) } })
  const more = documents.put('meters', 'full', { tags: { $add: Array.from({ length: 1_500 }, (_, i) => 4_000 + i) } })
  await assert.rejects(more, { code: 'too-large' })
  await documents.delete('meters', 'full')
  assert.deepEqual(documents.digest(), before)
})

test('what was exported comes back equal: a counter is brought to the number given', async () => {
  const documents = service()
  await documents.put('meters', 'm', { total: { $add: 5 }, tags: { $add: ['a'] }, feeds: { $link: 'pumps/p1' } })
  const exported = documents.get('meters', 'm')?.value ?? {}
  await documents.put('meters', 'copy', exported, { exact: true })
  await documents.put('meters', 'copy', exported, { exact: true })
  assert.deepEqual(documents.get('meters', 'copy')?.value, exported)
})

test('the provenance of a counter and a set names the author of every part', async () => {
  const documents = service()
  await documents.put('meters', 'm', { total: { $add: 5 }, tags: { $add: ['a'] } })
  await documents.put('meters', 'm', { tags: { $add: ['b'] } })
  const { total, tags } = documents.provenance('meters', 'm') ?? {}
  assert.equal(total?.valid, true)
  assert.deepEqual(
    total.parts?.map(({ value, sequence, valid }) => ({ value, sequence, valid })),
    [{ value: 5, sequence: 1, valid: true }],
  )
  assert.equal(tags?.sequence, 2)
  assert.deepEqual(
    tags.parts?.map(({ value, sequence }) => [value, sequence]),
    [
      ['a', 1],
      ['b', 2],
    ],
  )
})

test('walks over links, forwards and back, through circles, and says what is not there', async () => {
  const documents = service()
  const steps = (collection: string, key: string, options?: WalkOptions): string[] =>
    [...documents.walk(collection, key, options)].map(
      ({ depth, from, field, label, collection: name, key: at, value }) =>
        `${depth} ${from.key} ${field}${label ? `:${label}` : ''} ${name}/${at} ${value ? 'there' : 'missing'}`,
    )
  await documents.put('meters', 'm1', { feeds: { $link: ['pumps/p1', 'pumps/lost'] } })
  await documents.put('meters', 'm2', { feeds: { $link: [{ collection: 'pumps', key: 'p1', label: 'spare' }] } })
  await documents.put('pumps', 'p1', { power: 5, of: { $link: ['sites/s'] } })
  await documents.put('sites', 's', { main: { $link: ['meters/m1'] } })
  assert.deepEqual(steps('meters', 'm1'), ['1 m1 feeds pumps/lost missing', '1 m1 feeds pumps/p1 there'])
  assert.deepEqual(steps('meters', 'm1', { depth: 9 }), [
    '1 m1 feeds pumps/lost missing',
    '1 m1 feeds pumps/p1 there',
    '2 p1 of sites/s there',
    '3 s main meters/m1 there',
  ])
  assert.deepEqual(steps('pumps', 'p1', { reverse: true }).sort(), [
    '1 p1 feeds meters/m1 there',
    '1 p1 feeds:spare meters/m2 there',
  ])
  assert.deepEqual(steps('pumps', 'p1', { reverse: true, depth: 2 }).length, 3)
  assert.deepEqual(steps('pumps', 'lost', { reverse: true }), ['1 lost feeds meters/m1 there'])
  await documents.put('meters', 'm1', { feeds: { $remove: ['pumps/p1'] } })
  await documents.delete('meters', 'm2')
  assert.deepEqual(steps('pumps', 'p1', { reverse: true }), [])
  assert.throws(() => steps('meters', 'nobody'), { code: 'not-found' })
  assert.throws(() => documents.walk('meters', 'm1', { depth: 0 }), { code: 'bad-request' })
})

test('a series takes rows, gives the last of a key, and rows by time', async () => {
  const documents = service()
  const rows = (query: Parameters<DocumentService['list']>[1] = {}): unknown[] =>
    [...documents.list('readings', query)].map(({ key, value }) => `${key} ${JSON.stringify(value['n'])}`)
  for (let n = 0; n < 600; n++) {
    const written = documents.put('readings', n % 2 === 0 ? 'a' : 'a1', { n, gone: null })
    if (n % 100 === 99) await written
  }
  await documents.put('readings', 'b', { n: 1 })
  assert.equal(documents.count('readings'), 601)
  assert.deepEqual(documents.get('readings', 'a')?.value, { n: 598 })
  assert.equal(documents.get('readings', 'nobody'), undefined)
  const expected = Array.from({ length: 300 }, (_, i) => `a ${i * 2}`)
  assert.deepEqual(rows().slice(0, 300), expected, 'by key and then by time')
  assert.deepEqual(rows({ latest: true }), ['a 598', 'a1 599', 'b 1'])
  assert.deepEqual(rows({ prefix: 'a1', where: 'n < 4' }), ['a1 1', 'a1 3'])
  assert.equal(documents.count('readings', { prefix: 'a' }), 600)
  const views = [...documents.list('readings', { prefix: 'b' })]
  const { time = '', row = '' } = views[0] ?? {}
  assert.ok(Math.abs(Date.parse(time) - Date.now()) < 60_000, time)
  assert.deepEqual(rows({ from: '1h' }).length, 601)
  assert.deepEqual(rows({ to: '1h' }), [])
  assert.deepEqual(rows({ to: '1h', latest: true }), [])
  const [first] = [...documents.list('readings', { limit: 1 })]
  const later = [...documents.list('readings', { from: time })].length
  assert.ok(later >= 1 && later <= 601)
  assert.deepEqual(rows({ after: `${first?.key}\0${first?.row}`, limit: 2 }), ['a 2', 'a 4'])
  assert.equal(documents.provenance('readings', 'b')?.['n']?.valid, true)
  await documents.put('readings', 'b', { n: 1 }, { row })
  assert.equal(documents.count('readings'), 601, 'the row is there already')
  assert.match(documents.digest().collections['readings'] ?? '', /^[0-9a-f]{64}$/)
  await assert.rejects(documents.delete('readings', 'a'), { code: 'not-supported' })
  await assert.rejects(documents.put('readings', 'a', { x: null }), { code: 'bad-request' })
  await assert.rejects(documents.put('readings', 'a', { x: { $add: 1 } }), { code: 'bad-request' })
  await assert.rejects(documents.put('readings', 'a', { x: 1 }, { row: 'nonsense' }), { code: 'bad-request' })
  for (const from of ['yesterday', '3', 'hour 3']) assert.throws(() => rows({ from }), { code: 'bad-request' })
  assert.throws(() => [...documents.list('climate', { from: '1h' })], { code: 'bad-request' })
})

test('a watcher of a series hears of each row once, and of none that leaves', async () => {
  const documents = service()
  await documents.put('readings', 'a', { n: 1 })
  await documents.put('readings', 'a', { n: 2 })
  const stop = new AbortController()
  const told: string[] = []
  const watching = (async () => {
    for await (const { change, key, value, time } of documents.watch('readings', {
      where: 'n > 1',
      signal: stop.signal,
    })) {
      told.push(`${change} ${key} ${JSON.stringify(value['n'])}`)
      assert.match(time ?? '', /^20/)
      if (told.length === 3) stop.abort()
    }
  })()
  await turn()
  await documents.put('readings', 'b', { n: 3 })
  await documents.put('readings', 'a', { n: 0 })
  await documents.put('readings', 'a', { n: 4 })
  await watching
  assert.deepEqual(told, ['enter a 2', 'enter b 3', 'enter a 4'])
})
