import { sentenceOf } from '../base/errors.ts'
import { saveMembership, type Identity, type MeshMembership } from '../identity/identity.ts'
import { enrol, firstDecided } from '../mesh/enrolling.ts'
import { enrolOver } from '../mesh/relay-enrolling.ts'
import type { RelayAddress } from '../mesh/relay.ts'
import type { Log } from '../ports/log.ts'
import { decodeInvite } from '../wire/invite.ts'

const RETRY_MS = 5_000

export interface EnrolmentSurroundings {
  readonly dir: string
  readonly identity: Identity
  readonly name: () => string
  /** Where members may be beside what the invite says. */
  readonly places: () => readonly string[]
  /** Where it meets others to whom it has no way. */
  readonly relays: () => readonly RelayAddress[]
  readonly log: Log
  readonly onAdmitted: (chain: readonly Uint8Array[], addresses: readonly string[]) => void
}

/** Whether the mesh has let this gateway in, and the asking until it has said yes or no. */
export class Enrolment {
  readonly #with: EnrolmentSurroundings
  #membership: MeshMembership
  #retry: NodeJS.Timeout | null = null
  readonly #stopping = new AbortController()

  constructor(surroundings: EnrolmentSurroundings) {
    this.#with = surroundings
    this.#membership = surroundings.identity.mesh
  }

  get membership(): MeshMembership {
    return this.#membership
  }

  /** Proves this gateway, leaf first; null before it was admitted. */
  get chain(): readonly Uint8Array[] | null {
    return this.#membership.chain
  }

  get warning(): string | null {
    const { chain, refusal } = this.#membership
    if (refusal !== null)
      return `enrolment-refused: the mesh refused this gateway's invite (${refusal}); ask for a new one and join in a new directory`
    if (chain === null)
      return 'not-enrolled: this gateway has not reached its mesh yet; it keeps what its devices say and goes on trying'
    return null
  }

  /** Devices are served meanwhile. */
  async ask(): Promise<void> {
    const { identity, name, places, relays, log } = this.#with
    const invite = this.#membership.invite === null ? null : decodeInvite(this.#membership.invite)
    if (!invite?.ok || this.#membership.refusal !== null) return
    const { signal } = this.#stopping
    const joiner = { invite: invite.value, keys: identity.keys, name: name(), places: places(), signal }
    const outcome = await firstDecided([enrol(joiner), ...relays().map((relay) => enrolOver(relay, joiner))])
    if (signal.aborted) return
    if (outcome.type === 'admitted') return this.#with.onAdmitted(outcome.chain, outcome.addresses)
    if (outcome.type === 'refused') return this.#refused(outcome.reason)
    log.warn('enrolment-retry', { reason: outcome.reason, retryMs: RETRY_MS })
    this.#retry = setTimeout(() => void this.ask(), RETRY_MS).unref()
  }

  /** From now on; `save` keeps it. */
  accept(chain: readonly Uint8Array[], addresses: readonly string[]): void {
    this.#membership = { ...this.#membership, chain, addresses, invite: null }
  }

  save(): void {
    saveMembership(this.#with.dir, this.#membership)
  }

  stop(): void {
    this.#stopping.abort()
    if (this.#retry) clearTimeout(this.#retry)
  }

  #refused(reason: string): void {
    const { log } = this.#with
    this.#membership = { ...this.#membership, refusal: reason }
    log.error('enrolment-refused', { reason })
    try {
      this.save()
    } catch (error) {
      // Devices are served on; after the next start it asks again, and is told the same.
      log.warn('refusal-not-kept', { message: sentenceOf(error) })
    }
  }
}
