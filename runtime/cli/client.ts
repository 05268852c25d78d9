import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http'
import { Readable, pipeline } from 'node:stream'
import { ERROR_CODES, MarramError, sentenceOf, type ErrorCode } from '../base/errors.ts'
import { shellWord } from '../base/shell.ts'
import { readBody, readLines } from '../http/lines.ts'
import { checkSocketFolder, socketPathOf } from '../http/socket-path.ts'

/** Talks to the gateway that runs on a data directory. Throws `not-running` when none does, and what the gateway answers. */
export interface Client {
  json(method: string, path: string, body?: unknown): Promise<unknown>
  /** The answer's lines as they come; `body` is sent as fast as the gateway takes it. */
  lines(method: string, path: string, body?: AsyncIterable<string | Uint8Array>): AsyncGenerator<string>
  /** The answer's bytes as they come. */
  bytes(method: string, path: string): AsyncGenerator<Uint8Array>
  /** The data of server-sent events. */
  events(path: string): AsyncGenerator<unknown>
}

interface GatewayError {
  readonly error: { readonly code: string; readonly message: string }
}

/** Kept alive, the gateway takes the rest of a body that it has refused, and its answer arrives; there is no second request. */
const HEADERS = { 'content-type': 'application/json', connection: 'keep-alive' }
const ANSWER_BYTES_MAX = 67_108_864

export function clientOf(dir: string): Client {
  const call = (method: string, path: string): Call => new Call(dir, method, path)
  return {
    json: async (method, path, body) => {
      const text = body === undefined ? undefined : textOf(body)
      return call(method, path).json(text)
    },
    lines: (method, path, body) => call(method, path).lines(body),
    // Asked for when they are read: an answer that nobody waits for has nobody to fail.
    bytes: async function* (method, path) {
      yield* call(method, path).bytes()
    },
    events: (path) => eventsOf(call('GET', path).lines(undefined)),
  }
}

/** One request and its answer. */
class Call {
  readonly #dir: string
  readonly #request: ClientRequest
  /** Why `body` could not be read: the reason for whatever follows from that. */
  #bodyFailure: unknown = null

  constructor(dir: string, method: string, path: string) {
    this.#dir = dir
    checkSocketFolder(dir)
    const socketPath = socketPathOf(dir)
    this.#request = httpRequest({ socketPath, method, path: `/api/v1/${path}`, agent: false, headers: HEADERS })
    // Once the answer has come Node listens no more, and what was still being sent may yet fail.
    this.#request.once('socket', (socket) => socket.on('error', () => {}))
  }

  async json(body: string | undefined): Promise<unknown> {
    this.#request.end(body)
    try {
      return JSON.parse(await readBody(await this.#answer(), ANSWER_BYTES_MAX)) as unknown
    } catch (error) {
      throw this.#failureOf(error)
    }
  }

  async *lines(body: AsyncIterable<string | Uint8Array> | undefined): AsyncGenerator<string> {
    this.#send(body)
    try {
      for await (const line of readLines(await this.#answer(), ANSWER_BYTES_MAX)) {
        const text = line.toString('utf8')
        if (text.startsWith('{"error":')) throw errorOf(JSON.parse(text) as GatewayError)
        yield text
      }
    } catch (error) {
      throw this.#failureOf(error)
    } finally {
      // Nobody will take the rest of the body, nor of the answer.
      this.#request.destroy()
    }
  }

  async *bytes(): AsyncGenerator<Uint8Array> {
    this.#send(undefined)
    try {
      for await (const piece of await this.#answer()) yield piece as Uint8Array
    } catch (error) {
      throw this.#failureOf(error)
    } finally {
      this.#request.destroy()
    }
  }

  #send(body: AsyncIterable<string | Uint8Array> | undefined): void {
    if (!body) return void this.#request.end()
    pipeline(Readable.from(body, { objectMode: false }), this.#request, (error) => {
      this.#bodyFailure = error instanceof MarramError ? error : null
    })
  }

  async #answer(): Promise<IncomingMessage> {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      this.#request.once('response', resolve)
      this.#request.on('error', reject)
    })
    if ((response.statusCode ?? 500) < 400) return response
    const problem = JSON.parse(await readBody(response, ANSWER_BYTES_MAX)) as { code: string; detail: string }
    throw errorOf({ error: { code: problem.code, message: problem.detail } })
  }

  #failureOf(error: unknown): MarramError {
    if (this.#bodyFailure instanceof MarramError) return this.#bodyFailure
    return error instanceof MarramError ? error : unreachable(this.#dir, error)
  }
}

/** Before there is a request, which would hold up the end of a command that failed. */
function textOf(body: unknown): string {
  try {
    return JSON.stringify(body)
  } catch (cause) {
    throw new MarramError('bad-request', 'Cannot send the document: it is nested too deep', { cause })
  }
}

async function* eventsOf(lines: AsyncIterable<string>): AsyncGenerator<unknown> {
  for await (const line of lines) {
    if (!line.startsWith('data: ')) continue
    const data = JSON.parse(line.slice(6)) as unknown
    if (typeof data === 'object' && data !== null && 'error' in data) throw errorOf(data as GatewayError)
    yield data
  }
}

function unreachable(dir: string, cause: unknown): MarramError {
  switch ((cause as NodeJS.ErrnoException).code) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ECONNREFUSED': {
      const sentence = `Cannot reach the gateway of "${dir}": none runs there, start it with "marram run --dir ${shellWord(dir)}"`
      return new MarramError('not-running', sentence, { cause })
    }
    case 'EACCES':
      return new MarramError('not-permitted', `Cannot reach the gateway of "${dir}": it belongs to another user`, {
        cause,
      })
    default: {
      const sentence = `Cannot finish: the gateway of "${dir}" closed the connection (${sentenceOf(cause)})`
      return new MarramError('closed', sentence, { cause })
    }
  }
}

function errorOf({ error: { code, message } }: GatewayError): MarramError {
  return new MarramError(Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : 'storage-io', message)
}
