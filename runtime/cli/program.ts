import { Command } from 'commander'
import { VERSION } from '../version.ts'
import { complain } from './context.ts'
import { folder } from './options.ts'

interface Group {
  readonly names: readonly string[]
  readonly load: () => Promise<(program: Command) => void>
}

/** Commands by the file they are in; in this order they are listed. */
const GROUPS: readonly Group[] = [
  { names: ['demo'], load: async () => (await import('./commands/demo.ts')).addDemoCommand },
  { names: ['init', 'join', 'invite'], load: async () => (await import('./commands/identity.ts')).addIdentityCommands },
  { names: ['run'], load: async () => (await import('./commands/run.ts')).addRunCommand },
  { names: ['status', 'peers'], load: async () => (await import('./commands/status.ts')).addStatusCommands },
  {
    names: ['put', 'get', 'delete', 'list', 'count', 'watch', 'digest'],
    load: async () => (await import('./commands/documents.ts')).addDocumentCommands,
  },
  { names: ['walk'], load: async () => (await import('./commands/walk.ts')).addWalkCommand },
  { names: ['conflicts'], load: async () => (await import('./commands/conflicts.ts')).addConflictsCommand },
  { names: ['quarantine'], load: async () => (await import('./commands/quarantine.ts')).addQuarantineCommand },
  { names: ['import'], load: async () => (await import('./commands/import.ts')).addImportCommand },
  { names: ['export'], load: async () => (await import('./commands/export.ts')).addExportCommand },
  { names: ['profile'], load: async () => (await import('./commands/profile.ts')).addProfileCommands },
  { names: ['user'], load: async () => (await import('./commands/user.ts')).addUserCommands },
  { names: ['certificate'], load: async () => (await import('./commands/certificate.ts')).addCertificateCommand },
  {
    names: ['members', 'grant', 'rotate', 'retire', 'revoke'],
    load: async () => (await import('./commands/members.ts')).addMemberCommands,
  },
  { names: ['replicate'], load: async () => (await import('./commands/replicate.ts')).addReplicateCommand },
  { names: ['keys'], load: async () => (await import('./commands/keys.ts')).addKeysCommands },
  { names: ['verify'], load: async () => (await import('./commands/verify.ts')).addVerifyCommand },
  { names: ['backup', 'restore'], load: async () => (await import('./commands/backup.ts')).addBackupCommands },
]

/**
 * The program with the commands that `words` may mean: loading all of a gateway would make every `put` slow on a small board.
 * Wrong usage throws commander's CommanderError, after it was said on stderr: as JSON where `--json` is among the words.
 */
export async function makeProgram(words: readonly string[]): Promise<Command> {
  const isJson = words.includes('--json')
  const program = new Command('marram')
    .description('Gateways that share what their MQTT devices say: stored, signed and synchronised without a cloud')
    .version(VERSION)
    .option(
      '--dir <dir>',
      'data directory (default: $MARRAM_DIR, /var/lib/marram for root, ~/.local/share/marram)',
      folder,
    )
    .option('--json', 'print JSON: one value, or one per line')
    .exitOverride()
    .configureOutput({
      outputError: (text) => complain('usage', text.trim().replace(/^error: /, ''), isJson),
      // Help, where a command is missing.
      ...(isJson && { writeErr: () => complain('usage', 'missing command', isJson) }),
    })
    .showHelpAfterError(!isJson && '(marram COMMAND --help explains a command)')
  for (const { load } of groupsOf(words)) (await load())(program)
  for (const command of everyCommand(program)) {
    command.exitOverride()
    // The global options work behind the command's name as well.
    if (command !== program && command.commands.length === 0)
      command.option('--dir <dir>', 'data directory', folder).option('--json', 'print JSON')
  }
  return program
}

/** All of them when the words name none, for then the answer is about all. */
function groupsOf(words: readonly string[]): readonly Group[] {
  const isNamed = ({ names }: Group): boolean => names.some((name) => words.includes(name))
  const isHelp = words.some((word) => ['help', '--help', '-h'].includes(word))
  return isHelp || !GROUPS.some(isNamed) ? GROUPS : GROUPS.filter(isNamed)
}

function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap(everyCommand)]
}
