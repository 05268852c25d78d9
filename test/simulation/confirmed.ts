import { hex, latin1 } from '../../runtime/base/bytes.ts'
import type { Place } from '../../runtime/model/interest.ts'
import { isSystemName, SELF_COLLECTION } from '../../runtime/model/names.ts'
import { BEACON_KEY, decodeBeacon, type Beacon } from '../../runtime/sync/beacons.ts'
import { HELD_PREFIX } from '../../runtime/sync/statements.ts'
import { chainOf, isAt } from './checks.ts'
import type { SimulatedGateway } from './gateway.ts'
import type { IssuedFeed, Simulation } from './simulation.ts'

/** What members have said in their beacons, as the oracle of what a cut may undo (protocol D20). */
export class Confirmed {
  /** By feed, the last batch that everyone asked had confirmed on one branch at some time: its hash. */
  readonly #settled = new Map<string, { readonly seq: number; readonly hash: string }>()

  /** Looks at what everyone has said by now. */
  watch(simulation: Simulation): void {
    const beacons = new Map<string, Beacon | null>()
    for (const gateway of simulation.present) beacons.set(gateway.peerId, beaconOn(gateway, gateway.peerId))
    const writers = simulation.members().filter(({ origin }) => simulation.present.some((one) => one.peerId === origin))
    for (const [key, issued] of simulation.issued) {
      const { origin, descriptor } = issued.feed
      const asked = writers.filter((writer) => writer.origin !== origin)
      // Of one that was copied, two speak.
      if (isSystemName(descriptor.collection) || asked.some((one) => simulation.copied.has(one.origin))) continue
      const found = commonOf(
        issued,
        asked.map((one) => beacons.get(one.origin)?.acks.get(key)?.at(-1)),
      )
      if (found && found.seq > (this.#settled.get(key)?.seq ?? 0)) this.#settled.set(key, found)
    }
  }

  /** SPEC I18: what everyone had confirmed no seal has undone. */
  undone(simulation: Simulation, gateway: SimulatedGateway, place: Place): string[] {
    const found: string[] = []
    for (const [key, { seq, hash }] of this.#settled) {
      const issued = simulation.issued.get(key)
      if (issued === undefined || !isAt(issued.feed, place) || chainOf(gateway, issued.feed, issued.batches).has(hash))
        continue
      found.push(`I18 batch ${seq} of ${hex(issued.feed.id)} is void although everyone had confirmed it`)
    }
    return found
  }
}

/** The last batch that all of these heads continue; none when somebody has said nothing or they are of two branches. */
function commonOf(
  { batches }: IssuedFeed,
  said: readonly ({ readonly seq: number; readonly hash8: Uint8Array } | undefined)[],
): { readonly seq: number; readonly hash: string } | null {
  const seq = Math.min(...said.map((one) => one?.seq ?? 0))
  if (said.length === 0 || seq === 0) return null
  const hashes = new Set<string | null>()
  for (const one of said) {
    const start = latin1((one as { readonly hash8: Uint8Array }).hash8)
    let hash = [...batches.keys()].find((name) => name.startsWith(start)) ?? null
    for (
      let issued = batches.get(hash ?? '');
      issued && issued.batch.header.seq > seq;
      issued = batches.get(hash ?? '')
    )
      hash = latin1(issued.batch.header.prev)
    hashes.add(hash)
  }
  const [hash] = hashes
  return hashes.size === 1 && typeof hash === 'string' ? { seq, hash } : null
}

/** SPEC I20: the removal of a member raises no cut over what that one had taken for void. */
export function raisedCuts(simulation: Simulation): string[] {
  const found: string[] = []
  for (const { origin, bound } of simulation.removals) {
    for (const gateway of simulation.healed) {
      for (const key of bound) {
        const head = gateway.disk.head(key)
        if (!head) continue
        const most = Math.max(gateway.authority.sealOf(head.feed) - 1, mostSaid(gateway, origin, key, head.feed.id))
        if (head.seq <= most) continue
        found.push(
          `I20 gateway ${gateway.index} has ${head.seq} batches of a feed, of which a removed one took all after ${most} for void`,
        )
      }
    }
  }
  return found
}

function mostSaid(gateway: SimulatedGateway, origin: string, key: string, id: Uint8Array): number {
  const acks = beaconOn(gateway, origin)?.acks.get(key) ?? []
  const held = gateway.disk.document({ collection: SELF_COLLECTION, partition: origin }, HELD_PREFIX + hex(id))
  const tops = (held?.values ?? []).map((chain) => (Array.isArray(chain) ? chain.at(-1) : null))
  return Math.max(0, ...acks.map(({ seq }) => seq), ...tops.map((top) => (Array.isArray(top) ? Number(top[0]) : 0)))
}

function beaconOn({ disk }: SimulatedGateway, origin: string): Beacon | null {
  const document = disk.document({ collection: SELF_COLLECTION, partition: origin }, BEACON_KEY)
  return document ? decodeBeacon(document) : null
}
