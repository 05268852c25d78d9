import { setTimeout as pause } from 'node:timers/promises'
import type { Command } from 'commander'
import { codeOf, MarramError, type ErrorCode } from '../../base/errors.ts'
import { printable } from '../../base/printable.ts'
import { heirWarnings } from '../../operations/members.ts'
import type { MemberView, StatusView } from '../../ports/operations.ts'
import { pathOf, run, type Context } from '../context.ts'
import { peerIdFrom } from '../peer-name.ts'
import { table } from '../table.ts'

const LOOK_MS = 1_000
/** While a gateway stops and starts. */
const PASSING: readonly ErrorCode[] = ['not-running', 'closed']

interface RemoveOptions {
  readonly since?: string
  readonly now?: boolean
  readonly detach?: boolean
}

export function addMemberCommands(program: Command): void {
  program
    .command('members')
    .description('show who belongs to the mesh, who was removed, and who has not heard of it yet')
    .addHelpText('after', '\nExample:\n  marram members')
    .action((_options: object, command: Command) =>
      run(command, async (context) => {
        const members = await membersOf(context)
        if (context.isJson) for (const member of members) context.print(member, '')
        else context.print(members, table(['NAME', 'PEER', 'STATE', 'ROLES', 'SINCE', 'LAST HEARD'], members.map(row)))
      }),
    )
  program
    .command('grant')
    .description('give a member further rights, for a time or for good; "revoke" takes all of them')
    .argument('<peer>', 'its peer id, or its name where only one has it')
    .option('--role <role>', 'all that the role stands for, such as gateway')
    .option(
      '--allow <pattern=rights>',
      'a collection, maybe with the beginning of its partitions, and read, write, delete, relay; may be repeated',
      collect,
    )
    .option('--label <name>', 'a name of your own for it; may be repeated', collect)
    .option('--from <time>', 'not before this time, such as 2026-12-24T17:00Z or 2h from now')
    .option('--until <time>', 'no longer than this, such as 2027-01-01 or 30d from now')
    .addHelpText('after', '\nExample:\n  marram grant greenhouse-2 --allow climate/north=read,write --until 30d')
    .action((peer: string, { label, ...options }: GrantFlags, command: Command) =>
      run(command, async (context) => {
        const peerId = peerIdFrom(await membersOf(context), peer)
        const request = { ...options, ...(label && { labels: label }) }
        const member = (await context.client.json('POST', pathOf('members', peerId, 'grants'), request)) as MemberView
        context.print(
          member,
          `${member.name} (${peerId}) may: ${grantsText(member)}; roles and labels: ${member.roles.join(', ') || 'none'}`,
        )
      }),
    )
  program
    .command('rotate')
    .description(
      "replace this gateway's keys, and so its peer id, by new ones with the same rights; the old ones are retired",
    )
    .option('--detach', 'do not wait until it is done')
    .addHelpText('after', '\nExample:\n  marram rotate')
    .action((options: { detach?: boolean }, command: Command) =>
      run(command, async (context) => {
        const asked = (await context.client.json('POST', 'rotation')) as { peerId: string }
        if (!options.detach) await isRunningAs(context, asked.peerId)
        const what = options.detach
          ? "will be this gateway as soon as an administrator's has admitted it"
          : 'is this gateway now; "marram members" shows how far the old one is retired'
        context.print(asked, `${asked.peerId} ${what}`)
      }),
    )
  withRemoval(
    program
      .command('retire')
      .description('remove a gateway that is lost: what any other gateway holds of it stays')
      .argument('<peer>', 'its peer id, or its name where only one has it')
      .addHelpText('after', '\nExample:\n  marram retire greenhouse-2'),
    'retire',
  )
  withRemoval(
    program
      .command('revoke')
      .description('remove a gateway that was stolen')
      .argument('<peer>', 'its peer id, or its name where only one has it')
      .option(
        '--since <time>',
        'void what it wrote after this time and not all have confirmed, such as 2026-11-23T17:00Z or 2h',
      )
      .addHelpText('after', '\nExample:\n  marram revoke greenhouse-2 --since 3h'),
    'revoke',
  )
}

interface GrantFlags {
  readonly role?: string
  readonly allow?: readonly string[]
  readonly label?: readonly string[]
  readonly from?: string
  readonly until?: string
}

function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text]
}

function grantsText({ grants }: MemberView): string {
  const of = ({ pattern, rights, until }: MemberView['grants'][number]): string =>
    `${rights} ${pattern}${until === null ? '' : ` until ${until}`}`
  return grants.map(of).join('; ') || 'nothing'
}

function withRemoval(command: Command, reason: 'retire' | 'revoke'): void {
  command
    .option('--now', 'do not wait for gateways that have not said what they hold of it: what only they hold is void')
    .option('--detach', 'do not wait until it is done')
    .action((peer: string, options: RemoveOptions, its: Command) =>
      run(its, async (context) => {
        const peerId = peerIdFrom(await membersOf(context), peer)
        const { since, now } = options
        const request = { reason, ...(since !== undefined && { since }), ...(now && { now }) }
        await context.client.json('POST', pathOf('members', peerId, 'removal'), request)
        const said = new Set<string>()
        if (reason === 'revoke') await warnOfHeirs(context, peerId, said)
        const member = options.detach ? await memberOf(context, peerId) : await finished(context, peerId)
        const what =
          member.state === 'closing' ? 'is being removed; "marram members" shows how far it is' : `is ${member.state}`
        context.print(member, `${member.name} (${peerId}) ${what}`)
        if (reason === 'revoke') await warnOfHeirs(context, peerId, said)
      }),
    )
}

/** Says who is waited for whenever that changes; Ctrl-C leaves the removal to the gateway, which goes on. */
async function finished(context: Context, peerId: string): Promise<MemberView> {
  for (let said = ''; ; await pause(LOOK_MS)) {
    const member = await memberOf(context, peerId)
    if (member.state !== 'closing') return member
    const waits =
      member.silent.length > 0 ? `waiting for ${member.silent.join(', ')}` : 'fetching what the others hold of it'
    if (waits !== said) process.stderr.write(`${waits} (Ctrl-C stops waiting, not the removal)\n`)
    said = waits
  }
}

/** The gateway begins again under its new keys: meanwhile it does not answer. Ctrl-C leaves the rest to the gateways. */
async function isRunningAs(context: Context, peerId: string): Promise<void> {
  process.stderr.write("waiting for an administrator's gateway (Ctrl-C stops waiting, not the replacement)\n")
  for (; ; await pause(LOOK_MS)) {
    const status = (await context.client.json('GET', 'status').catch(passing)) as Partial<StatusView>
    if (status.peerId === peerId) return
    if (status.warnings?.every((warning) => !warning.startsWith('rotating: ')))
      throw new MarramError(
        'not-permitted',
        `Cannot replace the keys: the new ones (${peerId}) were removed from the mesh before they were taken, ask for others with "marram rotate"`,
      )
  }
}

function passing(error: unknown): object {
  if (PASSING.includes(codeOf(error))) return {}
  throw error
}

async function membersOf(context: Context): Promise<MemberView[]> {
  return (await context.client.json('GET', 'members')) as MemberView[]
}

/** A thief of the keys may have asked for new ones, which must not wait until all have heard of the removal. */
async function warnOfHeirs(context: Context, peerId: string, said: Set<string>): Promise<void> {
  if (context.isJson) return
  const members = await membersOf(context)
  const known = new Set(members.map((member) => member.peerId))
  const revoked = members.filter((member) => member.peerId === peerId)
  const asked = revoked
    .flatMap(({ heirs }) => heirs)
    .filter((heir) => !known.has(heir))
    .map(
      (heir) => `It asked to have its keys replaced by ${heir}: should "marram members" show that one, revoke it too`,
    )
  const others = members.map((member) => (member.peerId === peerId ? member : { ...member, heirs: [] }))
  for (const warning of [...heirWarnings(others), ...asked]) {
    if (!said.has(warning)) process.stderr.write(`${printable(warning)}\n`)
    said.add(warning)
  }
}

async function memberOf(context: Context, peerId: string): Promise<MemberView> {
  return (await membersOf(context)).find((member) => member.peerId === peerId) as MemberView
}

function row(member: MemberView): string[] {
  const silent = member.silent.length > 0 ? `, unheard by ${member.silent.length}` : ''
  const place = member.succeeds === null ? '' : `, in the place of ${member.succeeds}`
  const { name, peerId, state, roles, since, until, lastHeard } = member
  const period = until === null ? since : `${since} to ${until}`
  return [name, peerId, `${state}${silent}${place}`, roles.join(' '), period, lastHeard ?? 'never']
}
