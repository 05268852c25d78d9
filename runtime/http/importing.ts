import { codeOf, MarramError, sentenceOf } from '../base/errors.ts'
import type { Fields, Value } from '../model/value.ts'
import type { Exchange } from './routes.ts'
import { readLines } from './lines.ts'

/**
 * Takes documents one a line: `{"key", "value": {…}}`, or flat `{"key", …fields}`. Answers with lines as it goes:
 * `{"line", "error"}` for each that can't be taken, `{"done": n}` now and then, and `{"imported", "skipped"}` at the end.
 * Writes are many at once, so they share batches and flushes.
 */
const LINE_BYTES_MAX = 4_194_304
const AT_ONCE = 4_096
const PROGRESS_EVERY = 1_000

export async function importDocuments({ operations, request, response }: Exchange, collection: string): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/x-ndjson' })
  let number = 0
  let imported = 0
  let skipped = 0
  let stopped: unknown = null
  let underWay = 0
  let wake: (() => void) | null = null
  const say = (line: object): boolean => response.write(`${JSON.stringify(line)}\n`)
  const take = async (line: string, at: number): Promise<void> => {
    try {
      const { key, fields } = documentOf(line)
      await operations.put(collection, key, fields)
      imported += 1
      if (imported % PROGRESS_EVERY === 0) say({ done: imported })
    } catch (error) {
      if (isPassing(error)) stopped ??= error
      else {
        skipped += 1
        say({ line: at, error: sentenceOf(error) })
      }
    } finally {
      underWay -= 1
      wake?.()
    }
  }
  const room = async (below: number): Promise<void> => {
    while (underWay >= below) await new Promise<void>((resolve) => (wake = resolve))
  }
  for await (const line of readLines(request as AsyncIterable<Buffer>, LINE_BYTES_MAX)) {
    number += 1
    if (line.trim() === '') continue
    if (stopped) break
    await room(AT_ONCE)
    underWay += 1
    void take(line, number)
  }
  await room(1)
  if (stopped) throw stopped instanceof Error ? stopped : new MarramError('storage-io', sentenceOf(stopped))
  response.end(`${JSON.stringify({ imported, skipped })}\n`)
}

/** What ends an import: going on would fail for every line. */
function isPassing(error: unknown): boolean {
  return ['storage-full', 'storage-io', 'closed', 'not-supported', 'not-permitted', 'overloaded'].includes(
    codeOf(error),
  )
}

function documentOf(line: string): { key: string; fields: Fields } {
  const value = parse(line)
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new MarramError('bad-request', 'the line must be a JSON object')
  const { key, value: inner, ...flat } = value as { key?: unknown; value?: unknown; [name: string]: unknown }
  if (typeof key !== 'string') throw new MarramError('bad-request', 'the line must have a "key"')
  const isNested =
    typeof inner === 'object' && inner !== null && !Array.isArray(inner) && Object.keys(flat).length === 0
  if (isNested) return { key, fields: inner as Fields }
  return { key, fields: (inner === undefined ? flat : { value: inner as Value, ...flat }) as Fields }
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line) as unknown
  } catch (cause) {
    throw new MarramError('bad-request', sentenceOf(cause), { cause })
  }
}
