import type { Log } from '../ports/log.ts'
import type { ForkProof } from '../wire/proof.ts'

const ADVICE = 'look for a copied card or a store put back from a copy'

/** Two gateways that write as one: each case once in the log, as an alert for clients, and as a warning of `status`. */
export class Clones {
  readonly #log: Log
  readonly #alert: (fields: { readonly [name: string]: unknown }) => void
  readonly #warnings = new Map<string, string>()

  constructor(log: Log, alert: (fields: { readonly [name: string]: unknown }) => void) {
    this.#log = log
    this.#alert = alert
  }

  get warnings(): Iterable<string> {
    return this.#warnings.values()
  }

  /** Any member's. */
  proven({ feed, seq }: ForkProof): void {
    const { collection } = feed.descriptor
    this.#log.error('clone-or-fork', { origin: feed.origin, collection, seq })
    this.#alert({ alert: 'clone-or-fork', peerId: feed.origin, collection })
    this.#warnings.set(
      feed.key,
      `clone-or-fork: two gateways wrote as ${feed.origin} in "${collection}" (batch ${seq}); what all had confirmed stays, each writes the rest again; ${ADVICE}`,
    )
  }

  /** Our own: `why` is the engine's sentence. */
  lost(incarnation: string, why: string): void {
    this.#log.error('clone-or-fork', { why, incarnation })
    this.#alert({ alert: 'clone-or-fork', why })
    this.#warnings.set(incarnation, `clone-or-fork: ${why}, so it went on under a new incarnation; ${ADVICE}`)
  }
}
