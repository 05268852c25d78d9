import { compileFor } from './compiling.ts'
import type { Order } from './jobs.ts'
import { runSeed } from './seed.ts'

/** A process of `--jobs`: runs the seeds that it is sent, one at a time, until it is ended. */
process.on('message', ({ seed, options }: Order) => {
  compileFor(options.seeds / options.jobs)
  process.send?.(runSeed(seed, options))
})
// Ctrl-C reaches all processes of a terminal: whoever hands out the seeds lets this one finish and ends it.
process.on('SIGINT', () => {})
