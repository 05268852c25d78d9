import { hex, latin1 } from '../../runtime/base/bytes.ts'
import type { Held } from '../../runtime/model/checkpoint.ts'
import type { Place } from '../../runtime/model/interest.ts'
import { isSystemName, SELF_COLLECTION } from '../../runtime/model/names.ts'
import { BEACON_KEY, decodeBeacon, type Beacon } from '../../runtime/sync/beacons.ts'
import { chainOf as chainIn, HELD_PREFIX } from '../../runtime/sync/statements.ts'
import { chainOf, isAt } from './checks.ts'
import type { SimulatedDisk } from './disk.ts'
import type { SimulatedGateway } from './gateway.ts'
import type { IssuedFeed, Simulation } from './simulation.ts'

/** A batch, by its hash. */
interface Settled {
  readonly seq: number
  readonly hash: string
}

/** What members have said in their beacons, as the oracle of what a cut may undo (protocol D20). */
export class Confirmed {
  /** By who saw it and feed, the last batch that everyone asked had confirmed on one branch at some time. */
  readonly #settled = new Map<SimulatedGateway, Map<string, Settled>>()
  #watches = 0

  /**
   * Looks at what everyone has said by now, as one of those sees it whose own store stays what it is: that one may act on it. What a
   * member said counts though its store is put back, or its card copied.
   */
  watch(simulation: Simulation): void {
    const lasting = lastingOf(simulation)
    const observer = lasting[this.#watches++ % lasting.length]
    if (observer !== undefined) this.#look(simulation, observer)
  }

  /** Its store is put back: what it had seen it knows no more. The others go on knowing what they have seen by now. */
  forget(simulation: Simulation, gateway: SimulatedGateway): void {
    this.#settled.delete(gateway)
    for (const observer of lastingOf(simulation)) if (observer !== gateway) this.#look(simulation, observer)
  }

  #look(simulation: Simulation, observer: SimulatedGateway): void {
    const settled = this.#settled.get(observer) ?? new Map<string, Settled>()
    this.#settled.set(observer, settled)
    const beacons = new Map<string, Beacon | null>()
    const present = new Set(simulation.present.map(({ peerId }) => peerId))
    const writers = simulation.members().filter(({ origin }) => present.has(origin))
    for (const { origin } of writers) beacons.set(origin, beaconOn(observer.disk, origin))
    for (const [key, issued] of simulation.issued) {
      const { origin, descriptor } = issued.feed
      if (isSystemName(descriptor.collection)) continue
      const asked = writers.filter((writer) => writer.origin !== origin)
      const said = asked.map((one) => mostOf(beacons.get(one.origin)?.acks.get(key)))
      const found = commonOf(issued, said)
      if (found === null || found.seq <= (settled.get(key)?.seq ?? 0)) continue
      // Who hasn't what they name can't know of which branch it is.
      const chain = [...chainOf(observer, issued.feed, issued.batches)]
      if (said.every((one) => chain.some((hash) => hash.startsWith(latin1((one as Held).hash8)))))
        settled.set(key, found)
    }
  }

  /**
   * SPEC I18: what everyone had confirmed no seal has undone, as far as somebody who is left saw it: of what only a lost one had heard
   * the others may have neither the batches nor the word.
   */
  undone(simulation: Simulation, gateway: SimulatedGateway, place: Place): string[] {
    const found = new Set<string>()
    const seen = simulation.healed.flatMap((observer) => [...(this.#settled.get(observer) ?? [])])
    for (const [key, { seq, hash }] of seen) {
      const issued = simulation.issued.get(key)
      // What its author stamped ahead of time it may void whoever has confirmed it.
      if (seq >= gateway.authority.aheadOf({ key })) continue
      if (issued === undefined || !isAt(issued.feed, place) || chainOf(gateway, issued.feed, issued.batches).has(hash))
        continue
      // Without a seal it isn't void, but gone: the others had left the place when the store of the last that had it was put back.
      if (gateway.authority.sealOf(issued.feed) > seq && simulation.isOnceLeft(place)) continue
      // Below the cut it isn't either, but with those who have the branch that counts, and are lost.
      const cut = simulation.cutOf(gateway, issued.feed)
      if (seq < cut && cut < Number.POSITIVE_INFINITY && (gateway.disk.head(key)?.seq ?? 0) < seq) continue
      found.add(`I18 batch ${seq} of ${hex(issued.feed.id)} is void although everyone had confirmed it`)
    }
    return [...found]
  }
}

function lastingOf({ healed, copied }: Simulation): SimulatedGateway[] {
  return healed.filter(({ peerId }) => !copied.has(peerId))
}

function mostOf(held: readonly Held[] = []): Held | undefined {
  return held.reduce<Held | undefined>((most, one) => (one.seq > (most?.seq ?? 0) ? one : most), undefined)
}

/** The last batch that all of these heads continue; none when somebody has said nothing or they are of two branches. */
function commonOf({ batches }: IssuedFeed, said: readonly (Held | undefined)[]): Settled | null {
  const seq = Math.min(...said.map((one) => one?.seq ?? 0))
  if (said.length === 0 || seq === 0) return null
  const hashes = new Set<string | null>()
  for (const one of said) {
    const start = latin1((one as Held).hash8)
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

/** Of what the member shows, and of what others tell that it has said. */
function mostSaid({ disk, authority }: SimulatedGateway, origin: string, feedKey: string, id: Uint8Array): number {
  const told = authority.testimonies.of(origin)
  const acks = [beaconOn(disk, origin), ...told].flatMap((said) => said?.acks.get(feedKey) ?? [])
  const key = HELD_PREFIX + hex(id)
  const shown = disk.document({ collection: SELF_COLLECTION, partition: origin }, key)?.values ?? []
  const chains = [...shown.map(chainIn), ...told.flatMap(({ held }) => held.get(key) ?? [])]
  return Math.max(0, ...[...acks, ...chains.flat()].map(({ seq }) => seq))
}

function beaconOn(disk: SimulatedDisk, origin: string): Beacon | null {
  const document = disk.document({ collection: SELF_COLLECTION, partition: origin }, BEACON_KEY)
  return document ? decodeBeacon(document) : null
}
