import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readersOf } from '../../runtime/access/readers.ts'
import { grantsOf } from '../../runtime/access/roles.ts'
import { RIGHT_READ, RIGHT_RELAY, RIGHT_WRITE, type Capability, type Grant } from '../../runtime/model/capability.ts'

function capability(
  number: number,
  grants: readonly Grant[] | null,
  roles: readonly string[] = [],
  expires = 100,
): Capability {
  return {
    issuer: new Uint8Array(32),
    subject: new Uint8Array(32).fill(number),
    linkKey: new Uint8Array(32).fill(number),
    notBefore: 10,
    expires,
    id: new Uint8Array(16).fill(number),
    grants: grants ?? [],
    roles,
    name: '',
    invite: null,
  }
}

const read = (pattern: string): Grant[] => [{ pattern, rights: RIGHT_READ }]
const MEMBERS: readonly Capability[] = [
  capability(1, grantsOf('admin'), ['admin']),
  capability(2, grantsOf('gateway'), ['gateway']),
  capability(3, grantsOf('relay'), ['relay']),
  capability(4, grantsOf('sensor'), ['sensor']),
  capability(5, read('secrets/north')),
  capability(6, read('climate')),
  capability(7, [{ pattern: 'secrets', rights: RIGHT_WRITE | RIGHT_RELAY }], ['ops']),
  capability(8, read('secrets'), ['ops']),
  capability(9, read('*'), ['ops'], 50),
]

const readers = (labels: readonly string[], passed: number, isNow = true): number[] =>
  readersOf(MEMBERS, 'secrets', labels, { passed, isNow }).map(({ subject }) => subject[0] as number)

test('readers are who may read some of the collection: not who may pass it on or write it alone', () => {
  assert.deepEqual(readers([], 20), [1, 2, 5, 8, 9])
})

test('where labels are named who carries one of them, and administrators, who hand the keys on', () => {
  assert.deepEqual(readers(['ops'], 20), [1, 8, 9])
  assert.deepEqual(readers(['nobody', 'gateway'], 20), [1, 2])
})

test('a label may come with another capability than the right', () => {
  const labelled = [...MEMBERS, capability(2, [], ['ops'])]
  assert.deepEqual(
    readersOf(labelled, 'secrets', ['ops'], { passed: 20, isNow: true }).map(({ subject }) => subject[0]),
    [1, 2, 8, 9],
  )
})

test('a right counts while it lasts; where nobody knows the time, until it is known to have ended', () => {
  assert.deepEqual(readers([], 5), [])
  assert.deepEqual(readers([], 50), [1, 2, 5, 8])
  assert.deepEqual(readers([], 100), [])
  assert.deepEqual(readers([], 5, false), [1, 2, 5, 8, 9], 'it may be later than is known')
  assert.deepEqual(readers([], 50, false), [1, 2, 5, 8], 'the keys of today are not handed to who had ended yesterday')
})
