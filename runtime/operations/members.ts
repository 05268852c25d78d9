import { peerIdOf } from '../crypto/identity.ts'
import type { Capability } from '../model/capability.ts'
import { HLC_MAX, hlcFromMs, msOfHlc, type Hlc } from '../model/stamp.ts'
import type { MemberView, PlaceView } from '../ports/operations.ts'
import type { FeedHead } from '../model/batch.ts'
import { rightsText } from './granting.ts'
import type { RemovalState } from './removals.ts'

/** When members were heard of last; Unix milliseconds. */
export interface Hearing {
  readonly heardMs: ReadonlyMap<string, number>
  /** Null where no clock is to be believed: then nobody is missing. */
  readonly nowMs: number | null
  readonly silentAfterMs: number
}

type Place = Pick<PlaceView, 'cell' | 'bridge' | 'superPeer'>

/**
 * What came of a member, over whomever, was stamped when it was alive; a neighbour says so itself. The own gateway is alive.
 */
export function heardOf(
  heads: Iterable<FeedHead>,
  neighbours: Iterable<{ readonly peerId: string; readonly heardAt: number }>,
  self: { readonly peerId: string; readonly nowMs: number },
): ReadonlyMap<string, number> {
  const heard = new Map<string, number>([[self.peerId, self.nowMs]])
  const note = (peerId: string, ms: number): void => void heard.set(peerId, Math.max(ms, heard.get(peerId) ?? ms))
  for (const { feed, hlc } of heads) note(feed.origin, msOfHlc(hlc))
  for (const { peerId, heardAt } of neighbours) if (heardAt > 0) note(peerId, heardAt)
  return heard
}

/** For `status.warnings`. */
export function missingWarnings(members: readonly MemberView[]): string[] {
  return members
    .filter(({ state }) => state === 'missing')
    .map(
      ({ name, peerId, lastHeard }) =>
        `member-missing: ${name} (${peerId}) was ${lastHeard === null ? 'never heard of' : `last heard of ${lastHeard}`}; old deletes are kept until it is back or retired with "marram retire ${peerId}"`,
    )
}

/** Who belongs, by name; whoever was removed stays in the list. */
export function membersOf(
  capabilities: Iterable<Capability>,
  removals: readonly RemovalState[],
  hearing: Hearing,
  placeOf: (peerId: string) => Place,
  successors: ReadonlyMap<string, readonly string[]> = new Map(),
): MemberView[] {
  const held = new Map<string, Capability[]>()
  for (const capability of capabilities) {
    const peerId = peerIdOf(capability.subject)
    held.set(peerId, [...(held.get(peerId) ?? []), capability])
  }
  const states = new Map(removals.map((removal) => [removal.closing.origin, removal]))
  const before = new Map([...successors].flatMap(([old, heirs]) => heirs.map((peerId) => [peerId, old] as const)))
  const members = [...held].map(([peerId, its]) => ({
    ...memberView(peerId, its, states.get(peerId) ?? null, hearing),
    succeeds: before.get(peerId) ?? null,
    ...placeOf(peerId),
  }))
  return members.sort((a, b) => (a.name === b.name ? (a.peerId < b.peerId ? -1 : 1) : a.name < b.name ? -1 : 1))
}

function memberView(
  peerId: string,
  capabilities: readonly Capability[],
  removal: RemovalState | null,
  hearing: Hearing,
): Omit<MemberView, keyof Place | 'succeeds'> {
  const until = Math.max(...capabilities.map(({ expires }) => expires))
  const since = Math.min(...capabilities.map(({ notBefore }) => notBefore))
  const heardMs = hearing.heardMs.get(peerId) ?? null
  const isMissing = hearing.nowMs !== null && hearing.nowMs - (heardMs ?? msOfHlc(since)) > hearing.silentAfterMs
  return {
    peerId,
    name: capabilities[0]?.name ?? '',
    grants: capabilities.flatMap(grantsOf),
    roles: [...new Set(capabilities.flatMap(({ roles }) => roles))].sort(),
    state:
      removal === null
        ? stateOf(until, isMissing, hearing)
        : removal.isSealed
          ? DONE[removal.closing.reason]
          : 'closing',
    since: time(since),
    until: until === HLC_MAX ? null : time(until),
    lastHeard: heardMs === null ? null : new Date(heardMs).toISOString(),
    silent: removal?.silent ?? [],
  }
}

function stateOf(until: Hlc, isMissing: boolean, { nowMs }: Hearing): MemberView['state'] {
  if (nowMs !== null && until <= hlcFromMs(nowMs)) return 'ended'
  return isMissing ? 'missing' : 'member'
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
