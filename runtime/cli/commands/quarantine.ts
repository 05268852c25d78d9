import type { Command } from 'commander'
import type { QuarantineEntry } from '../../ports/operations.ts'
import { ask, queryText, run, type Context } from '../context.ts'
import { wholeNumber } from '../options.ts'

interface Options {
  readonly limit?: number
}

export function addQuarantineCommand(program: Command): void {
  program
    .command('quarantine')
    .description('print what was refused for good: messages of devices, and batches of other gateways, with the reason')
    .option('--limit <n>', 'at most so many, the latest first', wholeNumber)
    .addHelpText('after', '\nExample:\n  marram quarantine --limit 20')
    .action((options: Options, command: Command) => run(command, (context) => quarantine(context, options)))
}

async function quarantine(context: Context, { limit }: Options): Promise<void> {
  const found = await ask(
    context,
    () => context.client.json('GET', `quarantine${queryText({ limit })}`) as Promise<QuarantineEntry[]>,
    (gateway) => gateway.quarantine().slice(0, limit),
  )
  for (const entry of found) context.print(entry, textOf(entry))
  if (found.length === 0 && !context.isJson) context.print([], 'nothing was refused')
}

function textOf(entry: QuarantineEntry): string {
  const { kind, why, message, first, time, times } = entry
  const often = times === 1 ? '' : `, ${times} times since ${first}`
  return [`${time}  ${kind} refused (${why}): ${message}${often}`, `  ${whatOf(entry)}`].join('\n')
}

function whatOf({ kind, topic, source, peer, isOurs, feed, author, collection, sequence }: QuarantineEntry): string {
  if (kind === 'message') return `on ${topic}${source ? `, source ${source}` : ''}`
  const who = isOurs === true ? `refused by ${peer ?? 'a neighbour'}` : `from ${peer ?? 'a neighbour'}`
  return `batch ${sequence} of ${author} in "${collection}" (feed ${feed}), ${who}`
}
