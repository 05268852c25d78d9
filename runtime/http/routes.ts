import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { MarramError, sentenceOf } from '../base/errors.ts'
import type { Fields } from '../model/value.ts'
import type { Operations, Query } from '../ports/operations.ts'
import { importDocuments } from './importing.ts'
import { readBody } from './lines.ts'

/** What is at which address; interfaces.md, "HTTP". */
export interface Exchange {
  readonly operations: Operations
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly url: URL
  readonly signal: AbortSignal
}

export type Route = (exchange: Exchange) => void | Promise<void>

const BODY_BYTES_MAX = 4_194_304
const PAGE_MAX = 1_000
const API = '/api/v1/'

export function routeOf(method: string, path: string): Route | null {
  if (!path.startsWith(API)) return null
  const [place, collection, part, key, ...rest] = path.slice(API.length).split('/').map(decoded)
  if (place === 'collections' && collection !== undefined) return collectionRoute(method, collection, part, key, rest)
  if (collection !== undefined) return null
  switch (`${method} ${place}`) {
    case 'GET status':
      return ({ operations, response }) => json(response, operations.status())
    case 'GET peers':
      return ({ operations, response }) => json(response, operations.peers())
    case 'GET digest':
      return ({ operations, response, url }) =>
        json(response, operations.digest(url.searchParams.get('collection') ?? undefined))
    case 'GET collections':
      return ({ operations, response }) => json(response, operations.status().collections)
    case 'GET profile':
      return ({ operations, response }) => json(response, operations.profile())
    case 'PUT profile':
      return async (exchange) =>
        json(exchange.response, await exchange.operations.setProfile(await jsonBody(exchange.request)))
    case 'POST invites':
      return async (exchange) =>
        json(exchange.response, await exchange.operations.invite((await jsonBody(exchange.request)) as object))
    default:
      return null
  }
}

function collectionRoute(
  method: string,
  collection: string,
  part: string | undefined,
  key: string | undefined,
  rest: string[],
): Route | null {
  if (rest.length > 0) return null
  if (part === 'documents' && key !== undefined) return documentRoute(method, collection, key)
  if (key !== undefined) return null
  switch (`${method} ${part}`) {
    case 'GET documents':
      return (exchange) => listPage(exchange, collection)
    case 'GET export':
      return (exchange) => exportDocuments(exchange, collection)
    case 'GET count':
      return ({ operations, response, url }) => json(response, { count: operations.count(collection, queryOf(url)) })
    case 'GET changes':
      return (exchange) => streamChanges(exchange, collection)
    case 'POST import':
      return (exchange) => importDocuments(exchange, collection)
    default:
      return null
  }
}

function documentRoute(method: string, collection: string, key: string): Route | null {
  switch (method) {
    case 'GET':
      return ({ operations, response, url }) => {
        const document = operations.get(collection, key)
        if (!document)
          throw new MarramError('not-found', `Cannot get "${key}": there is no such document in "${collection}"`)
        const provenance = url.searchParams.has('provenance')
          ? { provenance: operations.provenance(collection, key) }
          : {}
        json(response, { ...document, ...provenance })
      }
    case 'PATCH':
    case 'PUT':
      return async ({ operations, request, response }) => {
        const fields = await jsonBody(request)
        if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) {
          throw new MarramError('bad-request', `Cannot put "${key}": the document must be a JSON object`)
        }
        json(response, await operations.put(collection, key, fields as Fields, { replace: method === 'PUT' }))
      }
    case 'DELETE':
      return async ({ operations, response }) => json(response, await operations.delete(collection, key))
    default:
      return null
  }
}

/** One page; `next` is the cursor of the following one. */
function listPage({ operations, response, url }: Exchange, collection: string): void {
  const limit = Math.min(Number(url.searchParams.get('limit') ?? PAGE_MAX), PAGE_MAX)
  const documents = [...operations.list(collection, { ...queryOf(url), limit })]
  const next = documents.length === limit ? documents.at(-1)?.key : undefined
  json(response, { documents, ...(next !== undefined && { next }) })
}

/** All documents, one a line, made as fast as they are taken. */
async function exportDocuments({ operations, response, url, signal }: Exchange, collection: string): Promise<void> {
  const documents = operations.list(collection, queryOf(url))[Symbol.iterator]()
  let next = documents.next()
  response.writeHead(200, { 'content-type': 'application/x-ndjson' })
  for (; !next.done && !signal.aborted; next = documents.next()) {
    if (!response.write(`${JSON.stringify(next.value)}\n`)) await once(response, 'drain', { signal })
  }
  response.end()
}

/** Server-sent events; the event's id is the cursor to resume at. */
async function streamChanges(
  { operations, request, response, url, signal }: Exchange,
  collection: string,
): Promise<void> {
  const since = url.searchParams.get('since') ?? request.headers['last-event-id']
  const { prefix, where } = queryOf(url)
  const events = operations.watch(collection, {
    ...(prefix !== undefined && { prefix }),
    ...(where !== undefined && { where }),
    ...(typeof since === 'string' && { since }),
    signal,
  })
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  response.flushHeaders()
  for await (const event of events) {
    const isTaken = response.write(`id: ${event.cursor}\ndata: ${JSON.stringify(event)}\n\n`)
    if (!isTaken) await once(response, 'drain', { signal })
  }
  response.end()
}

function queryOf(url: URL): Query {
  const get = (name: string): string | undefined => url.searchParams.get(name) ?? undefined
  const [prefix, where, order, after, limit] = [get('prefix'), get('where'), get('order'), get('cursor'), get('limit')]
  if (limit !== undefined && !/^\d{1,9}$/.test(limit))
    throw new MarramError('bad-request', `Cannot use the limit "${limit}": it must be a whole number`)
  return {
    ...(prefix !== undefined && { prefix }),
    ...(where !== undefined && { where }),
    ...(order !== undefined && { order }),
    ...(after !== undefined && { after }),
    ...(limit !== undefined && { limit: Number(limit) }),
  }
}

async function jsonBody(request: IncomingMessage): Promise<unknown> {
  const body = await readBody(request, BODY_BYTES_MAX)
  try {
    return body === '' ? {} : (JSON.parse(body) as unknown)
  } catch (cause) {
    throw new MarramError('bad-request', `Cannot read the request: ${sentenceOf(cause)}`, { cause })
  }
}

function json(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end(JSON.stringify(value))
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch (cause) {
    throw new MarramError('bad-request', `Cannot read "${segment.slice(0, 60)}": it is not well percent-encoded`, {
      cause,
    })
  }
}
