import type { Command } from 'commander'
import { keepProfile, loadProfile, readProfileFile } from '../../identity/profile-file.ts'
import { fillDefaults } from '../../profile/defaults.ts'
import { PROFILE_SCHEMA } from '../../profile/generated/schema.ts'
import { run, unlessRunning, type Context } from '../context.ts'

export function addProfileCommands(program: Command): void {
  const profile = program.command('profile').description('check, keep and show device profiles')
  profile
    .command('validate')
    .description('check a profile: every error with its line, what was found and what is allowed')
    .argument('<file>')
    .addHelpText('after', '\nExample:\n  marram profile validate greenhouse.json')
    .action((file: string, _options: object, command: Command) =>
      run(command, async (context) => {
        const { warnings } = readProfileFile(file)
        context.print(
          { valid: true, warnings },
          [`"${file}" is valid`, ...warnings.map((warning) => `warning: ${warning}`)].join('\n'),
        )
      }),
    )
  profile
    .command('set')
    .description('check a profile, keep it, and apply it to the running gateway')
    .argument('<file>')
    .addHelpText('after', '\nExample:\n  marram profile set greenhouse.json')
    .action((file: string, _options: object, command: Command) => run(command, (context) => setProfile(context, file)))
  profile
    .command('show')
    .description('print the profile in force, defaults filled in')
    .addHelpText('after', '\nExample:\n  marram profile show')
    .action((_options: object, command: Command) =>
      run(command, async (context) => {
        const shown = await unlessRunning<unknown>(
          () => context.client.json('GET', 'profile'),
          async () => fillDefaults(loadProfile({ dir: context.dir }).profile),
        )
        context.print(shown, JSON.stringify(shown, null, 2))
      }),
    )
  profile
    .command('schema')
    .description('print the JSON Schema of profiles')
    .addHelpText('after', '\nExample:\n  marram profile schema > device-profile.schema.json')
    .action((_options: object, command: Command) =>
      run(command, async (context) => context.print(PROFILE_SCHEMA, JSON.stringify(PROFILE_SCHEMA, null, 2))),
    )
}

/** A profile that isn't valid changes nothing. */
async function setProfile(context: Context, file: string): Promise<void> {
  const { profile } = readProfileFile(file)
  const apply = async (): Promise<void> => {
    const answer = await context.client.json('PUT', 'profile', profile)
    const { revision, restart } = answer as { revision: number; restart: string[] }
    const later = restart.length > 0 ? `; these keys need a restart: ${restart.join(', ')}` : ''
    context.print(answer, `revision ${revision} is kept and applied${later}`)
  }
  await unlessRunning(apply, async () => {
    keepProfile(context.dir, profile)
    context.print({ kept: true, restart: [] }, 'kept; it counts when the gateway starts')
  })
}
