import { MarramError, codeOf, sentenceOf } from '../base/errors.ts'
import type { Fields } from '../model/value.ts'
import { namedWritesOf } from '../model/writes.ts'
import type { Operations, Query } from '../ports/operations.ts'
import { waitOf } from '../profile/wait.ts'

/** Request and response over MQTT: `marram/request/<operation>` is answered on `marram/response/<operation>`. */

const ITEMS_MAX = 1_000

interface Request {
  readonly [name: string]: unknown
}

type Handler = (operations: Operations, request: Request) => unknown

const HANDLERS: { readonly [operation: string]: Handler } = {
  put: (operations, request) =>
    operations.put(text(request, 'collection'), text(request, 'key'), object(request, 'value'), {
      replace: request['replace'] === true,
      ...waitOf(request['wait'], request['timeout']),
    }),
  delete: (operations, request) => {
    const wait = waitOf(request['wait'], request['timeout'])
    return operations.delete(text(request, 'collection'), text(request, 'key'), wait)
  },
  batch: (operations, request) => {
    const wait = waitOf(request['wait'], request['timeout'])
    return operations.batch(text(request, 'collection'), namedWritesOf(request['writes']), wait)
  },
  get: (operations, request) => {
    const key = text(request, 'key')
    const document = operations.get(text(request, 'collection'), key)
    if (!document) throw new MarramError('not-found', `Cannot get "${key}": there is no such document`)
    return document
  },
  list: (operations, request) => {
    const limit = Math.min(typeof request['limit'] === 'number' ? request['limit'] : ITEMS_MAX, ITEMS_MAX)
    return [...operations.list(text(request, 'collection'), { ...queryOf(request), limit })]
  },
  count: (operations, request) => ({ count: operations.count(text(request, 'collection'), queryOf(request)) }),
  walk: (operations, request) => {
    const { depth, reverse } = request
    const options = { ...(typeof depth === 'number' && { depth }), reverse: reverse === true }
    return [...operations.walk(text(request, 'collection'), text(request, 'key'), options)].slice(0, ITEMS_MAX)
  },
  conflicts: (operations, request) => {
    const collection = optionalText(request, 'collection')
    return [...operations.conflicts({ limit: ITEMS_MAX, ...(collection !== undefined && { collection }) })]
  },
  digest: (operations, request) => operations.digest(optionalText(request, 'collection')),
  status: (operations) => operations.status(),
  peers: (operations) => operations.peers(),
  quarantine: (operations) => operations.quarantine(),
  replications: (operations) => operations.replications(),
}

/** The response's payload; every failure is one too. */
export async function answerRequest(operations: Operations, operation: string, payload: Uint8Array): Promise<string> {
  let transaction: unknown
  try {
    const request = parse(payload)
    transaction = request['transaction']
    const handler = Object.hasOwn(HANDLERS, operation) ? HANDLERS[operation] : undefined
    if (!handler)
      throw new MarramError(
        'not-found',
        `Cannot do "${operation}": it must be one of ${Object.keys(HANDLERS).join(', ')}`,
      )
    return JSON.stringify({ transaction, status: 'ok', data: await handler(operations, request) })
  } catch (error) {
    return JSON.stringify({ transaction, status: 'error', error: { code: codeOf(error), message: sentenceOf(error) } })
  }
}

function parse(payload: Uint8Array): Request {
  const body = Buffer.from(payload).toString('utf8')
  let request: unknown
  try {
    request = body === '' ? {} : JSON.parse(body)
  } catch (cause) {
    throw new MarramError('bad-request', `Cannot read the request: ${sentenceOf(cause)}`, { cause })
  }
  if (typeof request !== 'object' || request === null || Array.isArray(request)) {
    throw new MarramError('bad-request', 'Cannot read the request: it must be a JSON object')
  }
  return request as Request
}

function queryOf(request: Request): Query {
  const texts = ['prefix', 'where', 'order', 'from', 'to'] as const
  const given = texts
    .map((name) => [name, optionalText(request, name)] as const)
    .filter(([, value]) => value !== undefined)
  return { ...Object.fromEntries(given), ...(request['latest'] === true && { latest: true }) }
}

function text(request: Request, name: string): string {
  const value = request[name]
  if (typeof value === 'string') return value
  throw new MarramError('bad-request', `Cannot answer the request: "${name}" must be a string`)
}

function optionalText(request: Request, name: string): string | undefined {
  return request[name] === undefined ? undefined : text(request, name)
}

function object(request: Request, name: string): Fields {
  const value = request[name]
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields
  throw new MarramError('bad-request', `Cannot answer the request: "${name}" must be a JSON object`)
}
