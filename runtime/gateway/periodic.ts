import { sentenceOf } from '../base/errors.ts'
import type { Log } from '../ports/log.ts'

/** What is to be done now and then, as long as the gateway runs. */
export class PeriodicTasks {
  readonly #log: Log
  readonly #timers: NodeJS.Timeout[] = []

  constructor(log: Log) {
    this.#log = log
  }

  /** One run at a time: what takes longer than its turn misses the next. */
  every(ms: number, act: () => void | Promise<void>): void {
    let isRunning = false
    const run = async (): Promise<void> => {
      if (isRunning) return
      isRunning = true
      try {
        await act()
      } catch (error) {
        this.#log.warn('periodic-task-failed', { message: sentenceOf(error) })
      }
      isRunning = false
    }
    this.#timers.push(setInterval(() => void run(), ms).unref())
  }

  /** None begins any more; one under way goes on to its end. */
  stop(): void {
    for (const timer of this.#timers) clearInterval(timer)
  }
}
