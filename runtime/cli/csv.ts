import { MarramError } from '../base/errors.ts'
import { HTTP_LIMITS } from '../base/limits.ts'
import type { Value } from '../model/value.ts'
import type { DocumentView } from '../ports/operations.ts'

/**
 * CSV (RFC 4180) with a header line: the column `key` is the document's key, the others are its fields. A cell holds JSON
 * where it reads as JSON (numbers, true, false, objects, texts in quotes), else it is the text itself; an empty cell is no
 * field. So what is written here reads back equal, and what a spreadsheet writes means what it shows. Rows of a series have
 * their time and name in the columns `$time` and `$row`, so that they come back as they were, and once; without, a row is new.
 */
const KEY = 'key'
const [TIME, ROW] = ['$time', '$row']
const COLUMNS = [KEY, TIME, ROW]
const [QUOTE, COMMA, LINE_FEED, CARRIAGE_RETURN] = [34, 44, 10, 13]

interface Row {
  readonly cells: readonly string[]
  /** Lines of the file that it takes: more than one where a quoted cell holds line ends. */
  readonly lines: number
}

/**
 * The rows as lines of JSON, for import. The header, a row that is refused, and every further line of a row are empty lines,
 * so that the number of a line is the number it has in the file. Throws `bad-request` when there is no going on.
 */
export async function* linesOfCsv(
  bytes: AsyncIterable<Uint8Array>,
  refuse: (line: number, fault: string) => void,
): AsyncGenerator<string> {
  let header: readonly string[] | null = null
  let number = 1
  for await (const { cells, lines } of rowsOf(bytes)) {
    const fault = header && faultOf(cells, header)
    if (fault) refuse(number, fault)
    yield header && !fault ? documentLine(cells, header) : ''
    for (let i = 1; i < lines; i++) yield ''
    header ??= checkedHeader(cells)
    number += lines
  }
}

/** Lines of CSV. Reads the documents twice, for the header names every field that any of them has. Throws `bad-request`. */
export async function* csvOf(documentLines: () => AsyncIterable<string>): AsyncGenerator<string> {
  const names = new Set<string>()
  let isSeries = false
  for await (const line of documentLines()) {
    const { value, row } = documentOf(line)
    isSeries ||= row !== undefined
    for (const name of Object.keys(value)) names.add(name)
  }
  const taken = COLUMNS.find((name) => names.has(name))
  if (taken !== undefined)
    throw refusal(`a document has a field "${taken}", which the column "${taken}" leaves no room for: use NDJSON`)
  const header = [...names].sort()
  yield [KEY, ...(isSeries ? [TIME, ROW] : []), ...header].map(quoted).join(',')
  for await (const line of documentLines()) {
    const { key, value, time = '', row = '' } = documentOf(line)
    const added = Object.keys(value).find((name) => !names.has(name))
    if (added !== undefined) throw refusal(`the field "${added}" is new since the export began: export again`)
    const cells = header.map((name) => (Object.hasOwn(value, name) ? cellOf(value[name] as Value) : ''))
    yield [key, ...(isSeries ? [time, row] : []), ...cells].map(quoted).join(',')
  }
}

function documentOf(line: string): DocumentView {
  return JSON.parse(line) as DocumentView
}

function documentLine(cells: readonly string[], header: readonly string[]): string {
  const members = cells.flatMap((cell, i) => {
    const name = header[i]
    if (name === undefined || cell === '' || name === TIME || name === ROW) return []
    return [[name, name === KEY ? cell : valueOf(cell)] as const]
  })
  const row = cells[header.indexOf(ROW)] ?? ''
  // A field of that name alone would be taken for the whole document.
  const isNested = row !== '' || members.some(([name]) => name === 'value')
  if (!isNested) return JSON.stringify(Object.fromEntries(members))
  const key = cells[header.indexOf(KEY)] || undefined
  const value = Object.fromEntries(members.filter(([name]) => name !== KEY))
  if (row === '') return JSON.stringify({ key, value })
  return JSON.stringify({ key, value, time: cells[header.indexOf(TIME)] ?? '', row })
}

function checkedHeader(cells: readonly string[]): readonly string[] {
  if (!cells.includes(KEY)) throw refusal(`its first line has no column "${KEY}"`)
  const twice = cells.find((name, i) => name !== '' && cells.indexOf(name) < i)
  if (twice !== undefined) throw refusal(`its first line names "${twice}" twice`)
  return cells
}

function faultOf(cells: readonly string[], header: readonly string[]): string | null {
  const unnamed = cells.find((cell, i) => cell !== '' && (header[i] ?? '') === '')
  if (unnamed !== undefined) return `"${unnamed.slice(0, 60)}" is in a column that has no name`
  const isFilled = (name: string): boolean => (cells[header.indexOf(name)] ?? '') !== ''
  return isFilled(TIME) && !isFilled(ROW)
    ? `it has a "${TIME}" and no "${ROW}", which names a row that was exported`
    : null
}

/** A text that would read as something else is written as JSON. */
function cellOf(value: Value): string {
  return typeof value === 'string' && value !== '' && valueOf(value) === value ? value : JSON.stringify(value)
}

/** Digits that a number would lose, as in long serial numbers, stay a text. */
function valueOf(cell: string): Value {
  try {
    const value = JSON.parse(cell) as Value
    const isExact = typeof value !== 'number' || Math.abs(value) <= Number.MAX_SAFE_INTEGER || String(value) === cell
    return isExact ? value : cell
  } catch {
    return cell
  }
}

function quoted(cell: string): string {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell
}

function refusal(what: string): MarramError {
  return new MarramError('bad-request', `Cannot use CSV: ${what}`)
}

async function* rowsOf(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Row> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  const reader = new RowReader()
  try {
    for await (const chunk of bytes) yield* reader.read(decoder.decode(chunk, { stream: true }))
    yield* reader.read(decoder.decode())
  } catch (error) {
    throw error instanceof TypeError ? refusal('it must be UTF-8') : error
  }
  yield* reader.end()
}

/** Takes text in any pieces. */
class RowReader {
  #cells: string[] = []
  #cell = ''
  #length = 0
  #lines = 1
  #isQuoted = false
  /** Behind the end of a quoted cell: one more quote means that it was a doubled one inside. */
  #isBehindQuote = false

  /** The rows that end in this text. */
  read(text: string): Row[] {
    const rows: Row[] = []
    let start = 0
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i)
      if (!this.#isSpecial(code, i === start)) continue
      this.#add(text.slice(start, i))
      start = i + 1
      if (code === LINE_FEED && !this.#isQuoted) rows.push(this.#endRow())
      else this.#turn(code)
    }
    this.#add(text.slice(start))
    return rows
  }

  /** The last row, where the text doesn't end with a line end. */
  end(): Row[] {
    if (this.#isQuoted) throw refusal('its last cell begins with a quote that has no end')
    return this.#cells.length > 0 || this.#cell !== '' ? [this.#endRow()] : []
  }

  /** A quote opens a cell only at its beginning; elsewhere in a cell without quotes it is a character. */
  #isSpecial(code: number, isAtStart: boolean): boolean {
    if (this.#isQuoted) return code === QUOTE || code === LINE_FEED
    if (code === QUOTE) return this.#isBehindQuote || (isAtStart && this.#cell === '')
    return code === COMMA || code === LINE_FEED || code === CARRIAGE_RETURN
  }

  #turn(code: number): void {
    if (code === LINE_FEED) {
      this.#cell += '\n'
      this.#lines += 1
      return
    }
    if (code === QUOTE && this.#isBehindQuote) this.#cell += '"'
    if (code === COMMA) this.#endCell()
    const wasQuoted = this.#isQuoted
    this.#isQuoted = code === QUOTE && !wasQuoted
    this.#isBehindQuote = code === QUOTE && wasQuoted
  }

  #add(part: string): void {
    if (part === '') return
    this.#cell += part
    if (!this.#isQuoted) this.#isBehindQuote = false
    this.#length += part.length
    if (this.#length > HTTP_LIMITS.lineBytesMax)
      throw refusal(`a row is over ${HTTP_LIMITS.lineBytesMax} characters: is a quote not closed?`)
  }

  #endCell(): void {
    this.#cells.push(this.#cell)
    this.#cell = ''
  }

  #endRow(): Row {
    this.#endCell()
    const row = { cells: this.#cells, lines: this.#lines }
    this.#cells = []
    this.#length = 0
    this.#lines = 1
    this.#isBehindQuote = false
    return row
  }
}
