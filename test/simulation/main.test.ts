import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { optionsOf, UsageError } from './options.ts'
import { Report } from './report.ts'
import type { SeedResult } from './seed.ts'
import { scenarioOf } from './simulation.ts'

const MAIN = fileURLToPath(new URL('main.js', import.meta.url))

function simulate(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8' })
}

function lastLine(stdout: string): { readonly [name: string]: unknown } {
  return JSON.parse(stdout.trimEnd().split('\n').at(-1) as string) as { [name: string]: unknown }
}

test('a wrong command line is told in one sentence, with exit code 2 and no stack', () => {
  const wrong: [string, RegExp][] = [
    ['--nix', /^Cannot read the command line: Unknown option '--nix'/],
    ['--seeds=many', /^Cannot use "many" for --seeds: it must be an integer from 1 to/],
    ['--gateways=51', /^Cannot use "51" for --gateways: it must be an integer from 2 to 50/],
    ['--plant=nix', /^There is no planted bug "nix"/],
  ]
  for (const [argument, sentence] of wrong) {
    const { status, stderr } = simulate(argument)
    assert.equal(status, 2)
    assert.match(stderr, sentence)
    assert.equal(stderr.trimEnd().split('\n').length, 1)
  }
})

test('--help names every option and ends with 0', () => {
  const { status, stdout } = simulate('--help')
  assert.equal(status, 0)
  for (const option of [
    'seed',
    'seeds',
    'gateways',
    'minutes',
    'writes',
    'forks',
    'removals',
    'history',
    'liveness',
    'interests',
    'byzantine',
    'jobs',
    'budget',
    'hours',
    'first',
    'plant',
  ]) {
    assert.match(stdout, new RegExp(`--${option} `))
  }
})

test('a time to end is said once, in seconds or hours', () => {
  assert.equal(optionsOf(['--hours', '0.5'])?.budget, 1_800)
  assert.equal(optionsOf([])?.budget, Number.POSITIVE_INFINITY)
  assert.throws(() => optionsOf(['--hours', '1', '--budget', '1']), UsageError)
})

test('seeds that several processes share give what one process gives', () => {
  const args = ['--seed', '26', '--seeds', '3', '--gateways', '2', '--minutes', '1']
  const alone = simulate(...args)
  const shared = simulate(...args, '--jobs', '2')
  assert.equal(alone.status, 0)
  assert.equal(shared.status, 0)
  const result = lastLine(alone.stdout)
  assert.deepEqual({ ...lastLine(shared.stdout), cpuSeconds: 0 }, { ...result, cpuSeconds: 0 })
  assert.equal(result['seeds'], 3)
})

test('a soak whose time is up says so, and what it has run counts', () => {
  const { status, stdout, stderr } = simulate(
    '--seeds',
    '1000',
    '--gateways',
    '2',
    '--minutes',
    '1',
    '--budget',
    '0.01',
  )
  assert.equal(status, 0)
  assert.match(stderr, /Ended early, because its time is up: \d+ of 1000 seeds were run/)
  assert.ok((lastLine(stdout)['seeds'] as number) < 1_000)
})

test('a report is the same in whatever order its seeds ended, and not ok when one failed', () => {
  const result = (seed: number, failure: SeedResult['failure']): SeedResult => {
    const traceHash = seed.toString(16).padStart(64, '0')
    return {
      seed,
      traceHash,
      events: seed,
      cpuSeconds: 0,
      faults: { [`f${seed}`]: 1 },
      sometimes: { s: seed },
      failure,
    }
  }
  const failure = { seed: 2, gateways: 2, minutes: 1, writes: 5, violations: ['I1'] }
  const results = [result(1, null), result(2, failure), result(3, null)]
  const reports = [results, results.toReversed()].map((order) => {
    const report = new Report()
    for (const one of order) report.add(one)
    return JSON.stringify(report)
  })
  assert.equal(reports[0], reports[1])
  assert.equal((JSON.parse(reports[0] as string) as { ok: boolean }).ok, false)
})

test('within a few thousand seeds meshes have every size from 2 to 50, mostly a small one, and cards are copied in large ones too', () => {
  const scenarios = Array.from({ length: 4_000 }, (_, seed) => scenarioOf(seed))
  const sizes = new Set(scenarios.map(({ gateways }) => gateways))
  assert.deepEqual(
    [...sizes].sort((a, b) => a - b),
    Array.from({ length: 49 }, (_, i) => i + 2),
  )
  assert.ok(scenarios.reduce((sum, { gateways }) => sum + gateways, 0) / scenarios.length < 6)
  assert.ok(scenarios.some(({ gateways, forks }) => gateways >= 20 && forks === true))
  for (const { gateways, writesMax } of scenarios) assert.ok(gateways * writesMax <= 300, `${gateways} write too often`)
})
