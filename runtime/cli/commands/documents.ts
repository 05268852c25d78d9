import type { Command } from 'commander'
import { MarramError, sentenceOf } from '../../base/errors.ts'
import type { DocumentView, Provenance, Receipt, WatchEvent } from '../../ports/operations.ts'
import { HTTP_LIMITS } from '../../base/limits.ts'
import { readBody } from '../../http/lines.ts'
import { ask, pathOf, queryText, run, type Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import { waitText, wholeNumber, withQuery, withTimes, withWait, type QueryOptions, type WaitFlags } from '../options.ts'
import { documentLines } from '../reading.ts'
import { aligned } from '../table.ts'

const PUT_HELP = `
Counters, sets and links change by what is added and removed, so that what several gateways do at once adds up:
  {"total":{"$add":5}}                                 counts; a negative number takes
  {"tags":{"$add":["a"],"$remove":["b"]}}              adds elements to a set and removes others
  {"feeds":{"$link":["pumps/p1"],"$remove":["pumps/p2"]}}  links to documents, collection/key each
A plain array replaces all of a field that the profile declares as a set or as links.

With --wait N it returns once N other gateways have it on their disks. When they don't within --timeout it ends with 124, and
says how many do: the write is done all the same.

Example:
  marram put climate kitchen '{"temperature":21.5}'
  marram put climate kitchen '{"temperature":21.5}' --wait 2 --timeout 10s
  marram put meters m1 '{"total":{"$add":5},"tags":{"$add":["a"]}}'`

export function addDocumentCommands(program: Command): void {
  withWait(program.command('put'))
    .description('merge the fields of a JSON object into a document (null removes a field), or add a row to a series')
    .argument('<collection>')
    .argument('<key>')
    .argument('<json>', 'a JSON object, or - to read it from standard input')
    .option('--replace', 'remove the fields that are not named')
    .addHelpText('after', PUT_HELP)
    .action((collection: string, key: string, json: string, options: PutFlags, command: Command) =>
      run(command, (context) => put(context, collection, key, json, options)),
    )
  program
    .command('get')
    .description('print a document')
    .argument('<collection>')
    .argument('<key>')
    .option('--provenance', 'who wrote each field, when, and whether the signature verifies')
    .addHelpText('after', '\nExample:\n  marram get climate kitchen --provenance')
    .action((collection: string, key: string, options: { provenance?: boolean }, command: Command) =>
      run(command, (context) => get(context, collection, key, options.provenance === true)),
    )
  withWait(program.command('delete'))
    .description('delete a document')
    .argument('<collection>')
    .argument('<key>')
    .addHelpText('after', '\nExample:\n  marram delete climate kitchen')
    .action((collection: string, key: string, options: WaitFlags, command: Command) =>
      run(command, async (context) => {
        const path = `${pathOf('collections', collection, 'documents', key)}${waitText(options)}`
        const receipt = (await context.client.json('DELETE', path)) as Receipt
        context.print(receipt, `${receipt.key} deleted ${receiptText(receipt)}`)
      }),
    )
  withTimes(withQuery(program.command('list')))
    .description('print the documents of a collection, or the rows of a series')
    .argument('<collection>')
    .option('--order <field>', 'sort by a field, -field for descending')
    .option('--limit <n>', 'at most so many', wholeNumber)
    .addHelpText(
      'after',
      '\nExample:\n  marram list climate --where \'temperature > 21 and room = "kitchen"\'\n  marram list readings --prefix plug-1 --from 2h',
    )
    .action((collection: string, options: QueryOptions, command: Command) =>
      run(command, (context) => list(context, collection, options)),
    )
  withTimes(withQuery(program.command('count')))
    .description('count the documents of a collection, or the rows of a series')
    .argument('<collection>')
    .addHelpText('after', '\nExample:\n  marram count climate --prefix kitchen/')
    .action((collection: string, options: QueryOptions, command: Command) =>
      run(command, async (context) => {
        const counted = await ask(
          context,
          () =>
            context.client.json(
              'GET',
              `${pathOf('collections', collection, 'count')}${queryText({ ...options })}`,
            ) as Promise<{ count: number }>,
          ({ documents }) => ({ count: documents.count(collection, options) }),
        )
        context.print(counted, String(counted.count))
      }),
    )
  withQuery(program.command('watch'))
    .description('print what matches now, then every change, until interrupted')
    .argument('<collection>')
    .option('--since <cursor>', 'resume behind this cursor of an earlier event')
    .addHelpText('after', '\nExample:\n  marram watch climate --where "temperature > 30" --json')
    .action((collection: string, options: QueryOptions & { since?: string }, command: Command) =>
      run(command, (context) => watch(context, collection, options)),
    )
  program
    .command('digest')
    .description('print the content digest of one or all collections; equal on gateways that have converged')
    .argument('[collection]')
    .addHelpText('after', '\nExample:\n  marram digest climate')
    .action((collection: string | undefined, _options: object, command: Command) =>
      run(command, async (context) => {
        const digest = await ask(
          context,
          () =>
            context.client.json('GET', `digest${queryText({ collection })}`) as Promise<{
              collections: { [name: string]: string }
            }>,
          ({ documents }) => documents.digest(collection),
        )
        context.print(
          digest,
          Object.entries(digest.collections)
            .map(([name, hex]) => `${hex}  ${name}`)
            .join('\n'),
        )
      }),
    )
}

interface PutFlags extends WaitFlags {
  readonly replace?: boolean
}

async function put(context: Context, collection: string, key: string, json: string, options: PutFlags): Promise<void> {
  const text = json === '-' ? await readBody(process.stdin, HTTP_LIMITS.bodyBytesMax) : json
  const fields = parse(text)
  const path = `${pathOf('collections', collection, 'documents', key)}${waitText(options)}`
  const receipt = (await context.client.json(options.replace ? 'PUT' : 'PATCH', path, fields)) as Receipt
  context.print(receipt, `${receipt.key} ${receiptText(receipt)}`)
}

function receiptText({ stamp, held }: Receipt): string {
  return held === undefined ? stamp : `${stamp}, on the disks of ${held} other gateway${held === 1 ? '' : 's'}`
}

async function get(context: Context, collection: string, key: string, isProven: boolean): Promise<void> {
  type Answer = DocumentView & { provenance?: { [path: string]: Provenance } }
  const path = `${pathOf('collections', collection, 'documents', key)}${isProven ? '?provenance' : ''}`
  const document = await ask<Answer>(
    context,
    () => context.client.json('GET', path) as Promise<Answer>,
    ({ documents }) => {
      const found = documents.get(collection, key)
      if (!found)
        throw new MarramError('not-found', `Cannot get "${key}": there is no such document in "${collection}"`)
      const provenance = documents.provenance(collection, key)
      return isProven && provenance ? { ...found, provenance } : found
    },
  )
  context.print(document, fieldLines(document, document.provenance))
}

function fieldLines({ value, time }: DocumentView, provenance: { [path: string]: Provenance } | undefined): string {
  const lines = Object.entries(value).flatMap(([path, field]) => {
    const proof = provenance?.[path]
    const { parts = [] } = proof ?? {}
    const isShared = parts.length > 1
    return [
      [path, JSON.stringify(field), ...(proof && !isShared ? [proofText(proof)] : [])],
      ...(isShared ? parts.map((part) => ['', `  ${JSON.stringify(part.value)}`, proofText(part)]) : []),
    ]
  })
  return [...(time === undefined ? [] : [`row of ${time}`]), ...aligned(lines)].join('\n')
}

function proofText({ author, stamp, sequence, valid }: Omit<Provenance, 'parts'>): string {
  return `by ${author} ${stamp.split('+')[0]} sequence ${sequence} ${valid ? 'signature valid' : 'SIGNATURE INVALID'}`
}

async function list(context: Context, collection: string, options: QueryOptions): Promise<void> {
  for await (const line of documentLines(context, collection, options)) {
    const document = JSON.parse(line) as DocumentView
    context.print(document, lineOf(document))
  }
}

function lineOf({ key, value, time }: Pick<DocumentView, 'key' | 'value' | 'time'>): string {
  return `${key}  ${time === undefined ? '' : `${time}  `}${JSON.stringify(value)}`
}

async function watch(
  context: Context,
  collection: string,
  { prefix, where, since }: QueryOptions & { since?: string },
): Promise<void> {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(EXIT.done))
  const path = `${pathOf('collections', collection, 'changes')}${queryText({ prefix, where, since })}`
  for await (const event of context.client.events(path)) {
    const { change, key, value, time } = event as WatchEvent
    context.print(
      event,
      `${change.padEnd(6)}  ${change === 'leave' ? key : lineOf({ key, value, ...(time !== undefined && { time }) })}`,
    )
  }
}

function parse(text: string): object {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw unreadable(sentenceOf(cause), cause)
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  throw unreadable(`it is ${text.trim().slice(0, 60)}`)
}

function unreadable(why: string, cause?: unknown): MarramError {
  const sentence = `Cannot read the document: ${why}, it must be a JSON object such as '{"temperature":21.5}'`
  return new MarramError('bad-request', sentence, { cause })
}
