import type { Command } from 'commander'
import type { MemberView } from '../../ports/operations.ts'
import type { ReplicationView } from '../../ports/replication.ts'
import { batchesText } from '../amount.ts'
import { pathOf, queryText, run, type Context } from '../context.ts'
import { lagText } from '../lag.ts'
import { peerIdFrom } from '../peer-name.ts'
import { table } from '../table.ts'

interface Options {
  readonly to?: string
  readonly partition?: string
  readonly list?: boolean
  readonly stop?: boolean
}

export function addReplicateCommand(program: Command): void {
  program
    .command('replicate')
    .description(
      'see to it that a chosen gateway gets a collection, until it is stopped; or show how such transfers stand',
    )
    .argument('[collection]', 'what is replicated; "*" for all collections')
    .option('--to <peer>', 'peer id of the gateway, or its name where only one has it')
    .option('--partition <prefix>', 'only partitions that begin so')
    .option('--stop', 'end the transfer')
    .option('--list', 'show the transfers that stand')
    .addHelpText('after', '\nExample:\n  marram replicate readings --to archive\n  marram replicate --list')
    .action((collection: string | undefined, options: Options, command: Command) => {
      if (options.list === true) {
        const isAlone = collection === undefined && Object.keys(options).every((name) => isListed(name))
        return isAlone
          ? run(command, list)
          : command.error("error: option '--list' shows all transfers, and takes nothing")
      }
      const { to } = options
      if (collection === undefined) return command.error("error: missing required argument 'collection', or '--list'")
      if (to === undefined) return command.error("error: required option '--to <peer>' not specified")
      return run(command, (context) => change(context, collection, to, options))
    })
}

function isListed(name: string): boolean {
  return ['list', 'dir', 'json'].includes(name)
}

async function list(context: Context): Promise<void> {
  const found = (await context.client.json('GET', 'replications')) as ReplicationView[]
  if (context.isJson) for (const each of found) context.print(each, '')
  else if (found.length === 0) context.print(found, 'nothing is replicated to a chosen gateway')
  else {
    const rows = found.map(row)
    const reasons = found.flatMap(({ reason }, i) => (reason === null ? [] : [`${rows[i]?.[0]}: ${reason}`]))
    const header = ['COLLECTION', 'TO', 'PEER', 'STATE', 'LAG', 'DROPPED', 'SINCE', 'CONFIRMED']
    context.print(found, [table(header, rows), ...reasons].join('\n'))
  }
}

async function change(context: Context, collection: string, peer: string, options: Options): Promise<void> {
  const to = peerIdFrom((await context.client.json('GET', 'members')) as MemberView[], peer)
  const { partition, stop } = options
  const transfers = pathOf('collections', collection, 'replications')
  if (stop === true) {
    const at = `${transfers}/${pathOf(to)}${queryText({ partition })}`
    const view = (await context.client.json('DELETE', at)) as ReplicationView
    return context.print(
      view,
      `${whatOf(view)} is replicated to ${whoOf(view)} no more; the last lag was ${lagOf(view)}`,
    )
  }
  const view = (await context.client.json('POST', transfers, { to, partition })) as ReplicationView
  context.print(
    view,
    `${whatOf(view)} is replicated to ${whoOf(view)} from now on: ${standingText(view)}${view.reason === null ? '' : `; ${view.reason}`}`,
  )
}

/** How it stands, in one phrase. */
export function standingText(view: ReplicationView): string {
  const { state, dropped } = view
  const lost = dropped === 0 ? '' : `, ${batchesText(dropped)} dropped before it had them`
  return `${state}, lag ${lagOf(view)}${lost}`
}

export function whatOf({ collection, partition }: ReplicationView): string {
  return partition === null ? collection : `${collection}/${partition}`
}

export function whoOf({ name, peerId }: ReplicationView): string {
  return name === '' ? peerId : `${name} (${peerId})`
}

function lagOf({ lag }: ReplicationView): string {
  return lag === null ? 'not known' : lagText(lag)
}

function row(view: ReplicationView): string[] {
  const { name, peerId, state, dropped, since, confirmed } = view
  return [whatOf(view), name || '-', peerId, state, lagOf(view), String(dropped), since, confirmed ?? 'never']
}
