import { concat, hex } from '../base/bytes.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'

/**
 * Who is at a relay, by what is said there. Anyone who may publish on the relay can say it, so it is a hint whom to dial
 * and proves nothing.
 *
 *   presence = [0x02, 0 gone | 1 there | 2 asks who may let it in, instance 8 bytes]
 */
export interface PresenceWord {
  readonly state: PresenceState
  /** Drawn by each process: another one is another process. */
  readonly instance: string
}

export type PresenceState = 'gone' | 'there' | 'asking'

const STATES: readonly PresenceState[] = ['gone', 'there', 'asking']
const PRESENCE = 2
const INSTANCE_BYTES = 8
/** Whoever isn't heard of for so long is gone, milliseconds. */
const SILENT_MS = 600_000

export function encodePresence(state: PresenceState, instance: Uint8Array): Uint8Array {
  return concat(Uint8Array.of(PRESENCE, STATES.indexOf(state)), instance)
}

/** Null when it is something else. */
export function readPresence(payload: Uint8Array): PresenceWord | null {
  if (payload[0] !== PRESENCE || payload.length < 2 + INSTANCE_BYTES) return null
  return { state: STATES[payload[1] as number] ?? 'gone', instance: hex(payload.subarray(2, 2 + INSTANCE_BYTES)) }
}

export class Presence {
  readonly #monotonicMs: () => number
  readonly #heard = new Map<string, { readonly instance: string; readonly atMs: number }>()

  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs
  }

  get size(): number {
    return this.#heard.size
  }

  /** Of at most `relayPeersMax`, those heard last. */
  peers(): string[] {
    const since = this.#monotonicMs() - SILENT_MS
    for (const [peerId, { atMs }] of this.#heard) if (atMs < since) this.#heard.delete(peerId)
    return [...this.#heard.keys()]
  }

  /** What is new about it; whoever asks to be let in is not there yet. */
  note(peerId: string, { state, instance }: PresenceWord): 'new' | 'anew' | 'known' | 'gone' {
    const before = this.#heard.get(peerId)
    this.#heard.delete(peerId)
    if (state !== 'there') return 'gone'
    this.#heard.set(peerId, { instance, atMs: this.#monotonicMs() })
    const [oldest] = this.#heard.keys()
    if (this.#heard.size > GATEWAY_LIMITS.relayPeersMax && oldest !== undefined) this.#heard.delete(oldest)
    if (!before) return 'new'
    return before.instance === instance ? 'known' : 'anew'
  }

  clear(): void {
    this.#heard.clear()
  }
}
