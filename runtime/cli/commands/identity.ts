import { Option, type Command } from 'commander'
import { MarramError } from '../../base/errors.ts'
import { hex } from '../../base/bytes.ts'
import { shellWord } from '../../base/shell.ts'
import { keepProfile, readProfileFile } from '../../identity/profile-file.ts'
import type { DeviceProfile } from '../../profile/defaults.ts'
import { initGateway, joinGateway, type NewIdentity } from '../../setup.ts'
import { decodeInvite } from '../../wire/invite.ts'
import { pathOf, run, type Context } from '../context.ts'
import { duration, wholeNumber } from '../options.ts'

export function addIdentityCommands(program: Command): void {
  program
    .command('init')
    .description('make a new identity and a new mesh')
    .requiredOption('--mesh <name>', 'name of the mesh: a-z, 0-9 and "-"')
    .option('--profile <file>', 'keep this device profile')
    .addHelpText('after', '\nExample:\n  marram init --mesh greenhouse')
    .action((options: { mesh: string; profile?: string }, command: Command) =>
      run(command, async (context) =>
        make(context, options.profile, ({ node }) =>
          initGateway({ dir: context.dir, mesh: options.mesh, ...(node?.name !== undefined && { name: node.name }) }),
        ),
      ),
    )
  program
    .command('join')
    .description('make a new identity and keep the invite; "run" then enrols with the mesh')
    .argument('<token>', 'what "marram invite" printed')
    .option('--profile <file>', 'keep this device profile')
    .addHelpText('after', '\nExample:\n  marram join marram1pwF…')
    .action((token: string, options: { profile?: string }, command: Command) =>
      run(command, async (context) => make(context, options.profile, () => joinGateway({ dir: context.dir, token }))),
    )
  program
    .command('invite')
    .description('print a token with which another gateway joins the mesh, or take one back')
    .option('--role <role>', 'what the newcomer may do', 'gateway')
    .addOption(
      new Option('--expires <duration>', 'how long the token is good for, such as 1h or 7d')
        .argParser(duration)
        .default(3_600_000, '1h'),
    )
    .option('--uses <n>', 'how many gateways may join with it', wholeNumber, 1)
    .option('--until <time>', 'when the membership of those that join ends, such as 2027-01-01 or 30d from now')
    .option('--revoke <token>', 'nobody joins with this token any more')
    .addHelpText('after', '\nExample:\n  marram invite --expires 1d')
    .action((options: InviteFlags, command: Command) =>
      run(command, async (context) => {
        if (options.revoke !== undefined) return revokeInvite(context, options.revoke)
        const { role, expires, uses, until } = options
        const request = { role, expiresMs: expires, uses, ...(until !== undefined && { until }) }
        const invite = (await context.client.json('POST', 'invites', request)) as { token: string; expires: string }
        context.print(invite, invite.token)
        if (!context.isJson)
          process.stderr.write(
            `Good until ${invite.expires}. On the other gateway: marram join TOKEN, then marram run\n`,
          )
      }),
    )
}

interface InviteFlags {
  readonly role: string
  readonly expires: number
  readonly uses: number
  readonly until?: string
  readonly revoke?: string
}

async function revokeInvite(context: Context, token: string): Promise<void> {
  const invite = decodeInvite(token)
  if (!invite.ok) throw new MarramError(invite.error.code, invite.error.message)
  const id = hex(invite.value.inviteId)
  const { joined } = (await context.client.json('DELETE', pathOf('invites', id))) as { joined: readonly string[] }
  const who =
    joined.length === 0 ? 'Nobody had joined with it.' : `Those that joined with it stay: ${joined.join(', ')}`
  context.print({ revoked: id, joined }, `The invite is good for nothing any more. ${who}`)
}

/** A profile that isn't valid changes nothing. */
async function make(
  context: Context,
  profilePath: string | undefined,
  make: (profile: DeviceProfile) => NewIdentity,
): Promise<void> {
  const parsed = profilePath === undefined ? null : readProfileFile(profilePath)
  const identity = make(parsed?.profile ?? {})
  if (parsed) keepProfile(context.dir, parsed.profile)
  context.print(
    identity,
    `Gateway ${identity.peerId} of mesh ${identity.meshId}, in ${context.dir}. Start it with: marram run --dir ${shellWord(context.dir)}`,
  )
}
