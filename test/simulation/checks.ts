import { equal, hex, latin1 } from '../../runtime/base/bytes.ts'
import { OP_DELETE, type Batch, type Feed, type Ops } from '../../runtime/model/batch.ts'
import { deadUnder, type SignedCheckpoint } from '../../runtime/model/checkpoint.ts'
import { cellsOfOp, writeOf, type Write } from '../../runtime/model/document.ts'
import { fieldsOf } from '../../runtime/model/fields.ts'
import type { Place } from '../../runtime/model/interest.ts'
import { placeOf } from '../../runtime/model/names.ts'
import { compareStamps, type Stamp } from '../../runtime/model/stamp.ts'
import type { Value } from '../../runtime/model/value.ts'
import { decodeBatch, feedIdOfBatch, seqOfBatch } from '../../runtime/wire/batch.ts'
import { decodeDescriptor, feedOf } from '../../runtime/wire/descriptor.ts'
import { decodeMessages } from '../../runtime/wire/message.ts'
import { raisedCuts } from './confirmed.ts'
import { mayHaveGone } from './deletes.ts'
import { cellsOf, type SimulatedDisk } from './disk.ts'
import type { Acknowledged, SimulatedGateway } from './gateway.ts'
import { historyOf, incomplete, waitsForLost } from './histories.ts'
import { unknownHoldings } from './holdings.ts'
import { leftAhead } from './overruns.ts'
import { promisesOf } from './promises.ts'
import type { CellChange, Simulation } from './simulation.ts'
import { COUNTED_KEY } from './writes.ts'

/**
 * What must hold of each place, among those that keep it, when all is healed and quiet, as sentences about what doesn't:
 * SPEC I1, I2, I3, I5, I6, I8, I20, I25, I26, I27.
 */
export function violations(simulation: Simulation): string[] {
  const found = [...simulation.seen]
  for (const place of simulation.places) {
    const keepers = simulation.healed.filter((gateway) => gateway.keepsAt(place))
    const first = keepers.find((gateway) => gateway.readsAt(place))
    if (!first || waitsForLost(keepers, place)) continue
    const [heads, cells, live] = [headsOf(first, place), cellsAt(first, place), liveSets(first, place)]
    for (const gateway of keepers.filter((other) => other !== first)) {
      found.push(...differences('I1 heads', heads, headsOf(gateway, place), gateway.index))
      // A gateway without keys holds just what the others hold (I26), and shows nothing of it (I27).
      const shown = gateway.readsAt(place) ? cells : new Map<string, string>()
      found.push(...differences('I1 cells', shown, cellsAt(gateway, place), gateway.index))
      found.push(...differences('I8 retained', live, liveSets(gateway, place), gateway.index))
    }
    found.push(...oracleDifferences(simulation, first, place))
    found.push(...miscounted(simulation, first, place))
    found.push(...simulation.confirmed.undone(simulation, first, place))
    found.push(...shownAgain(simulation, first, place))
  }
  found.push(...simulation.healed.flatMap((gateway) => incomplete(gateway, simulation.byzantine?.gateway.peerId)))
  found.push(...lostWrites(simulation))
  found.push(...lostOfLost(simulation))
  found.push(...raisedCuts(simulation))
  found.push(...unknownHoldings(simulation))
  found.push(...leftAhead(simulation))
  for (const gateway of simulation.healed) found.push(...strangeFeeds(gateway))
  return found
}

/** I25: what is not of its interest, or beyond its rights, it has not. */
function strangeFeeds(gateway: SimulatedGateway): string[] {
  const strange = gateway.disk.heads().filter(({ feed, seq, retained }) => {
    return !gateway.keeps(feed) && (seq > 0 || !retained.isEmpty)
  })
  return strange.length === 0 ? [] : [`I25 gateway ${gateway.index} has ${strange.length} feeds that it doesn't keep`]
}

/** I25: nobody is told or sent what it doesn't keep. */
export function checkDelivered(
  simulation: Simulation,
  to: SimulatedGateway,
  link: number,
  bytes: Uint8Array,
): string[] {
  // Most name none.
  const mayTell = promisesOf(bytes)?.feeds !== 0
  const messages = mayTell && to.isLinked(link) ? decodeMessages(bytes) : null
  if (messages?.ok !== true) return []
  const strange = messages.value.filter((message) => {
    const descriptor = message.type === 'feed' ? decodeDescriptor(message.descriptor) : null
    return descriptor?.ok === true && !to.keeps(feedOf(simulation.meshId, descriptor.value))
  })
  return strange.length === 0 ? [] : [`I25 gateway ${to.index} was told of a feed that it doesn't keep`]
}

/** I6 and the crash rule: bytes are forwarded as their author made them, and nothing is told before it is on the disk. */
export function checkFrame(simulation: Simulation, from: SimulatedGateway, bytes: Uint8Array): string[] {
  const promises = promisesOf(bytes)
  if (promises === null) return [`I15 gateway ${from.index} sent a malformed frame`]
  const found: string[] = []
  for (const { seq, hash8 } of promises.heads) {
    if (!isOnDisk(from, seq, hash8))
      found.push(`I5 gateway ${from.index} told of batch ${seq} before it was on its disk`)
  }
  for (const sent of promises.batches) {
    if (!isAsStored(from, sent)) found.push(...faultsOf(simulation, from, sent))
  }
  return found
}

/** Whether it is, byte for byte, the batch of its number that is on the disk. */
function isAsStored({ disk }: SimulatedGateway, sent: Uint8Array): boolean {
  const stored = disk.bytesOf(latin1(feedIdOfBatch(sent)), seqOfBatch(sent))
  return stored !== undefined && Buffer.compare(stored, sent) === 0
}

function faultsOf(simulation: Simulation, from: SimulatedGateway, sent: Uint8Array): string[] {
  const batch = decodeBatch(simulation.meshId, sent)
  if (!batch.ok) return [`I6 gateway ${from.index} sent a malformed batch`]
  const { feedId, seq } = batch.value.header
  return from.disk.batch(latin1(feedId), seq) === undefined
    ? [`I5 gateway ${from.index} sent batch ${seq} of a feed before it was on its disk`]
    : [`I6 gateway ${from.index} changed batch ${seq}`]
}

/**
 * Whether another gateway, of those that will be healed, has the batch for good, and whole. A part of a fill it hasn't for good: it leaves
 * when the fill isn't gone on with for long, or by another checkpoint.
 */
export function isOnOthersDisks(
  simulation: Simulation,
  gateway: SimulatedGateway,
  feedKey: string,
  seq: number,
): boolean {
  return simulation.healed.some((other) => {
    const isOfChain = seq <= (other.disk.head(feedKey)?.seq ?? 0)
    return other !== gateway && isOfChain && other.disk.isSound(feedKey, seq)
  })
}

/**
 * Whether only this gateway has what was damaged elsewhere, or what others had whose stores were put back, who were removed, or who are not
 * healed after the faults: were it to lose that now, nothing could bring it back, whoever had confirmed it or relied on it.
 */
export function isNeeded(simulation: Simulation, gateway: SimulatedGateway): boolean {
  const others = simulation.healed.filter((other) => other !== gateway)
  const isDamagedElsewhere = others.some(({ disk }) => {
    return [...disk.damaged()].some(({ feedKey, seq }) => {
      return gateway.disk.isSound(feedKey, seq) && !isOnOthersDisks(simulation, gateway, feedKey, seq)
    })
  })
  return isDamagedElsewhere || isLast(simulation, gateway, others)
}

/** Whether it has a batch that such others had, and that is on no other disk of those that are healed. */
function isLast(simulation: Simulation, gateway: SimulatedGateway, others: readonly SimulatedGateway[]): boolean {
  const left = new Set([gateway, ...others])
  const lost = [...simulation.putBack, ...simulation.gateways.filter((one) => !left.has(one)).map(({ disk }) => disk)]
  if (lost.length === 0) return false
  for (const { feed, batches } of simulation.issued.values()) {
    const chainsOn = (disks: readonly SimulatedDisk[]): Set<string> => {
      return new Set(disks.flatMap((disk) => [...chainOf({ disk }, feed, batches)]))
    }
    const had = chainsOn(lost)
    const elsewhere = chainsOn(others.map(({ disk }) => disk))
    for (const hash of chainOf(gateway, feed, batches)) if (had.has(hash) && !elsewhere.has(hash)) return true
  }
  return false
}

function isOnDisk(gateway: SimulatedGateway, seq: number, hash8: Uint8Array): boolean {
  const feeds = gateway.disk.feeds.values()
  for (const { head } of feeds) if (head.seq === seq && isPrefix(hash8, head.hash)) return true
  for (const { batches } of gateway.disk.feeds.values()) {
    const hash = batches.get(seq)?.batch.hash
    if (hash !== undefined && isPrefix(hash8, hash)) return true
  }
  return false
}

function isPrefix(hash8: Uint8Array, hash: Uint8Array): boolean {
  return equal(hash8, hash.subarray(0, 8))
}

function headsOf(gateway: SimulatedGateway, place: Place): Map<string, string> {
  // Of a sealed feed nothing may be left.
  const heads = gateway.disk.heads().filter(({ feed, seq }) => seq > 0 && isAt(feed, place))
  return new Map(heads.map((head) => [head.feed.key, `${head.seq} ${Buffer.from(head.hash).toString('hex')}`]))
}

/** I8: what lives of each feed under the checkpoint that is applied; what is dead may wait to leave. */
function liveSets(gateway: SimulatedGateway, place: Place): Map<string, string> {
  const sets = new Map<string, string>()
  for (const { feed, seq, retained } of gateway.disk.heads()) {
    if (!isAt(feed, place) || (seq === 0 && retained.size === 0)) continue
    const applied = appliedCheckpoint(gateway, feed)
    const dead = applied ? deadUnder(applied.checkpoint, retained) : null
    sets.set(feed.key, `${applied?.seq ?? 0}: ${(dead ? retained.without(dead) : retained).runs.join(' ')}`)
  }
  return sets
}

export function appliedCheckpoint({ disk }: SimulatedGateway, feed: Feed): SignedCheckpoint | null {
  return historyOf(disk, feed).applied
}

export function isAt({ descriptor }: Feed, { collection, partition }: Place): boolean {
  return descriptor.collection === collection && descriptor.partition === partition
}

function cellsAt({ disk }: SimulatedGateway, place: Place): Map<string, string> {
  return cellsOf(disk, `${placeOf(place)}/`)
}

function stampText(stamp: { hlc: number; index: number; origin: string }): string {
  return `${stamp.hlc}.${stamp.index}@${stamp.origin}`
}

/** I5: every acknowledged write was on its author's disk, so that the oracle knows it. */
function lostWrites(simulation: Simulation): string[] {
  const times = new Set<string>()
  for (const { feed, batches } of simulation.issued.values()) {
    for (const { batch } of batches.values()) times.add(`${feed.origin} ${batch.header.hlc}`)
  }
  const lost = simulation.acknowledgements.filter(({ stamp }) => !times.has(`${stamp.origin} ${stamp.hlc}`))
  return lost.length === 0 ? [] : [`I5 ${lost.length} writes were acknowledged before they were on a disk`]
}

/** I20: of a lost member everything counts that anybody held when it was removed; of a copied one another branch may. */
function lostOfLost(simulation: Simulation): string[] {
  const found: string[] = []
  for (const [key, held] of simulation.heldOfLost) {
    for (const { disk, index } of simulation.healed) {
      const head = disk.head(key)
      // Who held the most may have kept something else before it had passed it on.
      if (!head || head.seq >= held || simulation.isOnceLeft(head.feed.descriptor)) continue
      if (!simulation.copied.has(head.feed.origin))
        found.push(`I20 gateway ${index} has ${head.seq} batches of a lost member's feed, of which ${held} were held`)
    }
  }
  return found
}

/** A write to one cell, or without a cell the delete of a document. */
export interface CellWrite {
  readonly name: string
  readonly cell: string | null
  readonly value: Value
  readonly stamp: Stamp
}

/**
 * The oracle: every operation that was ever on its author's disk and is not void, sorted by stamp and applied one after the
 * other. Nothing is ever pruned here.
 */
function naiveFold(writes: readonly CellWrite[]): Map<string, string> {
  const documents = new Map<string, Map<string, CellWrite>>()
  for (const write of writes.toSorted(inOrder)) {
    const { name, cell, value } = write
    const cells = documents.get(name) ?? new Map<string, CellWrite>()
    documents.set(name, cells)
    if (cell === null) cells.clear()
    else if (value === null) cells.delete(cell)
    else cells.set(cell, write)
  }
  const shown = new Map<string, string>()
  for (const [name, cells] of documents) {
    for (const [cell, { value, stamp }] of cells)
      shown.set(`${name} ${cell}`, `${JSON.stringify(value)} ${stampText(stamp)}`)
  }
  return shown
}

/** I2. What a voided write had overtaken may be gone for good (protocol R1): of the documents it touched nothing is asked. */
function oracleDifferences(simulation: Simulation, gateway: SimulatedGateway, place: Place): string[] {
  const valid: CellWrite[] = []
  const voided = voidedDocuments(simulation, gateway, place, valid)
  const isAsked = ([cell]: [string, unknown]): boolean =>
    cell.startsWith(`${placeOf(place)}/`) && !voided.has(documentOf(cell))
  const expected = new Map([...naiveFold(valid)].filter(isAsked))
  const found = new Map([...cellsAt(gateway, place)].filter(isAsked))
  for (const name of onceVoidDocuments(simulation)) voided.add(name)
  const deleted = lastDeletes(valid)
  // Who had not heard of a delete, when all was settled, sees that what it killed is dead by what its author says.
  const isDeleted = (what: string, gone: Stamp): boolean => compareStamps(deleted.get(what) ?? gone, gone) > 0
  const isFault = ([cell, { gone }]: [string, CellChange]): boolean =>
    gone === null || !(isDeleted(cell, gone) || isDeleted(documentOf(cell), gone))
  const faultsIn = (changes: ReadonlyMap<string, CellChange>, rule: string): string[] =>
    [...changes]
      .filter((change) => isAsked(change) && isFault(change))
      .map(([cell, { how }]) => `${rule} "${cell}" on ${how}`)
  return [
    ...differences('I2 oracle', expected, found, gateway.index),
    ...faultsIn(simulation.changedByDrops, 'I3'),
    ...faultsIn(simulation.wentBack, 'I4'),
  ]
}

/** By document or cell, the last that took it away. */
function lastDeletes(writes: readonly CellWrite[]): Map<string, Stamp> {
  const last = new Map<string, Stamp>()
  for (const { name, cell, value, stamp } of writes) {
    const what = cellName(name, cell)
    const known = last.get(what)
    if (value === null && (known === undefined || compareStamps(known, stamp) < 0)) last.set(what, stamp)
  }
  return last
}

function documentOf(cell: string): string {
  return cell.slice(0, cell.lastIndexOf(' '))
}

function cellName(name: string, cell: string | null): string {
  return cell === null ? name : `${name} ${cell}`
}

/**
 * I3, whatever else was voided: what a valid delete or removal has killed never shows. Not asked of documents in which a copied card
 * wrote behind its own clock, nor of what was written behind a delete that had gone by right.
 */
function shownAgain(simulation: Simulation, gateway: SimulatedGateway, place: Place): string[] {
  const killed = new Map<string, Stamp>()
  const behind = new Set<string>()
  for (const { feed, batches } of simulation.issued.values()) {
    if (!isAt(feed, place)) continue
    const chain = chainOf(gateway, feed, batches)
    for (const [hash, { batch, ops }] of batches) {
      if (ops === null) continue
      const isLate = isBehind(simulation, gateway, feed, batch)
      for (const { name, cell, value, stamp } of writesOf(feed, batch, ops)) {
        if (isLate) behind.add(name)
        if (value !== null || !chain.has(hash)) continue
        const what = cellName(name, cell)
        const known = killed.get(what)
        if (known === undefined || compareStamps(known, stamp) < 0) killed.set(what, stamp)
      }
    }
  }
  const found: string[] = []
  for (const [name, { paths, values, writes }] of gateway.disk.documents) {
    if (!name.startsWith(`${placeOf(place)}/`) || behind.has(name)) continue
    paths.forEach((path, i) => {
      for (const what of [name, `${name} ${path}`]) {
        const [by, write] = [killed.get(what), writes[i] as Write]
        if (values[i] === null || by === undefined || compareStamps(write, by) > 0) continue
        if (mayHaveGone(simulation, by, write)) continue
        found.push(`I3 "${name} ${path}" shows what was deleted or removed, on gateway ${gateway.index}`)
      }
    })
  }
  return found
}

/**
 * The documents that voided writes touched, or those of a member that may call them dead as it likes; the writes that are not
 * void are added to `valid`.
 */
function voidedDocuments(
  simulation: Simulation,
  gateway: SimulatedGateway,
  place: Place,
  valid: CellWrite[],
): Set<string> {
  const voided = new Set<string>()
  for (const { feed, batches } of simulation.issued.values()) {
    if (!isAt(feed, place)) continue
    const chain = chainOf(gateway, feed, batches)
    for (const [hash, { batch, ops }] of batches) {
      if (ops === null) continue
      const writes = writesOf(feed, batch, ops)
      if (chain.has(hash)) valid.push(...writes)
      const isFree = feed.origin === simulation.byzantine?.gateway.peerId
      if (isFree || !chain.has(hash) || isBehind(simulation, gateway, feed, batch))
        for (const { name } of writes) voided.add(name)
    }
  }
  return voided
}

/** The documents of writes that some gateway took for void before it knew that all had confirmed them. */
function* onceVoidDocuments(simulation: Simulation): Generator<string> {
  for (const { feed, batches } of simulation.issued.values()) {
    const from = simulation.cutFrom.get(hex(feed.id)) ?? Number.POSITIVE_INFINITY
    for (const { batch, ops } of batches.values()) {
      if (ops === null || batch.header.seq < from) continue
      for (const { name } of writesOf(feed, batch, ops)) yield name
    }
  }
}

/** Of one that was copied or put back: stamped before what another of its incarnations had written when it was made. */
function isBehind(
  simulation: Simulation,
  gateway: SimulatedGateway,
  { key, origin }: Feed,
  { header }: Batch,
): boolean {
  if (!simulation.copied.has(origin)) return false
  return gateway.disk.heads().some(({ feed, hlc }) => feed.origin === origin && feed.key !== key && hlc > header.hlc)
}

/** The hashes of the batches that lead to the head there. */
export function chainOf(
  { disk }: { readonly disk: SimulatedDisk },
  feed: Feed,
  batches: ReadonlyMap<string, { batch: Batch }>,
): Set<string> {
  const chain = new Set<string>()
  const head = disk.feeds.get(feed.key)?.head
  for (let hash = head ? latin1(head.hash) : ''; batches.has(hash);) {
    chain.add(hash)
    hash = latin1(batches.get(hash)?.batch.header.prev as Uint8Array)
  }
  return chain
}

/** Of batches, which never change: all checks ask for them again and again. */
const writesRead = new WeakMap<Batch, readonly CellWrite[]>()

export function writesOf(feed: Feed, batch: Batch, ops: Ops): readonly CellWrite[] {
  const writes = writesRead.get(batch) ?? readWrites(feed, batch, ops)
  writesRead.set(batch, writes)
  return writes
}

function readWrites(feed: Feed, batch: Batch, ops: Ops): readonly CellWrite[] {
  const { collection, partition } = feed.descriptor
  const source = { feed, seq: batch.header.seq, hlc: batch.header.hlc, lsn: 0 }
  const writes: CellWrite[] = []
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
  return writes
}

/** By stamp; of one stamp a removal comes behind what it saw, and a delete behind all. */
function inOrder(a: CellWrite, b: CellWrite): number {
  const rank = ({ cell, value }: CellWrite): number => (cell === null ? 2 : value === null ? 1 : 0)
  return compareStamps(a.stamp, b.stamp) || rank(a) - rank(b)
}

/** What was counted and acknowledged is in the total once, and nothing that nobody counted. */
function miscounted(simulation: Simulation, gateway: SimulatedGateway, place: Place): string[] {
  // Of a forked feed's counts those that not all had confirmed are counted again, or were by the other branch.
  if (voidedDocuments(simulation, gateway, place, []).size > 0) return []
  const name = placeOf(place)
  const attempted = simulation.counted.get(name) ?? 0
  const document = gateway.disk.document(place, COUNTED_KEY)
  const total = document ? Number(fieldsOf(document)['total'] ?? 0) : 0
  const isCount = (write: Acknowledged): boolean => write.op.kind === 'count' && write.place === name
  const acknowledged = simulation.acknowledgements.filter(isCount).length
  if (total >= acknowledged && total <= attempted) return []
  return [`I2 counter: ${total} in "${name}", of ${attempted} counts ${acknowledged} were acknowledged`]
}

function differences(what: string, a: Map<string, string>, b: Map<string, string>, index: number): string[] {
  for (const [key, value] of a) {
    if (b.get(key) !== value) return [`${what}: gateway ${index} has ${b.get(key)} for "${key}", expected ${value}`]
  }
  return a.size === b.size ? [] : [`${what}: gateway ${index} has ${b.size} entries, expected ${a.size}`]
}
