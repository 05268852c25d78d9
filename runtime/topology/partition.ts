/** A part of the mesh is out of reach, or within it again. */
export interface PartitionChange {
  readonly name: 'partition' | 'healed'
  /** Peer ids of those of whom that is news. */
  readonly peers: readonly string[]
  /** How many of the known members can be reached now, and how many can't for long. */
  readonly reachable: number
  readonly unreachable: number
}

/** Out of reach for so long: restarts and changes of links are over by then. */
const LONG_MS = 60_000
/** Whoever went at about the same time is told of together. */
const TOGETHER_MS = 15_000

/** Notices when members are out of reach for long, and when they come back. Without I/O: monotonic milliseconds. */
export class PartitionWatch {
  readonly #missingSince = new Map<string, number>()
  readonly #cutOff = new Set<string>()

  /** Out of reach for long. */
  get cutOff(): ReadonlySet<string> {
    return this.#cutOff
  }

  look(nowMs: number, known: readonly string[], reachable: ReadonlySet<string>): PartitionChange[] {
    const missing = new Set(known.filter((peerId) => !reachable.has(peerId)))
    this.#forget(missing)
    for (const peerId of missing) if (!this.#missingSince.has(peerId)) this.#missingSince.set(peerId, nowMs)
    const back = [...this.#cutOff].filter((peerId) => reachable.has(peerId))
    const lost = this.#lost(nowMs)
    for (const peerId of this.#cutOff) if (!missing.has(peerId)) this.#cutOff.delete(peerId)
    for (const peerId of lost) this.#cutOff.add(peerId)
    const figures = { reachable: known.length - missing.size, unreachable: this.#cutOff.size }
    return [
      ...(lost.length > 0 ? [{ name: 'partition' as const, peers: lost, ...figures }] : []),
      ...(back.length > 0 ? [{ name: 'healed' as const, peers: back, ...figures }] : []),
    ]
  }

  #forget(missing: ReadonlySet<string>): void {
    for (const peerId of this.#missingSince.keys()) if (!missing.has(peerId)) this.#missingSince.delete(peerId)
  }

  #lost(nowMs: number): string[] {
    const waiting = [...this.#missingSince].filter(([peerId]) => !this.#cutOff.has(peerId))
    if (!waiting.some(([, since]) => nowMs - since >= LONG_MS)) return []
    return waiting.filter(([, since]) => nowMs - since >= LONG_MS - TOGETHER_MS).map(([peerId]) => peerId)
  }
}
