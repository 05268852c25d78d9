import { sentenceOf } from '../base/errors.ts'
import { DISCOVERY_LIMITS } from '../base/limits.ts'
import type { Random } from '../base/random.ts'
import { isPeerId } from '../model/names.ts'
import type { AddressSource, Discovery, DiscoveryFigures, Hint } from '../ports/discovery.ts'
import type { Log } from '../ports/log.ts'
import type { Store } from '../ports/store.ts'
import { parseAddress } from '../profile/address.ts'
import { Candidates, type KnownAddress, type RememberedAddress } from '../topology/candidates.ts'
import { decodeDeterministic, encodeDeterministic } from '../wire/deterministic.ts'

export interface NeighboursOptions {
  readonly peerId: string
  /** `mesh.discovery` of the profile. */
  readonly sources: readonly AddressSource[]
  readonly links: { readonly min: number; readonly max: number }
  readonly store: Pick<Store, 'getRecord' | 'append'>
  /** Whether the member is being removed, or was. */
  readonly isRemoved: (peerId: string) => boolean
  /** There may be something new to dial. */
  readonly onLearned: () => void
  /** Made when it is first needed. */
  readonly mdns: (onHint: (hint: Hint) => void) => Discovery
  readonly random: Random
  readonly log: Log
  readonly monotonicMs: () => number
}

const RECORD = 'gateway/addresses'

/** Where other gateways may be, from every source that the profile turns on; over restarts too. */
export class Neighbours {
  readonly candidates: Candidates
  readonly #options: NeighboursOptions
  #mdns: Discovery | null = null

  constructor(options: NeighboursOptions) {
    this.#options = options
    this.candidates = new Candidates(options)
    for (const { address, peerId, from } of readRemembered(options.store.getRecord(RECORD))) {
      const hint = { address, peerId }
      const sources = from.filter((source) => options.sources.includes(source))
      if (sources.length > 0) for (const source of [...sources, 'remembered' as const]) this.#hint(hint, source)
    }
  }

  setBootstrap(addresses: readonly string[]): void {
    const isOn = this.#options.sources.includes('bootstrap')
    this.candidates.setBootstrap(isOn ? addresses : [], this.#options.monotonicMs())
    this.#options.onLearned()
  }

  /** As a member: from now on others are looked for, and find this gateway. */
  join(bootstrap: readonly string[]): void {
    this.setBootstrap(bootstrap)
    if (this.#mdns || !this.#options.sources.includes('mdns')) return
    this.#mdns = this.#options.mdns((hint) => {
      this.#hint(hint, 'mdns')
      this.#options.onLearned()
    })
    this.#mdns.start()
  }

  /** Finds and is found no more. Never fails. */
  async leave(): Promise<void> {
    await this.#mdns?.close()
  }

  /** Null when multicast DNS is off. */
  get mdnsFigures(): DiscoveryFigures | null {
    return this.#mdns?.figures() ?? null
  }

  addresses(): readonly KnownAddress[] {
    return this.candidates.addresses()
  }

  /** A crash before it is on the disk costs a search, nothing else. */
  remember(): void {
    const value = encodeDeterministic(
      this.candidates.remembered().map(({ address, peerId, from }) => [address, peerId, from]),
    )
    this.#options.store
      .append({ batches: [], records: [{ key: RECORD, value }] })
      .catch((error: unknown) => this.#options.log.warn('addresses-not-kept', { message: sentenceOf(error) }))
  }

  #hint(hint: Hint, source: AddressSource): void {
    if (!this.#options.isRemoved(hint.peerId)) this.candidates.hint(hint, source, this.#options.monotonicMs())
  }
}

/** What is damaged in it is left out. */
function readRemembered(record: Uint8Array | undefined): RememberedAddress[] {
  const kept = record && decodeDeterministic(record)
  if (!kept?.ok || !Array.isArray(kept.value)) return []
  return kept.value.slice(-DISCOVERY_LIMITS.rememberedMax).flatMap((entry: unknown) => {
    const [address, peerId, from] = Array.isArray(entry) ? (entry as unknown[]) : []
    if (typeof address !== 'string' || typeof peerId !== 'string' || !Array.isArray(from)) return []
    if (!parseAddress(address).ok || !isPeerId(peerId)) return []
    return [{ address, peerId, from: from as AddressSource[] }]
  })
}
