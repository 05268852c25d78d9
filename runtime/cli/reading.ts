import { MarramError } from '../base/errors.ts'
import { HTTP_LIMITS } from '../base/limits.ts'
import { openStoreOf, pathOf, queryText, type Context } from './context.ts'
import type { QueryOptions } from './options.ts'

/** The documents of a collection as lines of JSON, from the running gateway, else from the store where none runs. */
export async function* documentLines(
  context: Context,
  collection: string,
  query: QueryOptions = {},
): AsyncGenerator<string> {
  const path = `${pathOf('collections', collection, 'export')}${queryText({ ...query })}`
  try {
    yield* context.client.lines('GET', path)
    return
  } catch (error) {
    if (!(error instanceof MarramError) || error.code !== 'not-running') throw error
  }
  const gateway = await openStoreOf(context)
  try {
    for (const document of gateway.documents.list(collection, query)) yield JSON.stringify(document)
  } finally {
    await gateway.close()
  }
}

const LINE_END = Buffer.from('\n')

/** Lines with their ends, gathered into pieces that are worth a write. */
export async function* piecesOf(lines: AsyncIterable<string | Uint8Array>): AsyncGenerator<Buffer> {
  let parts: Uint8Array[] = []
  let bytes = 0
  for await (const line of lines) {
    parts.push(typeof line === 'string' ? Buffer.from(line) : line, LINE_END)
    bytes += line.length + 1
    if (bytes < HTTP_LIMITS.pieceLength) continue
    yield Buffer.concat(parts)
    parts = []
    bytes = 0
  }
  if (parts.length > 0) yield Buffer.concat(parts)
}
