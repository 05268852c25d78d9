import { fromHex, hex } from '../../runtime/base/bytes.ts'
import type { Failure, SeedResult } from './seed.ts'

/** All that many seeds have shown, whatever the order in which they ended. */
export class Report {
  readonly failures: Failure[] = []
  seeds = 0
  events = 0
  cpuSeconds = 0
  readonly #faults = new Map<string, number>()
  readonly #sometimes = new Map<string, number>()
  readonly #trace = new Uint8Array(32)

  add({ traceHash, events, cpuSeconds, faults, sometimes, failure }: SeedResult): void {
    this.seeds += 1
    this.events += events
    this.cpuSeconds += cpuSeconds
    addTo(this.#faults, faults)
    addTo(this.#sometimes, sometimes)
    fromHex(traceHash)?.forEach((byte, i) => (this.#trace[i] = (this.#trace[i] as number) ^ byte))
    if (failure !== null) this.failures.push(failure)
  }

  /** `traceHash` is that of a single seed, and of several their exclusive or. */
  toJSON(): object {
    return {
      ok: this.failures.length === 0,
      seeds: this.seeds,
      traceHash: hex(this.#trace),
      events: this.events,
      cpuSeconds: Math.round(this.cpuSeconds * 1_000) / 1_000,
      faults: sorted(this.#faults),
      sometimes: sorted(this.#sometimes),
      failures: this.failures.toSorted((a, b) => a.seed - b.seed),
    }
  }
}

function addTo(sums: Map<string, number>, counts: { readonly [name: string]: number }): void {
  for (const [name, count] of Object.entries(counts)) sums.set(name, (sums.get(name) ?? 0) + count)
}

/** By name, so that the order in which seeds ended doesn't show. */
function sorted(counts: ReadonlyMap<string, number>): { [name: string]: number } {
  return Object.fromEntries([...counts].sort(([a], [b]) => (a < b ? -1 : 1)))
}
