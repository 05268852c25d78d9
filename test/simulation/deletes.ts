import { deadUnder } from '../../runtime/model/checkpoint.ts'
import { isSystemName, placeOf } from '../../runtime/model/names.ts'
import { compareStamps } from '../../runtime/model/stamp.ts'
import type { Feed } from '../../runtime/model/batch.ts'
import { equal } from '../../runtime/base/bytes.ts'
import { appliedCheckpoint, writesOf, type CellWrite } from './checks.ts'
import type { SimulatedGateway } from './gateway.ts'
import type { Simulation } from './simulation.ts'

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
  let bytes = 0
  for (const [seq, { batch, ops }] of mine?.batches ?? []) {
    if (ops === null || dead?.has(seq)) continue
    const isUseless = writesOf(own, batch, ops).every((write) => {
      return write.value === null && !writes.some((other) => isKilledBy(write, other))
    })
    if (isUseless) bytes += batch.bytes.length
  }
  return bytes
}

function isKilledBy(by: CellWrite, other: CellWrite): boolean {
  if (other.name !== by.name || (by.cell !== null && by.cell !== other.cell)) return false
  const order = compareStamps(other.stamp, by.stamp)
  return other.value === null ? order < 0 : order <= 0
}
