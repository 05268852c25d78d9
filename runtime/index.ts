import type { Ended } from './gateway/gateway.ts'
import { openGateway as open, type LastingGateway } from './gateway/open.ts'
import type { Fields } from './model/value.ts'
import type {
  BatchWrite,
  DocumentView,
  Operations,
  Provenance,
  PutOptions,
  Query,
  Receipt,
  StatusView,
  PeerView,
  WalkOptions,
  WaitOptions,
  WalkStep,
  WatchEvent,
  WatchOptions,
} from './ports/operations.ts'
import type { ReplicationTarget, ReplicationView } from './ports/replication.ts'
import { SILENT_LOG, type Log } from './ports/log.ts'
import type { Conflict } from './ports/store.ts'
import type { DeviceProfile } from './profile/defaults.ts'

/** The public API: a gateway inside your own program. */

export { MarramError, ERROR_CODES, type ErrorCode } from './base/errors.ts'
export { initGateway, joinGateway, type NewIdentity } from './setup.ts'
export type {
  BatchWrite,
  Conflict,
  DeviceProfile,
  DocumentView,
  Fields,
  Log,
  PeerView,
  Provenance,
  PutOptions,
  Query,
  Receipt,
  ReplicationTarget,
  ReplicationView,
  StatusView,
  WalkOptions,
  WaitOptions,
  WalkStep,
  WatchEvent,
  WatchOptions,
}

export interface OpenOptions {
  /** Data directory with an identity (see `initGateway`, `joinGateway`). */
  readonly dir: string
  /** Instead of the profile kept in `dir`. */
  readonly profile?: DeviceProfile
  /** Silent without it. */
  readonly log?: Log
}

/** One collection of an open gateway. */
export interface Collection {
  /**
   * Merges the fields into the document, null removes one; resolves when it is durable on this gateway, with `wait` on so many
   * others as well.
   */
  put(key: string, fields: Fields, options?: PutOptions): Promise<Receipt>
  delete(key: string, options?: WaitOptions): Promise<Receipt>
  get(key: string): Fields | undefined
  provenance(key: string): { readonly [path: string]: Provenance } | undefined
  list(query?: Query): Iterable<DocumentView>
  count(query?: Query): number
  /** Documents reached over links, or that lead here, nearest first. */
  walk(key: string, options?: WalkOptions): Iterable<WalkStep>
  /**
   * Current matches, then changes; ends with `options.signal`, by leaving the loop, and when the gateway stops, also to begin again
   * under other keys.
   */
  watch(options?: WatchOptions): AsyncIterable<WatchEvent>
}

/** A running gateway: broker, store and links. */
export class Gateway {
  readonly #process: LastingGateway

  constructor(process: LastingGateway) {
    this.#process = process
  }

  /** Another one after the gateway's keys were replaced: it begins again by itself. */
  get peerId(): string {
    return this.#process.peerId
  }

  /** Resolves when the gateway has stopped, by `close` or because its disk failed. */
  get closed(): Promise<Ended> {
    return this.#process.closed
  }

  collection(name: string): Collection {
    return {
      put: (key, fields, options) => this.#operations.put(name, key, fields, options),
      delete: (key, options) => this.#operations.delete(name, key, options),
      get: (key) => this.#operations.get(name, key)?.value,
      provenance: (key) => this.#operations.provenance(name, key),
      list: (query) => this.#operations.list(name, query),
      count: (query) => this.#operations.count(name, query),
      walk: (key, options) => this.#operations.walk(name, key, options),
      watch: (options) => this.#operations.watch(name, options),
    }
  }

  status(): StatusView {
    return this.#operations.status()
  }

  peers(): readonly PeerView[] {
    return this.#operations.peers()
  }

  /** Concurrent writes to one field of which one was lost, the latest first. */
  conflicts(options?: Parameters<Operations['conflicts']>[0]): Iterable<Conflict> {
    return this.#operations.conflicts(options)
  }

  /** Writes several documents of a collection at once: all of it or nothing, here and on every other gateway. */
  batch(...[collection, writes, options]: Parameters<Operations['batch']>): ReturnType<Operations['batch']> {
    return this.#operations.batch(collection, writes, options)
  }

  /** One invite token for another gateway. */
  invite(options?: Parameters<Operations['invite']>[0]): Promise<{ readonly token: string; readonly expires: string }> {
    return this.#operations.invite(options)
  }

  /**
   * Sees to it that a chosen gateway gets what this one holds of a collection, until it is stopped: also after restarts, over a
   * link of its own. Resolves when that is on the disk.
   */
  replicate(collection: string, target: ReplicationTarget): Promise<ReplicationView> {
    return this.#operations.replicate(collection, target)
  }

  stopReplicating(collection: string, target: ReplicationTarget): Promise<ReplicationView> {
    return this.#operations.stopReplicating(collection, target)
  }

  /** The transfers that stand, and how. */
  replications(): readonly ReplicationView[] {
    return this.#operations.replications()
  }

  /** Digests by collection, equal on every gateway that has converged. */
  digest(collection?: string): { readonly collections: { readonly [name: string]: string } } {
    return this.#operations.digest(collection)
  }

  close(): Promise<void> {
    return this.#process.close()
  }

  get #operations(): Operations {
    return this.#process.operations
  }
}

/** Opens the gateway in `dir`: its broker, store and links serve when the promise resolves. Throws MarramError. */
export async function openGateway(options: OpenOptions): Promise<Gateway> {
  const { dir, profile, log = SILENT_LOG } = options
  return new Gateway(await open({ dir, log, ...(profile && { profile }) }))
}
