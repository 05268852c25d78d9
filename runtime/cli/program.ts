import { Command } from 'commander'
import { VERSION } from '../version.ts'
import { addDemoCommand } from './commands/demo.ts'
import { addDocumentCommands } from './commands/documents.ts'
import { addIdentityCommands } from './commands/identity.ts'
import { addProfileCommands } from './commands/profile.ts'
import { addRunCommand } from './commands/run.ts'
import { addStatusCommands } from './commands/status.ts'
import { addTransferCommands } from './commands/transfer.ts'
import { addUserCommands } from './commands/user.ts'
import { addVerifyCommand } from './commands/verify.ts'

export function makeProgram(): Command {
  const program = new Command('marram')
    .description('Gateways that share what their MQTT devices say: stored, signed and synchronised without a cloud')
    .version(VERSION)
    .option('--dir <dir>', 'data directory (default: $MARRAM_DIR, /var/lib/marram for root, ~/.local/share/marram)')
    .option('--json', 'print JSON: one value, or one per line')
    .exitOverride()
    .showHelpAfterError('(marram COMMAND --help explains a command)')
  addDemoCommand(program)
  addIdentityCommands(program)
  addRunCommand(program)
  addStatusCommands(program)
  addDocumentCommands(program)
  addTransferCommands(program)
  addProfileCommands(program)
  addUserCommands(program)
  addVerifyCommand(program)
  for (const command of everyCommand(program)) {
    command.exitOverride()
    // The global options work behind the command's name as well.
    if (command !== program && command.commands.length === 0)
      command.option('--dir <dir>', 'data directory').option('--json', 'print JSON')
  }
  return program
}

function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap(everyCommand)]
}
