import { latin1 } from '../../runtime/base/bytes.ts'
import { OP_DELETE, OP_PUT } from '../../runtime/model/batch.ts'
import type { Value } from '../../runtime/model/value.ts'
import { decodeBatch } from '../../runtime/wire/batch.ts'
import { decodeBody } from '../../runtime/wire/body.ts'
import { decodeMessages } from '../../runtime/wire/message.ts'
import type { SimulatedGateway } from './gateway.ts'
import type { Simulation } from './simulation.ts'

/** What must hold when everything is healed and quiet. Returns sentences about what doesn't; the codes are SPEC's. */
export function violations(simulation: Simulation): string[] {
  const [first, ...others] = simulation.gateways
  if (!first) return []
  const found = [...simulation.faults]
  for (const gateway of others) {
    found.push(...differences('I1 heads', headsOf(first), headsOf(gateway), gateway.index))
    found.push(...differences('I1 cells', cellsOf(first), cellsOf(gateway), gateway.index))
  }
  for (const gateway of simulation.gateways) found.push(...lostWrites(simulation, gateway))
  found.push(...differences('I2 oracle', naiveFold(first), cellsOf(first), first.index))
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
  const heads = gateway.disk.heads()
  return new Map(heads.map((head) => [head.feed.key, `${head.seq} ${Buffer.from(head.hash).toString('hex')}`]))
}

function cellsOf(gateway: SimulatedGateway): Map<string, string> {
  const cells = new Map<string, string>()
  for (const [name, document] of gateway.disk.documents) {
    const { deleted } = document
    if (deleted) cells.set(`${name} deleted`, stampText(deleted))
    document.paths.forEach((path, i) => {
      const write = document.writes[i] as (typeof document.writes)[number]
      cells.set(`${name} ${path}`, `${JSON.stringify(document.values[i])} ${stampText(write)}`)
    })
  }
  return cells
}

function stampText(stamp: { hlc: number; index: number; origin: string }): string {
  return `${stamp.hlc}.${stamp.index}@${stamp.origin}`
}

/** I5: every acknowledged write is in its author's feed, on every gateway. */
function lostWrites(simulation: Simulation, gateway: SimulatedGateway): string[] {
  const times = new Set<string>()
  for (const head of gateway.disk.heads()) {
    for (const { batch } of gateway.disk.feeds.get(head.feed.key)?.batches.values() ?? [])
      times.add(`${head.feed.origin} ${batch.header.hlc}`)
  }
  const lost = simulation.acknowledgements.filter(({ stamp }) => !times.has(`${stamp.origin} ${stamp.hlc}`))
  return lost.length === 0 ? [] : [`I5 gateway ${gateway.index} lacks ${lost.length} acknowledged writes`]
}

interface Operation {
  readonly name: string
  readonly kind: number
  readonly fields: readonly (readonly [string, Value])[]
  readonly stamp: { readonly hlc: number; readonly index: number; readonly origin: string }
}

/** The oracle: every operation of every log, sorted by stamp and applied one after the other. */
function naiveFold(gateway: SimulatedGateway): Map<string, string> {
  const cells = new Map<string, string>()
  for (const { name, kind, fields, stamp } of operationsOf(gateway).sort(byStamp)) {
    if (kind === OP_DELETE) {
      for (const cell of cells.keys()) if (cell.startsWith(`${name} `)) cells.delete(cell)
      cells.set(`${name} deleted`, stampText(stamp))
    }
    if (kind === OP_PUT)
      for (const [path, value] of fields) cells.set(`${name} ${path}`, `${JSON.stringify(value)} ${stampText(stamp)}`)
  }
  return cells
}

function operationsOf(gateway: SimulatedGateway): Operation[] {
  const operations: Operation[] = []
  for (const { feed } of gateway.disk.heads()) {
    for (const { batch } of gateway.disk.feeds.get(feed.key)?.batches.values() ?? []) {
      const ops = decodeBody(batch.header, batch.body)
      if (!ops.ok) throw new Error(`Cannot decode a stored body: ${ops.error.message}`)
      let at = 0
      ops.value.opDocs.forEach((doc, index) => {
        const shape = ops.value.shapes[ops.value.opShapes[index] as number] as {
          kind: number
          paths: readonly string[]
        }
        const fields = shape.paths.map((path, i) => [path, ops.value.values[at + i] as Value] as const)
        at += shape.paths.length
        const { collection, partition } = feed.descriptor
        const name = `${collection}/${partition}/${ops.value.docs[doc]}`
        operations.push({
          name,
          kind: shape.kind,
          fields,
          stamp: { hlc: batch.header.hlc, index, origin: feed.origin },
        })
      })
    }
  }
  return operations
}

function byStamp(a: Operation, b: Operation): number {
  if (a.stamp.hlc !== b.stamp.hlc) return a.stamp.hlc - b.stamp.hlc
  if (a.stamp.index !== b.stamp.index) return a.stamp.index - b.stamp.index
  return a.stamp.origin < b.stamp.origin ? -1 : 1
}

function differences(what: string, a: Map<string, string>, b: Map<string, string>, index: number): string[] {
  for (const [key, value] of a) {
    if (b.get(key) !== value) return [`${what}: gateway ${index} has ${b.get(key)} for "${key}", expected ${value}`]
  }
  return a.size === b.size ? [] : [`${what}: gateway ${index} has ${b.size} entries, expected ${a.size}`]
}
