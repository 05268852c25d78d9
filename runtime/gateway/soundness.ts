import { sentenceOf } from '../base/errors.ts'
import { GATEWAY_LIMITS } from '../base/limits.ts'
import { placeOf } from '../model/names.ts'
import type { Log } from '../ports/log.ts'
import type { Space } from '../ports/store.ts'
import { Scrub } from '../store/scrub.ts'
import type { TableStore } from '../store/table-store.ts'
import { examinePlace } from '../store/verify.ts'
import type { Examined } from '../sync/types.ts'

export interface SoundnessOptions {
  readonly store: TableStore
  readonly meshId: Uint8Array
  /** Told of what was found; damaged batches among it are mended from neighbours. */
  readonly examined: (examined: Examined) => void
  readonly log: Log
}

/** What a card changes in documents is put right here, with or without neighbours: they are derived anew from the batches. */
export class Soundness {
  readonly #options: SoundnessOptions
  readonly #scrub: Scrub
  readonly #deriving = new Set<string>()

  constructor(options: SoundnessOptions) {
    this.#options = options
    this.#scrub = new Scrub(options.store, options.meshId)
    options.store.documents.onDamaged = (space) => this.#derive(space)
  }

  /** Reads some of what is stored, so that what nobody asks for is looked at too. */
  async scrub(): Promise<void> {
    const { places, damaged } = this.#scrub.step(GATEWAY_LIMITS.scrubDocuments, GATEWAY_LIMITS.scrubBytes)
    for (const { collection, partition, ...batch } of damaged)
      this.#options.examined({ collection, partition, documents: 0, damaged: [batch] })
    for (const place of places) await this.#examine(place)
  }

  /** A document that was read, or merged into, has other bytes than were written: its place is derived anew, once at a time. */
  #derive(space: Space): void {
    const { log } = this.#options
    const { collection, partition } = space
    const place = placeOf(space)
    if (this.#deriving.has(place)) return
    this.#deriving.add(place)
    log.error('document-damaged', { collection, partition })
    this.#examine(space)
      .catch((error: unknown) => log.warn('examination-failed', { collection, partition, message: sentenceOf(error) }))
      .finally(() => this.#deriving.delete(place))
  }

  async #examine(place: Space): Promise<void> {
    const { store, meshId, examined } = this.#options
    examined(await examinePlace(store, meshId, place))
  }
}
