import type { Command } from 'commander'
import { MarramError } from '../../base/errors.ts'
import type { WalkStep } from '../../ports/operations.ts'
import { openStoreOf, pathOf, queryText, run, type Context } from '../context.ts'
import { wholeNumber } from '../options.ts'

interface Options {
  readonly depth: number
  readonly reverse?: boolean
}

export function addWalkCommand(program: Command): void {
  program
    .command('walk')
    .description('print the documents that are reached over links')
    .argument('<collection>')
    .argument('<key>')
    .option('--depth <n>', 'follow links so far', wholeNumber, 1)
    .option('--reverse', 'the documents that link here instead')
    .addHelpText('after', '\nExample:\n  marram walk meters m1 --depth 2\n  marram walk pumps p1 --reverse')
    .action((collection: string, key: string, options: Options, command: Command) =>
      run(command, (context) => walk(context, collection, key, options)),
    )
}

async function walk(context: Context, collection: string, key: string, options: Options): Promise<void> {
  for await (const step of stepsOf(context, collection, key, options)) context.print(step, textOf(step))
}

/** From the running gateway, else from the store where none runs. */
async function* stepsOf(context: Context, collection: string, key: string, options: Options): AsyncGenerator<WalkStep> {
  const { depth, reverse = false } = options
  const query = queryText({ depth, reverse: reverse ? 'true' : undefined })
  try {
    const path = `${pathOf('collections', collection, 'documents', key, 'links')}${query}`
    for await (const line of context.client.lines('GET', path)) yield JSON.parse(line) as WalkStep
    return
  } catch (error) {
    if (!(error instanceof MarramError) || error.code !== 'not-running') throw error
  }
  const gateway = await openStoreOf(context)
  try {
    yield* gateway.documents.walk(collection, key, { depth, reverse })
  } finally {
    await gateway.close()
  }
}

function textOf({ depth, from, field, label, collection, key, value }: WalkStep): string {
  const by = label === null ? field : `${field} (${label})`
  const there = value === null ? 'is not there' : JSON.stringify(value)
  return `${'  '.repeat(depth - 1)}${collection}/${key}  ${there}  by ${by}, ${from.collection}/${from.key}`
}
