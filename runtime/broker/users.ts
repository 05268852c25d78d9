import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { fail, ok, type Result } from '../base/result.ts'

/**
 * Logins of devices: a JSON file readable by its owner alone, `{"users": {NAME: {"password": "scrypt$N$r$p$salt$hash",
 * "topics": ["filter"...]}}}`. A user may publish and subscribe within its topics.
 */
export interface User {
  /** `scrypt$N$r$p$salt$hash`, salt and hash in base64 (RFC 7914). */
  readonly password: string
  /** MQTT topic filters. */
  readonly topics: readonly string[]
}

export type UserTable = ReadonlyMap<string, User>

const COST = { N: 16_384, r: 8, p: 1 }
const HASH_BYTES = 32
const USERS_MAX = 10_000

export function parseUsers(text: string): Result<UserTable> {
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch (error) {
    return fail('bad-request', `Cannot read the users file: ${(error as Error).message}`)
  }
  const users = (content as { users?: unknown } | null)?.users
  if (typeof users !== 'object' || users === null)
    return fail('bad-request', 'Cannot read the users file: it must have an object "users"')
  const table = new Map<string, User>()
  for (const [name, user] of Object.entries(users as { [name: string]: Partial<User> })) {
    const isSound =
      typeof user.password === 'string' &&
      Array.isArray(user.topics) &&
      user.topics.every((topic) => typeof topic === 'string')
    if (!isSound) return fail('bad-request', `Cannot read the user "${name}": it must have "password" and "topics"`)
    table.set(name, { password: user.password as string, topics: user.topics as string[] })
  }
  return table.size <= USERS_MAX
    ? ok(table)
    : fail('too-large', `Cannot read the users file: it has more than ${USERS_MAX} users`)
}

export function formatUsers(table: UserTable): string {
  return `${JSON.stringify({ users: Object.fromEntries(table) }, null, 2)}\n`
}

/** A name that can't be mistaken for a gateway's or a joiner's login. */
export function isUserName(name: string): boolean {
  return /^[A-Za-z0-9._-]{1,64}$/.test(name) && name !== 'join' && !/^[a-z2-7]{23}$/.test(name)
}

export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16)
  const hash = await derive(password, salt, COST)
  return `scrypt$${COST.N}$${COST.r}$${COST.p}$${salt.toString('base64')}$${hash.toString('base64')}`
}

/** False for a wrong password and for a stored one that is malformed or asks for more than 128 MiB. */
export async function verifyPassword(password: string, stored: string): Promise<boolean> {
  const [scheme, N, r, p, salt, hash] = stored.split('$')
  if (scheme !== 'scrypt' || !salt || !hash) return false
  const cost = { N: Number(N), r: Number(r), p: Number(p) }
  if (!(cost.N * cost.r * 128 <= 134_217_728) || !(cost.p <= 16)) return false
  const expected = Buffer.from(hash, 'base64')
  try {
    const actual = await derive(password, Buffer.from(salt, 'base64'), cost)
    return expected.length === actual.length && timingSafeEqual(actual, expected)
  } catch {
    // Costs that scrypt refuses.
    return false
  }
}

function derive(password: string, salt: Buffer, cost: { N: number; r: number; p: number }): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(password, salt, HASH_BYTES, { ...cost, maxmem: 268_435_456 }, (error, key) =>
      error ? reject(error) : resolve(key),
    )
  })
}
