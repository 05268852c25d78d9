import { isUtf8 } from 'node:buffer'
import { once } from 'node:events'
import { codeOf, MarramError, sentenceOf, type ErrorCode } from '../base/errors.ts'
import { HTTP_LIMITS } from '../base/limits.ts'
import type { Fields } from '../model/value.ts'
import type { Exchange } from './exchange.ts'
import { readLines } from './lines.ts'

/** Errors that every further line would meet as well. */
const LASTING: readonly ErrorCode[] = [
  'storage-full',
  'storage-io',
  'closed',
  'not-kept',
  'no-key',
  'not-supported',
  'not-permitted',
  'overloaded',
]
const PROGRESS_EVERY = 1_000

/**
 * Takes documents, one a line: `{"key", "value": {…}}`, or flat `{"key", …fields}`. Answers with lines as it goes:
 * `{"line", "error"}` for each that can't be taken; `{"done", "lines"}` now and then, documents that are on the disk and
 * the number of the line up to which all is dealt with, so that an import that was cut short can go on behind it; at the
 * end `{"imported", "skipped"}`, or `{"error"}` when going on made no sense.
 */
export async function importDocuments(exchange: Exchange): Promise<void> {
  const { request, response, signal, operations, collection } = exchange
  operations.checkWritable(collection)
  response.writeHead(200, { 'content-type': 'application/x-ndjson' })
  response.flushHeaders()
  const work = new Import(exchange)
  for await (const line of readLines(request, HTTP_LIMITS.lineBytesMax)) {
    await work.room(HTTP_LIMITS.importLinesMax, HTTP_LIMITS.importBytesMax)
    if (response.writableNeedDrain) await once(response, 'drain', { signal })
    if (work.failure || signal.aborted) break
    work.take(line)
  }
  await work.room(1, Number.POSITIVE_INFINITY)
  work.sayProgress()
  signal.throwIfAborted()
  if (work.failure) throw work.failure
  response.end(`${JSON.stringify({ imported: work.imported, skipped: work.skipped })}\n`)
}

/** Many lines are on their way to the disk at once, so that they share batches and flushes. */
class Import {
  readonly #exchange: Exchange
  /** Bytes of the lines under way by their numbers, in order. */
  readonly #underWay = new Map<number, number>()
  #bytes = 0
  #lines = 0
  /** The first line that met what ended the import. */
  #failedLine = Number.POSITIVE_INFINITY
  #wake: (() => void) | null = null
  imported = 0
  skipped = 0
  failure: MarramError | null = null

  constructor(exchange: Exchange) {
    this.#exchange = exchange
  }

  /** Resolves when fewer lines and bytes than these are under way. */
  async room(lines: number, bytes: number): Promise<void> {
    while (this.#underWay.size >= lines || this.#bytes >= bytes)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
  }

  take(line: Buffer): void {
    this.#lines += 1
    if (line.length > 0) void this.#put(line, this.#lines)
  }

  sayProgress(): void {
    const [first = this.#lines + 1] = this.#underWay.keys()
    this.#say({ done: this.imported, lines: Math.min(first, this.#failedLine) - 1 })
  }

  async #put(line: Buffer, number: number): Promise<void> {
    this.#underWay.set(number, line.length)
    this.#bytes += line.length
    try {
      const { key, fields, row } = documentOf(line)
      await this.#exchange.operations.put(this.#exchange.collection, key, fields, {
        exact: true,
        ...(row !== undefined && { row }),
      })
      this.imported += 1
    } catch (error) {
      this.#refuse(error, number)
    }
    this.#underWay.delete(number)
    this.#bytes -= line.length
    if (number % PROGRESS_EVERY === 0) this.sayProgress()
    this.#wake?.()
  }

  #refuse(error: unknown, number: number): void {
    if (LASTING.includes(codeOf(error))) {
      this.#failedLine = Math.min(number, this.#failedLine)
      this.failure ??= new MarramError(codeOf(error), sentenceOf(error), { cause: error })
      return
    }
    this.skipped += 1
    this.#say({ line: number, error: sentenceOf(error) })
  }

  #say(line: object): void {
    if (this.#exchange.response.writable) this.#exchange.response.write(`${JSON.stringify(line)}\n`)
  }
}

function documentOf(line: Buffer): { key: string; fields: Fields; row: string | undefined } {
  const value = parse(line)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw refusal('it must be a JSON object')
  const { key, ...flat } = value as { readonly [name: string]: unknown }
  if (typeof key !== 'string') throw refusal('it must have a "key" that is a string')
  const { value: inner, time, row, ...others } = flat
  const isObject = typeof inner === 'object' && inner !== null && !Array.isArray(inner)
  // A row of a series, as `list --json` prints it, has a time and a name beside its value.
  const isRow = typeof time === 'string' && typeof row === 'string'
  const isNested = isObject && Object.keys(others).length === 0 && (isRow || Object.keys(flat).length === 1)
  return { key, fields: (isNested ? inner : flat) as Fields, row: isNested && isRow ? row : undefined }
}

function parse(line: Buffer): unknown {
  if (line.length > HTTP_LIMITS.lineBytesMax)
    throw new MarramError('too-large', `Cannot read the line: it is over ${HTTP_LIMITS.lineBytesMax} bytes`)
  if (!isUtf8(line)) throw refusal('it must be UTF-8')
  try {
    return JSON.parse(line.toString('utf8')) as unknown
  } catch (cause) {
    throw refusal(sentenceOf(cause), cause)
  }
}

function refusal(what: string, cause?: unknown): MarramError {
  return new MarramError('bad-request', `Cannot read the line: ${what}`, { cause })
}
