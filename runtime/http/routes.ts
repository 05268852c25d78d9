import { MarramError, sentenceOf } from '../base/errors.ts'
import { HTTP_LIMITS } from '../base/limits.ts'
import type { Fields } from '../model/value.ts'
import { namedWritesOf } from '../model/writes.ts'
import type { GrantOptions, InviteOptions, RemovalOptions, WaitOptions } from '../ports/operations.ts'
import { waitOf } from '../profile/wait.ts'
import { streamBackup } from './backup.ts'
import { answerJson, type Exchange } from './exchange.ts'
import { importDocuments } from './importing.ts'
import { readBody } from './lines.ts'
import { answerPage, exportDocuments, queryOf, streamChanges, walkFrom } from './reading.ts'

export type Answer = (exchange: Exchange) => void | Promise<void>

/** Where a request leads, and what its address says. */
export interface Destination {
  readonly answer: Answer
  readonly collection: string
  readonly key: string
}

const API = '/api/v1/'

/** What is at which address below `/api/v1/`. */
const ROUTES: readonly (readonly [method: string, path: string, answer: Answer])[] = [
  ['GET', 'status', (exchange) => answerJson(exchange, exchange.operations.status())],
  ['GET', 'peers', (exchange) => answerJson(exchange, exchange.operations.peers())],
  ['GET', 'members', (exchange) => answerJson(exchange, exchange.operations.members())],
  ['GET', 'backup', streamBackup],
  ['GET', 'quarantine', (exchange) => answerJson(exchange, quarantine(exchange))],
  ['POST', 'members/{peer}/removal', async (exchange) => answerJson(exchange, await removeMember(exchange))],
  ['POST', 'members/{peer}/grants', async (exchange) => answerJson(exchange, await grant(exchange))],
  ['POST', 'rotation', async (exchange) => answerJson(exchange, await exchange.operations.rotate())],
  ['POST', 'invites', async (exchange) => answerJson(exchange, await invite(exchange))],
  ['DELETE', 'invites/{id}', async (exchange) => answerJson(exchange, await revokeInvite(exchange))],
  ['GET', 'profile', (exchange) => answerJson(exchange, exchange.operations.profile())],
  ['PUT', 'profile', async (exchange) => answerJson(exchange, await setProfile(exchange))],
  ['GET', 'replications', (exchange) => answerJson(exchange, exchange.operations.replications())],
  ['GET', 'digest', (exchange) => answerJson(exchange, digest(exchange))],
  ['GET', 'conflicts', (exchange) => answerJson(exchange, conflicts(exchange))],
  ['GET', 'collections', (exchange) => answerJson(exchange, exchange.operations.status().collections)],
  ['GET', 'collections/{collection}/count', (exchange) => answerJson(exchange, { count: count(exchange) })],
  ['GET', 'collections/{collection}/changes', streamChanges],
  ['GET', 'collections/{collection}/export', exportDocuments],
  ['POST', 'collections/{collection}/import', importDocuments],
  ['POST', 'collections/{collection}/batch', async (exchange) => answerJson(exchange, await batch(exchange))],
  [
    'POST',
    'collections/{collection}/replications',
    async (exchange) => answerJson(exchange, await replicate(exchange)),
  ],
  [
    'DELETE',
    'collections/{collection}/replications/{peer}',
    async (exchange) => answerJson(exchange, await stopReplicating(exchange)),
  ],
  ['GET', 'collections/{collection}/documents', answerPage],
  ['GET', 'collections/{collection}/documents/{key}', (exchange) => answerJson(exchange, get(exchange))],
  ['GET', 'collections/{collection}/documents/{key}/links', walkFrom],
  [
    'PUT',
    'collections/{collection}/documents/{key}',
    async (exchange) => answerJson(exchange, await put(exchange, true)),
  ],
  [
    'PATCH',
    'collections/{collection}/documents/{key}',
    async (exchange) => answerJson(exchange, await put(exchange, false)),
  ],
  [
    'DELETE',
    'collections/{collection}/documents/{key}',
    async (exchange) => answerJson(exchange, await remove(exchange)),
  ],
]

/** Throws `not-found` and `bad-request`. */
export function destinationOf(method: string, path: string): Destination {
  const segments = path.startsWith(API) ? path.slice(API.length).split('/') : []
  const found = ROUTES.filter(([, pattern]) => isMatch(pattern.split('/'), segments))
  const route = found.find(([its]) => its === method)
  if (route) return { answer: route[2], collection: decoded(segments[1]), key: decoded(segments[3]) }
  const why = found.length > 0 ? `it takes ${found.map(([its]) => its).join(', ')}` : 'there is nothing at this address'
  throw new MarramError('not-found', `Cannot ${method} "${path}": ${why}`)
}

function isMatch(pattern: readonly string[], segments: readonly string[]): boolean {
  return pattern.length === segments.length && pattern.every((part, i) => part.startsWith('{') || part === segments[i])
}

function decoded(segment = ''): string {
  try {
    return decodeURIComponent(segment)
  } catch (cause) {
    const shown = segment.slice(0, 60)
    throw new MarramError('bad-request', `Cannot read "${shown}": it must be percent-encoded UTF-8`, { cause })
  }
}

function digest({ operations, search }: Exchange): unknown {
  return operations.digest(search.get('collection') ?? undefined)
}

function conflicts({ operations, search }: Exchange): unknown {
  const collection = search.get('collection')
  const { limit } = queryOf(search)
  return [
    ...operations.conflicts({ ...(collection !== null && { collection }), ...(limit !== undefined && { limit }) }),
  ]
}

function quarantine({ operations, search }: Exchange): unknown {
  return operations.quarantine().slice(0, queryOf(search).limit)
}

function count({ operations, collection, search }: Exchange): number {
  return operations.count(collection, queryOf(search))
}

function get({ operations, collection, key, search }: Exchange): unknown {
  const document = operations.get(collection, key)
  if (!document) throw new MarramError('not-found', `Cannot get "${key}": there is no such document in "${collection}"`)
  return search.has('provenance') ? { ...document, provenance: operations.provenance(collection, key) } : document
}

async function put(exchange: Exchange, replace: boolean): Promise<unknown> {
  const { operations, collection, key } = exchange
  return operations.put(collection, key, (await objectOf(exchange)) as Fields, { replace, ...waiting(exchange) })
}

async function remove(exchange: Exchange): Promise<unknown> {
  return exchange.operations.delete(exchange.collection, exchange.key, waiting(exchange))
}

/** `?wait=2&timeout=10s`: a client that goes waits no longer. */
function waiting({ search, signal }: Exchange): WaitOptions {
  return { ...waitOf(search.get('wait'), search.get('timeout')), signal }
}

async function batch(exchange: Exchange): Promise<unknown> {
  const { writes } = (await objectOf(exchange)) as { writes?: unknown }
  return exchange.operations.batch(exchange.collection, namedWritesOf(writes), waiting(exchange))
}

/** Takes `{"to", "partition"?}`. */
async function replicate(exchange: Exchange): Promise<unknown> {
  const { to, partition } = (await objectOf(exchange)) as { to?: unknown; partition?: unknown }
  if (typeof to !== 'string') throw new MarramError('bad-request', 'Cannot replicate: "to" must be a peer id')
  if (partition !== undefined && typeof partition !== 'string')
    throw new MarramError('bad-request', 'Cannot replicate: "partition" must be a string')
  const target = { to, ...(partition !== undefined && { partition }) }
  return exchange.operations.replicate(exchange.collection, target)
}

/** The second open segment of its address is a peer id; `?partition`. */
async function stopReplicating({ operations, collection, key: to, search }: Exchange): Promise<unknown> {
  const partition = search.get('partition')
  return operations.stopReplicating(collection, { to, ...(partition !== null && { partition }) })
}

async function invite(exchange: Exchange): Promise<unknown> {
  return exchange.operations.invite((await objectOf(exchange)) as InviteOptions)
}

/** The open segment of its address is an invite's id. */
async function revokeInvite({ operations, collection }: Exchange): Promise<unknown> {
  return operations.revokeInvite(collection)
}

/** The open segment of its address is a peer id. */
async function grant(exchange: Exchange): Promise<unknown> {
  const peerId = exchange.collection
  await exchange.operations.grant(peerId, (await objectOf(exchange)) as GrantOptions)
  return exchange.operations.members().find((member) => member.peerId === peerId)
}

/** The open segment of its address is a peer id. */
async function removeMember(exchange: Exchange): Promise<unknown> {
  const peerId = exchange.collection
  const options = (await objectOf(exchange)) as RemovalOptions
  if (options.reason !== 'retire' && options.reason !== 'revoke')
    throw new MarramError('bad-request', `Cannot remove "${peerId}": "reason" must be "retire" or "revoke"`)
  await exchange.operations.remove(peerId, options)
  return exchange.operations.members().find((member) => member.peerId === peerId)
}

async function setProfile(exchange: Exchange): Promise<unknown> {
  return exchange.operations.setProfile(await objectOf(exchange))
}

/** The body; a request without one stands for an empty object. */
async function objectOf({ request }: Exchange): Promise<object> {
  const value = parse((await readBody(request, HTTP_LIMITS.bodyBytesMax)) || '{}')
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  throw new MarramError('bad-request', 'Cannot read the body: it must be a JSON object')
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch (cause) {
    throw new MarramError('bad-request', `Cannot read the body: ${sentenceOf(cause)}`, { cause })
  }
}
