import type { Value } from '../model/value.ts'
import type { DocumentView } from '../ports/operations.ts'

/**
 * RFC 4180 with a header line; the column `key` is the document's key, the others are its fields. A cell holds JSON where
 * that says what it means (numbers, true, false, null, objects, quoted strings), else the text itself; an empty cell is no field.
 */
export async function* readCsv(stream: AsyncIterable<Buffer | string>): AsyncGenerator<string> {
  let header: string[] | null = null
  for await (const row of rows(stream)) {
    if (!header) {
      header = row
      yield ''
      continue
    }
    const document: { [name: string]: Value } = {}
    row.forEach((cell, i) => {
      const name = header?.[i]
      if (name === undefined || cell === '') return
      document[name] = name === 'key' ? cell : valueOf(cell)
    })
    yield JSON.stringify(document)
  }
}

/** Reads the documents twice: the header names every field that any of them has. */
export async function* csvOf(documents: () => AsyncIterable<DocumentView>): AsyncGenerator<string> {
  const names = new Set<string>()
  for await (const { value } of documents()) for (const name of Object.keys(value)) names.add(name)
  const header = ['key', ...[...names].sort()]
  yield line(header)
  for await (const { key, value } of documents()) {
    yield line([
      key,
      ...header.slice(1).map((name) => (Object.hasOwn(value, name) ? cellOf(value[name] as Value) : '')),
    ])
  }
}

function line(cells: readonly string[]): string {
  return `${cells.map(quoted).join(',')}\n`
}

function quoted(cell: string): string {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell
}

/** A text that would be read as something else is written as JSON. */
function cellOf(value: Value): string {
  if (typeof value !== 'string') return JSON.stringify(value)
  return value === '' || typeof valueOf(value) !== 'string' || valueOf(value) !== value ? JSON.stringify(value) : value
}

function valueOf(cell: string): Value {
  try {
    return JSON.parse(cell) as Value
  } catch {
    return cell
  }
}

/** Rows may span lines where a cell is quoted. */
async function* rows(stream: AsyncIterable<Buffer | string>): AsyncGenerator<string[]> {
  const decoder = new TextDecoder()
  let row: string[] = []
  let cell = ''
  let isQuoted = false
  let wasQuote = false
  for await (const chunk of stream) {
    const text = typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true })
    for (const character of text) {
      if (isQuoted) {
        if (character !== '"') cell += character
        else {
          isQuoted = false
          wasQuote = true
        }
        continue
      }
      if (character === '"') {
        // A doubled quote inside a quoted cell stands for one.
        if (wasQuote) cell += '"'
        isQuoted = true
      } else if (character === ',') {
        row.push(cell)
        cell = ''
      } else if (character === '\n') {
        yield [...row, cell]
        row = []
        cell = ''
      } else if (character !== '\r') cell += character
      wasQuote = false
    }
  }
  if (row.length > 0 || cell !== '') yield [...row, cell]
}
