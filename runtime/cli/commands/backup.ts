import type { Command } from 'commander'
import { backupOf, restoreGateway, writeBackup } from '../../backup.ts'
import { leftOutOf } from '../../identity/settings.ts'
import { run, unlessRunning } from '../context.ts'

const BACKUP_HELP = `
With --with-identity the file has all that a new card needs: the keys and the certificate, the profile that "profile set" has kept, and
the logins of devices and relays. The key of an encrypted store (storage.key in the profile), and files outside the data directory,
are never in it.

Example:
  marram backup greenhouse.backup --with-identity`

const RESTORE_HELP = `
Keys, profile and logins come back too where the backup has them (made --with-identity) and the data directory has not: those that
are there stay.

Example:
  marram restore greenhouse.backup`

const SAID_OF_PROFILE = {
  backup: '',
  default: '',
  kept: ' The profile that is there stays.',
  missing:
    ' Profile and device logins are NOT in the backup: it goes on with the default profile, until "marram profile set FILE" gives it its own.',
} as const

export function addBackupCommands(program: Command): void {
  program
    .command('backup')
    .description('write all that the gateway has stored to one new file, while it runs or when it is stopped')
    .argument('<file>', 'the file to make')
    .option(
      '--with-identity',
      'with its profile, device logins and secret keys: whoever has the file can then be this gateway',
    )
    .addHelpText('after', BACKUP_HELP)
    .action((file: string, options: { withIdentity?: boolean }, command: Command) =>
      run(command, async (context) => {
        const hasKeys = options.withIdentity === true
        const write = (source: AsyncIterable<Uint8Array>): Promise<number> =>
          writeBackup(context.dir, file, source, hasKeys)
        const bytes = await unlessRunning(
          () => write(context.client.bytes('GET', 'backup')),
          () => write(backupOf(context.dir)),
        )
        const leftOut = hasKeys ? leftOutOf(context.dir) : []
        const keys = hasKeys
          ? 'It holds the SECRET KEYS of this gateway: keep it safe'
          : 'Keys, profile and device logins are not in it'
        const rest = leftOut.length === 0 ? '' : ` Not in it, keep them too: ${leftOut.join(', ')}.`
        context.print({ file, bytes, identity: hasKeys, leftOut }, `${bytes} bytes written to ${file}. ${keys}.${rest}`)
      }),
    )
  program
    .command('restore')
    .description('put a backup into the data directory of a stopped gateway, which goes on as a new incarnation')
    .argument('<file>', 'what "marram backup" made')
    .option('--force', 'in the place of the data that is there')
    .addHelpText('after', RESTORE_HELP)
    .action((file: string, options: { force?: boolean }, command: Command) =>
      run(command, async (context) => {
        const profile = await restoreGateway(context.dir, file, options.force === true)
        const text = `Restored. What was written since the backup comes back from the neighbours.${SAID_OF_PROFILE[profile]}`
        context.print({ restored: true, profile }, text)
      }),
    )
}
