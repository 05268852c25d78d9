import assert from 'node:assert/strict'
import { test } from 'node:test'
import { migrate, type Migration } from '../../runtime/profile/migrate.ts'
import { treeOf, valueOf, type Json, type ObjectNode } from '../../runtime/profile/tree.ts'

// No old version exists yet, so these are migrations of an imagined future.
const renamed =
  (from: string, to: string): Migration =>
  (root) => {
    const members = [...root.members].map(([key, member]) => [key === from ? to : key, member] as const)
    return { ...root, members: new Map(members) }
  }
const MIGRATIONS = [renamed('a', 'b'), renamed('b', 'c')]

function migrated(profile: Json): { value: Json; error: string | undefined } {
  const { root, error } = migrate(treeOf(profile, { file: 'x', line: 4, column: 2 }) as ObjectNode, MIGRATIONS)
  return { value: valueOf(root), error: error?.message }
}

test('an old profile passes through every migration after its version, in order', () => {
  assert.deepEqual(migrated({ schemaVersion: 1, a: 5 }).value, { schemaVersion: 3, c: 5 })
  assert.deepEqual(migrated({ schemaVersion: 2, a: 5 }).value, { schemaVersion: 3, a: 5 })
})

test('a profile without a version is of version 1, whatever the newest is', () => {
  assert.deepEqual(migrated({ a: 5 }).value, { schemaVersion: 3, c: 5 })
})

test('a profile of the newest version is left as it is', () => {
  assert.deepEqual(migrated({ schemaVersion: 3, a: 5 }), { value: { schemaVersion: 3, a: 5 }, error: undefined })
})

test('a profile of a later version is an error that says so', () => {
  assert.match(migrated({ schemaVersion: 4 }).error ?? '', /newer than this build knows, it must be at most 3/)
})

test('what is not a version is left to the schema', () => {
  for (const schemaVersion of ['1', 1.5, -1, null]) assert.equal(migrated({ schemaVersion }).error, undefined)
})
