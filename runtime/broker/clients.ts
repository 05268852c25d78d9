import type { Socket } from 'node:net'
import type { Client } from 'aedes'

/** What the broker knows of a connection beyond what aedes does. */
export interface Login {
  /** `neighbour`: another gateway; `joiner`: somebody with an invite; `device`: everyone else. */
  readonly kind: 'neighbour' | 'joiner' | 'device'
  /** Login name; null for an anonymous client. */
  readonly user: string | null
  /** Topic filters it is held to; null for all that isn't reserved. */
  readonly topics: readonly string[] | null
}

/** aedes's client, with what we hang on it. */
export interface BrokerClient extends Client {
  conn: Socket
  login?: Login
  duplicates: object
}

/** Addresses that are this machine's own. */
export function isLoopback(address: string | undefined): boolean {
  return address === '::1' || (address?.replace(/^::ffff:/, '').startsWith('127.') ?? false)
}

/**
 * aedes drops a QoS 1 or 2 message that a later one overtook on its way through the persistence (moscajs/aedes#994):
 * its memory of what was delivered must always look empty. Costs a duplicate for overlapping subscriptions only.
 */
export function forgetDuplicates(client: BrokerClient): void {
  client.duplicates = new Proxy(Object.create(null) as object, {
    get: () => 0,
    set: () => true,
    deleteProperty: () => true,
  })
}
