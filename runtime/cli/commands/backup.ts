import type { Command } from 'commander'
import { backupOf, restoreGateway, writeBackup } from '../../backup.ts'
import { run, unlessRunning } from '../context.ts'

export function addBackupCommands(program: Command): void {
  program
    .command('backup')
    .description('write all that the gateway has stored to one new file, while it runs or when it is stopped')
    .argument('<file>', 'the file to make')
    .option('--with-identity', 'with the secret keys: whoever has the file can then be this gateway')
    .addHelpText('after', '\nExample:\n  marram backup greenhouse.backup --with-identity')
    .action((file: string, options: { withIdentity?: boolean }, command: Command) =>
      run(command, async (context) => {
        const hasKeys = options.withIdentity === true
        const write = (source: AsyncIterable<Uint8Array>): Promise<number> =>
          writeBackup(context.dir, file, source, hasKeys)
        const bytes = await unlessRunning(
          () => write(context.client.bytes('GET', 'backup')),
          () => write(backupOf(context.dir)),
        )
        const keys = hasKeys ? 'It holds the SECRET KEYS of this gateway: keep it safe' : 'The keys are not in it'
        context.print({ file, bytes, identity: hasKeys }, `${bytes} bytes written to ${file}. ${keys}.`)
      }),
    )
  program
    .command('restore')
    .description('put a backup into the data directory of a stopped gateway, which goes on as a new incarnation')
    .argument('<file>', 'what "marram backup" made')
    .option('--force', 'in the place of the data that is there')
    .addHelpText('after', '\nExample:\n  marram restore greenhouse.backup')
    .action((file: string, options: { force?: boolean }, command: Command) =>
      run(command, async (context) => {
        await restoreGateway(context.dir, file, options.force === true)
        context.print({ restored: true }, 'Restored. What was written since the backup comes back from the neighbours.')
      }),
    )
}
