import { execFileSync } from 'node:child_process'
import { compileFor } from './compiling.ts'
import { startJobs, type Job } from './jobs.ts'
import { optionsOf, USAGE, UsageError, type Options } from './options.ts'
import { mutations, runPlanted } from './plant.ts'
import { Report } from './report.ts'
import type { Failure } from './seed.ts'

/** `npm run sim -- --help`: simulates many seeds; the last line is one JSON object; exit 1 on a violation. */
const PROGRESS_MS = 30_000

try {
  const options = optionsOf(process.argv.slice(2))
  if (options === null) console.log(USAGE)
  else if (options.plant === null) await simulate(options)
  else plant(options.plant, process.argv.slice(2))
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  console.error(`${error.message} (--help lists the options)`)
  process.exitCode = 2
}

async function simulate(options: Options): Promise<void> {
  const report = new Report()
  const startedAt = performance.now()
  const end: { why: string | null } = { why: null }
  process.once('SIGINT', () => (end.why = 'it was interrupted'))
  const progress = setInterval(() => tellProgress(report, options, startedAt), PROGRESS_MS)
  const isOver = (): boolean => {
    if (performance.now() - startedAt >= options.budget * 1_000) end.why ??= 'its time is up'
    return end.why !== null || (options.first && report.failures.length > 0)
  }
  await runAll(options, report, isOver)
  clearInterval(progress)
  if (end.why !== null)
    console.error(`Ended early, because ${end.why}: ${report.seeds} of ${options.seeds} seeds were run`)
  tellProgress(report, options, startedAt)
  console.log(JSON.stringify(report))
  process.exitCode = report.failures.length === 0 ? 0 : 1
}

async function runAll(options: Options, report: Report, isOver: () => boolean): Promise<void> {
  compileFor(options.seeds / options.jobs)
  const jobs = startJobs(options)
  let next = options.seed
  const work = async (job: Job): Promise<void> => {
    while (next < options.seed + options.seeds && !isOver()) {
      const result = await job.run(next++)
      report.add(result)
      if (result.failure !== null) tellFailure(result.failure)
      // Signals and timers have their turn between two runs.
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  await Promise.all(jobs.map(work))
  for (const job of jobs) job.end()
}

function tellProgress({ seeds, cpuSeconds, failures }: Report, options: Options, startedAt: number): void {
  const seconds = (performance.now() - startedAt) / 1_000
  const each = seeds === 0 ? 0 : cpuSeconds / seeds
  console.error(
    `${seeds} of ${options.seeds} seeds after ${seconds.toFixed(0)} s, ${failures.length} with violations; ${each.toFixed(3)} s of CPU each`,
  )
}

function tellFailure({ seed, gateways, minutes, writes, violations }: Failure): void {
  const scenario = `--seed ${seed} --seeds 1 --gateways ${gateways} --minutes ${minutes} --writes ${writes}`
  console.error(`seed ${seed}, commit ${commit()}, shrunk to ${scenario}: ${violations.join('; ')}`)
}

function plant(name: string, args: readonly string[]): void {
  const known = mutations()
  if (name === 'list') {
    for (const mutation of known) console.log(`${mutation.name}: ${mutation.breaks}`)
    return
  }
  const mutation = known.find((other) => other.name === name)
  if (mutation === undefined) throw new UsageError(`There is no planted bug "${name}": --plant list names them`)
  process.exitCode = runPlanted(mutation, withoutPlant(args)).status
}

/** The other options are those of the planted run. */
function withoutPlant(args: readonly string[]): string[] {
  return args.filter((arg, i) => arg !== '--plant' && args[i - 1] !== '--plant' && !arg.startsWith('--plant='))
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  } catch {
    return 'unknown'
  }
}
