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

/** Whose keys took the place of whose, by peer id. */
export interface Successions {
  readonly taken: readonly (readonly [old: string, heir: string])[]
  /** Which keys a member asked for, by its word alone. */
  readonly asked: (peerId: string) => readonly string[]
}

const NO_SUCCESSIONS: Successions = { taken: [], asked: () => [] }

type Place = Pick<PlaceView, 'cell' | 'bridge' | 'superPeer'>

/** What a gateway says of itself; its name is null where it was never heard here, and then that of its admission counts. */
type Told = Place & { readonly name: string | null }

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
  return members.flatMap(({ state, name, peerId, until, lastHeard }) => {
    if (state === 'ended')
      return `member-ended: what ${name} (${peerId}) was given ended ${until}; old deletes are kept, and removals wait for it, until it is granted more or retired with "marram retire ${peerId}"`
    if (state !== 'missing') return []
    const heard = lastHeard === null ? 'never heard of' : `last heard of ${lastHeard}`
    return `member-missing: ${name} (${peerId}) was ${heard}; old deletes are kept until it is back or retired with "marram retire ${peerId}"`
  })
}

/** Who took the place of a member, and who the place of those. */
export function heirsOf(peerId: string, taken: Successions['taken']): string[] {
  const line = new Set([peerId])
  for (const member of line) for (const [old, heir] of taken) if (old === member) line.add(heir)
  line.delete(peerId)
  return [...line].sort()
}

/** For `status.warnings`, and for whoever revokes: the heirs of revoked members that still belong. */
export function heirWarnings(members: readonly MemberView[]): string[] {
  const belonging = members.filter(({ state }) => state === 'member' || state === 'missing')
  return members.flatMap((revoked) =>
    belonging
      .filter(({ peerId }) => revoked.heirs.includes(peerId))
      .map(
        ({ name, peerId }) =>
          `heir-of-revoked: ${name} (${peerId}) took the place of ${revoked.name} (${revoked.peerId}), which is revoked; whoever had those keys may have asked for these, if its owner did not: "marram revoke ${peerId}"`,
      ),
  )
}

/** Who belongs, by name; whoever was removed stays in the list. */
export function membersOf(
  capabilities: Iterable<Capability>,
  removals: readonly RemovalState[],
  hearing: Hearing,
  told: (peerId: string) => Told,
  { taken, asked }: Successions = NO_SUCCESSIONS,
): MemberView[] {
  const held = new Map<string, Capability[]>()
  for (const capability of capabilities) {
    const peerId = peerIdOf(capability.subject)
    held.set(peerId, [...(held.get(peerId) ?? []), capability])
  }
  const states = new Map<string, RemovalState>()
  for (const removal of removals) {
    const { origin } = removal.closing
    const other = states.get(origin)
    if (other === undefined || rankOf(removal) > rankOf(other)) states.set(origin, removal)
  }
  const before = new Map(taken.map(([old, heir]) => [heir, old]))
  // What a member claims to have asked for is none's that belongs: it could name anyone.
  const heirs = (peerId: string): string[] =>
    states.get(peerId)?.closing.reason === 'revoke'
      ? [...heirsOf(peerId, taken), ...asked(peerId).filter((heir) => !held.has(heir))]
      : []
  const members = [...held].map(([peerId, its]) => {
    const view = memberView(peerId, its, states.get(peerId) ?? null, hearing)
    const { name, ...place } = told(peerId)
    return {
      ...view,
      name: name ?? view.name,
      succeeds: before.get(peerId) ?? null,
      heirs: heirs(peerId),
      ...place,
    }
  })
  return members.sort((a, b) => (a.name === b.name ? (a.peerId < b.peerId ? -1 : 1) : a.name < b.name ? -1 : 1))
}

/** Of several administrators' removals the one that shows: a revocation before a retirement, then what is done. */
function rankOf({ closing, isSealed }: RemovalState): number {
  return (closing.reason === 'revoke' ? 2 : 0) + (isSealed ? 1 : 0)
}

function memberView(
  peerId: string,
  capabilities: readonly Capability[],
  removal: RemovalState | null,
  hearing: Hearing,
): Omit<MemberView, keyof Place | 'succeeds' | 'heirs'> {
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
