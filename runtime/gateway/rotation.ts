import { MarramError } from '../base/errors.ts'
import { peerIdOf } from '../crypto/identity.ts'
import { admitNextKeys, loadNextKeys, makeNextKeys, type NextKeys } from '../identity/next-keys.ts'
import type { Membership } from '../operations/membership.ts'
import type { Rotations } from '../operations/rotations.ts'
import type { Log } from '../ports/log.ts'

export interface RotationOptions {
  readonly dir: string
  readonly rotations: Rotations
  readonly membership: Membership
  readonly belongs: () => boolean
  /** The new keys are members: the gateway is to begin again under them. */
  readonly onAdmitted: (peerId: string) => void
  readonly log: Log
}

/** Replaces this gateway's keys, over restarts: until the new ones are admitted it goes on under the old. */
export class Rotation {
  readonly #options: RotationOptions
  #next: NextKeys | null
  #isAdmitted = false

  constructor(options: RotationOptions) {
    this.#options = options
    this.#next = loadNextKeys(options.dir)
  }

  get warning(): string | null {
    if (this.#next === null) return null
    return `rotating: new keys wait for an administrator's gateway to admit them as ${peerIdOf(this.#next.keys.publicKey)}; of an administrator's own, that takes a gateway with the mesh's root key ("marram keys import")`
  }

  /** Resolves with the peer id that this gateway will have, when the mesh is asked for it. Throws `not-enrolled`. */
  async ask(): Promise<{ readonly peerId: string }> {
    const { dir, rotations, belongs } = this.#options
    if (!belongs())
      throw new MarramError('not-enrolled', 'Cannot replace the keys: this gateway is no member of the mesh')
    this.#next = makeNextKeys(dir)
    await rotations.ask(this.#next.keys)
    return { peerId: peerIdOf(this.#next.keys.publicKey) }
  }

  async step(): Promise<void> {
    const { dir, rotations, membership, belongs, onAdmitted, log } = this.#options
    if (!belongs() || this.#isAdmitted) return
    if (this.#next !== null) await rotations.ask(this.#next.keys)
    await rotations.step()
    if (this.#next === null) return
    const { publicKey } = this.#next.keys
    const chain = membership.chainOf(publicKey)
    if (chain === null) return
    admitNextKeys(dir, this.#next, chain)
    this.#isAdmitted = true
    const peerId = peerIdOf(publicKey)
    log.warn('keys-replaced', { peerId })
    onAdmitted(peerId)
  }
}
