import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import type { Command } from 'commander'
import { MarramError, sentenceOf } from '../../base/errors.ts'
import { HTTP_LIMITS } from '../../base/limits.ts'
import { printable } from '../../base/printable.ts'
import { readLines } from '../../http/lines.ts'
import { linesOfCsv } from '../csv.ts'
import { amountText } from '../amount.ts'
import { pathOf, run, type Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import { wholeNumber } from '../options.ts'
import { Progress } from '../progress.ts'
import { piecesOf } from '../reading.ts'

export function addImportCommand(program: Command): void {
  program
    .command('import')
    .description('write the documents of a file; a line that is wrong is named and skipped; again is harmless')
    .argument('<collection>')
    .argument('<file>', 'NDJSON, or CSV with a column "key" when it ends in .csv; - reads NDJSON from standard input')
    .option('--skip <n>', 'pass over the first lines, to go on with an import that was cut short', wholeNumber, 0)
    .addHelpText('after', '\nExample:\n  marram import climate readings.ndjson')
    .action((collection: string, file: string, options: { skip: number }, command: Command) =>
      run(command, (context) => new Import(context, collection, file, options.skip).run()),
    )
}

/** What the gateway says while it imports. */
interface Report {
  readonly line?: number
  readonly error?: string
  readonly done?: number
  readonly lines?: number
  readonly imported?: number
  readonly skipped?: number
}

class Import {
  readonly #context: Context
  readonly #collection: string
  readonly #file: string
  readonly #skip: number
  #progress = new Progress('importing', null)
  #imported = 0
  #skipped = 0
  /** All lines of the file up to this one are dealt with. */
  #lines: number

  constructor(context: Context, collection: string, file: string, skip: number) {
    this.#context = context
    this.#collection = collection
    this.#file = file
    this.#skip = skip
    this.#lines = skip
  }

  async run(): Promise<void> {
    this.#progress = new Progress('importing', await this.#size())
    try {
      await this.#send()
    } catch (error) {
      this.#progress.finish(this.#imported)
      if (this.#lines > this.#skip) process.stderr.write(`marram: go on with --skip ${this.#lines}\n`)
      throw error
    }
    const rate = this.#progress.finish(this.#imported)
    const result = { imported: this.#imported, skipped: this.#skipped }
    const text = `${amountText(result.imported, 'document')} imported, ${amountText(result.skipped, 'line')} skipped, ${rate} documents/s`
    this.#context.print(result, text)
    if (result.skipped > 0) process.exitCode = EXIT.failed
  }

  async #send(): Promise<void> {
    const path = pathOf('collections', this.#collection, 'import')
    for await (const text of this.#context.client.lines('POST', path, piecesOf(this.#wantedLines())))
      this.#note(JSON.parse(text) as Report)
  }

  #note({ line, error, done, lines, imported, skipped }: Report): void {
    if (line !== undefined) this.#nameBadLine(this.#skip + line, error ?? '')
    if (done !== undefined) this.#progress.set(done)
    if (lines !== undefined) this.#lines = this.#skip + lines
    if (imported !== undefined) this.#imported = imported
    if (skipped !== undefined) this.#skipped += skipped
  }

  #nameBadLine(line: number, error: string): void {
    const text = `marram: line ${line} of "${this.#file}" is skipped: ${printable(error)}`
    process.stderr.write(`${this.#context.isJson ? JSON.stringify({ line, error }) : text}\n`)
  }

  /** Without those that are passed over. A row of CSV over several lines is followed by empty ones, so that numbers agree. */
  async *#wantedLines(): AsyncGenerator<string | Uint8Array> {
    const bytes = this.#counted(this.#bytes())
    const lines = this.#file.endsWith('.csv')
      ? linesOfCsv(bytes, this.#refuseRow)
      : readLines(bytes, HTTP_LIMITS.lineBytesMax)
    let number = 0
    for await (const line of lines) if (++number > this.#skip) yield line
  }

  readonly #refuseRow = (line: number, fault: string): void => {
    if (line <= this.#skip) return
    this.#skipped += 1
    this.#nameBadLine(line, fault)
  }

  async *#bytes(): AsyncGenerator<Buffer> {
    try {
      yield* (this.#file === '-' ? process.stdin : createReadStream(this.#file)) as AsyncIterable<Buffer>
    } catch (cause) {
      throw unreadable(this.#file, cause)
    }
  }

  async *#counted(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      this.#progress.addBytes(chunk.length)
      yield chunk
    }
  }

  async #size(): Promise<number | null> {
    if (this.#file === '-') return null
    try {
      return (await stat(this.#file)).size
    } catch (cause) {
      throw unreadable(this.#file, cause)
    }
  }
}

function unreadable(file: string, cause: unknown): MarramError {
  const isMissing = (cause as NodeJS.ErrnoException).code === 'ENOENT'
  const why = isMissing ? 'there is no such file' : sentenceOf(cause)
  return new MarramError(isMissing ? 'not-found' : 'storage-io', `Cannot import "${file}": ${why}`, { cause })
}
