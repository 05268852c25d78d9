import { equal } from '../base/bytes.ts'
import { sha256 } from '../crypto/hash.ts'
import type { Space } from '../ports/store.ts'
import { decodeBatch, feedIdOfBatch, seqOfBatch } from '../wire/batch.ts'
import { contributionOf } from './digest.ts'
import type { SpaceTable } from './space.ts'
import type { TableStore } from './table-store.ts'

/** What a step has found wrong: a place of which a document is not what was written, and batches whose bytes have changed. */
export interface ScrubFindings {
  readonly places: readonly Space[]
  readonly damaged: readonly {
    readonly feedKey: string
    readonly collection: string
    readonly partition: string
    readonly seq: number
  }[]
}

interface Pass {
  readonly space: SpaceTable
  last: string | null
}

/**
 * Reads all that is stored again and again, a little at a time, for nothing else tells what a card has changed where nobody looks: of
 * documents each one's own digest, and at the end of a space that they sum up to its digest, so that a lost one is missed as well; of
 * batches the hash that was signed. A million documents take a day.
 */
export class Scrub {
  readonly #store: TableStore
  readonly #meshId: Uint8Array
  #spaces: SpaceTable[] = []
  #pass: Pass | null = null
  #feeds: string[] = []
  #feed: { readonly key: string; seq: number } | null = null

  constructor(store: TableStore, meshId: Uint8Array) {
    this.#store = store
    this.#meshId = meshId
  }

  /** Reads at most so many documents, and batches of so many bytes. */
  step(documentsMax: number, bytesMax: number): ScrubFindings {
    return { places: this.#readDocuments(documentsMax), damaged: this.#readBatches(bytesMax) }
  }

  #readDocuments(limit: number): Space[] {
    const pass = (this.#pass ??= this.#nextPass())
    if (pass === null) return []
    const { space, last } = pass
    const page = this.#store.documents.scanStored(space, {
      limit,
      ...(last === null ? {} : { start: last, isAfter: true }),
    })
    let isSound = true
    for (const { key, stored } of page) {
      isSound &&= stored !== null && contributionOf(space, key, stored.document) === stored.contribution
      if (stored !== null) space.audited(key, stored.contribution)
    }
    pass.last = page.at(-1)?.key ?? last
    if (page.length === limit && isSound) return []
    this.#pass = null
    const isWhole = space.endAudit()
    return isSound && (isWhole || page.length === limit) ? [] : [placeOf(space)]
  }

  #nextPass(): Pass | null {
    // Rows of a series are each gateway's own affair.
    if (this.#spaces.length === 0) this.#spaces = this.#store.documents.spaces().filter(({ isSeries }) => !isSeries)
    const space = this.#spaces.shift()
    space?.beginAudit()
    return space === undefined ? null : { space, last: null }
  }

  #readBatches(bytesMax: number): ScrubFindings['damaged'] {
    if (this.#feeds.length === 0) this.#feeds = [...this.#store.heads()].map(({ feed }) => feed.key)
    const at = (this.#feed ??= this.#nextFeed())
    const head = at === null ? undefined : this.#store.head(at.key)
    if (at === null || head === undefined) return []
    const { id, key, descriptor } = head.feed
    const { collection, partition } = descriptor
    const damaged: ScrubFindings['damaged'][number][] = []
    const read = this.#store.storedBatches(key, at.seq, bytesMax)
    for (const { seq, bytes } of read) {
      at.seq = seq + 1
      if (!isSound(this.#meshId, id, seq, bytes.subarray(1))) damaged.push({ feedKey: key, collection, partition, seq })
    }
    if (read.length === 0 || at.seq > head.seq) this.#feed = null
    return damaged
  }

  #nextFeed(): { key: string; seq: number } | null {
    const key = this.#feeds.shift()
    return key === undefined ? null : { key, seq: 1 }
  }
}

function isSound(meshId: Uint8Array, feedId: Uint8Array, seq: number, bytes: Uint8Array): boolean {
  const batch = decodeBatch(meshId, bytes)
  if (!batch.ok || seqOfBatch(bytes) !== seq || !equal(feedIdOfBatch(bytes), feedId)) return false
  return equal(sha256(batch.value.body), batch.value.header.bodyHash)
}

function placeOf({ collection, partition }: Space): Space {
  return { collection, partition }
}
