import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Options } from './options.ts'
import { runSeed, scenarioFor, type SeedResult } from './seed.ts'

/** Runs a seed, here or in another process. */
export interface Job {
  run(seed: number): Promise<SeedResult>
  end(): void
}

/** What a worker is sent. */
export interface Order {
  readonly seed: number
  readonly options: Options
}

const WORKER = fileURLToPath(new URL('worker.js', import.meta.url))

/** One job runs here, where a debugger finds it; several are processes of their own. */
export function startJobs(options: Options): Job[] {
  if (options.jobs > 1) return Array.from({ length: options.jobs }, () => workerJob(options))
  return [{ run: (seed) => Promise.resolve(runSeed(seed, options)), end: () => {} }]
}

function workerJob(options: Options): Job {
  let worker = fork(WORKER)
  return {
    run: (seed) =>
      new Promise((resolve) => {
        if (!worker.connected) worker = fork(WORKER)
        const onExit = (code: number | null, signal: string | null): void => {
          worker.off('message', onResult)
          resolve(crashed(seed, options, `its process ended with ${signal ?? code}`))
        }
        const onResult = (result: unknown): void => {
          worker.off('exit', onExit)
          resolve(result as SeedResult)
        }
        worker.once('exit', onExit).once('message', onResult)
        worker.send({ seed, options } satisfies Order)
      }),
    end: () => worker.kill(),
  }
}

/** A run that takes its process along has failed like one that throws. */
function crashed(seed: number, options: Options, why: string): SeedResult {
  const { gateways, minutes, writesMax: writes } = scenarioFor(seed, options)
  const failure = { seed, gateways, minutes, writes, violations: [why] }
  return { seed, traceHash: '', events: 0, cpuSeconds: 0, faults: {}, sometimes: {}, failure }
}
