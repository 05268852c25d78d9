import { hex, latin1 } from '../../runtime/base/bytes.ts'
import { isSystemName } from '../../runtime/model/names.ts'
import type { EngineView } from '../../runtime/sync/engine.ts'
import type { SimulatedGateway } from './gateway.ts'
import type { Simulation } from './simulation.ts'

const NEWS_MS = 2_000

/** I31 at rest: of the neighbours that it is linked with it knows all that they have. */
export function unknownHoldings(simulation: Simulation): string[] {
  const found: string[] = []
  for (const gateway of simulation.healed) {
    const { holdings = [], links = [] } = gateway.engine?.view ?? {}
    const linked = new Set(links.filter(({ isGreeted }) => isGreeted).map(({ peerId }) => peerId))
    for (const { peerId, lag } of holdings) {
      if (!linked.has(peerId) || !isAsked(simulation, peerId)) continue
      // Beacons go on, and compactions, so some is always under way.
      const unknown = lag.filter(({ feedKey }) => !isSystem(gateway, feedKey) && !isNews(simulation, gateway, feedKey))
      if (unknown.length === 0) continue
      found.push(`I31 gateway ${gateway.index} doesn't know that ${peerId} has all of ${unknown.length} feeds`)
    }
  }
  return found
}

/**
 * SPEC I31: what a gateway takes to be on a neighbour's disk is there. Not asked of what a liar says of itself, of cards that were put
 * back or copied, of those that keep something else since they were heard, and of feeds that are cut: there what was confirmed is gone by right until they speak again.
 */
export function falseHoldings(simulation: Simulation, gateway: SimulatedGateway, view: EngineView): string[] {
  const found: string[] = []
  // What a neighbour says by the number of a database it may have from its copy, which has the same name until it is found out.
  if (!isAsked(simulation, gateway.peerId)) return found
  for (const { peerId, lag } of view.holdings) {
    const peer = simulation.present.find((other) => other.peerId === peerId)
    if (!peer || !isAsked(simulation, peerId) || simulation.unheard.has(`${gateway.index} ${peerId}`)) continue
    const held = new Map(lag.map((feed) => [feed.feedKey, feed.held]))
    for (const { feed, head } of gateway.disk.feeds.values()) {
      const said = held.get(feed.key) ?? head.seq
      const actual = peer.disk.feeds.get(feed.key)?.head.seq ?? 0
      if (said <= actual || !peer.keeps(feed) || simulation.cutFrom.has(hex(feed.id))) continue
      // Of what is on its way out here nothing is said any more, also when it is to be kept again.
      if (gateway.engine?.heldBy(feed.key).length === 0) continue
      found.push(
        `I31 gateway ${gateway.index} takes gateway ${peer.index} to have ${said} batches of a feed, it has ${actual}`,
      )
    }
  }
  return found
}

function isSystem({ disk }: SimulatedGateway, feedKey: string): boolean {
  return isSystemName(disk.head(feedKey)?.feed.descriptor.collection ?? '')
}

/** It was written a moment ago, and is still being passed on. */
function isNews({ issued, schedule }: Simulation, { disk }: SimulatedGateway, feedKey: string): boolean {
  const head = disk.feeds.get(feedKey)?.head
  const made = head && issued.get(feedKey)?.batches.get(latin1(head.hash))
  return made !== undefined && schedule.now < made.atMs + NEWS_MS
}

function isAsked(simulation: Simulation, peerId: string): boolean {
  return !simulation.copied.has(peerId) && simulation.liar?.peerId !== peerId
}
