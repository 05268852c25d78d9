import { MarramError } from '../base/errors.ts'
import { HTTP_LIMITS } from '../base/limits.ts'
import type { Query } from '../ports/operations.ts'
import { Outflow, type Exchange } from './exchange.ts'

/** Answers of any length, sent while they are read from the store. */

/** `{"documents": […], "next"?}`: `next` is the cursor of the following page. */
export async function answerPage(exchange: Exchange): Promise<void> {
  const query = queryOf(exchange.search)
  const limit = Math.min(query.limit ?? HTTP_LIMITS.pageMax, HTTP_LIMITS.pageMax)
  const documents = started(exchange.operations.list(exchange.collection, { ...query, limit }))
  const out = new Outflow(exchange, 'application/json')
  let given = 0
  let last: string | undefined
  for (const document of documents) {
    await out.write(`${given === 0 ? '{"documents":[' : ','}${JSON.stringify(document)}`)
    last = document.row === undefined ? document.key : `${document.key}\0${document.row}`
    given += 1
  }
  const hasMore = given >= limit && last !== undefined && query.order === undefined
  await out.write(`${given === 0 ? '{"documents":[' : ''}]${hasMore ? `,"next":${JSON.stringify(last)}` : ''}}`)
  await out.end()
}

/** All documents, one a line. */
export async function exportDocuments(exchange: Exchange): Promise<void> {
  const documents = started(exchange.operations.list(exchange.collection, queryOf(exchange.search)))
  const out = new Outflow(exchange, 'application/x-ndjson')
  for (const document of documents) await out.write(`${JSON.stringify(document)}\n`)
  await out.end()
}

/** Links and where they lead, one a line; `?depth&reverse`. */
export async function walkFrom(exchange: Exchange): Promise<void> {
  const { operations, collection, key, search } = exchange
  const options = { depth: Number(search.get('depth') ?? 1), reverse: search.get('reverse') === 'true' }
  const steps = started(operations.walk(collection, key, options))
  const out = new Outflow(exchange, 'application/x-ndjson')
  for (const step of steps) await out.write(`${JSON.stringify(step)}\n`)
  await out.end()
}

/** Server-sent events (WHATWG HTML 9.2); an event's id is the cursor to resume at. */
export async function streamChanges(exchange: Exchange): Promise<void> {
  const { operations, collection, request, search, signal } = exchange
  const since = search.get('since') ?? request.headers['last-event-id']
  const { prefix, where } = queryOf(search)
  const events = operations.watch(collection, {
    ...(prefix !== undefined && { prefix }),
    ...(where !== undefined && { where }),
    ...(typeof since === 'string' && { since }),
    signal,
  })
  const out = new Outflow(exchange, 'text/event-stream')
  for await (const event of events) {
    await out.write(`id: ${event.cursor}\ndata: ${JSON.stringify(event)}\n\n`)
    await out.flush()
  }
  // Whoever still listens is told why it ends.
  signal.throwIfAborted()
  await out.end()
}

export function queryOf(search: URLSearchParams): Query {
  const query: { [name: string]: string | number | boolean } = {}
  for (const [name, member] of [
    ['prefix', 'prefix'],
    ['where', 'where'],
    ['order', 'order'],
    ['cursor', 'after'],
    ['from', 'from'],
    ['to', 'to'],
  ] as const) {
    const value = search.get(name)
    if (value !== null) query[member] = value
  }
  if (search.get('latest') === 'true') query['latest'] = true
  const limit = search.get('limit')
  if (limit !== null) query['limit'] = wholeNumber(limit)
  return query
}

function wholeNumber(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new MarramError('bad-request', `Cannot use the limit "${text.slice(0, 60)}": it must be a whole number`)
}

/** Pulls the first document now, so that a query that is wrong is refused before an answer has begun. */
function started<T>(documents: Iterable<T>): Iterable<T> {
  const iterator = documents[Symbol.iterator]()
  let first: IteratorResult<T> | null = iterator.next()
  const next = (): IteratorResult<T> => {
    const result = first ?? iterator.next()
    first = null
    return result
  }
  return { [Symbol.iterator]: () => ({ next }) }
}
