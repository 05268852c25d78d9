import { deadUnder } from '../../runtime/model/checkpoint.ts'
import type { Write } from '../../runtime/model/document.ts'
import { isSystemName, placeOf, SELF_COLLECTION } from '../../runtime/model/names.ts'
import { compareStamps, hlcFromMs, type Hlc, type Stamp } from '../../runtime/model/stamp.ts'
import type { Feed } from '../../runtime/model/batch.ts'
import { equal, hex } from '../../runtime/base/bytes.ts'
import { BEACON_KEY } from '../../runtime/sync/beacons.ts'
import { appliedCheckpoint, writesOf, type CellWrite } from './checks.ts'
import type { SimulatedGateway } from './gateway.ts'
import { isSane, type Simulation } from './simulation.ts'

/**
 * SPEC I30, long after the last write: an author's feed holds no more deletes and removals that keep nothing dead than what a
 * checkpoint isn't worth while for. Every writer that is a member has said by then that nothing older can come.
 */
export function lastingDeletes(simulation: Simulation): string[] {
  const found: string[] = []
  for (const gateway of simulation.present) {
    for (const { feed } of gateway.disk.heads()) {
      // Who knows only its own of a place can't say what keeps nothing dead.
      if (!isOwn(gateway, feed) || !gateway.keepsAt(feed.descriptor)) continue
      const bytes = uselessBytes(gateway, feed)
      const worth = NOT_WORTH_BYTES + simulation.issued.size * DEPENDENCY_BYTES
      if (bytes < worth) continue
      found.push(`I30 gateway ${gateway.index} keeps ${bytes} bytes of deletes that keep nothing dead`)
    }
  }
  return found
}

/** For less no checkpoint is signed: see compacting.ts. */
const NOT_WORTH_BYTES = 512
const DEPENDENCY_BYTES = 64
/** So long after it was written no delete may be left that could go. */
const LASTING_MS = 60_000

function isOwn({ publicKey, incarnation }: SimulatedGateway, { descriptor }: Feed): boolean {
  if (isSystemName(descriptor.collection)) return false
  return equal(descriptor.publicKey, publicKey) && equal(descriptor.incarnation, incarnation)
}

/** Of batches that are not declared dead, and in which nothing is but deletes and removals that keep nothing dead. */
function uselessBytes(gateway: SimulatedGateway, own: Feed): number {
  const there = [...gateway.disk.feeds.values()].filter(({ feed }) => {
    return placeOf(feed.descriptor) === placeOf(own.descriptor)
  })
  const writes = there.flatMap(({ feed, batches }) => {
    return [...batches.values()].flatMap(({ batch, ops }) => (ops === null ? [] : writesOf(feed, batch, ops)))
  })
  const mine = there.find(({ feed }) => feed.key === own.key)
  const applied = appliedCheckpoint(gateway, own)
  const dead = mine && applied ? deadUnder(applied.checkpoint, mine.retained) : null
  const settled = settledBelow(gateway)
  let bytes = 0
  for (const [seq, { batch, ops }] of mine?.batches ?? []) {
    if (ops === null || dead?.has(seq) || batch.header.hlc >= settled) continue
    const isUseless = writesOf(own, batch, ops).every((write) => {
      return write.value === null && !writes.some((other) => isKilledBy(write, other))
    })
    if (isUseless) bytes += batch.bytes.length
  }
  return bytes
}

/** What a gateway had stamped ahead, less than it sets its clock back for, it lets stand until that time has come. */
function settledBelow(gateway: SimulatedGateway): Hlc {
  const { wallMs, trust } = gateway.engine?.time(gateway.now()) ?? { wallMs: 0, trust: 0 }
  return trust === 0 ? Number.POSITIVE_INFINITY : hlcFromMs(wallMs - LASTING_MS)
}

function isKilledBy(by: CellWrite, other: CellWrite): boolean {
  if (other.name !== by.name || (by.cell !== null && by.cell !== other.cell)) return false
  const order = compareStamps(other.stamp, by.stamp)
  return other.value === null ? order < 0 : order <= 0
}

/**
 * Whether a delete or removal may have gone before a write came that it would have killed: the write's author had said in a beacon that
 * it writes nothing so old any more, and its clock was then set back to a time that is behind too, which it could not know (protocol R14).
 * Deletes are kept for days lest a clock be behind for longer; here they go after seconds, and a clock may be an hour behind.
 */
export function mayHaveGone(simulation: Simulation, tombstone: Stamp, { feed, hlc, origin }: Write): boolean {
  const incarnation = hex(feed.descriptor.incarnation)
  if (!simulation.gateways.some(({ peerId, setBackIn }) => peerId === origin && setBackIn.has(incarnation)))
    return false
  const batches = [...(simulation.issued.get(feed.key)?.batches.values() ?? [])]
  // What is told again has the stamp of its first batch.
  const written = batches.find(({ batch }) => batch.header.hlc === hlc)
  return written !== undefined && beaconBefore(simulation, origin, written.atMs) >= tombstone.hlc
}

/** The greatest stamp, but for those of a clock ahead, up to which a member had said until then that all it wrote was there. */
function beaconBefore(simulation: Simulation, origin: string, beforeMs: number): Hlc {
  let said = 0
  for (const { feed, batches } of simulation.issued.values()) {
    if (feed.origin !== origin || feed.descriptor.collection !== SELF_COLLECTION) continue
    for (const { batch, ops, atMs } of batches.values()) {
      if (ops === null || atMs >= beforeMs) continue
      for (const { name, cell, value } of writesOf(feed, batch, ops)) {
        const isSaid = cell === 'at' && name.endsWith(`/${BEACON_KEY}`) && typeof value === 'number' && isSane(value)
        if (isSaid) said = Math.max(said, value)
      }
    }
  }
  return said
}
