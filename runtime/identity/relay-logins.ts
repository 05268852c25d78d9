import { existsSync, readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { MarramError } from '../base/errors.ts'
import type { RelayLogin } from '../ports/link.ts'

/**
 * What the file of relay logins says of one address, `{"mqtts://relay.example:8883": {"user", "password", "ca"}}`, `ca` a
 * file beside it; null when it names it not, or isn't there. Throws `bad-profile`.
 */
export function readRelayLogin(path: string, address: string): RelayLogin | null {
  if (!existsSync(path)) return null
  const logins = parsed(path)
  const login = Object.hasOwn(logins, address) ? logins[address] : undefined
  if (login === undefined) return null
  const { user, password, ca } = (login ?? {}) as { [key: string]: unknown }
  const isWhole =
    typeof user === 'string' && typeof password === 'string' && (ca === undefined || typeof ca === 'string')
  if (!isWhole) throw refusal(path, `"${address}" must have "user" and "password", and may have "ca", all texts`)
  return { user, password, ca: ca === undefined ? null : readAuthority(path, ca) }
}

function parsed(path: string): { readonly [address: string]: unknown } {
  let value: unknown
  try {
    value = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    throw refusal(path, `it must be JSON: ${error instanceof Error ? error.message : String(error)}`)
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as { [key: string]: unknown }
  throw refusal(path, 'it must be an object with an entry for each relay')
}

function readAuthority(path: string, ca: string): string {
  const file = resolve(dirname(path), ca)
  if (existsSync(file)) return readFileSync(file, 'utf8')
  throw refusal(path, `"ca" names "${file}", which is not there`)
}

function refusal(path: string, why: string): MarramError {
  return new MarramError('bad-profile', `Cannot read relay logins in "${path}": ${why}`)
}
