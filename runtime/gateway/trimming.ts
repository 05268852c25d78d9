import { sentenceOf } from '../base/errors.ts'
import { BRIDGE_COLLECTION } from '../model/names.ts'
import { trimSeries, type Hold, type Retention } from '../operations/retention.ts'
import type { Log } from '../ports/log.ts'
import type { Drop } from '../ports/store.ts'
import type { ResolvedProfile } from '../profile/resolved.ts'
import { collectionOf } from '../profile/resolve.ts'
import type { DiskStore } from '../store/disk-store.ts'
import type { Time } from './time.ts'

export interface TrimmingOptions {
  readonly store: DiskStore
  readonly profile: () => ResolvedProfile
  /** How long this gateway's own rules keep bridged messages, in milliseconds; null without a rule. */
  readonly bridgedMs: () => number | null
  readonly time: Time
  readonly hold: () => Hold | null
  readonly onDropped: (drops: readonly Drop[]) => void
  readonly log: Log
}

/** Messages that others' rules give out are carried so long by who has no rule of its own. */
const CARRIED_MS = 604_800_000
const KEEP_ALL: Retention = { ageMs: null, bytes: null }

/** Lets rows of series go that are older, or more, than the profile says. */
export class Trimming {
  readonly #options: TrimmingOptions
  #isUnderWay = false

  constructor(options: TrimmingOptions) {
    this.#options = options
  }

  /** Never fails: what could not go now goes the next time. */
  async trim(): Promise<void> {
    if (this.#isUnderWay) return
    this.#isUnderWay = true
    const { store, time, hold, onDropped, log } = this.#options
    try {
      const drops = await trimSeries(store, (name) => this.#retentionOf(name), time.trustedMs, hold())
      if (drops.length === 0) return
      log.info('series-trimmed', { batches: drops.reduce((sum, { seqs }) => sum + seqs.size, 0) })
      onDropped(drops)
    } catch (error) {
      log.warn('series-not-trimmed', { message: sentenceOf(error) })
    } finally {
      this.#isUnderWay = false
    }
  }

  #retentionOf(name: string): Retention {
    const profile = this.#options.profile()
    const isBridged = name === BRIDGE_COLLECTION && !profile.collections.has(name)
    if (isBridged) return { ageMs: this.#options.bridgedMs() ?? CARRIED_MS, bytes: null }
    return collectionOf(profile, name)?.retain ?? KEEP_ALL
  }
}
