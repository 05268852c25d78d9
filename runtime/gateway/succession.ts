import type { Identity } from '../identity/identity.ts'
import type { Drafts } from '../operations/drafts.ts'
import type { Log } from '../ports/log.ts'
import type { DiskStore } from '../store/disk-store.ts'
import type { Clones } from './clones.ts'
import type { Incarnation } from './incarnation.ts'
import type { Members } from './members.ts'
import type { Rights } from './rights.ts'
import type { Running } from './running.ts'

export interface SuccessionOptions {
  readonly identity: Identity
  readonly store: DiskStore
  readonly running: Running
  readonly incarnation: Incarnation
  readonly drafts: Drafts
  readonly members: Members
  readonly rights: Rights
  readonly clones: Clones
  /** What the profile says that is kept. */
  readonly interest: () => readonly string[]
  /** Another engine runs: its links are to be made. */
  readonly onReplaced: () => void
  readonly log: Log
}

/** When another engine takes the place of the one that runs, and under which incarnation it writes. */
export class Succession {
  readonly #options: SuccessionOptions
  #renewal: NodeJS.Timeout | null = null
  /** What the engine that runs may read. */
  #kept: readonly string[] = []

  constructor(options: SuccessionOptions) {
    this.#options = options
  }

  /** An engine is made, for what this gateway may read now. */
  begun(): void {
    this.#kept = this.#options.rights.readable
  }

  async keepIncarnation(): Promise<void> {
    const { incarnation, store, members, drafts } = this.#options
    await incarnation.keep(store, members.enrolment.chain ? [] : [drafts.add(incarnation.id)])
  }

  /**
   * From now on we write as a member: in a new incarnation, stamped after our admission. What was written before is
   * written again, so that the others get it; nobody would take the drafts themselves.
   */
  async admitted(chain: readonly Uint8Array[], addresses: readonly string[]): Promise<void> {
    const { running, incarnation, drafts, members, store, identity, onReplaced, log } = this.#options
    const isReplaced = await running.replace(
      () => true,
      async (clock) => {
        members.enrolment.accept(chain, addresses)
        incarnation.renew(Math.max(clock, members.ownNotBefore))
        await this.keepIncarnation()
        members.enrolment.save()
      },
    )
    if (!isReplaced) return
    log.info('enrolled', { peerId: members.peerId, mesh: identity.mesh.name })
    onReplaced()
    await drafts.writeAgain(store, running)
  }

  /** What this gateway itself may read or pass on counts with the next engine. */
  rightsChanged(): void {
    const isOther = (): boolean => !isSameSet(this.#kept, this.#options.rights.readable)
    if (isOther()) void this.#keepAnew(isOther)
  }

  /** What is kept by the profile counts with the next engine too. */
  async interestChanged(before: readonly string[], now: readonly string[]): Promise<void> {
    if (!isSameSet(before, now)) await this.#keepAnew(() => true)
  }

  /**
   * Somebody else has written as this gateway, or it as somebody else: it goes on under a new incarnation, and what was
   * voided of its writes is written again.
   */
  lost(why: string): void {
    const { clones, incarnation } = this.#options
    clones.lost(incarnation.id, why)
    const waitMs = incarnation.waitMs(performance.now())
    if (waitMs === 0) return void this.#renew(why)
    if (this.#renewal) clearTimeout(this.#renewal)
    this.#renewal = setTimeout(() => void this.#renew(why), waitMs).unref()
  }

  stop(): void {
    if (this.#renewal) clearTimeout(this.#renewal)
  }

  async #renew(why: string): Promise<void> {
    const { running, incarnation, onReplaced, log } = this.#options
    const isReplaced = await running.replace(
      () => true,
      async (clock) => {
        incarnation.renewedAt(performance.now())
        incarnation.renew(clock)
        await this.keepIncarnation()
      },
    )
    if (!isReplaced) return
    onReplaced()
    log.warn('new-incarnation', { incarnation: incarnation.id, why })
  }

  async #keepAnew(isWanted: () => boolean): Promise<void> {
    const { running, incarnation, onReplaced, interest, log } = this.#options
    if (!(await running.replace(isWanted, (clock) => incarnation.passed(clock)))) return
    onReplaced()
    log.info('interest-changed', { interest: interest() })
  }
}

function isSameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.every((item) => b.includes(item)) && b.every((item) => a.includes(item))
}
