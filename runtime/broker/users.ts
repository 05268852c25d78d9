import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { BROKER_LIMITS } from '../base/limits.ts'
import { sentenceOf } from '../base/errors.ts'
import { fail, ok, type Result } from '../base/result.ts'
import { isPeerId } from '../model/names.ts'
import { isFilter } from './topics.ts'

/**
 * Logins of devices: a JSON file readable by its owner alone, `{"users": {NAME: {"password": "scrypt$N$r$p$salt$hash",
 * "topics": ["filter"...], "publish"?: [...], "subscribe"?: [...]}}}`.
 */
export interface User {
  /** `scrypt$N$r$p$salt$hash`, salt and hash in base64 (RFC 7914). */
  readonly password: string
  /** MQTT topic filters, to publish and to subscribe within. */
  readonly topics: readonly string[]
  /** Further ones, for one direction only. */
  readonly publish?: readonly string[]
  readonly subscribe?: readonly string[]
}

export type UserTable = ReadonlyMap<string, User>

/** User name of somebody who holds an invite; peer ids are the user names of gateways (protocol D22). */
export const JOIN_USER = 'join'

const COST = { N: 16_384, r: 8, p: 1 }
const HASH_BYTES = 32
/** What hashing one password may take; a stored one that asks for more matches nothing. */
const SCRYPT_BYTES_MAX = 134_217_728
const SCRYPT_PARALLEL_MAX = 16

export function parseUsers(text: string): Result<UserTable> {
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch (error) {
    return fail('bad-request', `Cannot read the users file: ${sentenceOf(error)}`)
  }
  const users = (content as { users?: unknown } | null)?.users
  if (typeof users !== 'object' || users === null) {
    return fail('bad-request', 'Cannot read the users file: it has no object "users", it must have one')
  }
  const table = new Map<string, User>()
  for (const [name, user] of Object.entries(users)) {
    const fault = faultOf(name, user)
    if (fault) return fail('bad-request', `Cannot read the user "${name}": ${fault}`)
    table.set(name, user as User)
  }
  if (table.size <= BROKER_LIMITS.usersMax) return ok(table)
  return fail(
    'too-large',
    `Cannot read the users file: it has ${table.size} users, it must have at most ${BROKER_LIMITS.usersMax}`,
  )
}

export function formatUsers(table: UserTable): string {
  return `${JSON.stringify({ users: Object.fromEntries(table) }, null, 2)}\n`
}

/** A name that can't be mistaken for a gateway's or a joiner's login. */
export function isUserName(name: string): boolean {
  return /^[A-Za-z0-9._-]{1,64}$/.test(name) && !isGatewayName(name)
}

export function isGatewayName(name: string): boolean {
  return name === JOIN_USER || isPeerId(name)
}

function faultOf(name: string, user: Partial<User> | null): string | null {
  if (!isUserName(name))
    return 'its name must be 1 to 64 letters, digits, ".", "_" or "-", and not the name of a gateway'
  if (typeof user !== 'object' || typeof user?.password !== 'string') return 'it has no "password", it must have one'
  if (user.topics === undefined) return 'it has no "topics", they must be a list of MQTT topic filters'
  const { topics, publish = [], subscribe = [] } = user
  for (const [list, filters] of Object.entries({ topics, publish, subscribe })) {
    const fault = faultOfFilters(list, filters)
    if (fault !== null) return fault
  }
  return null
}

function faultOfFilters(list: string, filters: unknown): string | null {
  if (!Array.isArray(filters)) return `"${list}" must be a list of MQTT topic filters`
  const wrong = (filters as readonly unknown[]).find((filter) => typeof filter !== 'string' || !isFilter(filter))
  if (wrong === undefined) return null
  return `${JSON.stringify(wrong)} in its "${list}" is no MQTT topic filter, such as tele/plug-1/#: + stands for one whole level, # for all that follow`
}

export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16)
  const hash = await derive(Buffer.from(password), salt, COST)
  return `scrypt$${COST.N}$${COST.r}$${COST.p}$${salt.toString('base64')}$${hash.toString('base64')}`
}

/** False for a wrong password, and for a stored one that is malformed or would take more than 128 MiB. */
export async function verifyPassword(password: string | Uint8Array, stored: string): Promise<boolean> {
  const [scheme, N, r, p, salt, hash] = stored.split('$')
  if (scheme !== 'scrypt' || !salt || !hash) return false
  const cost = { N: Number(N), r: Number(r), p: Number(p) }
  if (!(cost.N * cost.r * 128 <= SCRYPT_BYTES_MAX) || !(cost.p <= SCRYPT_PARALLEL_MAX)) return false
  const expected = Buffer.from(hash, 'base64')
  try {
    const actual = await derive(Buffer.from(password), Buffer.from(salt, 'base64'), cost)
    return expected.length === actual.length && timingSafeEqual(actual, expected)
  } catch {
    // Costs that scrypt refuses: what is stored is no password at all.
    return false
  }
}

function derive(password: Uint8Array, salt: Uint8Array, cost: { N: number; r: number; p: number }): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const options = { ...cost, maxmem: 2 * SCRYPT_BYTES_MAX }
    scrypt(password, salt, HASH_BYTES, options, (error, key) => (error ? reject(error) : resolve(key)))
  })
}
