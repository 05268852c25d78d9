import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { peerIdOf } from '../../runtime/crypto/identity.ts'
import type { FeedHead } from '../../runtime/model/batch.ts'
import type { Capability } from '../../runtime/model/capability.ts'
import type { RemovalState } from '../../runtime/operations/removals.ts'
import { HLC_MAX, hlcFromMs } from '../../runtime/model/stamp.ts'
import {
  heardOf,
  heirsOf,
  heirWarnings,
  membersOf,
  missingWarnings,
  type Successions,
} from '../../runtime/operations/members.ts'

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
    (peerId) => ({
      name: peerId === fresh.peerId ? 'renamed' : null,
      cell: peerId === self.peerId ? 'north' : null,
      bridge: false,
      superPeer: false,
    }),
  )

describe('members', () => {
  test('were heard of last by what they say as neighbours, or by what of theirs others brought', () => {
    const heard = Object.fromEntries(viewsAt(NOW).map(({ name, lastHeard }) => [name, lastHeard]))
    assert.deepEqual(heard, {
      'gateway-1': new Date(NOW).toISOString(),
      'gateway-2': new Date(NOW - 1_000).toISOString(),
      'gateway-3': new Date(NOW - 2 * DAY).toISOString(),
      'gateway-4': new Date(NOW - 40 * DAY).toISOString(),
      renamed: null,
    })
  })

  test('have ended with all that they were given, and not before, nor while no clock is to be believed', () => {
    const temporary = { ...linked.capability, expires: hlcFromMs(NOW) }
    const more = { ...linked.capability, expires: hlcFromMs(NOW + DAY) }
    const viewsOf = (nowMs: number | null, ...its: Capability[]): ReturnType<typeof membersOf> =>
      membersOf(its, [], { heardMs, nowMs, silentAfterMs: 30 * DAY }, () => ({
        name: null,
        cell: null,
        bridge: false,
        superPeer: false,
      }))
    const stateAt = (...its: Parameters<typeof viewsOf>): string | undefined => viewsOf(...its)[0]?.state
    assert.equal(stateAt(NOW - 1, temporary), 'member')
    assert.equal(stateAt(NOW, temporary), 'ended')
    assert.equal(stateAt(NOW, temporary, more), 'member')
    assert.equal(stateAt(null, temporary), 'member')
    const warning = missingWarnings(viewsOf(NOW, temporary)).join()
    assert.match(warning, /^member-ended: what gateway-2 .*marram retire/)
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

  test('that are revoked name the heirs of their keys, over others too, and those they asked for', () => {
    const closing = (reason: 'retire' | 'revoke'): RemovalState => ({
      closing: { origin: lost.peerId, reason, since: null, by: self.peerId, isHasty: false, warrant: null },
      silent: [self.peerId],
      isSealed: false,
    })
    const successions: Successions = {
      taken: [
        [lost.peerId, carried.peerId],
        [carried.peerId, fresh.peerId],
        [fresh.peerId, lost.peerId],
      ],
      // It may name one that has nothing to do with it.
      asked: (peerId) => (peerId === lost.peerId ? ['a'.repeat(23), linked.peerId] : []),
    }
    const views = (reason: 'retire' | 'revoke'): ReturnType<typeof membersOf> =>
      membersOf(
        [self, linked, carried, lost, fresh].map(({ capability }) => capability),
        [closing(reason)],
        { heardMs, nowMs: NOW, silentAfterMs: 30 * DAY },
        () => ({ name: null, cell: null, bridge: false, superPeer: false }),
        successions,
      )
    const heirs = [...[carried.peerId, fresh.peerId].sort(), 'a'.repeat(23)]
    assert.deepEqual(
      views('revoke').map((view) => [view.name, view.heirs]),
      [1, 2, 3, 4, 5].map((number) => [`gateway-${number}`, number === 4 ? heirs : []]),
    )
    assert.deepEqual(
      heirWarnings(views('revoke')).map(
        (warning) => /^heir-of-revoked: (\S+) .*"marram revoke (\S+)"$/.exec(warning)?.[1],
      ),
      ['gateway-3', 'gateway-5'],
    )
    assert.deepEqual(heirWarnings(views('retire')), [])
    assert.deepEqual(heirsOf(linked.peerId, successions.taken), [])
  })

  test('that one administrator retires and another revokes are revoked, in whatever order that is read', () => {
    const stateOf = (...removals: readonly RemovalState[]): string | undefined =>
      membersOf([lost.capability], removals, { heardMs, nowMs: NOW, silentAfterMs: 30 * DAY }, () => ({
        name: null,
        cell: null,
        bridge: false,
        superPeer: false,
      }))[0]?.state
    const removal = (by: string, reason: 'retire' | 'revoke', isSealed: boolean): RemovalState => ({
      closing: { origin: lost.peerId, reason, since: null, by, isHasty: false, warrant: null },
      silent: [],
      isSealed,
    })
    const retired = removal('a', 'retire', true)
    const [closing, revoked] = [removal('b', 'revoke', false), removal('c', 'revoke', true)]
    assert.deepEqual([stateOf(retired, closing), stateOf(closing, retired)], ['closing', 'closing'])
    assert.deepEqual([stateOf(retired, revoked, closing), stateOf(closing, revoked, retired)], ['revoked', 'revoked'])
    assert.equal(stateOf(removal('b', 'retire', false), retired), 'retired')
  })

  test('are not missing by a clock that nobody vouches for', () => {
    assert.deepEqual(missingWarnings(viewsAt(null)), [])
  })
})
