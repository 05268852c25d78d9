import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { peerIdOf } from '../../runtime/crypto/identity.ts'
import type { FeedHead } from '../../runtime/model/batch.ts'
import type { Capability } from '../../runtime/model/capability.ts'
import { HLC_MAX, hlcFromMs } from '../../runtime/model/stamp.ts'
import { heardOf, membersOf, missingWarnings } from '../../runtime/operations/members.ts'

const DAY = 86_400_000
const NOW = Date.UTC(2026, 5, 1)

function member(number: number, sinceMs: number): { readonly peerId: string; readonly capability: Capability } {
  const subject = new Uint8Array(32).fill(number)
  const capability = {
    subject,
    name: `gateway-${number}`,
    notBefore: hlcFromMs(sinceMs),
    expires: HLC_MAX,
    roles: ['gateway'],
    grants: [],
  } as unknown as Capability
  return { peerId: peerIdOf(subject), capability }
}

const [self, linked, carried, lost, fresh] = [
  NOW - 90 * DAY,
  NOW - 90 * DAY,
  NOW - 90 * DAY,
  NOW - 90 * DAY,
  NOW - DAY,
].map((sinceMs, i) => member(i + 1, sinceMs)) as [
  ReturnType<typeof member>,
  ReturnType<typeof member>,
  ReturnType<typeof member>,
  ReturnType<typeof member>,
  ReturnType<typeof member>,
]

const head = (origin: string, ms: number): FeedHead => ({ feed: { origin }, hlc: hlcFromMs(ms) }) as unknown as FeedHead

const heardMs = heardOf(
  [head(linked.peerId, NOW - 50 * DAY), head(carried.peerId, NOW - 2 * DAY), head(lost.peerId, NOW - 40 * DAY)],
  [
    { peerId: linked.peerId, heardAt: NOW - 1_000 },
    { peerId: lost.peerId, heardAt: 0 },
  ],
  { peerId: self.peerId, nowMs: NOW },
)

const viewsAt = (nowMs: number | null): ReturnType<typeof membersOf> =>
  membersOf(
    [self, linked, carried, lost, fresh].map(({ capability }) => capability),
    [],
    { heardMs, nowMs, silentAfterMs: 30 * DAY },
    (peerId) => ({ cell: peerId === self.peerId ? 'north' : null, bridge: false, superPeer: false }),
  )

describe('members', () => {
  test('were heard of last by what they say as neighbours, or by what of theirs others brought', () => {
    const heard = Object.fromEntries(viewsAt(NOW).map(({ name, lastHeard }) => [name, lastHeard]))
    assert.deepEqual(heard, {
      'gateway-1': new Date(NOW).toISOString(),
      'gateway-2': new Date(NOW - 1_000).toISOString(),
      'gateway-3': new Date(NOW - 2 * DAY).toISOString(),
      'gateway-4': new Date(NOW - 40 * DAY).toISOString(),
      'gateway-5': null,
    })
  })

  test('have ended with all that they were given, and not before, nor while no clock is to be believed', () => {
    const temporary = { ...linked.capability, expires: hlcFromMs(NOW) }
    const more = { ...linked.capability, expires: hlcFromMs(NOW + DAY) }
    const stateAt = (nowMs: number | null, ...its: Capability[]): string | undefined =>
      membersOf(its, [], { heardMs, nowMs, silentAfterMs: 30 * DAY }, () => ({
        cell: null,
        bridge: false,
        superPeer: false,
      }))[0]?.state
    assert.equal(stateAt(NOW - 1, temporary), 'member')
    assert.equal(stateAt(NOW, temporary), 'ended')
    assert.equal(stateAt(NOW, temporary, more), 'member')
    assert.equal(stateAt(null, temporary), 'member')
  })

  test('are missing when nothing came for too long, which the owner is warned of; a new one has its time', () => {
    const views = viewsAt(NOW)
    assert.deepEqual(
      views.filter(({ state }) => state === 'missing').map(({ name }) => name),
      ['gateway-4'],
    )
    const [warning, ...others] = missingWarnings(views)
    assert.match(warning ?? '', /^member-missing: gateway-4 .*marram retire/)
    assert.deepEqual(others, [])
  })

  test('are not missing by a clock that nobody vouches for', () => {
    assert.deepEqual(missingWarnings(viewsAt(null)), [])
  })
})
