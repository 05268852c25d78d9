import { latin1 } from '../../runtime/base/bytes.ts'
import { OP_DELETE, type Ops } from '../../runtime/model/batch.ts'
import { deadUnder } from '../../runtime/model/checkpoint.ts'
import { cellsOfOp, writeOf } from '../../runtime/model/document.ts'
import { fieldsOf } from '../../runtime/model/fields.ts'
import { isSystemName } from '../../runtime/model/names.ts'
import { compareStamps, type Stamp } from '../../runtime/model/stamp.ts'
import type { Value } from '../../runtime/model/value.ts'
import { decodeBatch } from '../../runtime/wire/batch.ts'
import { signedCheckpoint } from '../../runtime/sync/filling.ts'
import { FeedHistory, historyKey } from '../../runtime/sync/history.ts'
import { decodeMessages } from '../../runtime/wire/message.ts'
import { liveCells } from './disk.ts'
import type { Acknowledged, SimulatedGateway } from './gateway.ts'
import { COUNTED_KEY, type Simulation } from './simulation.ts'

/** What must hold when everything is healed and quiet. Returns sentences about what doesn't; the codes are SPEC's. */
export function violations(simulation: Simulation): string[] {
  const [first, ...others] = simulation.gateways
  if (!first) return []
  const found = [...simulation.faults]
  for (const gateway of others) {
    found.push(...differences('I1 heads', headsOf(first), headsOf(gateway), gateway.index))
    found.push(...differences('I1 cells', liveCells(first.disk), liveCells(gateway.disk), gateway.index))
    found.push(...differences('I8 retained', liveSets(first), liveSets(gateway), gateway.index))
  }
  found.push(...lostWrites(simulation))
  found.push(...differences('I2 oracle', naiveFold(simulation), liveCells(first.disk), first.index))
  found.push(...miscounted(simulation, first))
  return found
}

/** I6 and the crash rule: bytes are forwarded as their author made them, and nothing is told before it is on the disk. */
export function checkFrame(simulation: Simulation, from: SimulatedGateway, bytes: Uint8Array): string[] {
  const messages = decodeMessages(bytes)
  if (!messages.ok) return [`I15 gateway ${from.index} sent a malformed frame: ${messages.error.message}`]
  const found: string[] = []
  for (const message of messages.value) {
    if (message.type !== 'data') continue
    for (const sent of message.batches) {
      const batch = decodeBatch(simulation.meshId, sent)
      if (!batch.ok) return [`I6 gateway ${from.index} sent a malformed batch`]
      const { feedId, seq } = batch.value.header
      const stored = from.disk.batch(latin1(feedId), seq)
      if (!stored) found.push(`I5 gateway ${from.index} sent batch ${seq} of a feed before it was on its disk`)
      else if (!Buffer.from(stored.bytes).equals(sent)) found.push(`I6 gateway ${from.index} changed batch ${seq}`)
    }
  }
  return found
}

function headsOf(gateway: SimulatedGateway): Map<string, string> {
  const heads = gateway.disk.heads().filter(({ feed }) => !isSystemName(feed.descriptor.collection))
  return new Map(heads.map((head) => [head.feed.key, `${head.seq} ${Buffer.from(head.hash).toString('hex')}`]))
}

/** I8: what lives of each feed under the checkpoint that is applied; what is dead may wait to leave. */
function liveSets(gateway: SimulatedGateway): Map<string, string> {
  const sets = new Map<string, string>()
  for (const { feed, retained } of gateway.disk.heads()) {
    if (isSystemName(feed.descriptor.collection)) continue
    const history = new FeedHistory()
    history.decode(gateway.disk.getRecord(historyKey(feed)) ?? new Uint8Array(), (seq) => {
      const batch = gateway.disk.batch(feed.key, seq)
      return batch ? signedCheckpoint(batch) : null
    })
    const dead = history.applied ? deadUnder(history.applied.checkpoint, retained) : null
    sets.set(feed.key, `${history.applied?.seq ?? 0}: ${(dead ? retained.without(dead) : retained).runs.join(' ')}`)
  }
  return sets
}

function stampText(stamp: { hlc: number; index: number; origin: string }): string {
  return `${stamp.hlc}.${stamp.index}@${stamp.origin}`
}

/** I5: every acknowledged write was on its author's disk, so that the oracle knows it. */
function lostWrites(simulation: Simulation): string[] {
  const times = new Set<string>()
  for (const [feed, batches] of simulation.issued) {
    for (const { batch } of batches.values()) times.add(`${feed.origin} ${batch.header.hlc}`)
  }
  const lost = simulation.acknowledgements.filter(({ stamp }) => !times.has(`${stamp.origin} ${stamp.hlc}`))
  return lost.length === 0 ? [] : [`I5 ${lost.length} writes were acknowledged before they were on a disk`]
}

/** A write to one cell, or without a cell the delete of a document. */
interface CellWrite {
  readonly name: string
  readonly cell: string | null
  readonly value: Value
  readonly stamp: Stamp
}

/** The oracle: every operation that was ever on its author's disk, sorted by stamp and applied one after the other. */
function naiveFold(simulation: Simulation): Map<string, string> {
  const cells = new Map<string, string>()
  for (const { name, cell, value, stamp } of writesOf(simulation).sort(inOrder)) {
    if (cell === null) {
      for (const other of cells.keys()) if (other.startsWith(`${name} `)) cells.delete(other)
    } else if (value === null) cells.delete(`${name} ${cell}`)
    else cells.set(`${name} ${cell}`, `${JSON.stringify(value)} ${stampText(stamp)}`)
  }
  return cells
}

function writesOf(simulation: Simulation): CellWrite[] {
  const writes: CellWrite[] = []
  for (const [feed, batches] of simulation.issued) {
    const { collection, partition } = feed.descriptor
    if (isSystemName(collection)) continue
    for (const { batch, ops } of batches.values()) {
      const source = { feed, seq: batch.header.seq, hlc: batch.header.hlc, lsn: 0 }
      let at = 0
      ops.opDocs.forEach((doc, index) => {
        const shape = ops.shapes[ops.opShapes[index] as number] as Ops['shapes'][number]
        const from = at
        at += shape.paths.length
        const name = `${collection}/${partition}/${ops.docs[doc]}`
        const write = writeOf(source, ops.stamps?.[index] ?? null, index)
        if (shape.kind === OP_DELETE) writes.push({ name, cell: null, value: null, stamp: write })
        for (const [cell, value, stamp] of shape.kind === OP_DELETE ? [] : cellsOfOp(shape, ops.values, from, write)) {
          writes.push({ name, cell, value, stamp })
        }
      })
    }
  }
  return writes
}

/** By stamp; of one stamp a removal comes behind what it saw, and a delete behind all. */
function inOrder(a: CellWrite, b: CellWrite): number {
  const rank = ({ cell, value }: CellWrite): number => (cell === null ? 2 : value === null ? 1 : 0)
  return compareStamps(a.stamp, b.stamp) || rank(a) - rank(b)
}

/** What was counted and acknowledged is in the total once, and nothing that nobody counted. */
function miscounted(simulation: Simulation, gateway: SimulatedGateway): string[] {
  const found: string[] = []
  for (const [collection, attempted] of simulation.counted) {
    const document = gateway.disk.document({ collection, partition: '' }, COUNTED_KEY)
    const total = document ? Number(fieldsOf(document)['total'] ?? 0) : 0
    const isCount = ({ op, collection: where }: Acknowledged): boolean => op.kind === 'count' && where === collection
    const acknowledged = simulation.acknowledgements.filter(isCount).length
    if (total >= acknowledged && total <= attempted) continue
    found.push(`I2 counter: ${total} in "${collection}", of ${attempted} counts ${acknowledged} were acknowledged`)
  }
  return found
}

function differences(what: string, a: Map<string, string>, b: Map<string, string>, index: number): string[] {
  for (const [key, value] of a) {
    if (b.get(key) !== value) return [`${what}: gateway ${index} has ${b.get(key)} for "${key}", expected ${value}`]
  }
  return a.size === b.size ? [] : [`${what}: gateway ${index} has ${b.size} entries, expected ${a.size}`]
}
