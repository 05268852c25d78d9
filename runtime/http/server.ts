import { once } from 'node:events'
import { chmodSync, existsSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { MarramError, sentenceOf } from '../base/errors.ts'
import type { Log } from '../ports/log.ts'
import type { Operations } from '../ports/operations.ts'
import { problemOf } from './problem.ts'
import { routeOf } from './routes.ts'
import { socketPathOf } from './socket-path.ts'

/** The control door: HTTP on the unix socket in the data directory, for its owner alone. */
export interface ControlServer {
  close(): Promise<void>
}

export async function createControlServer(options: {
  operations: Operations
  dir: string
  log: Log
}): Promise<ControlServer> {
  const path = socketPathOf(options.dir)
  await removeStale(path)
  const server = createServer((request, response) => void answer(options.operations, options.log, request, response))
  server.keepAliveTimeout = 60_000
  await listen(server, path)
  chmodSync(path, 0o600)
  return { close: () => closeServer(server) }
}

async function answer(
  operations: Operations,
  log: Log,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const aborted = new AbortController()
  response.on('close', () => aborted.abort())
  try {
    const url = new URL(request.url ?? '/', 'http://gateway')
    const route = routeOf(request.method ?? 'GET', url.pathname)
    if (!route)
      throw new MarramError('not-found', `Cannot ${request.method} "${url.pathname}": there is nothing at this address`)
    await route({ operations, request, response, url, signal: aborted.signal })
  } catch (error) {
    if (aborted.signal.aborted) return
    const problem = problemOf(error)
    if (problem.status >= 500)
      log.warn('request-failed', { path: request.url, code: problem.code, message: sentenceOf(error) })
    if (response.headersSent) {
      // Too late for a status: the last line says what went wrong.
      response.end(`${JSON.stringify({ error: { code: problem.code, message: problem.detail } })}\n`)
      return
    }
    response.writeHead(problem.status, { 'content-type': 'application/problem+json' })
    response.end(JSON.stringify(problem))
  }
}

async function listen(server: Server, path: string): Promise<void> {
  server.listen(path)
  try {
    await once(server, 'listening')
  } catch (cause) {
    throw new MarramError('storage-io', `Cannot open the socket "${path}": ${sentenceOf(cause)}`, { cause })
  }
}

/** A socket that nobody answers on was left by a gateway that was killed. */
async function removeStale(path: string): Promise<void> {
  if (!existsSync(path)) return
  const isAnswered = await new Promise<boolean>((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
  if (isAnswered) throw new MarramError('in-use', `Cannot open the socket "${path}": another process answers on it`)
  rmSync(path, { force: true })
}

async function closeServer(server: Server): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve))
  server.closeAllConnections()
  await closed
}
