import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deviceKeysFrom, peerIdOf } from '../../runtime/crypto/identity.ts'
import { createVerifier } from '../../runtime/crypto/signature.ts'
import { MeshAuthority } from '../../runtime/driver/authority.ts'
import { Members, type MembersOptions } from '../../runtime/gateway/members.ts'
import type { Hlc } from '../../runtime/model/stamp.ts'
import { SILENT_LOG } from '../../runtime/ports/log.ts'

const MESH_ID = new Uint8Array(16).fill(4)
const subject = new Uint8Array(32).fill(3)

class Bench {
  readonly time: { trustedHlc: Hlc | null } = { trustedHlc: null }
  readonly closed: string[] = []
  changes = 0
  readonly members: Members

  constructor(expires: Hlc) {
    const keys = deviceKeysFrom(new Uint8Array(32).fill(1), new Uint8Array(32).fill(1))
    const authority = new MeshAuthority(MESH_ID, keys.publicKey, keys.publicKey, createVerifier(), () => false)
    const given = { issuer: keys.publicKey, subject, linkKey: subject, notBefore: 1, expires, id: MESH_ID }
    authority.members.admit({ ...given, grants: [], roles: [], name: 'it', invite: null })
    this.members = new Members({
      identity: { keys, mesh: {} },
      authority,
      time: this.time,
      onChanged: () => (this.changes += 1),
      onEnded: (peerId: string) => void this.closed.push(peerId),
      log: SILENT_LOG,
    } as unknown as MembersOptions)
  }

  look(now: Hlc | null): void {
    this.time.trustedHlc = now
    this.members.lookAtEnds()
  }
}

test('what has ended is looked at once, and again when the clock was set back', () => {
  const bench = new Bench(10)
  for (const now of [9, 10, 11, 9, 10]) bench.look(now)
  assert.equal(bench.changes, 3)
  assert.deepEqual(bench.closed, [peerIdOf(subject), peerIdOf(subject)])
})

test('who was linked with while the time was not known is looked at when it is known again', () => {
  const bench = new Bench(10)
  bench.look(11)
  bench.look(null)
  bench.look(11)
  assert.equal(bench.closed.length, 2)
  // An engine that begins does not know the time, although nobody may have looked meanwhile.
  bench.members.engineBegins()
  bench.look(12)
  assert.deepEqual([bench.changes, bench.closed.length], [3, 3])
})
