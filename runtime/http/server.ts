import { once } from 'node:events'
import { existsSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { MarramError, sentenceOf } from '../base/errors.ts'
import { HTTP_LIMITS } from '../base/limits.ts'
import type { Log } from '../ports/log.ts'
import type { Operations } from '../ports/operations.ts'
import { problemOf } from './problem.ts'
import { destinationOf } from './routes.ts'
import { claimSocketFolder, socketPathOf } from './socket-path.ts'

/** The control door: HTTP on the unix socket of a data directory, for its owner alone. */
export interface ControlServer {
  /** Watchers are told; what is being written may end. */
  close(): Promise<void>
}

export interface ControlServerOptions {
  readonly operations: Operations
  readonly dir: string
  readonly log: Log
}

/** Resolves when it answers. Throws `in-use` when another process answers already, `not-permitted`, `storage-io`. */
export async function createControlServer(options: ControlServerOptions): Promise<ControlServer> {
  const path = socketPathOf(options.dir)
  claimSocketFolder(options.dir)
  await removeStale(path)
  const door = new Door(options.operations, options.log)
  await door.listen(path)
  return door
}

class Door implements ControlServer {
  readonly #operations: Operations
  readonly #log: Log
  readonly #server: Server
  readonly #open = new Set<AbortController>()

  constructor(operations: Operations, log: Log) {
    this.#operations = operations
    this.#log = log
    this.#server = createServer((request, response) => void this.#serve(request, response))
    this.#server.maxConnections = HTTP_LIMITS.connectionsMax
    // An import takes as long as it takes.
    this.#server.requestTimeout = 0
  }

  async listen(path: string): Promise<void> {
    // The socket is made within `listen`: nobody else may connect, not even for the moment until its mode was changed.
    const mask = process.umask(0o177)
    this.#server.listen(path)
    process.umask(mask)
    try {
      await once(this.#server, 'listening')
    } catch (cause) {
      throw new MarramError('storage-io', `Cannot open the socket "${path}": ${sentenceOf(cause)}`, { cause })
    }
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    for (const exchange of this.#open)
      exchange.abort(new MarramError('closed', 'Cannot go on: the gateway is stopping'))
    const timer = setTimeout(() => this.#server.closeAllConnections(), HTTP_LIMITS.closeMs)
    await closed
    clearTimeout(timer)
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const controller = new AbortController()
    this.#open.add(controller)
    response.once('close', () => {
      this.#open.delete(controller)
      controller.abort()
      // A connection that goes idle after the server was closed is nobody else's to close.
      if (!this.#server.listening) setImmediate(() => this.#server.closeIdleConnections())
    })
    try {
      await this.#answer(request, response, controller.signal)
    } catch (error) {
      this.#refuse(request, response, controller.signal.aborted ? controller.signal.reason : error)
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse, signal: AbortSignal): Promise<void> {
    // Not parsed as a URL: that would resolve the keys "." and ".." as steps of the path.
    const [path = '', search = ''] = (request.url ?? '').split('?', 2)
    const { answer, collection, key } = destinationOf(request.method ?? '', path)
    const operations = this.#operations
    await answer({ operations, request, response, collection, key, search: new URLSearchParams(search), signal })
  }

  #refuse(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    if (response.destroyed || response.writableEnded) return
    const problem = problemOf(error)
    if (problem.status >= 500)
      this.#log.warn('request-failed', { path: request.url, code: problem.code, message: problem.detail })
    if (!response.headersSent) {
      response.writeHead(problem.status, { 'content-type': 'application/problem+json' })
      response.end(JSON.stringify(problem))
      return
    }
    // Too late for a status: the last line, or the last event, says what went wrong.
    const last = JSON.stringify({ error: { code: problem.code, message: problem.detail } })
    const isEvents = response.getHeader('content-type') === 'text/event-stream'
    response.end(isEvents ? `event: error\ndata: ${last}\n\n` : `${last}\n`)
  }
}

/** A socket that nobody answers on was left by a gateway that was killed. */
async function removeStale(path: string): Promise<void> {
  if (!existsSync(path)) return
  const socket = connect(path)
  const isAnswered = await new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
  })
  socket.destroy()
  if (isAnswered) throw new MarramError('in-use', `Cannot open the socket "${path}": another process answers on it`)
  rmSync(path, { force: true })
}
