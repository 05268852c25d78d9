import { createWriteStream, statSync } from 'node:fs'
import { Readable, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Option, type Command } from 'commander'
import { unwritten } from '../../base/errors.ts'
import { writeWhole } from '../../identity/files.ts'
import { csvOf } from '../csv.ts'
import { run, type Context } from '../context.ts'
import { Progress } from '../progress.ts'
import { documentLines, piecesOf } from '../reading.ts'

type Format = 'ndjson' | 'csv'

export function addExportCommand(program: Command): void {
  program
    .command('export')
    .description('write the documents of a collection to a file; what it writes, import reads back equal')
    .argument('<collection>')
    .argument('[file]', 'standard output when not given')
    .addOption(
      new Option('--format <format>', 'NDJSON unless the file ends in .csv').choices([
        'ndjson',
        'csv',
      ] satisfies Format[]),
    )
    .addHelpText('after', '\nExample:\n  marram export climate climate.ndjson')
    .action((collection: string, file: string | undefined, options: { format?: Format }, command: Command) =>
      run(command, (context) =>
        exportDocuments(context, collection, file, options.format ?? (file?.endsWith('.csv') ? 'csv' : 'ndjson')),
      ),
    )
}

async function exportDocuments(
  context: Context,
  collection: string,
  file: string | undefined,
  format: Format,
): Promise<void> {
  const progress = new Progress('exporting', null)
  const read = (): AsyncIterable<string> => documentLines(context, collection)
  const pieces = Readable.from(piecesOf(counted(format === 'csv' ? csvOf(read) : read(), progress)))
  if (file === undefined) await write(pieces, process.stdout, false, 'standard output')
  else await writeFile(pieces, file)
  progress.finish()
}

async function* counted(lines: AsyncIterable<string>, progress: Progress): AsyncGenerator<string> {
  let count = 0
  for await (const line of lines) {
    progress.set(++count)
    yield line
  }
}

/** A file that was there stays until the new one is whole. What isn't a file, such as a pipe, is written to as it is. */
async function writeFile(pieces: Readable, file: string): Promise<void> {
  const isFile = statSync(file, { throwIfNoEntry: false })?.isFile() ?? true
  if (!isFile) return write(pieces, createWriteStream(file), true, file)
  try {
    await writeWhole(file, 0o666, async (partial) => {
      for await (const piece of pieces) await partial.appendFile(piece as Uint8Array)
    })
  } catch (cause) {
    throw unwritten(file, cause)
  }
}

async function write(pieces: Readable, target: Writable, end: boolean, name: string): Promise<void> {
  try {
    await pipeline(pieces, target, { end })
  } catch (cause) {
    throw unwritten(name, cause)
  }
}
