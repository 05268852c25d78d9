import { hex } from '../../runtime/base/bytes.ts'
import { OP_DELETE, type Feed } from '../../runtime/model/batch.ts'
import type { Document, Write } from '../../runtime/model/document.ts'
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
  // An author that has left the place sees just its own writes there, and others have overtaken those; some never get the keys.
  const reader = [author, ...simulation.healed].find((gateway) => {
    return gateway.keepsAt(feed.descriptor) && gateway.readsAt(feed.descriptor)
  })
  const found: string[] = []
  for (const { batch, ops, atMs } of batches.values()) {
    if (ops === null || isSane(batch.header.hlc)) continue
    if (sealedAt === null) return [`I32 a feed of gateway ${author.index} that ran ahead is not sealed`]
    for (const write of writesOf(feed, batch, ops)) {
      // What is told again has its first stamp.
      const since = { atMs, sealedAt }
      if (isSane(write.stamp.hlc) || !reader || isOvertaken(simulation, reader, write, since)) continue
      if (isSetBeforeSeal(simulation, feed, write, since)) continue
      found.push(`I32 "${write.name} ${write.cell}", which gateway ${author.index} wrote under a clock ahead, is lost`)
    }
  }
  return found
}

function sealOn({ disk, peerId }: SimulatedGateway, feedId: Uint8Array): number | null {
  const document = disk.document({ collection: SELF_COLLECTION, partition: peerId }, AHEAD_PREFIX + hex(feedId))
  return document?.writes[0]?.hlc ?? null
}

interface Since {
  /** When the batch stamped ahead was made, in the simulation's own time. */
  readonly atMs: number
  /** The stamp of its seal. */
  readonly sealedAt: Hlc
}

/** Whether the field shows what was written since; deletes and removals leave in the end, and nothing shows any more. */
function isOvertaken(
  simulation: Simulation,
  { disk }: SimulatedGateway,
  { name, cell, value }: CellWrite,
  since: Since,
): boolean {
  const document: Document | undefined = disk.documents.get(name)
  if (cell === null || value === null || cell.includes('\0')) return true
  const by = document?.writes[document.paths.indexOf(cell)]
  if (by !== undefined) return isSince(simulation, by, since)
  const deleted = document?.deleted
  return (deleted && isSince(simulation, deleted, since)) || isTakenAway(simulation, name, cell, since)
}

/**
 * Later in truth, or by its stamp: of two that didn't know of each other the stamps decide, though one clock is slow. A stamp before
 * the seal's is not too early: an author's next incarnation may write before it knows the time, and so what must be sealed.
 */
function isSince({ issued }: Simulation, { feed, hlc }: Write, { atMs, sealedAt }: Since): boolean {
  if (hlc >= sealedAt) return true
  for (const { batch, atMs: madeAt } of issued.get(feed.key)?.batches.values() ?? []) {
    // Operations that are told again have the stamp of their first batch.
    if (batch.header.hlc === hlc) return madeAt >= atMs
  }
  return false
}

/** Its author's next incarnation has written the field before its seal: that was never ahead, and loses by its stamp when a clock is slow. */
function isSetBeforeSeal({ issued }: Simulation, own: Feed, { name, cell }: CellWrite, since: Since): boolean {
  for (const { feed, batches } of issued.values()) {
    if (feed.origin !== own.origin || feed.key === own.key) continue
    for (const { batch, ops, atMs } of batches.values()) {
      const { hlc } = batch.header
      if (ops === null || hlc >= since.sealedAt || atMs < since.atMs) continue
      const sets = (write: CellWrite): boolean => write.cell === null || write.cell === cell
      if (writesOf(feed, batch, ops).some((write) => write.name === name && write.stamp.hlc === hlc && sets(write)))
        return true
    }
  }
  return false
}

function isTakenAway(simulation: Simulation, name: string, cell: string, since: Since): boolean {
  for (const { feed, batches } of simulation.issued.values()) {
    for (const { batch, ops, atMs } of batches.values()) {
      const isLater = batch.header.hlc >= since.sealedAt || atMs >= since.atMs
      if (ops === null || !isLater || !ops.shapes.some(({ kind }) => kind <= OP_DELETE)) continue
      const takes = (write: CellWrite): boolean => write.value === null && (write.cell === null || write.cell === cell)
      if (writesOf(feed, batch, ops).some((write) => write.name === name && takes(write))) return true
    }
  }
  return false
}
