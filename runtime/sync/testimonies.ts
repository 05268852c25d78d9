import type { Chain } from '../access/branches.ts'
import { concat, hex } from '../base/bytes.ts'
import { OP_PUT, type Batch, type Feed, type Ops, type Shape } from '../model/batch.ts'
import type { Held } from '../model/checkpoint.ts'
import { SELF_COLLECTION } from '../model/names.ts'
import type { Fields, Value } from '../model/value.ts'
import { decodeTestimony, encodeTestimony, type Testimony } from '../wire/testimony.ts'
import { acksIn, BEACON_KEY } from './beacons.ts'
import type { Core } from './core.ts'
import type { FeedState } from './feeds.ts'
import { FORK_PREFIX } from './forks.ts'
import { voidedOf } from './sealing.ts'
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
/** What was told on and isn't on the disk after so many milliseconds is told again. */
const TELL_MS = 10_000

/** What a member says in one batch: by feed key as in its beacon, and branches by the key of their document. */
export interface Said {
  readonly acks: ReadonlyMap<string, readonly Held[]>
  readonly held: ReadonlyMap<string, readonly Chain[]>
}

/** What is known of it; it only ever grows. */
export class Testimonies {
  readonly #byOrigin = new Map<string, Said[]>()
  readonly #heard = new Set<string>()
  readonly #told = new Set<string>()

  of(origin: string): readonly Said[] {
    return this.#byOrigin.get(origin) ?? []
  }

  /** Whether somebody has told it on. */
  isTold(batch: Batch): boolean {
    return this.#told.has(nameOf(batch))
  }

  /** Its author has said so; false when that is nothing new. */
  hear({ feed, batch, ops }: Testimony): boolean {
    const name = nameOf(batch)
    if (this.#heard.has(name)) return false
    this.#heard.add(name)
    this.#byOrigin.set(feed.origin, [...this.of(feed.origin), saidIn(ops)])
    return true
  }

  /** A document of testimonies, whoever wrote it. True when it says something new. */
  learn(meshId: Uint8Array, document: Fields, isSigned: (publicKey: Uint8Array, batch: Batch) => boolean): boolean {
    let isNew = false
    for (const path of Object.keys(document)) {
      const [name, part] = path.split('/')
      if (name === undefined || part !== '0' || this.#told.has(name)) continue
      const testimony = decodeTestimony(meshId, wholeOf(document, name))
      if (!testimony.ok || nameOf(testimony.value.batch) !== name) continue
      const { feed, batch } = testimony.value
      if (!isSigned(feed.descriptor.publicKey, batch)) continue
      this.#told.add(name)
      isNew = this.hear(testimony.value) || isNew
    }
    return isNew
  }
}

/** What members have said in batches that were taken out here goes on counting, and is told on unless somebody has done that. */
export function tellOn<Token>(core: Core<Token>, state: FeedState): void {
  if (state.feed.descriptor.collection !== SELF_COLLECTION || state.isToldOn) return
  const news = voidedOf(core, state).flatMap((branch) => [...newsIn(core, state, branch)])
  if (core.now.monotonicMs < state.sayAt || core.isIncarnationLost) return
  if (!core.surroundings.authority.isMember()) return
  const own = { collection: SELF_COLLECTION, partition: core.options.peerId }
  const unsaid = news.filter(([key, path]) => core.surroundings.document(own, key)?.paths.includes(path) !== true)
  // Each by itself: together they may be more than a batch holds.
  for (const [key, path, value] of unsaid)
    addInternalWrite(core, own.collection, own.partition, [{ kind: 'put', key, fields: { [path]: value } }])
  state.isToldOn = unsaid.length === 0
  state.sayAt = core.now.monotonicMs + TELL_MS
}

/** What was taken out anew is told on soon, not by all at once: who hears of it need not tell it. */
export function tellOnSoon<Token>(core: Core<Token>, state: FeedState): void {
  if (state.feed.descriptor.collection !== SELF_COLLECTION) return
  const share = (core.options.publicKey[0] as number) / 256
  state.isToldOn = false
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

/** What the parts are together. */
function wholeOf(document: Fields, name: string): Uint8Array {
  const parts: Uint8Array[] = []
  for (let part = document[`${name}/0`]; part instanceof Uint8Array; part = document[`${name}/${parts.length}`])
    parts.push(part)
  return concat(...parts)
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
