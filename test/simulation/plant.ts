import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * Planted bugs: small changes to a scratch copy of the compiled program, which the simulator must notice. A mutation is a
 * file in `mutations/`: what it breaks, `file: PATH` below dist/, `run: OPTIONS` with which the simulator notices it soon, then
 * lines to find (`-`) and to put in their place (`+`).
 */
export interface Mutation {
  readonly name: string
  readonly breaks: string
  readonly file: string
  readonly run: readonly string[]
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

/** Runs the simulator on a mutated copy, and returns its exit code. Of an option that is given twice the later counts. */
export function runPlanted(mutation: Mutation, options: readonly string[]): number {
  const scratch = mkdtempSync(join(tmpdir(), 'marram-plant-'))
  try {
    cpSync(join(ROOT, 'dist'), join(scratch, 'dist'), { recursive: true })
    cpSync(join(ROOT, 'package.json'), join(scratch, 'package.json'))
    symlinkSync(join(ROOT, 'node_modules'), join(scratch, 'node_modules'))
    writeFileSync(join(scratch, 'dist', mutation.file), mutated(mutation))
    const program = join(scratch, 'dist/test/simulation/main.js')
    return (
      spawnSync(process.execPath, [program, '--first', ...mutation.run, ...options], { stdio: 'inherit' }).status ?? 1
    )
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

function parse(name: string, text: string): Mutation {
  const [breaks = '', fileLine = '', runLine = '', ...lines] = text.trimEnd().split('\n')
  const side = (sign: string): string =>
    lines
      .filter((line) => line.startsWith(`${sign} `))
      .map((line) => line.slice(2))
      .join('\n')
  const run = runLine
    .replace('run:', '')
    .split(' ')
    .filter((option) => option !== '')
  return { name, breaks, file: fileLine.replace('file: ', ''), run, find: side('-'), replace: side('+') }
}
