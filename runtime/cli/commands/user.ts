import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { MarramError } from '../../base/errors.ts'
import { base64url } from '../../base/bytes.ts'
import { formatUsers, hashPassword, isUserName, parseUsers, type User } from '../../broker/users.ts'
import { randomBytes } from '../../crypto/identity.ts'
import { writeDurably } from '../../identity/files.ts'
import { loadProfile } from '../../identity/profile-file.ts'
import { readBody } from '../../http/lines.ts'
import { resolveProfile } from '../../profile/resolve.ts'
import { run } from '../context.ts'
import { table } from '../table.ts'

const PASSWORD_BYTES_MAX = 1_024

export function addUserCommands(program: Command): void {
  const user = program.command('user').description('device logins and the topics they may use')
  user
    .command('add')
    .description('add a login, or change one; prints its password once')
    .argument('<name>')
    .requiredOption('--topics <filter...>', 'MQTT topic filters that it may publish and subscribe to')
    .option('--password <password>', 'instead of a random one; - reads it from standard input')
    .addHelpText(
      'after',
      "\nExample:\n  marram user add plug-1 --topics 'tele/plug-1/#' 'stat/plug-1/#' 'cmnd/plug-1/#'",
    )
    .action((name: string, options: { topics: string[]; password?: string }, command: Command) =>
      run(command, async (context) => {
        if (!isUserName(name))
          throw new MarramError(
            'bad-request',
            `Cannot add "${name}": it must be 1 to 64 letters, digits, ".", "_" or "-", and not a gateway's name`,
          )
        const { path, users } = readUsers(context.dir)
        const password = await chosenPassword(options.password)
        users.set(name, { ...users.get(name), password: await hashPassword(password), topics: options.topics })
        write(path, users)
        context.print({ user: name, password, topics: options.topics }, `user ${name}, password ${password}`)
      }),
    )
  user
    .command('list')
    .description('print the logins')
    .addHelpText('after', '\nExample:\n  marram user list')
    .action((_options: object, command: Command) =>
      run(command, async (context) => {
        const rows = [...readUsers(context.dir).users].map(([name, { topics }]) => ({ user: name, topics }))
        if (context.isJson) for (const row of rows) context.print(row, '')
        else
          context.print(
            rows,
            table(
              ['USER', 'TOPICS'],
              rows.map((row) => [row.user, row.topics.join(' ')]),
            ),
          )
      }),
    )
  user
    .command('remove')
    .description('remove a login; connections that use it stay until they end')
    .argument('<name>')
    .addHelpText('after', '\nExample:\n  marram user remove plug-1')
    .action((name: string, _options: object, command: Command) =>
      run(command, async (context) => {
        const { path, users } = readUsers(context.dir)
        if (!users.delete(name)) throw new MarramError('not-found', `Cannot remove "${name}": there is no such user`)
        write(path, users)
        context.print({ removed: name }, `user ${name} removed`)
      }),
    )
}

function readUsers(dir: string): { path: string; users: Map<string, User> } {
  const { users } = resolveProfile(loadProfile({ dir }).profile).broker
  if (users.from === 'cred')
    throw new MarramError('not-supported', 'Cannot change the users: the profile takes them from a systemd credential')
  const path = resolve(dir, users.name)
  if (!existsSync(path)) return { path, users: new Map() }
  const parsed = parseUsers(readFileSync(path, 'utf8'))
  if (!parsed.ok) throw new MarramError('storage-damaged', `${parsed.error.message} (${path})`)
  return { path, users: new Map(parsed.value) }
}

/** Checked as the gateway will read it: a file with one wrong filter would shut every device out. */
function write(path: string, users: ReadonlyMap<string, User>): void {
  const text = formatUsers(users)
  const parsed = parseUsers(text)
  if (!parsed.ok) throw new MarramError(parsed.error.code, parsed.error.message)
  writeDurably(path, text)
}

async function chosenPassword(given: string | undefined): Promise<string> {
  if (given === undefined) return base64url(randomBytes(12))
  const password = given === '-' ? (await readBody(process.stdin, PASSWORD_BYTES_MAX)).replace(/\r?\n$/, '') : given
  if (password !== '') return password
  throw new MarramError('bad-request', 'Cannot use an empty password: it must have at least one character')
}
