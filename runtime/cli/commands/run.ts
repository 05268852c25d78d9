import type { Command } from 'commander'
import { MarramError } from '../../base/errors.ts'
import { openGateway } from '../../gateway/open.ts'
import { hasIdentity } from '../../identity/identity.ts'
import { loadProfile } from '../../identity/profile-file.ts'
import { createLog } from '../../observe/log.ts'
import { resolveProfile } from '../../profile/resolve.ts'
import { run, type Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'

const STOP_MS = 5_000

export function addRunCommand(program: Command): void {
  program
    .command('run')
    .description('run the gateway in the foreground')
    .option('--profile <file>', 'use this device profile, without keeping it')
    .option('--set <path=value>', 'override one key of the profile for this run; may be repeated', collect)
    .addHelpText(
      'after',
      '\nExample:\n  marram run --set broker.listen=\'["mqtt://[::]:1884"]\'\n\nIn a container, whose host keeps the clock right, set MARRAM_TRUST_CLOCK=1.',
    )
    .action(({ set = [], ...options }: { profile?: string; set?: string[] }, command: Command) =>
      run(command, (context) => runGateway(context, { ...options, set })),
    )
}

async function runGateway(context: Context, options: { profile?: string; set: string[] }): Promise<void> {
  const choice = { dir: context.dir, set: options.set, ...(options.profile !== undefined && { path: options.profile }) }
  // Without an identity the profile doesn't matter yet; the gateway itself says what is missing.
  const level = hasIdentity(context.dir) ? resolveProfile(loadProfile(choice).profile).log.level : 'info'
  const log = createLog({ level, fd: 1, isHuman: process.stdout.isTTY === true && !context.isJson })
  const opening = openGateway({
    dir: context.dir,
    set: options.set,
    log,
    ...(options.profile !== undefined && { profilePath: options.profile }),
  })
  const stop = (): void => {
    setTimeout(() => {
      log.error('stop-took-too-long')
      process.exit(EXIT.io)
    }, STOP_MS).unref()
    // A start that fails is told below.
    void opening.then((gateway) => gateway.close()).catch(() => {})
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  process.on('SIGHUP', () => void opening.then((gateway) => gateway.reload()).catch(() => {}))
  process.on('unhandledRejection', (reason) => {
    log.error('unexpected', { message: reason instanceof Error ? reason.stack : String(reason) })
    process.exitCode = EXIT.io
    stop()
  })
  const ended = await (await opening).closed
  if (ended.code !== null) throw new MarramError(ended.code, ended.reason ?? 'the store failed')
  log.info('stopped', {})
  process.exit(process.exitCode ?? EXIT.done)
}

function collect(value: string, all: readonly string[] = []): string[] {
  return [...all, value]
}
