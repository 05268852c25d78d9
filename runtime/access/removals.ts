import { latin1 } from '../base/bytes.ts'
import type { Fields, Value } from '../model/value.ts'
import type { Removal } from './seals.ts'

/**
 * How a member is removed, as documents (protocol D5). An administrator writes `close/<peer>/<administrator>` to the members'
 * collection; every member that reads it links with that one no more and says in `answer/<peer>` of its own `$self` what it holds of
 * it; when all have answered the administrator writes `seal/<peer>/<administrator>`. Statements only ever add up: each
 * administrator has a document of its own, and what it said once it says again with what it adds.
 */
export const CLOSE_PREFIX = 'close/'
export const SEAL_PREFIX = 'seal/'
export const ANSWER_PREFIX = 'answer/'

/** Entries of one field, so that no field grows over the limit of a value. */
const ENTRIES_PER_FIELD = 256
/** Fields of one document that are read: a lying answer is not read for ever. */
const FIELDS_MAX = 64

export type RemovalReason = 'retire' | 'revoke'

/** What an administrator asks for. */
export interface Closing {
  readonly origin: string
  readonly reason: RemovalReason
  /** What was stamped later is void unless all have confirmed it; null when nothing that anybody holds shall be lost. */
  readonly since: number | null
  /** The administrator whose gateway sees it through. */
  readonly by: string
  /** Doesn't wait for those who have not answered. */
  readonly isHasty: boolean
  /** By the root key, where an administrator is removed; see `warrantBytes`. */
  readonly warrant: Uint8Array | null
}

/** Batches of a feed that somebody holds: all up to `seq`, the last of which begins with this hash. */
export interface Holding {
  readonly feedId: Uint8Array
  readonly seq: number
  readonly hash8: Uint8Array
}

export function fieldsOfClosing(closing: Closing): Fields {
  const { reason, since, isHasty, warrant } = closing
  return { reason, since, hasty: isHasty, warrant }
}

export function keyOfClosing({ origin, by }: Pick<Closing, 'origin' | 'by'>): string {
  return `${CLOSE_PREFIX}${origin}/${by}`
}

/** Null when the document doesn't say what it must. */
export function closingOf(key: string, fields: Fields): Closing | null {
  const [origin, by] = key.startsWith(CLOSE_PREFIX) ? key.slice(CLOSE_PREFIX.length).split('/') : []
  const { reason, since = null, hasty, warrant = null } = fields
  if (origin === undefined || by === undefined || (reason !== 'retire' && reason !== 'revoke')) return null
  if (since !== null && typeof since !== 'number') return null
  return {
    origin,
    reason,
    since,
    by,
    isHasty: hasty === true,
    warrant: warrant instanceof Uint8Array ? warrant : null,
  }
}

export function fieldsOfAnswer(holdings: readonly Holding[]): Fields {
  const entries = holdings.map(({ feedId, seq, hash8 }): Value => [feedId, seq, hash8])
  return { count: entries.length, ...chunked('held', entries) }
}

/** What a member says that it holds of a closed one; null when that isn't an answer. */
export function answerOf(fields: Fields): readonly Holding[] | null {
  if (typeof fields['count'] !== 'number') return null
  const holdings: Holding[] = []
  for (const entry of entriesOf(fields, 'held')) {
    const [feedId, seq, hash8] = entry
    if (!isFeedId(feedId) || !isSequence(seq) || !(hash8 instanceof Uint8Array)) return null
    holdings.push({ feedId, seq, hash8 })
  }
  return holdings
}

export function fieldsOfRemoval(removal: Removal, warrant: Uint8Array | null): Fields {
  const seals = [...removal.seals].map(([key, seq]): Value => [bytesOf(key), seq])
  const bound = [...removal.bound].map((key): Value => [bytesOf(key)])
  return { reason: removal.reason, warrant, ...chunked('seals', seals), ...chunked('bound', bound) }
}

/** Null when the document doesn't say what it must. */
export function removalOf(key: string, fields: Fields): { removal: Removal; warrant: Uint8Array | null } | null {
  const [origin, by] = key.startsWith(SEAL_PREFIX) ? key.slice(SEAL_PREFIX.length).split('/') : []
  const { reason, warrant = null } = fields
  if (origin === undefined || by === undefined || (reason !== 'retire' && reason !== 'revoke')) return null
  const seals = new Map<string, number>()
  for (const [feedId, seq] of entriesOf(fields, 'seals')) {
    if (!isFeedId(feedId) || !isSequence(seq)) return null
    seals.set(latin1(feedId), Math.min(seq, seals.get(latin1(feedId)) ?? seq))
  }
  const bound = new Set<string>()
  for (const [feedId] of entriesOf(fields, 'bound')) if (isFeedId(feedId)) bound.add(latin1(feedId))
  return { removal: { origin, reason, seals, bound }, warrant: warrant instanceof Uint8Array ? warrant : null }
}

/** From where on each feed of a closed member is void, so that nothing is lost that anybody answered to hold. */
export function sealsAbove(answers: Iterable<readonly Holding[]>): Map<string, number> {
  const seals = new Map<string, number>()
  for (const holdings of answers) {
    for (const { feedId, seq } of holdings) {
      const key = latin1(feedId)
      seals.set(key, Math.max(seals.get(key) ?? 1, seq + 1))
    }
  }
  return seals
}

function chunked(name: string, entries: readonly Value[]): { [path: string]: Value } {
  const fields: { [path: string]: Value } = {}
  for (let i = 0; i * ENTRIES_PER_FIELD < entries.length; i++) {
    fields[`${name}/${i}`] = entries.slice(i * ENTRIES_PER_FIELD, (i + 1) * ENTRIES_PER_FIELD)
  }
  return fields
}

function* entriesOf(fields: Fields, name: string): Generator<readonly Value[]> {
  for (let i = 0; i < FIELDS_MAX; i++) {
    const entries = fields[`${name}/${i}`]
    if (!Array.isArray(entries)) return
    for (const entry of entries as readonly Value[]) if (Array.isArray(entry)) yield entry as readonly Value[]
  }
}

function isFeedId(value: Value | undefined): value is Uint8Array {
  return value instanceof Uint8Array && value.length === 16
}

function isSequence(value: Value | undefined): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 1
}

function bytesOf(key: string): Uint8Array {
  return new Uint8Array(Buffer.from(key, 'latin1'))
}
