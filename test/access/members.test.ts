import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Members } from '../../runtime/access/members.ts'
import { grantsOf, roleNames } from '../../runtime/access/roles.ts'
import { RIGHT_ADMIN, RIGHT_READ, RIGHT_WRITE, type Capability, type Grant } from '../../runtime/model/capability.ts'

const KEY = new Uint8Array(32).fill(5)

function members(grants: readonly Grant[], notBefore = 10, expires = 100): Members {
  const capability: Capability = {
    issuer: new Uint8Array(32),
    subject: KEY,
    linkKey: new Uint8Array(32),
    notBefore,
    expires,
    id: new Uint8Array(16).fill(grants.length),
    grants,
    roles: [],
    name: '',
    invite: null,
  }
  const all = new Members()
  assert.equal(all.admit(capability), true)
  assert.equal(all.admit(capability), false, 'known already')
  return all
}

const at = (collection: string, partition = ''): { collection: string; partition: string } => ({
  collection,
  partition,
})

test('a right counts between its times alone, and only where it was granted', () => {
  const all = members([
    { pattern: 'climate', rights: RIGHT_WRITE },
    { pattern: 'readings/north', rights: RIGHT_READ | RIGHT_WRITE },
  ])
  assert.deepEqual(
    [10, 11, 99, 100].map((hlc) => all.permits(KEY, RIGHT_WRITE, at('climate'), hlc)),
    [false, true, true, false],
  )
  assert.equal(all.permits(KEY, RIGHT_READ, at('climate'), 50), false)
  assert.equal(all.permits(KEY, RIGHT_WRITE, at('climates'), 50), false)
  assert.equal(all.permits(KEY, RIGHT_WRITE, at('readings', 'north-2'), 50), true)
  assert.equal(all.permits(KEY, RIGHT_WRITE, at('readings', 'south'), 50), false)
  assert.equal(all.permits(new Uint8Array(32), RIGHT_WRITE, at('climate'), 50), false, 'somebody else')
  assert.equal(all.everPermits(KEY, RIGHT_WRITE, at('climate')), true)
})

test('the star covers every collection but the system’s, and no role but admin may name members', () => {
  const all = members([{ pattern: '*', rights: RIGHT_WRITE }])
  assert.equal(all.permits(KEY, RIGHT_WRITE, at('anything'), 50), true)
  assert.equal(all.permits(KEY, RIGHT_WRITE, at('$mesh'), 50), false)
  for (const role of roleNames()) {
    const isAdmin = members(grantsOf(role) ?? []).permits(KEY, RIGHT_WRITE | RIGHT_ADMIN, at('$mesh'), 50)
    assert.equal(isAdmin, role === 'admin', role)
  }
  assert.equal(grantsOf('emperor'), null)
})
