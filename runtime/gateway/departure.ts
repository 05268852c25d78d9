import type { Closing } from '../access/removals.ts'
import { sentenceOf } from '../base/errors.ts'
import type { MeshAuthority } from '../driver/authority.ts'
import { farewellTo, readFarewell } from '../operations/farewell.ts'
import type { Log } from '../ports/log.ts'
import type { Store } from '../ports/store.ts'
import { decodeDeterministic, encodeDeterministic } from '../wire/deterministic.ts'

const RECORD = 'gateway/removed'

export interface DepartureSurroundings {
  readonly store: Store
  readonly authority: MeshAuthority
  readonly meshId: Uint8Array
  readonly peerId: string
  readonly verify: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean
  readonly log: Log
  /** Once, when it is known: this gateway shares nothing any more. */
  readonly onRemoved: (closing: Closing) => void
}

/** How a removed member learns that it was, and what tells others that they were. */
export class Departure {
  readonly #with: DepartureSurroundings
  #closing: Closing | null = null

  constructor(surroundings: DepartureSurroundings) {
    this.#with = surroundings
  }

  /** This gateway belongs to its mesh no more: it links with nobody and goes on serving its own devices. */
  get isRemoved(): boolean {
    return this.#closing !== null
  }

  get warning(): string | null {
    if (this.#closing === null) return null
    const { reason, by } = this.#closing
    return `removed: this gateway was ${reason === 'retire' ? 'retired' : 'revoked'} by ${by}, so it shares nothing any more; it keeps what its devices say; to let it in again, join with a new invite in a new directory`
  }

  /** Proof for a member that was removed; null for all others. */
  evidenceFor(peerId: string): readonly Uint8Array[] | null {
    if (!this.#with.authority.isClosed(peerId)) return null
    return this.#evidence(peerId) ?? []
  }

  /** What was kept when it was learned: after a restart nobody may say so again. */
  load(): void {
    const record = this.#with.store.getRecord(RECORD)
    const kept = record && decodeDeterministic(record)
    const isList = kept?.ok && Array.isArray(kept.value) && kept.value.every((item) => item instanceof Uint8Array)
    if (isList) this.#judge(kept.value as Uint8Array[])
  }

  /** A neighbour refuses the link and says why; it is believed if an administrator has signed it. */
  heard(evidence: readonly Uint8Array[]): void {
    if (this.#judge(evidence)) this.#keep(evidence)
  }

  /** The documents here say so. */
  leave(closing: Closing): void {
    if (!this.#begin(closing)) return
    const evidence = this.#evidence(this.#with.peerId)
    if (evidence !== null) this.#keep(evidence)
  }

  #judge(evidence: readonly Uint8Array[]): boolean {
    const { meshId, peerId, authority, verify } = this.#with
    const closing = readFarewell(meshId, peerId, evidence, authority, verify)
    return closing !== null && this.#begin(closing)
  }

  #begin(closing: Closing): boolean {
    if (this.#closing !== null) return false
    this.#closing = closing
    this.#with.log.error('removed', { reason: closing.reason, by: closing.by })
    this.#with.onRemoved(closing)
    return true
  }

  #evidence(peerId: string): readonly Uint8Array[] | null {
    const { store, authority } = this.#with
    const rights = {
      mayRemove: (origin: string, warrant: Uint8Array | null) => authority.mayRemove(origin, warrant),
      chainOf: (origin: string) => authority.administratorChainOf(origin) ?? authority.chainOf(origin),
    }
    return farewellTo(store, rights, peerId)
  }

  #keep(evidence: readonly Uint8Array[]): void {
    const records = [{ key: RECORD, value: encodeDeterministic(evidence) }]
    this.#with.store
      .append({ batches: [], records })
      .catch((error: unknown) => this.#with.log.warn('farewell-not-kept', { message: sentenceOf(error) }))
  }
}
