import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import { test } from 'node:test'
import { createSigner, createVerifier } from '../../runtime/crypto/signature.ts'
import { Driver } from '../../runtime/driver/driver.ts'
import { DocumentService } from '../../runtime/operations/documents.ts'
import { isBatchValid } from '../../runtime/operations/evidence.ts'
import type { WatchEvent } from '../../runtime/ports/operations.ts'
import { SILENT_LOG } from '../../runtime/ports/log.ts'
import { createMemoryStore } from '../../runtime/store/memory.ts'
import { peerIdOf } from '../../runtime/crypto/identity.ts'

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
      writers: () => [],
      sealOf: () => Number.POSITIVE_INFINITY,
      asked: () => [],
      isClosed: () => false,
      isMember: () => false,
    },
    sign: (message) => signer.sign(message),
    verify: () => true,
    log: SILENT_LOG,
    onEvent: () => {},
  })
  return new DocumentService({
    store,
    writer: driver,
    rules: () => ({
      partitionOf: () => '',
      refusal: (name) => (name === 'closed' ? 'the profile does not declare it' : null),
    }),
    instance: '0011223344556677',
    isValid: (feedKey, seq) => isBatchValid(store, MESH, verifier, feedKey, seq),
  })
}

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
  await assert.rejects(documents.delete('climate', 'kitchen'), { code: 'not-found' })
})

test('what can’t be stored is refused with its code, and nothing of it is written', async () => {
  const documents = service()
  const refused: [string, string, object, string][] = [
    ['Bad Name', 'k', { x: 1 }, 'bad-request'],
    ['$mesh', 'k', { x: 1 }, 'not-permitted'],
    ['closed', 'k', { x: 1 }, 'not-supported'],
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
