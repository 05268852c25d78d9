import type { Place } from '../model/interest.ts'
import type { OpStamp } from '../model/batch.ts'
import type { Element, Reference } from '../model/cells.ts'
import type { Stamp } from '../model/stamp.ts'
import type { Value } from '../model/value.ts'

/** One operation on a document; the operations of one write are atomic. */
export type WriteOp =
  | { readonly kind: 'put'; readonly key: string; readonly fields: { readonly [path: string]: Value } }
  | { readonly kind: 'delete'; readonly key: string }
  /** Adds a row to a series; `stamp` is that of a row which is written again. Such a write holds nothing else. */
  | {
      readonly kind: 'row'
      readonly key: string
      readonly fields: { readonly [path: string]: Value }
      readonly stamp?: OpStamp
    }
  /** Adds to a counter, or takes from it. */
  | { readonly kind: 'count'; readonly key: string; readonly path: string; readonly by: number }
  /** Goes on with what an earlier incarnation of this gateway has counted. */
  | {
      readonly kind: 'total'
      readonly key: string
      readonly path: string
      readonly total: readonly [number, number, string]
    }
  | { readonly kind: 'add'; readonly key: string; readonly path: string; readonly elements: readonly Element[] }
  | { readonly kind: 'link'; readonly key: string; readonly path: string; readonly references: readonly Reference[] }
  /** Removes elements and links that are there, by their names within the field (model/cells.ts); null: all of them. */
  | { readonly kind: 'remove'; readonly key: string; readonly path: string; readonly subs: readonly string[] | null }

/** The stamp of a write's last operation, and the batch it is in. */
export interface Written extends Stamp {
  readonly feedKey: string
  readonly sequence: number
}

/** Local writes: signed, in this gateway's own feed, on the disk when the promise resolves. */
export interface Writer {
  /** Rejects with `storage-full`, `storage-io`, `too-large`, `overloaded` or `closed`. */
  write(collection: string, partition: string, ops: readonly WriteOp[]): Promise<Written>
}

/** Other gateways that have a write on their disks. */
export interface Confirmer {
  /** Throws `bad-request` when the mesh has fewer other gateways than `count`, `overloaded` when too many wait already. */
  checkWait(count: number, place: Place): void
  /** Resolves with how many hold it: at least `count`, or fewer when the time is up, `signal` is aborted or the gateway stops. */
  confirm(written: Written, count: number, timeoutMs: number, signal?: AbortSignal): Promise<number>
}
