import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MarramError } from '../../runtime/base/errors.ts'
import { GATEWAY_LIMITS } from '../../runtime/base/limits.ts'
import { HeldWrites } from '../../runtime/operations/held-writes.ts'
import { SILENT_LOG } from '../../runtime/ports/log.ts'
import { createMemoryStore, type MemoryStore } from '../../runtime/store/memory.ts'

interface Bench {
  /** Called with each that is written, before it is done. */
  onWrite: () => Promise<void>
  readonly held: HeldWrites
  readonly written: string[]
  /** Collections whose keys are here. */
  readonly open: Set<string>
  fault: MarramError | null
}

function bench(store: MemoryStore = createMemoryStore()): Bench {
  const made: Omit<Bench, 'held'> = { written: [], open: new Set(), fault: null, onWrite: () => Promise.resolve() }
  const held = new HeldWrites({
    store,
    canWrite: (collection) => made.open.has(collection),
    write: ({ collection, key, fields }) => {
      if (made.fault !== null) return Promise.reject(made.fault)
      made.written.push(`${collection} ${key} ${JSON.stringify(fields)}`)
      return made.onWrite()
    },
    log: SILENT_LOG,
  })
  return Object.assign(made, { held })
}

const write = (
  collection: string,
  key: string,
  n: number,
): { collection: string; key: string; fields: { n: number } } => ({
  collection,
  key,
  fields: { n },
})

test('are written in order when their key has come, also after a restart', async () => {
  const store = createMemoryStore()
  const before = bench(store)
  await before.held.hold(write('secrets', 'a', 1))
  await before.held.hold({ collection: 'secrets', key: 'a', fields: null })
  await before.held.hold(write('other', 'b', 2))
  assert.deepEqual([before.written, before.held.countOf('secrets')], [[], 2])
  const after = bench(store)
  assert.deepEqual([after.held.countOf('secrets'), after.held.isHolding('other')], [2, true])
  after.open.add('secrets')
  await after.held.hold(write('secrets', 'a', 3))
  await after.held.release()
  assert.deepEqual(after.written, ['secrets a {"n":1}', 'secrets a null', 'secrets a {"n":3}'])
  assert.deepEqual([after.held.isHolding('secrets'), bench(store).held.countOf('other')], [false, 1])
})

test('keep their order when a key comes while others are written, and wait no longer for it', async () => {
  const made = bench()
  const { held, written, open } = made
  for (const [collection, n] of [
    ['secrets', 1],
    ['other', 2],
    ['secrets', 3],
  ] as const)
    await held.hold(write(collection, 'k', n))
  open.add('other')
  made.onWrite = () => {
    open.add('secrets')
    later = held.release()
    return Promise.resolve()
  }
  let later = Promise.resolve()
  await held.release()
  await later
  assert.deepEqual(written, ['other k {"n":2}', 'secrets k {"n":1}', 'secrets k {"n":3}'])
})

test('stay when what stands in the way passes, and go when it never will', async () => {
  const { held, written, open } = bench()
  await held.hold(write('secrets', 'a', 1))
  open.add('secrets')
  const full = bench()
  await full.held.hold(write('secrets', 'a', 1))
  full.open.add('secrets')
  full.fault = new MarramError('storage-full', 'full')
  await full.held.release()
  assert.equal(full.held.countOf('secrets'), 1)
  full.fault = new MarramError('too-large', 'too large')
  await full.held.release()
  assert.deepEqual([full.held.countOf('secrets'), full.written], [0, []])
  await held.release()
  assert.equal(written.length, 1)
})

test('are refused beyond their limit', async () => {
  const { held } = bench()
  const large = 'x'.repeat(GATEWAY_LIMITS.heldWriteBytesMax / 8)
  for (let i = 0; i < 7; i++) await held.hold({ collection: 'secrets', key: 'a', fields: { large } })
  await assert.rejects(held.hold({ collection: 'secrets', key: 'b', fields: { large } }), { code: 'no-key' })
  await held.hold(write('secrets', 'b', 1))
  assert.equal(held.countOf('secrets'), 8)
})

test('one that the card has changed keeps nothing else from being written, and no gateway from starting', async () => {
  const store = createMemoryStore()
  await store.append({
    batches: [],
    records: [{ key: 'held-write/000000000007', value: new Uint8Array([0x7b, 0xff]) }],
  })
  const { held, written, open } = bench(store)
  open.add('secrets')
  await held.hold(write('secrets', 'a', 1))
  await held.release()
  assert.deepEqual(written, ['secrets a {"n":1}'])
})

test('wait for a document that is being derived anew', async () => {
  const made = bench()
  await made.held.hold(write('secrets', 'a', 1))
  made.open.add('secrets')
  made.fault = new MarramError('storage-damaged', 'being derived anew')
  await made.held.release()
  assert.equal(made.held.countOf('secrets'), 1)
})
