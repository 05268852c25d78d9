import { setTimeout as delay } from 'node:timers/promises'
import { equal } from '../base/bytes.ts'
import { MarramError, sentenceOf } from '../base/errors.ts'
import { peerIdOf } from '../crypto/identity.ts'
import type { MeshAuthority } from '../driver/authority.ts'
import { admitNextKeys, forgetNextKeys, loadNextKeys, makeNextKeys, type NextKeys } from '../identity/next-keys.ts'
import type { Membership } from '../operations/membership.ts'
import type { Rotations } from '../operations/rotations.ts'
import type { Log } from '../ports/log.ts'

export interface RotationOptions {
  readonly dir: string
  readonly authority: Pick<MeshAuthority, 'admit'>
  readonly rotations: Rotations
  readonly membership: Membership
  readonly belongs: () => boolean
  /** Stamps go by the right time, as far as that is known. */
  readonly isClockRight: () => boolean
  /** Nothing waits here that this gateway, under other keys, would not keep and pass on. */
  readonly isHandedOver: () => boolean
  /** The member is being removed, or was. */
  readonly isClosed: (peerId: string) => boolean
  /** The new keys are members: the gateway is to stop, `finish` and begin again. */
  readonly onAdmitted: () => void
  readonly log: Log
  readonly monotonicMs: () => number
}

/** After a start with keys that wait already: what kept them from being taken before may still hold. */
const CALM_MS = 15_000
/** How long a stop waits for the last that was written under the old keys to reach another gateway. */
const HANDING_MS = 3_000
const LOOK_MS = 50

/** Replaces this gateway's keys, over restarts: until the new ones are admitted it goes on under the old. */
export class Rotation {
  readonly #options: RotationOptions
  readonly #notBeforeMs: number
  #next: NextKeys | null
  /** What proves the new keys, once they are to be taken. */
  #chain: readonly Uint8Array[] | null = null

  constructor(options: RotationOptions) {
    this.#options = options
    this.#next = loadNextKeys(options.dir)
    this.#notBeforeMs = options.monotonicMs() + (this.#next === null ? 0 : CALM_MS)
  }

  get warning(): string | null {
    if (this.#next === null) return null
    const { publicKey } = this.#next.keys
    const peerId = peerIdOf(publicKey)
    if (this.#options.membership.chainOf(publicKey) !== null)
      return `rotating: new keys were admitted as ${peerId}, and are taken when another gateway has all that was written under the old ones`
    return `rotating: new keys wait for an administrator's gateway to admit them as ${peerId}; of an administrator's own, that takes a gateway with the mesh's root key ("marram keys import")`
  }

  /** Resolves with the peer id that this gateway will have, when the mesh is asked for it. Throws `not-enrolled`, `not-permitted`. */
  async ask(): Promise<{ readonly peerId: string }> {
    const { dir, rotations, belongs, isClockRight } = this.#options
    if (!belongs())
      throw new MarramError('not-enrolled', 'Cannot replace the keys: this gateway is no member of the mesh')
    if (!isClockRight())
      throw new MarramError(
        'not-permitted',
        "Cannot replace the keys: this gateway's clock is ahead, wait until it is set back",
      )
    this.#next = makeNextKeys(dir)
    await rotations.ask(this.#next.keys)
    return { peerId: peerIdOf(this.#next.keys.publicKey) }
  }

  /** To be called again and again. */
  async step(): Promise<void> {
    const { rotations, belongs, isClockRight, isHandedOver, onAdmitted, monotonicMs } = this.#options
    if (!belongs() || !isClockRight() || this.#chain !== null) return
    this.#forgetRemoved()
    if (this.#next !== null) await rotations.ask(this.#next.keys)
    await rotations.step()
    if (this.#next === null || monotonicMs() < this.#notBeforeMs) return
    const chain = this.#admitted(this.#next)
    if (chain === null || !isHandedOver()) return
    this.#chain = chain
    onAdmitted()
  }

  /**
   * With the devices stopped and the links still up: takes the new keys when what was written last is in good hands too. Where it isn't,
   * the gateway goes on under the old ones and tries again, as where the disk does not take them. Never fails.
   */
  async finish(): Promise<void> {
    const { dir, isHandedOver, log } = this.#options
    if (this.#next === null || this.#chain === null) return
    for (let waitedMs = 0; waitedMs < HANDING_MS && !isHandedOver(); waitedMs += LOOK_MS) await delay(LOOK_MS)
    const peerId = peerIdOf(this.#next.keys.publicKey)
    if (!isHandedOver()) return log.warn('keys-not-replaced', { peerId, why: 'not-handed-over' })
    try {
      admitNextKeys(dir, this.#next, this.#chain)
    } catch (error) {
      return log.warn('keys-not-replaced', { peerId, why: sentenceOf(error) })
    }
    log.warn('keys-replaced', { peerId })
  }

  /** With keys that were removed before they were taken this gateway would shut itself out. */
  #forgetRemoved(): void {
    const { dir, isClosed, log } = this.#options
    const peerId = this.#next && peerIdOf(this.#next.keys.publicKey)
    if (peerId === null || !isClosed(peerId)) return
    forgetNextKeys(dir)
    this.#next = null
    log.warn('keys-not-replaced', { peerId, why: 'removed' })
  }

  /** A document may say anything: only what leads to the mesh's root lets this gateway in again. */
  #admitted({ keys }: NextKeys): readonly Uint8Array[] | null {
    const chain = this.#options.membership.chainOf(keys.publicKey)
    const admitted = chain && this.#options.authority.admit(chain)
    return admitted && equal(admitted.capability.subject, keys.publicKey) ? chain : null
  }
}
