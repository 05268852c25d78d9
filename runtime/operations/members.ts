import { peerIdOf } from '../crypto/identity.ts'
import { fieldsOf } from '../model/fields.ts'
import type { Capability } from '../model/capability.ts'
import { SELF_COLLECTION } from '../model/names.ts'
import { HLC_MAX, msOfHlc } from '../model/stamp.ts'
import type { MemberView } from '../ports/operations.ts'
import type { Documents } from '../ports/store.ts'
import { rightsText } from './granting.ts'
import type { RemovalState } from './removals.ts'

/** Like BEACON_KEY of runtime/sync/beacons.ts. */
const BEACON = 'beacon'

/** Who belongs, by name; whoever was removed stays in the list. */
export function membersOf(
  store: Documents,
  capabilities: Iterable<Capability>,
  removals: readonly RemovalState[],
): MemberView[] {
  const held = new Map<string, Capability[]>()
  for (const capability of capabilities) {
    const peerId = peerIdOf(capability.subject)
    held.set(peerId, [...(held.get(peerId) ?? []), capability])
  }
  const states = new Map(removals.map((removal) => [removal.closing.origin, removal]))
  const members = [...held].map(([peerId, its]) => memberView(store, peerId, its, states.get(peerId) ?? null))
  return members.sort((a, b) => (a.name === b.name ? (a.peerId < b.peerId ? -1 : 1) : a.name < b.name ? -1 : 1))
}

function memberView(
  store: Documents,
  peerId: string,
  capabilities: readonly Capability[],
  removal: RemovalState | null,
): MemberView {
  const until = Math.max(...capabilities.map(({ expires }) => expires))
  const beacon = store.get({ collection: SELF_COLLECTION, partition: peerId }, BEACON)
  const at = beacon ? fieldsOf(beacon)['at'] : undefined
  return {
    peerId,
    name: capabilities[0]?.name ?? '',
    grants: capabilities.flatMap(grantsOf),
    roles: [...new Set(capabilities.flatMap(({ roles }) => roles))].sort(),
    state: removal === null ? 'member' : removal.isSealed ? DONE[removal.closing.reason] : 'closing',
    since: time(Math.min(...capabilities.map(({ notBefore }) => notBefore))),
    until: until === HLC_MAX ? null : time(until),
    lastHeard: typeof at === 'number' ? time(at) : null,
    silent: removal?.silent ?? [],
  }
}

/** Those over data: who may read what all members read needs no line. */
function grantsOf({ grants, notBefore, expires }: Capability): MemberView['grants'] {
  const period = { since: time(notBefore), until: expires === HLC_MAX ? null : time(expires) }
  return grants
    .filter(({ pattern }) => !pattern.startsWith('$'))
    .map(({ pattern, rights }) => ({ pattern, rights: rightsText(rights), ...period }))
}

const DONE = { retire: 'retired', revoke: 'revoked' } as const

function time(hlc: number): string {
  return new Date(msOfHlc(hlc)).toISOString()
}
