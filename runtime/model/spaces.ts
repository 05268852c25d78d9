import type { Feed } from './batch.ts'
import type { Place } from './interest.ts'
import { isSeries } from './rows.ts'

/** Where what a feed's batches say is shown: other kinds and encrypted feeds of the same collection stand apart. */
export function spaceOf(feed: Feed): Place & { readonly isSeries?: true; readonly isEncrypted?: true } {
  const { collection, partition, encrypted } = feed.descriptor
  return {
    collection,
    partition,
    ...(isSeries(feed) && { isSeries: true }),
    ...(encrypted && { isEncrypted: true }),
  }
}
