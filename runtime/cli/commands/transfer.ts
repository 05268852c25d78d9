import { createReadStream, createWriteStream, existsSync, statSync } from 'node:fs'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import type { Command } from 'commander'
import { MarramError, sentenceOf } from '../../base/errors.ts'
import { readLines } from '../../http/lines.ts'
import type { DocumentView } from '../../ports/operations.ts'
import { csvOf, readCsv } from '../csv.ts'
import { pathOf, run, type Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import { Progress } from '../progress.ts'

const LINE_BYTES_MAX = 4_194_304

export function addTransferCommands(program: Command): void {
  program
    .command('import')
    .description(
      'write the documents of an NDJSON or CSV file; a line that is wrong is named and skipped, running it again changes nothing twice',
    )
    .argument('<collection>')
    .argument('<file>', 'NDJSON, or CSV with a column "key" (by its ending .csv); - reads NDJSON from standard input')
    .option('--skip <n>', 'pass over the first lines, to go on with an import that was cut short', Number, 0)
    .addHelpText('after', '\nExample:\n  marram import climate readings.ndjson')
    .action((collection: string, file: string, options: { skip: number }, command: Command) =>
      run(command, (context) => importFile(context, collection, file, options.skip)),
    )
  program
    .command('export')
    .description('write a collection as NDJSON or CSV; what it writes, import reads back equal')
    .argument('<collection>')
    .argument('[file]', 'ending in .csv for CSV; standard output when not given')
    .addHelpText('after', '\nExample:\n  marram export climate climate.ndjson')
    .action((collection: string, file: string | undefined, _options: object, command: Command) =>
      run(command, (context) => exportFile(context, collection, file)),
    )
}

interface ImportLine {
  readonly imported?: number
  readonly skipped?: number
  readonly done?: number
  readonly line?: number
  readonly error?: string
}

async function importFile(context: Context, collection: string, file: string, skip: number): Promise<void> {
  const isInput = file === '-'
  if (!isInput && !existsSync(file))
    throw new MarramError('not-found', `Cannot import "${file}": there is no such file`)
  const progress = new Progress('importing', isInput ? null : statSync(file).size)
  const source = isInput ? process.stdin : createReadStream(file)
  source.on('data', (chunk: Buffer | string) => progress.addBytes(chunk.length))
  const lines = skipping(
    file.endsWith('.csv') ? readCsv(source) : readLines(source as AsyncIterable<Buffer>, LINE_BYTES_MAX),
    skip,
  )
  const body = Readable.from(lines, { objectMode: false })
  let result = { imported: 0, skipped: 0 }
  for await (const text of context.client.lines('POST', pathOf('collections', collection, 'import'), body)) {
    const line = JSON.parse(text) as ImportLine
    if (line.done !== undefined) progress.set(line.done)
    if (line.line !== undefined)
      process.stderr.write(`marram: line ${line.line + skip} of "${file}" is skipped: ${line.error}\n`)
    if (line.imported !== undefined) result = { imported: line.imported, skipped: line.skipped ?? 0 }
  }
  const rate = progress.finish(result.imported)
  context.print(result, `${result.imported} documents imported, ${result.skipped} lines skipped, ${rate} documents/s`)
  if (result.skipped > 0) process.exitCode = EXIT.failed
}

/** Lines with their ends. Those that are passed over stay as empty lines, so that numbers in messages are the file's. */
async function* skipping(lines: AsyncIterable<string>, skip: number): AsyncGenerator<string> {
  let number = 0
  for await (const line of lines) if (++number > skip) yield `${line}\n`
}

async function exportFile(context: Context, collection: string, file: string | undefined): Promise<void> {
  const lines = context.client.lines('GET', pathOf('collections', collection, 'export'))
  const target = file === undefined ? process.stdout : createWriteStream(file)
  const progress = new Progress('exporting', null)
  let count = 0
  const text = file?.endsWith('.csv') ? csvOf(() => documentsOf(context, collection)) : withEnds(lines)
  try {
    for await (const part of text) {
      progress.set(++count)
      if (!target.write(part)) await once(target, 'drain')
    }
    if (file !== undefined)
      await new Promise<void>((resolve, reject) =>
        target.end((error?: Error | null) => (error ? reject(error) : resolve())),
      )
  } catch (cause) {
    if (cause instanceof MarramError) throw cause
    throw new MarramError('storage-io', `Cannot write "${file}": ${sentenceOf(cause)}`, { cause })
  }
  progress.finish(count)
}

async function* withEnds(lines: AsyncIterable<string>): AsyncGenerator<string> {
  for await (const line of lines) yield `${line}\n`
}

async function* documentsOf(context: Context, collection: string): AsyncGenerator<DocumentView> {
  for await (const line of context.client.lines('GET', pathOf('collections', collection, 'export')))
    yield JSON.parse(line) as DocumentView
}
