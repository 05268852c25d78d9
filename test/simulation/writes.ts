import { randomInteger, type Random } from '../../runtime/base/random.ts'
import { elementSub } from '../../runtime/model/cells.ts'
import type { Place } from '../../runtime/model/interest.ts'
import type { WriteOp } from '../../runtime/ports/writer.ts'

/** What gateways write: few documents, so that they get in each other's way, and every kind of operation. */
export const COLLECTIONS: readonly string[] = ['climate', 'plugs']
/** Where gateways write that keep different parts of the mesh. */
export const PLACES: readonly Place[] = [
  { collection: 'climate', partition: '' },
  { collection: 'plugs', partition: 'north' },
  { collection: 'plugs', partition: 'south' },
]
/** What each of them may keep. */
export const INTERESTS: readonly (readonly string[])[] = [
  ['*'],
  ['climate'],
  ['plugs'],
  ['plugs/north'],
  ['climate', 'plugs/so'],
  ['elsewhere'],
]
/** A document that is never deleted. */
export const COUNTED_KEY = 'counted'

/** Of how many documents, and how often one is deleted. */
export interface Mix {
  readonly documents: number
  readonly deletes: number
}

export const USUAL_MIX: Mix = { documents: 12, deletes: 0.1 }
/** Much of what is written kills something, and much is written over soon. */
export const DEADLY_MIX: Mix = { documents: 3, deletes: 0.2 }

export function drawOp(random: Random, { documents, deletes }: Mix): WriteOp {
  const key = `sensor-${randomInteger(random, 1, documents)}`
  if (random() < deletes) return { kind: 'delete', key }
  if (random() < 0.2) return drawTypedOp(random, key)
  const fields: { [path: string]: number | null } = {}
  for (const path of ['temperature', 'humidity', 'battery']) {
    if (random() < 0.5) fields[path] = random() < 0.1 ? null : randomInteger(random, 0, 1_000)
  }
  return { kind: 'put', key, fields: Object.keys(fields).length > 0 ? fields : { temperature: 1 } }
}

function drawTypedOp(random: Random, key: string): WriteOp {
  const elements = ['a', 'b', 'c'].filter(() => random() < 0.5)
  const what = random()
  if (what < 0.4) return { kind: 'count', key: COUNTED_KEY, path: 'total', by: 1 }
  if (what < 0.5) return { kind: 'remove', key, path: 'tags', subs: null }
  if (what < 0.6) return { kind: 'remove', key, path: 'tags', subs: elements.map(elementSub) }
  if (what < 0.8 || elements.length === 0) {
    return { kind: 'link', key, path: 'to', references: [['climate', '', `sensor-${randomInteger(random, 1, 12)}`]] }
  }
  return { kind: 'add', key, path: 'tags', elements }
}
