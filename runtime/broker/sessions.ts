import type { KeyValue } from '../ports/store.ts'
import { Queue } from './queue.ts'
import { encodeSession, sessionKey, type StoredSession } from './records.ts'

/** What outlives the connections of a client that asked for it (clean session 0). */
export interface Session {
  readonly number: number
  readonly id: string
  /** The login it belongs to; null for an anonymous client. */
  owner: string | null
  readonly filters: Map<string, number>
  readonly queue: Queue
  /** How long the client has been away, in milliseconds during which this gateway ran; and as stored. */
  absentMs: number
  storedAbsentMs: number
}

export function newSession(number: number, id: string, owner: string | null): Session {
  return { number, id, owner, filters: new Map(), queue: new Queue(), absentMs: 0, storedAbsentMs: 0 }
}

export function loadedSession(number: number, { id, owner, filters, absentMs }: StoredSession): Session {
  return { number, id, owner, filters: new Map(filters), queue: new Queue(), absentMs, storedAbsentMs: absentMs }
}

export function sessionRecord(session: Session): KeyValue {
  const { number, id, owner, absentMs } = session
  session.storedAbsentMs = absentMs
  return { key: sessionKey(number), value: encodeSession({ id, owner, filters: [...session.filters], absentMs }) }
}
