import { hex } from '../../runtime/base/bytes.ts'
import { seededRandom, type Random } from '../../runtime/base/random.ts'
import { EngineFuzz, tableGrowth } from './engine.ts'
import { HeapWatch } from './heap.ts'
import { mutated } from './mutate.ts'
import { stopwatch } from './stopwatch.ts'
import type { Target } from './target.ts'

/** What became of one target. */
export interface Figures {
  inputs: number
  accepted: number
  refused: number
  maxMs: number
}

export interface Failure {
  readonly target: string
  readonly what: string
  /** The input in hexadecimal, made as small as still fails; of the engine, how to repeat it. */
  readonly input: string
}

export interface FuzzOptions {
  readonly seed: number
  readonly targets: readonly Target[]
  /** True when enough has been tried. */
  readonly isOver: (inputs: number) => boolean
  /** An input that takes longer, however often it is measured, is a failure; milliseconds. */
  readonly msMax: number
  /** What the heap may have more after the last input than after the first quarter, in bytes. */
  readonly growthMax: number
}

export interface FuzzReport {
  readonly inputs: number
  readonly targets: { readonly [name: string]: Figures }
  readonly failures: readonly Failure[]
}

/** A target that fails so often isn't tried any more. */
const FAILURES_MAX = 3
/** Other programs run as well: only what is slow every time is slow. */
const MEASURED_AGAIN = 3
/** Inputs of a target in one turn. */
const TURN = 100
const SHRINK_TRIES = 2_000

/** Turns over all targets until it is over. */
export async function fuzz(options: FuzzOptions): Promise<FuzzReport> {
  const run = new Run(options)
  await run.whole()
  return run.report
}

/** Whether an input passes: null, or what is wrong with it. */
export async function faultOf(target: Target, input: Uint8Array): Promise<string | null> {
  try {
    await target.run(input)
    return null
  } catch (error) {
    return `it threw ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`
  }
}

class Run {
  readonly #options: FuzzOptions
  readonly #random: Random
  readonly #figures = new Map<string, Figures>()
  readonly #failures: Failure[] = []
  readonly #failed = new Map<string, number>()
  readonly #engine: EngineFuzz
  #inputs = 0

  constructor(options: FuzzOptions) {
    this.#options = options
    this.#random = seededRandom(options.seed)
    this.#engine = new EngineFuzz(options.seed)
    for (const name of [...options.targets.map((target) => target.name), ENGINE]) {
      this.#figures.set(name, { inputs: 0, accepted: 0, refused: 0, maxMs: 0 })
    }
  }

  get report(): FuzzReport {
    return { inputs: this.#inputs, targets: Object.fromEntries(this.#figures), failures: this.#failures }
  }

  async whole(): Promise<void> {
    const heap = new HeapWatch()
    for (let turn = 0; turn === 0 || !this.#options.isOver(this.#inputs); turn++) {
      for (const target of this.#options.targets) await this.#turn(target)
      this.#engineTurn()
      await heap.note()
    }
    const grown = await heap.grown()
    if (grown > this.#options.growthMax) this.#fail('heap', `it grew by ${grown} bytes`, '')
    const growth = await tableGrowth(this.#options.seed)
    if (growth !== null) this.#fail(ENGINE, growth, `tables, seed ${this.#options.seed}`)
  }

  async #turn(target: Target): Promise<void> {
    const count = target.isCostly === true ? TURN / 10 : TURN
    for (let i = 0; i < count && !this.#hasFailedOften(target.name); i++) {
      await this.#try(target, mutated(this.#random, target.samples, target.form))
    }
  }

  async #try(target: Target, input: Uint8Array): Promise<void> {
    const figures = this.#count(target.name)
    const elapsedMs = stopwatch()
    try {
      if (await target.run(input)) figures.accepted += 1
      else figures.refused += 1
    } catch {
      const small = await shrunk(target, input)
      return this.#fail(target.name, (await faultOf(target, small)) ?? 'it threw once', hex(small))
    }
    const ms = await this.#least(elapsedMs(), async () => {
      await target.run(input)
    })
    figures.maxMs = Math.max(figures.maxMs, ms)
    if (ms > this.#options.msMax) this.#fail(target.name, `it took ${ms.toFixed(1)} ms`, hex(input))
  }

  /** A session of many inputs that build on one another; it is repeated to measure it again. */
  #engineTurn(): void {
    if (this.#hasFailedOften(ENGINE)) return
    const session = this.#engine.next()
    const figures = this.#figures.get(ENGINE) as Figures
    const first = session.run()
    figures.inputs += first.times.length
    this.#inputs += first.times.length
    figures.accepted += first.accepted
    figures.refused += first.refused
    if (first.fault !== null) return this.#fail(ENGINE, first.fault, session.name)
    let times = first.times
    for (let i = 0; i < MEASURED_AGAIN && Math.max(...times) > this.#options.msMax; i++) {
      const again = session.run().times
      times = times.map((ms, index) => Math.min(ms, again[index] ?? ms))
    }
    const ms = Math.max(...times)
    figures.maxMs = Math.max(figures.maxMs, ms)
    if (ms > this.#options.msMax)
      this.#fail(ENGINE, `input ${times.indexOf(ms)} took ${ms.toFixed(1)} ms`, session.name)
  }

  async #least(first: number, act: () => Promise<void>): Promise<number> {
    let least = first
    for (let i = 0; i < MEASURED_AGAIN && least > this.#options.msMax; i++) {
      const elapsedMs = stopwatch()
      await act()
      least = Math.min(least, elapsedMs())
    }
    return least
  }

  #count(name: string): Figures {
    const figures = this.#figures.get(name) as Figures
    figures.inputs += 1
    this.#inputs += 1
    return figures
  }

  #hasFailedOften(name: string): boolean {
    return (this.#failed.get(name) ?? 0) >= FAILURES_MAX
  }

  #fail(target: string, what: string, input: string): void {
    this.#failed.set(target, (this.#failed.get(target) ?? 0) + 1)
    this.#failures.push({ target, what, input })
  }
}

const ENGINE = 'engine'

/** Leaves out halves, quarters and so on, as long as what is left still makes the target throw. */
async function shrunk(target: Target, input: Uint8Array): Promise<Uint8Array> {
  let smallest = input
  let tries = 0
  for (let step = smallest.length >> 1; step >= 1; step >>= 1) {
    for (let at = 0; at < smallest.length && tries < SHRINK_TRIES; tries++) {
      const less = Buffer.concat([smallest.subarray(0, at), smallest.subarray(at + step)])
      if ((await faultOf(target, less)) === null) at += step
      else smallest = less
    }
  }
  return smallest
}
