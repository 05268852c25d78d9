import type { Command } from 'commander'
import type { Conflict, ConflictSide } from '../../ports/store.ts'
import { ask, queryText, run, type Context } from '../context.ts'
import { wholeNumber } from '../options.ts'

interface Options {
  readonly limit?: number
}

export function addConflictsCommand(program: Command): void {
  program
    .command('conflicts')
    .description('print writes that were lost to concurrent ones: both values, who wrote them, which won and why')
    .argument('[collection]')
    .option('--limit <n>', 'at most so many, the latest first', wholeNumber)
    .addHelpText('after', '\nExample:\n  marram conflicts climate --limit 20')
    .action((collection: string | undefined, options: Options, command: Command) =>
      run(command, (context) => conflicts(context, collection, options)),
    )
}

async function conflicts(context: Context, collection: string | undefined, { limit }: Options): Promise<void> {
  const found = await ask<Iterable<Conflict>>(
    context,
    () => context.client.json('GET', `conflicts${queryText({ collection, limit })}`) as Promise<Conflict[]>,
    ({ documents }) => [
      ...documents.conflicts({
        ...(collection !== undefined && { collection }),
        ...(limit !== undefined && { limit }),
      }),
    ],
  )
  for (const conflict of found) context.print(conflict, textOf(conflict))
}

function textOf({ collection, key, field, won, lost, why }: Conflict): string {
  return [
    `${collection} ${key} ${field}`,
    `  won   ${sideText(won)}`,
    `  lost  ${sideText(lost)}`,
    `  for ${why}`,
  ].join('\n')
}

function sideText({ value, author, stamp, isLarge }: ConflictSide): string {
  const shown = isLarge === true ? '(too large to be kept)' : JSON.stringify(value)
  return `${shown}  by ${author} ${stamp.split('+')[0]}`
}
