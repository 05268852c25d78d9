import type { Feed } from './batch.ts'

/** Keys of encrypted feeds, as far as this gateway has them. */
export interface BodyKeys {
  /** The key of the bodies that the feed's author wrote in an epoch; null when it isn't here. */
  of(feed: Feed, epoch: number): Uint8Array | null
}

export const NO_KEYS: BodyKeys = { of: () => null }
