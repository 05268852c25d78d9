import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Scope } from '../../runtime/model/interest.ts'
import type { CollectionRules } from '../../runtime/operations/documents.ts'
import { checkTransfer, refusalOf, type PeerKeeping } from '../../runtime/operations/replicating.ts'
import {
  partsOf,
  patternOf,
  readTransfers,
  storedReplications,
  transfersRecord,
  type Transfer,
} from '../../runtime/operations/transfers.ts'
import { encodeDeterministic } from '../../runtime/wire/deterministic.ts'

const PEER = 'a'.repeat(23)
const TRANSFER: Transfer = {
  pattern: 'readings/north/hall',
  peerId: PEER,
  sinceMs: 1_800_000_000_000,
  confirmedMs: null,
  told: 'behind',
  dropped: 7,
}

const storeOf = (value: Uint8Array | null | undefined): { getRecord(): Uint8Array | undefined } => ({
  getRecord: () => value ?? undefined,
})

test('a pattern and what it names are the same thing twice', () => {
  for (const [collection, partition] of [
    ['readings', null],
    ['readings', 'north'],
    ['readings', 'north/hall'],
    ['*', null],
  ] as const)
    assert.deepEqual(partsOf(patternOf(collection, partition)), { collection, partition })
})

test('transfers are on the disk as they were, and can be seen while no gateway runs; without any there is no record', () => {
  const all = [TRANSFER, { ...TRANSFER, pattern: '*', confirmedMs: 1_800_000_000_001, told: null, dropped: 0 }]
  const store = storeOf(transfersRecord(all).value)
  assert.deepEqual(readTransfers(store), all)
  const [view] = storedReplications(store)
  assert.deepEqual(
    [view?.collection, view?.partition, view?.state, view?.lag, view?.since, view?.confirmed],
    ['readings', 'north/hall', 'unreachable', null, '2027-01-15T08:00:00.000Z', null],
  )
  assert.equal(transfersRecord([]).value, null)
  assert.deepEqual(readTransfers(storeOf(null)), [])
})

test('what is damaged of the record is left out', () => {
  const { pattern, peerId, sinceMs } = TRANSFER
  const whole = [pattern, peerId, sinceMs, null, null, 0]
  const rows = [
    whole,
    'no row',
    [],
    ['', ...whole.slice(1)],
    ['Readings', ...whole.slice(1)],
    [pattern, 'somebody', ...whole.slice(2)],
    [pattern, peerId, -1, null, null, 0],
    [pattern, peerId, sinceMs, 'yesterday', null, 0],
    [pattern, peerId, sinceMs, null, 'fine', 0],
    [pattern, peerId, sinceMs, null, null, -1],
  ]
  assert.equal(readTransfers(storeOf(encodeDeterministic(rows))).length, 1)
  assert.deepEqual(readTransfers(storeOf(new Uint8Array([0xff]))), [])
  assert.deepEqual(readTransfers(storeOf(encodeDeterministic(7))), [])
})

describe('a transfer', () => {
  const rules = {
    refusal: (name: string) => (name === 'undeclared' ? 'the profile does not declare it' : null),
    keepsSome: (pattern: string) => !pattern.startsWith('elsewhere') && !pattern.startsWith('rows'),
    // Of "rows" it only writes its own.
    strangeness: (name: string) => (name === 'elsewhere' ? 'this gateway keeps nothing' : null),
    partitionOf: () => 'north',
  } as unknown as CollectionRules
  const keeping = (interest: readonly string[], readable: readonly string[] = ['*']): PeerKeeping => ({
    name: 'hub',
    scope: new Scope(interest, readable),
  })
  const codeOf = (
    collection: string,
    partition: string | null = null,
    { peer = keeping(['*']) as PeerKeeping | null, isSelf = false, isKnown = true, isMember = true } = {},
  ): string => {
    try {
      checkTransfer({ collection, partition, to: PEER }, rules, { isMember, isSelf, isKnown, peer })
      return 'fine'
    } catch (error) {
      return (error as { code: string }).code
    }
  }

  test('is taken when the peer keeps all that it covers and may read it', () => {
    assert.equal(codeOf('readings'), 'fine')
    assert.equal(codeOf('*'), 'fine')
    const part = { peer: keeping(['climate', 'readings/north']) }
    assert.equal(codeOf('readings', 'north', part), 'fine')
    assert.equal(codeOf('readings', 'north/hall', part), 'fine')
    assert.equal(codeOf('readings', null, part), 'not-kept')
    assert.equal(codeOf('readings', 'nor', part), 'not-kept')
    assert.equal(codeOf('*', null, part), 'not-kept')
    assert.equal(codeOf('readings', 'south', { peer: keeping(['*'], ['readings/north']) }), 'not-permitted')
  })

  test('is of something that is here, be it this gateway’s own rows alone', () => {
    assert.equal(codeOf('elsewhere'), 'not-kept')
    assert.equal(codeOf('rows', 'north'), 'fine')
    assert.equal(codeOf('rows', 'south'), 'not-kept')
  })

  test('is refused for what has no sense', () => {
    assert.equal(codeOf('undeclared'), 'not-supported')
    assert.equal(codeOf('$mesh'), 'bad-request')
    assert.equal(codeOf('No Name'), 'bad-request')
    assert.equal(codeOf('*', 'north'), 'bad-request')
    assert.equal(codeOf('readings', ''), 'bad-request')
    assert.equal(codeOf('readings', 'x'.repeat(65)), 'bad-request')
    assert.equal(codeOf('readings', null, { isSelf: true }), 'bad-request')
    assert.equal(codeOf('readings', null, { peer: null, isKnown: false }), 'not-found')
    assert.equal(codeOf('readings', null, { peer: null }), 'not-found')
    assert.equal(codeOf('readings', null, { peer: null, isKnown: false, isMember: false }), 'not-enrolled')
  })

  test('that stands says what has come to stand against it', () => {
    const covered = { collection: 'readings', partition: null }
    assert.equal(refusalOf(covered, rules, { isMember: true, peer: keeping(['*']) }), null)
    assert.match(refusalOf(covered, rules, { isMember: true, peer: null })?.why ?? '', /removed/)
    const why = refusalOf(covered, rules, { isMember: true, peer: keeping(['climate']) })?.why
    assert.equal(why, 'hub does not keep all of it but "climate", as "interest" in its profile says')
  })
})
