import { hex } from '../../runtime/base/bytes.ts'
import { OP_DELETE, type Feed } from '../../runtime/model/batch.ts'
import type { Document } from '../../runtime/model/document.ts'
import { isSystemName, SELF_COLLECTION } from '../../runtime/model/names.ts'
import type { Hlc } from '../../runtime/model/stamp.ts'
import { AHEAD_PREFIX } from '../../runtime/sync/overrun.ts'
import { writesOf, type CellWrite } from './checks.ts'
import type { SimulatedGateway } from './gateway.ts'
import { isSane, type IssuedFeed, type Simulation } from './simulation.ts'

/**
 * SPEC I32: when the clocks are right again nothing of the future is left, and what was written under it is there again, or something
 * that was written since.
 */
export function leftAhead(simulation: Simulation): string[] {
  const found: string[] = []
  if (simulation.scenario.overruns !== true) return found
  for (const { index, disk, engine } of simulation.healed) {
    if (engine !== null && !isSane(engine.view.clock)) found.push(`I32 the clock of gateway ${index} is still ahead`)
    for (const { feed, seq, hlc } of disk.heads()) {
      if (!isSane(hlc))
        found.push(`I32 gateway ${index} holds ${seq} batches of "${feed.descriptor.collection}", stamped ahead`)
    }
  }
  for (const issued of simulation.issued.values()) found.push(...lostOf(simulation, issued))
  return found
}

/** Fields that a batch stamped ahead had set, and that show something older, or nothing though nobody took them away. */
function lostOf(simulation: Simulation, { feed, batches }: IssuedFeed): string[] {
  const author = simulation.healed.find(({ peerId, disk }) => peerId === feed.origin && disk.feeds.has(feed.key))
  if (isSystemName(feed.descriptor.collection) || author === undefined || simulation.copied.has(feed.origin)) return []
  const sealedAt = sealOn(author, feed.id)
  const found: string[] = []
  const right = [...batches.values()].map(({ batch }) => batch.header.hlc).filter(isSane)
  const lastRight = Math.max(0, ...right)
  for (const { batch, ops } of batches.values()) {
    if (ops === null || isSane(batch.header.hlc)) continue
    if (sealedAt === null) return [`I32 a feed of gateway ${author.index} that ran ahead is not sealed`]
    for (const write of writesOf(feed, batch, ops)) {
      // What is told again has its first stamp.
      if (isSane(write.stamp.hlc) || isSetSince(author, feed, write, lastRight)) continue
      if (!isOvertaken(simulation, author, write, sealedAt))
        found.push(
          `I32 "${write.name} ${write.cell}", which gateway ${author.index} wrote under a clock ahead, is lost`,
        )
    }
  }
  return found
}

function sealOn({ disk, peerId }: SimulatedGateway, feedId: Uint8Array): number | null {
  const document = disk.document({ collection: SELF_COLLECTION, partition: peerId }, AHEAD_PREFIX + hex(feedId))
  return document?.writes[0]?.hlc ?? null
}

/** Its author has set the field in its next incarnation, perhaps before it had said that the last one is void. */
function isSetSince({ disk }: SimulatedGateway, feed: Feed, { name, cell }: CellWrite, after: Hlc): boolean {
  const document = disk.documents.get(name)
  const by = document?.writes[document.paths.indexOf(cell ?? '')]
  return by !== undefined && by.feed.origin === feed.origin && by.feed.key !== feed.key && by.hlc > after
}

/** Whether the field shows what was written since; deletes and removals leave in the end, and nothing shows any more. */
function isOvertaken(
  simulation: Simulation,
  { disk }: SimulatedGateway,
  { name, cell, value }: CellWrite,
  sealedAt: number,
): boolean {
  const document: Document | undefined = disk.documents.get(name)
  if (cell === null || value === null || cell.includes('\0')) return true
  const at = document?.paths.indexOf(cell) ?? -1
  if (at >= 0) return (document?.writes[at]?.hlc ?? 0) >= sealedAt
  return (document?.deleted?.hlc ?? 0) >= sealedAt || isTakenAway(simulation, name, cell, sealedAt)
}

function isTakenAway(simulation: Simulation, name: string, cell: string, since: number): boolean {
  for (const { feed, batches } of simulation.issued.values()) {
    for (const { batch, ops } of batches.values()) {
      if (ops === null || batch.header.hlc < since || !ops.shapes.some(({ kind }) => kind <= OP_DELETE)) continue
      const takes = (write: CellWrite): boolean => write.value === null && (write.cell === null || write.cell === cell)
      if (writesOf(feed, batch, ops).some((write) => write.name === name && takes(write))) return true
    }
  }
  return false
}
