import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { MarramError, sentenceOf } from '../base/errors.ts'
import { printable } from '../base/printable.ts'
import type { OfflineGateway } from '../offline.ts'
import { clientOf, type Client } from './client.ts'
import { EXIT, exitCodeOf } from './exit-codes.ts'

/** What every command works with. */
export interface Context {
  readonly dir: string
  readonly isJson: boolean
  readonly client: Client
  /** Prints `value` as one line of JSON, or `text` for people. */
  print(value: unknown, text: string): void
}

export function defaultDir(): string {
  const { MARRAM_DIR = '' } = process.env
  if (MARRAM_DIR !== '') return MARRAM_DIR
  return process.getuid?.() === 0 ? '/var/lib/marram' : join(homedir(), '.local/share/marram')
}

export function contextOf(command: Command): Context {
  const options = command.optsWithGlobals<{ dir?: string; json?: boolean }>()
  const dir = resolve(options.dir ?? defaultDir())
  const isJson = options.json === true
  return {
    dir,
    isJson,
    client: clientOf(dir),
    print: (value, text) => {
      if (isJson) process.stdout.write(`${JSON.stringify(value)}\n`)
      else if (text !== '') process.stdout.write(`${printable(text)}\n`)
    },
  }
}

/** Runs a command's work; errors become a sentence (or JSON) on stderr and the exit code of their kind. */
export async function run(command: Command, work: (context: Context) => Promise<void>): Promise<void> {
  const context = contextOf(command)
  try {
    await work(context)
  } catch (error) {
    fail(error, context.isJson)
  }
}

function fail(error: unknown, isJson: boolean): void {
  const code = error instanceof MarramError ? error.code : 'failed'
  complain(code, sentenceOf(error), isJson)
  process.exitCode = error instanceof MarramError ? exitCodeOf(error.code) : EXIT.failed
}

export function complain(code: string, message: string, isJson: boolean): void {
  process.stderr.write(isJson ? `${JSON.stringify({ error: { code, message } })}\n` : `marram: ${printable(message)}\n`)
}

/** What the running gateway answers; where none runs, what `offline` makes of its store. */
export async function ask<T>(
  context: Context,
  online: () => Promise<T>,
  offline: (gateway: OfflineGateway) => T | Promise<T>,
): Promise<T> {
  return unlessRunning(online, async () => {
    const gateway = await openStoreOf(context)
    try {
      return await offline(gateway)
    } finally {
      await gateway.close()
    }
  })
}

/** Loads the store's room, which a running gateway's clients don't need. */
export async function openStoreOf({ dir }: Context): Promise<OfflineGateway> {
  const { openOffline } = await import('../offline.ts')
  return openOffline(dir)
}

export async function unlessRunning<T>(online: () => Promise<T>, otherwise: () => Promise<T>): Promise<T> {
  try {
    return await online()
  } catch (error) {
    if (error instanceof MarramError && error.code === 'not-running') return otherwise()
    throw error
  }
}

export function pathOf(...segments: readonly string[]): string {
  return segments.map(encodeURIComponent).join('/')
}

/** `?a=b` of the options that are there. */
export function queryText(options: { readonly [name: string]: string | number | boolean | undefined }): string {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(options)) if (value !== undefined) search.set(name, String(value))
  const text = search.toString()
  return text === '' ? '' : `?${text}`
}
