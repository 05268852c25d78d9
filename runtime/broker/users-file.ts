import { existsSync, readFileSync, statSync } from 'node:fs'
import type { Log } from '../ports/log.ts'
import { parseUsers, type UserTable } from './users.ts'

/** The users of a file, read again when it has changed. A broken file lets nobody in and says so once; throws while it can't be read. */
export function usersOf(path: string, log: Log): () => UserTable {
  let readAt = 0
  let table: UserTable = new Map()
  return () => {
    const changedAt = existsSync(path) ? statSync(path).mtimeMs : 0
    if (changedAt === readAt) return table
    const parsed = changedAt === 0 ? null : parseUsers(readFileSync(path, 'utf8'))
    // Only now: while it can't be read every login fails, and none is judged by what it said before.
    readAt = changedAt
    if (parsed && !parsed.ok) log.error('users-refused', { path, message: parsed.error.message })
    table = parsed?.ok ? parsed.value : new Map()
    return table
  }
}
