import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { HTTP_LIMITS } from '../base/limits.ts'
import type { Operations } from '../ports/operations.ts'

/** One request and what answers it. */
export interface Exchange {
  readonly operations: Operations
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** The segments of the address that the route leaves open, decoded; empty where it has none. */
  readonly collection: string
  readonly key: string
  readonly search: URLSearchParams
  /** Aborted when the client has gone or the gateway stops; the reason says so. */
  readonly signal: AbortSignal
}

export function answerJson({ response }: Exchange, value: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end(JSON.stringify(value))
}

/** Text that is sent while it is made: gathered into pieces, and never made faster than the client takes it. */
export class Outflow {
  readonly #exchange: Exchange
  #piece = ''

  constructor(exchange: Exchange, contentType: string) {
    this.#exchange = exchange
    // Set one by one, so that they can still be read when something goes wrong later.
    exchange.response.setHeader('content-type', contentType)
    exchange.response.setHeader('cache-control', 'no-store')
    exchange.response.flushHeaders()
  }

  /** Throws the signal's reason when nobody will take it any more. */
  async write(text: string): Promise<void> {
    this.#piece += text
    if (this.#piece.length >= HTTP_LIMITS.pieceLength) await this.flush()
  }

  async flush(): Promise<void> {
    const { response, signal } = this.#exchange
    signal.throwIfAborted()
    const piece = this.#piece
    this.#piece = ''
    if (piece !== '' && !response.write(piece)) await once(response, 'drain', { signal })
  }

  async end(): Promise<void> {
    await this.flush()
    this.#exchange.response.end()
  }
}
