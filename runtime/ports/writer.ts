import type { Stamp } from '../model/stamp.ts'
import type { Value } from '../model/value.ts'

/** One operation on a document; the operations of one write are atomic. */
export type WriteOp =
  | { readonly kind: 'put'; readonly key: string; readonly fields: { readonly [path: string]: Value } }
  | { readonly kind: 'delete'; readonly key: string }

/** Local writes: signed, in this gateway's own feed, on the disk when the promise resolves. */
export interface Writer {
  /** The stamp of the last operation. Rejects with `storage-full`, `storage-io`, `too-large`, `overloaded` or `closed`. */
  write(collection: string, partition: string, ops: readonly WriteOp[]): Promise<Stamp>
}
