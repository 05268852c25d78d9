import { setTimeout } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** What is held, in bytes, after everything that nobody holds was thrown away: buffers go a little later than the rest. */
export async function heapBytes(): Promise<number> {
  for (let i = 0; i < 2; i++) {
    collect()
    await setTimeout(20)
  }
  collect()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

/** How the heap goes while inputs come and go. */
export class HeapWatch {
  readonly #startedAt = performance.now()
  #marks: { readonly at: number; readonly bytes: number }[] = []
  #noteAt = 0

  /** Measures now and then: to collect takes time. */
  async note(): Promise<void> {
    const now = performance.now()
    if (now < this.#noteAt) return
    this.#noteAt = now + Math.max(1_000, (now - this.#startedAt) / 50)
    this.#marks.push({ at: now, bytes: await heapBytes() })
  }

  /** From the first quarter, when everything is compiled and every cache is full, to now. */
  async grown(): Promise<number> {
    const now = performance.now()
    const quarter = this.#startedAt + (now - this.#startedAt) / 4
    const early = this.#marks.filter(({ at }) => at <= quarter).at(-1) ?? this.#marks[0]
    return (await heapBytes()) - (early?.bytes ?? 0)
  }
}
