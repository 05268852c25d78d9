import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Command } from 'commander'
import { ERROR_CODES } from '../../runtime/base/errors.ts'
import { defaultDir } from '../../runtime/cli/context.ts'
import { exitCodeOf } from '../../runtime/cli/exit-codes.ts'
import { makeProgram } from '../../runtime/cli/program.ts'
import { VERSION } from '../../runtime/version.ts'
import { temporaryFolder } from '../http/door.ts'
import { marram } from './command.ts'

const COMMANDS =
  'backup, certificate, conflicts, count, delete, demo, digest, export, get, grant, import, init, invite, join, keys export, keys import, keys show, list, members, peers, ' +
  'profile schema, profile set, profile show, profile validate, put, quarantine, replicate, restore, retire, revoke, rotate, run, status, user add, user list, user remove, verify, walk, watch'

function leavesOf(command: Command, path: readonly string[] = []): [string, Command][] {
  if (command.commands.length === 0) return [[path.join(' '), command]]
  return command.commands.flatMap((each) => leavesOf(each, [...path, each.name()]))
}

function helpOf(command: Command): string {
  let text = ''
  command.configureOutput({ writeOut: (part) => (text += part) })
  command.outputHelp()
  return text
}

test('every command is there, takes --dir and --json, and explains itself with an example', async () => {
  const leaves = leavesOf(await makeProgram([]))
  assert.equal(
    leaves
      .map(([path]) => path)
      .sort()
      .join(', '),
    COMMANDS,
  )
  for (const [path, command] of leaves) {
    const help = helpOf(command)
    assert.match(help, new RegExp(`Example:\n  marram ${path}`), path)
    for (const option of ['--dir', '--json']) assert.ok(help.includes(option), `${path} ${option}`)
    assert.doesNotMatch(help, /default: (\[|\d{4})/, `${path} shows a default as its user would write it`)
  }
})

test('only the commands that the words may mean are loaded, and all of them for help', async () => {
  const names = async (...words: string[]): Promise<string[]> =>
    (await makeProgram(words)).commands.map((command) => command.name())
  assert.deepEqual(await names('status'), ['status', 'peers'])
  assert.deepEqual(await names('--dir', 'run', 'status'), ['run', 'status', 'peers'])
  assert.ok((await names('status', '--help')).length > 15)
  assert.ok((await names('unknown')).length > 15)
})

test('the version is that of the package', async () => {
  const file = join(import.meta.dirname, '../../../package.json')
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string }
  assert.equal(VERSION, version)
  const { code, stdout } = await marram(['--version'])
  assert.deepEqual([code, stdout], [0, `${version}\n`])
})

test('every error code has an exit code of its kind', () => {
  const exits = Object.keys(ERROR_CODES).map((code) => [code, exitCodeOf(code as keyof typeof ERROR_CODES)])
  assert.deepEqual(Object.fromEntries(exits), {
    'bad-request': 1,
    'bad-profile': 78,
    'bad-token': 1,
    'not-found': 1,
    'not-permitted': 77,
    'not-enrolled': 1,
    'already-exists': 73,
    'cannot-create': 73,
    'no-identity': 1,
    'in-use': 75,
    'port-in-use': 73,
    'not-running': 69,
    'incarnation-lost': 1,
    'storage-full': 74,
    'storage-io': 74,
    'storage-damaged': 74,
    'too-large': 1,
    'kind-mismatch': 1,
    'not-kept': 1,
    'no-key': 1,
    'not-supported': 1,
    overloaded: 1,
    unconfirmed: 124,
    closed: 1,
  })
})

test('wrong usage is 2 and one sentence on stderr: as JSON where that was asked for', async (t) => {
  const dir = temporaryFolder(t)
  const wrong = [
    ['fly'],
    ['put'],
    ['put', 'climate', 'k'],
    ['get', 'climate', 'k', '--speed'],
    ['list', 'climate', '--limit', 'many'],
    ['put', 'climate', 'k', '{}', '--wait', 'some'],
    ['put', 'climate', 'k', '{}', '--timeout', '10s'],
    ['delete', 'climate', 'k', '--timeout', '10s'],
    ['invite', '--expires', 'soon'],
    ['export', 'climate', '--format', 'xml'],
    ['init'],
    ['replicate'],
    ['replicate', 'readings'],
    ['replicate', 'readings', '--list'],
    ['replicate', '--list', '--to', 'hub'],
    [],
    ['keys'],
    ['profile'],
    ['--dir', '', 'status'],
    ['init', '--mesh', 'greenhouse', '--dir', ''],
  ]
  const ends = await Promise.all(wrong.map((args) => marram([...args, '--dir', dir, '--json'])))
  ends.forEach(({ code, stdout, stderr }, i) => {
    assert.deepEqual([code, stdout], [2, ''], wrong[i]?.join(' '))
    assert.equal((JSON.parse(stderr) as { error: { code: string } }).error.code, 'usage', stderr)
  })
  const { code, stderr } = await marram(['put'])
  assert.equal(code, 2)
  assert.match(stderr, /^marram: missing required argument 'collection'\n/)
})

test('a data directory that nothing names is the usual one, never the working directory', (t) => {
  const { MARRAM_DIR } = process.env
  t.after(() => {
    if (MARRAM_DIR === undefined) delete process.env['MARRAM_DIR']
    else process.env['MARRAM_DIR'] = MARRAM_DIR
  })
  process.env['MARRAM_DIR'] = ''
  assert.match(defaultDir(), /marram$/)
  process.env['MARRAM_DIR'] = '/data'
  assert.equal(defaultDir(), '/data')
})

test('help is no error', async () => {
  for (const args of [['--help'], ['help'], ['put', '--help'], ['profile', 'validate', '--help']]) {
    const { code, stdout } = await marram(args)
    assert.deepEqual([code, stdout.startsWith('Usage: marram')], [0, true], args.join(' '))
  }
})

test(
  'output that a full disk does not take is an I/O error, said in one sentence',
  { skip: !existsSync('/dev/full') },
  () => {
    const main = join(import.meta.dirname, '../../runtime/cli/main.js')
    const full = openSync('/dev/full', 'w')
    try {
      const { status, stderr } = spawnSync(process.execPath, [main, '--version'], {
        stdio: ['ignore', full, 'pipe'],
        encoding: 'utf8',
      })
      assert.deepEqual([status, stderr.split('\n').length], [74, 2], stderr)
      assert.match(stderr, /^marram: Cannot write the output: .*the disk is full\n$/)
    } finally {
      closeSync(full)
    }
  },
)

test('a reader of stderr that has gone changes no exit code', async (t) => {
  const dir = temporaryFolder(t)
  const main = join(import.meta.dirname, '../../runtime/cli/main.js')
  for (const [args, expected] of [
    [['fly'], 2],
    [['put', 'climate', 'k', '{"a":1}', '--dir', dir], 69],
  ] as const) {
    const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'ignore', 'pipe'] })
    child.stderr.destroy()
    const [code] = (await once(child, 'exit')) as [number | null]
    assert.equal(code, expected, args.join(' '))
  }
})
