import { request as httpRequest, type IncomingMessage } from 'node:http'
import { existsSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { ERROR_CODES, MarramError, type ErrorCode } from '../base/errors.ts'
import { readBody, readLines } from '../http/lines.ts'
import { socketPathOf } from '../http/socket-path.ts'

/** Talks to the gateway that runs on a data directory. */
export interface Client {
  json(method: string, path: string, body?: unknown): Promise<unknown>
  /** The answer's lines as they come; `body` is sent as it is read. */
  lines(method: string, path: string, body?: Readable): AsyncGenerator<string>
}

const ANSWER_BYTES_MAX = 67_108_864

/** Throws `not-running` when nothing answers. */
export function clientOf(dir: string): Client {
  const socketPath = socketPathOf(dir)
  return {
    json: async (method, path, body) => {
      const response = await send(dir, socketPath, method, path, body === undefined ? undefined : JSON.stringify(body))
      return JSON.parse(await readBody(response, ANSWER_BYTES_MAX)) as unknown
    },
    lines: async function* (method, path, body) {
      const response = await send(dir, socketPath, method, path, body)
      for await (const line of readLines(response as AsyncIterable<Buffer>, ANSWER_BYTES_MAX)) {
        if (line.startsWith('{"error":'))
          throw errorOf((JSON.parse(line) as { error: { code: string; message: string } }).error)
        yield line
      }
    },
  }
}

export function isRunning(dir: string): boolean {
  return existsSync(socketPathOf(dir))
}

async function send(
  dir: string,
  socketPath: string,
  method: string,
  path: string,
  body: string | Readable | undefined,
): Promise<IncomingMessage> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const request = httpRequest(
      { socketPath, method, path: `/api/v1/${path}`, headers: { 'content-type': 'application/json' } },
      resolve,
    )
    request.on('error', (cause: NodeJS.ErrnoException) => reject(unreachable(dir, cause)))
    if (body === undefined || typeof body === 'string') request.end(body)
    else body.pipe(request)
  })
  if ((response.statusCode ?? 500) < 400) return response
  const problem = JSON.parse(await readBody(response, ANSWER_BYTES_MAX)) as { code: string; detail: string }
  throw errorOf({ code: problem.code, message: problem.detail })
}

function unreachable(dir: string, cause: NodeJS.ErrnoException): MarramError {
  const isAbsent = ['ENOENT', 'ECONNREFUSED'].includes(cause.code ?? '')
  if (isAbsent)
    return new MarramError(
      'not-running',
      `Cannot reach the gateway of "${dir}": none runs there, start it with "marram run --dir ${dir}"`,
      { cause },
    )
  if (cause.code === 'EACCES')
    return new MarramError('not-permitted', `Cannot reach the gateway of "${dir}": it belongs to another user`, {
      cause,
    })
  return new MarramError('closed', `The gateway of "${dir}" closed the connection: ${cause.message}`, { cause })
}

function errorOf({ code, message }: { code: string; message: string }): MarramError {
  return new MarramError(code in ERROR_CODES ? (code as ErrorCode) : 'storage-io', message)
}
