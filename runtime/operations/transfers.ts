import { isCollectionName, isPartition, isPeerId } from '../model/names.ts'
import type { ReplicationState, ReplicationView } from '../ports/replication.ts'
import type { KeyValue, Records } from '../ports/store.ts'
import { decodeDeterministic, encodeDeterministic } from '../wire/deterministic.ts'

/** A standing transfer as it is kept on the disk. Times are Unix milliseconds by this gateway's clock. */
export interface Transfer {
  /** `collection`, `collection/partition-prefix` or `*`. */
  readonly pattern: string
  readonly peerId: string
  readonly sinceMs: number
  /** All that was here then the peer has confirmed. */
  confirmedMs: number | null
  /** The state that was told last. */
  told: ReplicationState | null
  /** Batches that went before the peer had confirmed them. */
  dropped: number
}

const RECORD = 'gateway/replication'
const STATES: readonly unknown[] = ['current', 'behind', 'unreachable', 'refused']

export function patternOf(collection: string, partition: string | null): string {
  return partition === null ? collection : `${collection}/${partition}`
}

/** What a pattern names, for people and programs. */
export function partsOf(pattern: string): { readonly collection: string; readonly partition: string | null } {
  const slash = pattern.indexOf('/')
  if (slash < 0) return { collection: pattern, partition: null }
  return { collection: pattern.slice(0, slash), partition: pattern.slice(slash + 1) }
}

/** What is kept of the transfers, to be stored. */
export function transfersRecord(transfers: readonly Transfer[]): KeyValue {
  const rows = transfers.map((each) => [
    each.pattern,
    each.peerId,
    each.sinceMs,
    each.confirmedMs,
    each.told,
    each.dropped,
  ])
  return { key: RECORD, value: rows.length === 0 ? null : encodeDeterministic(rows) }
}

/** What is damaged of them is left out. */
export function readTransfers(store: Pick<Records, 'getRecord'>): Transfer[] {
  const record = store.getRecord(RECORD)
  const decoded = record && decodeDeterministic(record)
  return decoded?.ok && Array.isArray(decoded.value) ? decoded.value.flatMap(transferOf) : []
}

function transferOf(row: unknown): Transfer[] {
  if (!Array.isArray(row)) return []
  const [pattern, peerId, sinceMs, confirmedMs, told, dropped] = row as unknown[]
  const isWhole =
    typeof pattern === 'string' &&
    isPattern(pattern) &&
    typeof peerId === 'string' &&
    isPeerId(peerId) &&
    isCount(sinceMs) &&
    (confirmedMs === null || isCount(confirmedMs)) &&
    (told === null || STATES.includes(told)) &&
    isCount(dropped)
  return isWhole ? [{ pattern, peerId, sinceMs, confirmedMs, told: told as ReplicationState | null, dropped }] : []
}

function isPattern(pattern: string): boolean {
  const { collection, partition } = partsOf(pattern)
  return (collection === '*' || isCollectionName(collection)) && (partition === null || isPartition(partition))
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

/** As they stand on the disk of a gateway that doesn't run. */
export function storedReplications(store: Pick<Records, 'getRecord'>): ReplicationView[] {
  const unknown = { name: '', state: 'unreachable', reason: 'this gateway does not run', lag: null } as const
  return readTransfers(store).map((transfer) => viewOf(transfer, unknown))
}

export function viewOf(
  { pattern, peerId, sinceMs, confirmedMs, dropped }: Transfer,
  { name, state, reason, lag }: Pick<ReplicationView, 'name' | 'state' | 'reason' | 'lag'>,
): ReplicationView {
  return {
    ...partsOf(pattern),
    peerId,
    name,
    state,
    reason,
    lag,
    dropped,
    since: new Date(sinceMs).toISOString(),
    confirmed: confirmedMs === null ? null : new Date(confirmedMs).toISOString(),
  }
}
