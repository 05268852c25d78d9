import type { Chain } from '../access/branches.ts'
import { concat, hex } from '../base/bytes.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import { OP_PUT, type Batch, type Feed, type Ops, type Shape } from '../model/batch.ts'
import type { Held } from '../model/checkpoint.ts'
import type { Document } from '../model/document.ts'
import { SELF_COLLECTION } from '../model/names.ts'
import type { Value } from '../model/value.ts'
import { decodeTestimony, encodeTestimony, type Testimony } from '../wire/testimony.ts'
import { acksIn, BEACON_KEY } from './beacons.ts'
import type { Core } from './core.ts'
import type { FeedState } from './feeds.ts'
import { FORK_PREFIX } from './forks.ts'
import { voidedOf } from './aside.ts'
import { chainOf, HELD_PREFIX } from './statements.ts'
import { addInternalWrite } from './writing.ts'

/**
 * What a member has confirmed counts for ever (protocol D20), also when the batches of its own `$self` in which it said so are void: its
 * store was put back, or its card stolen. Whoever takes such batches out tells them on in a document of its own, as they were signed:
 * `$self/<peer>`, key `told/<feed id>`, in fields `<hash8>/<i>` that together are a testimony (wire/testimony.ts). Proofs of forks that
 * stood there are told on too.
 */
export const TOLD_PREFIX = 'told/'
/** Bytes of one field. */
const PART_BYTES = 16_384
const FIRST_PART = '/0'
/** What remembering one takes beside its bytes, roughly. */
const STANDING_BYTES = 256
/** What was told on and isn't on the disk after so many milliseconds is told again. */
const TELL_MS = 10_000

/** What a member says in one batch: by feed key as in its beacon, and branches by the key of their document. */
export interface Said {
  readonly acks: ReadonlyMap<string, readonly Held[]>
  readonly held: ReadonlyMap<string, readonly Chain[]>
}

/** What a document tells under one name, as it was written; sound when its author has said so. */
interface Standing {
  readonly stamps: string
  readonly isSound: boolean
}

/** What is known of it: what was heard once counts on, whether it is told still or not. */
export class Testimonies {
  readonly #byOrigin = new Map<string, Said[]>()
  readonly #heard = new Set<string>()
  /** By document, what is told there now; and the bytes that were looked at of each that tells. */
  readonly #told = new Map<string, ReadonlyMap<string, Standing>>()
  readonly #lookedAt = new Map<string, number>()
  #withdrawals = 0

  of(origin: string): readonly Said[] {
    return this.#byOrigin.get(origin) ?? []
  }

  /** Whether somebody tells it. */
  isTold(batch: Batch): boolean {
    const name = nameOf(batch)
    for (const told of this.#told.values()) if (told.get(name)?.isSound === true) return true
    return false
  }

  /** How often something was told no more. */
  get withdrawals(): number {
    return this.#withdrawals
  }

  /** Its author has said so; false when that is nothing new. */
  hear({ feed, batch, ops }: Testimony): boolean {
    const name = nameOf(batch)
    if (this.#heard.has(name)) return false
    this.#heard.add(name)
    this.#byOrigin.set(feed.origin, [...this.of(feed.origin), saidIn(ops)])
    return true
  }

  /** A document of testimonies, which `teller` wrote. True when it says something new, or less than before. */
  learn(
    meshId: Uint8Array,
    teller: string,
    key: string,
    document: Document,
    isSigned: (publicKey: Uint8Array, batch: Batch) => boolean,
  ): boolean {
    const place = `${teller}/${key}`
    const before = this.#told.get(place) ?? new Map<string, Standing>()
    const told = new Map<string, Standing>()
    let isNew = false
    for (const [name, { bytes, stamps }] of wholesIn(document)) {
      const known = before.get(name)
      if (known?.stamps === stamps) told.set(name, known)
      else if (this.#mayLookAt(teller, bytes.length)) {
        const decoded = decodeTestimony(meshId, bytes)
        const testimony = decoded.ok && nameOf(decoded.value.batch) === name ? decoded.value : null
        const isSound = testimony !== null && isSigned(testimony.feed.descriptor.publicKey, testimony.batch)
        told.set(name, { stamps, isSound })
        if (isSound) isNew = this.hear(testimony) || isNew
      }
    }
    if (told.size > 0) this.#told.set(place, told)
    else this.#told.delete(place)
    const isLess = [...before].some(([name, { isSound }]) => isSound && told.get(name)?.isSound !== true)
    if (isLess) this.#withdrawals += 1
    return isNew || isLess
  }

  #mayLookAt(teller: string, bytes: number): boolean {
    const all = (this.#lookedAt.get(teller) ?? 0) + bytes + STANDING_BYTES
    if (all > GATEWAY_LIMITS.testimonyBytesMax) return false
    this.#lookedAt.set(teller, all)
    return true
  }
}

/** What members have said in batches that were taken out here goes on counting, and is told on unless somebody has done that. */
export function tellOn<Token>(core: Core<Token>, state: FeedState): void {
  const { testimonies } = core.surroundings.authority
  if (state.feed.descriptor.collection !== SELF_COLLECTION || state.toldOnAt === testimonies.withdrawals) return
  const news = voidedOf(core, state).flatMap((branch) => [...newsIn(core, state, branch)])
  if (core.now.monotonicMs < state.sayAt || core.isIncarnationLost) return
  if (!core.surroundings.authority.isMember()) return
  const own = { collection: SELF_COLLECTION, partition: core.options.peerId }
  const unsaid = news.filter(([key, path]) => core.surroundings.document(own, key)?.paths.includes(path) !== true)
  // Each by itself: together they may be more than a batch holds.
  for (const [key, path, value] of unsaid)
    addInternalWrite(core, own.collection, own.partition, [{ kind: 'put', key, fields: { [path]: value } }])
  state.toldOnAt = unsaid.length === 0 ? testimonies.withdrawals : null
  state.sayAt = core.now.monotonicMs + TELL_MS
}

/** What was taken out anew is told on soon, not by all at once: who hears of it need not tell it. */
export function tellOnSoon<Token>(core: Core<Token>, state: FeedState): void {
  if (state.feed.descriptor.collection !== SELF_COLLECTION) return
  const share = (core.options.publicKey[0] as number) / 256
  state.toldOnAt = null
  state.sayAt = core.now.monotonicMs + (share * core.history.beaconMs) / 60
  core.sealsAt = Math.min(core.sealsAt, state.sayAt)
  tellOn(core, state)
}

/** What is to be told of a branch, as document, field and value: of each feed that it speaks of, and each branch of that, the last. */
function* newsIn<Token>(
  core: Core<Token>,
  state: FeedState,
  branch: readonly Batch[],
): Generator<[string, string, Value]> {
  const { feed } = state
  const { testimonies } = core.surroundings.authority
  const named = new Set<string>()
  for (const batch of branch.toReversed()) {
    const ops = core.opsOf(feed, batch)
    if (!ops.ok) continue
    yield* proofsIn(ops.value, nameOf(batch))
    const names = namesOf(ops.value).filter((name) => !named.has(name))
    for (const name of names) named.add(name)
    if (names.length === 0) continue
    if (testimonies.hear({ feed, batch, ops: ops.value })) core.beacons.delete(feed.origin)
    if (!testimonies.isTold(batch)) yield* partsOf(feed, batch)
  }
}

/** What proves itself, and is told on as it is; a proof stands beside the one that the teller may have found itself. */
function* proofsIn(ops: Ops, name: string): Generator<[string, string, Value]> {
  for (const [key, fields] of putsIn(ops)) {
    if (!key.startsWith(TOLD_PREFIX) && !key.startsWith(FORK_PREFIX)) continue
    const isFound = key.startsWith(FORK_PREFIX) && !key.includes('/', FORK_PREFIX.length)
    for (const [path, value] of fields) yield [isFound ? `${key}/${name}` : key, path, value]
  }
}

function nameOf({ hash }: Batch): string {
  return hex(hash.subarray(0, 8))
}

function* partsOf(feed: Feed, batch: Batch): Generator<[string, string, Value]> {
  const bytes = encodeTestimony(feed, batch)
  for (let i = 0; i * PART_BYTES < bytes.length; i++) {
    const part = bytes.slice(i * PART_BYTES, (i + 1) * PART_BYTES)
    yield [TOLD_PREFIX + hex(feed.id), `${nameOf(batch)}/${i}`, part]
  }
}

/** By name, what the parts are together, and under which stamps they were written. */
function* wholesIn({
  paths,
  values,
  writes,
}: Document): Generator<[name: string, { readonly bytes: Uint8Array; readonly stamps: string }]> {
  const places = new Map(paths.map((path, i) => [path, i]))
  for (const path of paths) {
    const name = path.slice(0, -FIRST_PART.length)
    if (!path.endsWith(FIRST_PART)) continue
    const parts: Uint8Array[] = []
    const stamps: string[] = []
    for (let at = places.get(path); at !== undefined; at = places.get(`${name}/${parts.length}`)) {
      const [part, write] = [values[at], writes[at]]
      if (!(part instanceof Uint8Array) || write === undefined) break
      parts.push(part)
      stamps.push(`${write.hlc}.${write.index}`)
    }
    if (parts.length > 0) yield [name, { bytes: concat(...parts), stamps: stamps.join() }]
  }
}

function saidIn(ops: Ops): Said {
  const acks = new Map<string, readonly Held[]>()
  const held = new Map<string, readonly Chain[]>()
  for (const [key, fields] of putsIn(ops)) {
    if (key === BEACON_KEY) for (const [feedKey, all] of acksIn(fields)) acks.set(feedKey, all)
    if (key.startsWith(HELD_PREFIX)) held.set(key, [...(held.get(key) ?? []), ...[...fields.values()].map(chainOf)])
  }
  return { acks, held }
}

/** What it speaks of: feeds in a beacon, and branches. */
function namesOf(ops: Ops): string[] {
  const names: string[] = []
  for (const [key, fields] of putsIn(ops)) {
    if (key === BEACON_KEY) names.push(...acksIn(fields).keys())
    if (key.startsWith(HELD_PREFIX)) names.push(...[...fields.keys()].map((path) => `${key} ${path}`))
  }
  return names
}

function* putsIn(ops: Ops): Generator<[string, ReadonlyMap<string, Value>]> {
  let at = 0
  for (let index = 0; index < ops.opDocs.length; index++) {
    const { kind, paths } = ops.shapes[ops.opShapes[index] as number] as Shape
    const fields = new Map(paths.map((path, i) => [path, ops.values[at + i] as Value]))
    at += paths.length
    if (kind === OP_PUT) yield [ops.docs[ops.opDocs[index] as number] as string, fields]
  }
}
