import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { runSession } from './engine.ts'
import { fuzz, type Failure } from './fuzz.ts'
import { targetsIn } from './targets.ts'

/**
 * `npm run fuzz -- --seconds N --seed N`: changed valid inputs to every decoder, and a hostile neighbour of a live engine.
 * The last line is one JSON object; exit 1 when something threw, took longer than 50 ms, or grew. `--only PART` names the
 * targets, `--session NAME` repeats one session of the engine.
 */
const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
    session: { type: 'string' },
  },
})

const MS_MAX = 50
const GROWTH_MAX = 8 * 1_048_576

if (values.session === undefined) await fuzzAll()
else repeat(Number(values.session))

async function fuzzAll(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'marram-fuzz-'))
  const seed = Number(values.seed)
  const end = performance.now() + Number(values.seconds) * 1_000
  const targets = targetsIn(dir).filter(({ name }) => name.includes(values.only))
  try {
    const report = await fuzz({
      seed,
      targets,
      isOver: () => performance.now() >= end,
      msMax: MS_MAX,
      growthMax: GROWTH_MAX,
    })
    for (const { target, what, input } of report.failures) console.error(`${target}: ${what}\n${input}`)
    const ok = report.failures.length === 0
    console.log(JSON.stringify({ ok, seed, ...report, failures: report.failures.map(abridged) }))
    process.exitCode = ok ? 0 : 1
  } finally {
    rmSync(dir, { recursive: true })
  }
}

/** The whole input stands above. */
function abridged({ target, what, input }: Failure): Failure {
  return { target, what: what.slice(0, 200), input: input.slice(0, 2_000) }
}

function repeat(seed: number): void {
  const { times, fault } = runSession(seed)
  const slowest = Math.max(...times)
  console.log(JSON.stringify({ ok: fault === null, inputs: times.length, slowest, at: times.indexOf(slowest), fault }))
  process.exitCode = fault === null ? 0 : 1
}
