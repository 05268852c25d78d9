import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * Planted bugs: small changes to a scratch copy of the compiled program, which the simulator or a test must notice. A mutation is a
 * file in `mutations/`: what it breaks, `file: PATH` below dist/, `run: OPTIONS` with which the simulator notices it soon or, of what
 * chance would seldom show, `test: PART` of the path of the test that plays it; then lines to find (`-`) and to put in their
 * place (`+`).
 */
export interface Mutation {
  readonly name: string
  readonly breaks: string
  readonly file: string
  /** Options of the simulator; null when a test notices it. */
  readonly run: readonly string[] | null
  readonly test: string
  readonly find: string
  readonly replace: string
}

/** The project's root: this file runs from dist/test/simulation. */
const ROOT = join(dirname(fileURLToPath(import.meta.url)), '../../..')
const MUTATIONS = join(ROOT, 'test/simulation/mutations')

export function mutations(): Mutation[] {
  const names = readdirSync(MUTATIONS).filter((name) => name.endsWith('.mutation'))
  return names.sort().map((name) => parse(name.replace('.mutation', ''), readFileSync(join(MUTATIONS, name), 'utf8')))
}

/** The changed file. Throws when the place isn't there just once: then the program has moved on and the mutation must follow. */
export function mutated({ name, file, find, replace }: Mutation): string {
  const source = readFileSync(join(ROOT, 'dist', file), 'utf8')
  const places = source.split(find).length - 1
  if (places !== 1) throw new Error(`The mutation "${name}" does not apply: its lines are in ${file} ${places} times`)
  return source.replace(find, () => replace)
}

/**
 * Runs the simulator, or the test, on a mutated copy, and returns its exit code: 1 when the bug is noticed. Of an option that is
 * given twice the later counts; without a run of the mutation's own options are those of a run all the same.
 */
export function runPlanted(
  mutation: Mutation,
  options: readonly string[],
  stdio: 'inherit' | 'pipe' = 'inherit',
): Planted {
  const scratch = mkdtempSync(join(tmpdir(), 'marram-plant-'))
  try {
    cpSync(join(ROOT, 'dist'), join(scratch, 'dist'), { recursive: true })
    cpSync(join(ROOT, 'package.json'), join(scratch, 'package.json'))
    symlinkSync(join(ROOT, 'node_modules'), join(scratch, 'node_modules'))
    writeFileSync(join(scratch, 'dist', mutation.file), mutated(mutation))
    const { run, test } = mutation
    const isTest = run === null && options.length === 0
    const args = isTest
      ? [join(ROOT, 'scripts/test.mjs'), '--root', join(scratch, 'dist/test'), '--only', test]
      : [join(scratch, 'dist/test/simulation/main.js'), '--first', ...(run ?? []), ...options]
    const { status, stdout } = spawnSync(process.execPath, args, { stdio, encoding: 'utf8' })
    const result = isTest ? JSON.stringify({ ok: status === 0, test }) : ''
    if (isTest && stdio === 'inherit') console.log(result)
    return { status: status ?? 1, lastLine: isTest ? result : ((stdout ?? '').trimEnd().split('\n').at(-1) ?? '') }
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

/** What a run of a mutated program has come to; the last line is JSON, empty when it went to the console. */
export interface Planted {
  readonly status: number
  readonly lastLine: string
}

function parse(name: string, text: string): Mutation {
  const [breaks = '', fileLine = '', runLine = '', ...lines] = text.trimEnd().split('\n')
  const side = (sign: string): string =>
    lines
      .filter((line) => line.startsWith(`${sign} `))
      .map((line) => line.slice(2))
      .join('\n')
  const test = runLine.startsWith('test: ') ? runLine.slice('test: '.length) : ''
  const words = runLine.replace('run:', '').split(' ')
  const run = test === '' ? words.filter((option) => option !== '') : null
  return { name, breaks, file: fileLine.replace('file: ', ''), run, test, find: side('-'), replace: side('+') }
}
